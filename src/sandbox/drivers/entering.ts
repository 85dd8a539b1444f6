/** Enters the control groups whose files come first, is ended before the node when memory runs out, and becomes what follows. */
export const ENTER = 'n=$1; shift; while [ $n -gt 0 ]; do echo 0 > "$1" || exit 1; shift; n=$((n-1)); done; echo 500 > /proc/self/oom_score_adj; exec "$@"'

/** @param groups  the files that take the pid of who enters */
export const entering = (groups: readonly string[], command: readonly string[]): string[] => [
  ...['sh', '-c', ENTER, 'sh', String(groups.length), ...groups],
  ...command,
]

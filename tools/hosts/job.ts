import { JOB, USER, USER_ID } from './image.ts'

/** Who runs the job on the host, and with what its service manager gives; `container` is root of a container that may do all. */
export const WAYS = ['root', 'container', 'user', 'delegated'] as const
export type Way = (typeof WAYS)[number]

/** Stands before the exit code of the job, at the end of what it said. */
export const ENDED = 'mayfly-host: the job ended with '

/** As one word of a shell. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** How a command is begun by the user, who has its own service manager as after signing in. */
const AS_USER: Readonly<Record<Exclude<Way, 'root' | 'container'>, string>> = {
  user: 'systemd-run --user --quiet --pipe --wait --collect',
  delegated: 'systemd-run --user --quiet --pipe --wait --collect -p Delegate=yes',
}

const GROUPS = '/sys/fs/cgroup'
/** A container's own processes, mounts and groups. What begins it stays outside, as the program does that runs containers. */
const CONTAINER = `step=$1; shift
case $step in
  begin)
    echo '+cpu +memory +pids' > ${GROUPS}/cgroup.subtree_control && mkdir ${GROUPS}/container || exit 1
    exec unshare --pid --fork --kill-child --mount-proc sh "$0" enter "$@" ;;
  enter) echo 0 > ${GROUPS}/container/cgroup.procs && exec unshare --cgroup --mount sh "$0" inside "$@" ;;
  inside) umount ${GROUPS} && mount -t cgroup2 container ${GROUPS} && exec "$@" ;;
esac`

/** The script that the host runs and ends with. The clone lies in `mayfly` of its disk. */
export function jobOf(way: Way, command: string): string {
  const isRoot = way === 'root' || way === 'container'
  const home = isRoot ? '/root' : `/home/${USER}`
  const environment = `HOME=${home} TERM=dumb LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`
  // From a file: the service manager would put variables of its own into what it is told.
  const inside = `cd ${home}/mayfly && exec env ${environment} bash ${JOB}/command.sh`
  const lines = [`printf '%s\\n' ${quoted(command)} > ${JOB}/command.sh`, `mkdir ${home}/mayfly && mount --bind ${JOB}/mayfly ${home}/mayfly`]
  if (way === 'root') lines.push(`bash -c ${quoted(inside)}`)
  else if (way === 'container')
    lines.push(`printf '%s\\n' ${quoted(CONTAINER)} > ${JOB}/container.sh`, `sh ${JOB}/container.sh begin bash -c ${quoted(inside)}`)
  else
    lines.push(
      `chown -hR ${USER}:${USER} ${home}/mayfly`,
      `loginctl enable-linger ${USER}`,
      // Its service manager has started.
      `for tries in $(seq 600); do [ -S /run/user/${USER_ID}/bus ] && break; sleep 0.1; done`,
      `runuser -u ${USER} -- env XDG_RUNTIME_DIR=/run/user/${USER_ID} ${AS_USER[way]} bash -c ${quoted(inside)}`,
    )
  return `${lines.join('\n')}\necho "${ENDED}$?"\n`
}

/** The exit code of the job by what it said; null when it was cut off. */
export function codeIn(said: string): number | null {
  const at = said.lastIndexOf(ENDED)
  const code = at === -1 ? Number.NaN : Number.parseInt(said.slice(at + ENDED.length), 10)
  return Number.isNaN(code) ? null : code
}

/** What terminals and what keeps services running send to all of a process group. */
const TO_ALL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']

/**
 * Whether a program that was spawned into a group of its own may have ended by a signal that was meant for ours: it is
 * in our group from its birth until it has made its own, whatever `spawn` is told, and has not begun by then.
 */
export const isGroupSignal = (signal: NodeJS.Signals | null): boolean => signal !== null && TO_ALL.includes(signal)

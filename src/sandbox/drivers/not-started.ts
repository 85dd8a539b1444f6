import { StartInterrupted } from '../types.ts'

/** What is sent to all of a node's process group. */
const TO_ALL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']

/** What to throw of a program that ended by `signal` before its sandbox stood. */
export const notStarted = (why: string, signal: NodeJS.Signals | null): Error =>
  signal !== null && TO_ALL.includes(signal) ? new StartInterrupted(why) : new Error(why)

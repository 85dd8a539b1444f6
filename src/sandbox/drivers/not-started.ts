import { isGroupSignal } from '../../lib/group-signal.ts'
import { StartInterrupted } from '../types.ts'

/** What to throw of a program that ended by `signal` before its sandbox stood. */
export const notStarted = (why: string, signal: NodeJS.Signals | null): Error => (isGroupSignal(signal) ? new StartInterrupted(why) : new Error(why))

import { isGroupSignal } from '../../lib/group-signal.ts'
import { StartInterrupted } from '../types.ts'

const MOST_CHARACTERS = 500

/** What to throw of a program that ended by `signal` before its sandbox stood. */
export const notStarted = (why: string, signal: NodeJS.Signals | null): Error => (isGroupSignal(signal) ? new StartInterrupted(why) : new Error(why))

/** Why a program did not do its work, by what it wrote: of lines of a log the last that tells an error. */
export function wordsOf(written: string): string {
  const errors = [...written.matchAll(/\blevel=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"/g)].map(([, words = '']) => words.replaceAll(/\\(.)/g, '$1'))
  return (errors.at(-1) ?? written).trim().slice(-MOST_CHARACTERS)
}

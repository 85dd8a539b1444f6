import { LIMITS } from '../core/limits.ts'
import type { StillBorn } from '../invoke/index.ts'

export const NOBODY: ReadonlySet<string> = new Set()

/** Of an event that was caused so deep that its function runs only where it may loop. */
export const isTooDeep = (depth: number): boolean => depth >= LIMITS.callDepth.value

/** Why it is given up. */
export const tooDeep = (depth: number): Pick<StillBorn, 'reason' | 'errorType' | 'errorMessage'> => ({
  reason: 'recursion',
  errorType: 'recursion_too_deep',
  errorMessage: `the event stands behind ${depth} functions that caused each other`,
})

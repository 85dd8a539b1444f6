import { MayflyError } from '../core/errors.ts'
import { LIMIT_PROFILES, type LimitProfileName } from '../core/limit-profiles.ts'
import { USUAL_TMP_MB } from './definition.ts'
import type { FunctionDefinition } from './types.ts'

/** What a profile bounds, by its name in mayfly.json and in a definition. */
const BOUNDED = [
  { name: 'memory', field: 'memoryMb', unit: ' MB' },
  { name: 'timeout', field: 'timeoutSeconds', unit: ' s' },
  { name: 'tmp', field: 'tmpMb', unit: ' MB' },
  { name: 'concurrency', field: 'concurrency', unit: '' },
] as const

type Bounded = Pick<FunctionDefinition, (typeof BOUNDED)[number]['field']>

/**
 * Holds a definition to the limits of its project. What a function was before the project got them stays as it is.
 * @param before  what the function is now; null when there is none yet
 * @returns what stays although it is beyond them, each as a sentence
 * @throws MayflyError profile_exceeded
 */
export function admitByProfile(profile: LimitProfileName, wanted: Bounded, before: Bounded | null): string[] {
  const stays: string[] = []
  const refused: string[] = []
  for (const { name, field, unit } of BOUNDED) {
    const value = wanted[field]
    const { least, most } = LIMIT_PROFILES[profile][name]
    if (value >= least && value <= most) continue
    const past = value > most ? `more than the ${most}${unit}` : `less than the ${least}${unit}`
    const text = `${name}: ${value}${unit} is ${past} that the limit profile ${profile} of the project allows`
    if (before?.[field] === value) stays.push(`${text}; it was so before, and stays until it is changed.`)
    else refused.push(text)
  }
  if (refused.length > 0) throw new MayflyError('profile_exceeded', refused.join('; '))
  return stays
}

/** What will not run here although it may be deployed, as a sentence: the machine may become larger. */
export function beyondMachine(memoryMb: number, budgetMb: number | null): string[] {
  if (budgetMb === null || memoryMb <= budgetMb) return []
  return [`memory: ${memoryMb} MB is more than the ${budgetMb} MB that all sandboxes of this node have together; its calls will be refused.`]
}

/** What lies in /tmp is memory: of one that is as large as that, or larger, and was asked for, nobody gets all. */
export function tmpBeyondMemory({ memoryMb, tmpMb }: Bounded): string[] {
  if (tmpMb <= USUAL_TMP_MB || tmpMb < memoryMb) return []
  return [
    `tmp: what lies in /tmp is memory of the sandbox; with memory of ${memoryMb} MB a call that fills more than is left of it ends, before ${tmpMb} MB are full.`,
  ]
}

import { z } from 'zod'

/** What schemas of settings that people write have in common: how they name what is wrong. */

/** The fault of an object that is none (`what`), or that has settings nobody knows. */
export const unknownKeys = (what: string) => (issue: { code?: string; keys?: readonly string[] }) =>
  issue.code === 'unrecognized_keys' ? `unknown settings: ${(issue.keys ?? []).map((key) => `\`${key}\``).join(', ')}` : what

/** @param of  what it counts, such as ` of seconds` */
export const wholeNumber = ([least, most]: readonly [least: number, most: number], of = '') =>
  z
    .number({ error: `must be a number${of}` })
    .int({ error: `must be a whole number${of}` })
    .min(least, { error: `must be ${least} or more` })
    .max(most, { error: `must be ${most} or less` })

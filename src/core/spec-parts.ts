import { z } from 'zod'

/** How many seconds lie between two tries: always as many, or twice as many each time between two bounds. */
export type RetryAfter = number | { readonly least: number; readonly most: number }

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

/** @param most  seconds */
export const retryAfterSchema = (most: number) =>
  z.union(
    [wholeNumber([0, most]), z.strictObject({ least: wholeNumber([0, most]), most: wholeNumber([0, most]) }).refine((bounds) => bounds.least <= bounds.most)],
    { error: `must be seconds from 0 to ${most}, or an object such as {"least": 1, "most": 60}` },
  )

import { z } from 'zod'
import { LIMITS } from './limits.ts'
import { isPlainText } from './plain-text.ts'

/*
 * What a project file and the management API may say of a trigger. It stands in core because rooms of two floors take
 * it: `functions` for the schema of mayfly.json, above it whoever deploys a project, and `triggers`, which acts on it.
 */

const OBJECT_EVENTS = ['created', 'removed'] as const
const BUCKET = /^[^/\0]{1,100}$/

const part = z
  .string({ error: 'must be a text such as `.jpg`' })
  .min(1, { error: 'must not be empty' })
  .max(1024, { error: 'must be at most 1024 characters' })
  .refine(isPlainText, { error: 'must not hold control characters' })

const parts = (what: string) =>
  z
    .array(part, { error: 'must be a list of texts' })
    .min(1, { error: 'must name at least one, or be left away' })
    .max(100, { error: 'must name at most 100' })
    .optional()
    .meta({ description: what })

const unknownKeys = (what: string) => (issue: { code?: string; keys?: readonly string[] }) =>
  issue.code === 'unrecognized_keys' ? `unknown settings: ${(issue.keys ?? []).map((key) => `\`${key}\``).join(', ')}` : what

const objectTrigger = z.strictObject(
  {
    bucket: z
      .string({ error: 'must be the name of a bucket' })
      .regex(BUCKET, { error: 'must be the name of a bucket' })
      .meta({ description: 'The bucket whose objects it watches.' }),
    events: z
      .array(z.enum(OBJECT_EVENTS, { error: 'must be `created` or `removed`' }), { error: 'must be a list of `created` and `removed`' })
      .min(1, { error: 'must name at least one event' })
      .max(OBJECT_EVENTS.length, { error: 'must name each event once' })
      .refine((events) => new Set(events).size === events.length, { error: 'must name each event once' })
      .default(['created'])
      .meta({ description: 'What happens to an object; an overwrite is `created` again.' }),
    prefix: parts('With one of these the key begins.'),
    suffix: parts('With one of these the key ends, in capitals or small letters.'),
  },
  { error: unknownKeys('must be an object with the bucket') },
)

/** One trigger: exactly one source. */
export const triggerSpecSchema = z
  .strictObject(
    { object: objectTrigger.meta({ description: 'Objects of a bucket that come or go.' }) },
    { error: unknownKeys('must be an object such as {"object": {…}}') },
  )
  .meta({ description: 'What starts the function.' })

/** All triggers of a function. */
export const triggersSpecSchema = z
  .array(triggerSpecSchema, { error: 'must be a list of triggers' })
  .max(LIMITS.functionTriggers.value, { error: `must be at most ${LIMITS.functionTriggers.value} triggers` })

export type TriggerSpec = z.infer<typeof triggerSpecSchema>

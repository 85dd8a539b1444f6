import { Cron } from 'croner'
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

const isZone = (name: string) => {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

/** Null when it is one; else what is wrong with it. */
function cronFault(text: string): string | null {
  try {
    const next = new Cron(text, { paused: true, mode: '5-part', timezone: 'UTC' }).nextRun()
    return next === null ? 'never comes' : null
  } catch (error) {
    return error instanceof Error ? error.message.replace(/^CronPattern: /, '') : 'is none'
  }
}

const scheduleTrigger = z.strictObject(
  {
    cron: z
      .string({ error: 'must be five fields such as `0 3 * * *`' })
      .max(100, { error: 'must be at most 100 characters' })
      .superRefine((text, context) => {
        const fault = cronFault(text)
        if (fault !== null) context.addIssue({ code: 'custom', message: `must be five fields such as \`0 3 * * *\`: ${fault}` })
      })
      .meta({ description: 'Minute, hour, day of the month, month, day of the week.' }),
    timezone: z
      .string({ error: 'must be a time zone such as `Asia/Seoul`' })
      .refine(isZone, { error: 'must be a time zone such as `Asia/Seoul`' })
      .default('UTC')
      .meta({ description: 'Where it is that time.' }),
  },
  { error: unknownKeys('must be an object with `cron`') },
)

const queueTrigger = z.strictObject(
  {
    name: z
      .string({ error: 'must be the name of a queue' })
      .regex(/^[a-zA-Z0-9_-]{1,80}$/, { error: 'must be 1 to 80 letters, digits, `-` and `_`' })
      .meta({ description: 'The queue whose messages it takes.' }),
    batchSize: z
      .number({ error: 'must be a number' })
      .int({ error: 'must be a whole number' })
      .min(1, { error: 'must be 1 or more' })
      .max(10, { error: 'must be 10 or less' })
      .default(10)
      .meta({ description: 'How many messages one call gets at most.' }),
  },
  { error: unknownKeys('must be an object with `name`') },
)

const SOURCES = ['object', 'schedule', 'queue'] as const

/** One trigger: exactly one source. */
export const triggerSpecSchema = z
  .strictObject(
    {
      object: objectTrigger.meta({ description: 'Objects of a bucket that come or go.' }).optional(),
      schedule: scheduleTrigger.meta({ description: 'A time that comes again and again. Stored, and not started by anything yet.' }).optional(),
      queue: queueTrigger.meta({ description: 'Messages of a queue. Stored, and not started by anything yet.' }).optional(),
    },
    { error: unknownKeys('must be an object such as {"object": {…}}') },
  )
  .refine((trigger) => SOURCES.filter((source) => trigger[source] !== undefined).length === 1, {
    error: `must have exactly one of ${SOURCES.map((source) => `\`${source}\``).join(', ')}`,
  })
  .meta({ description: 'What starts the function: one source.', minProperties: 1, maxProperties: 1 })

/** All triggers of a function. */
export const triggersSpecSchema = z
  .array(triggerSpecSchema, { error: 'must be a list of triggers' })
  .max(LIMITS.functionTriggers.value, { error: `must be at most ${LIMITS.functionTriggers.value} triggers` })

export type TriggerSpec = z.infer<typeof triggerSpecSchema>

/** Sentences about those whose source does not start anything yet. */
export const notStartedYet = (functionName: string, triggers: readonly TriggerSpec[]): string[] =>
  triggers.flatMap(({ schedule, queue }) => {
    const [what, event] = schedule ? [`the schedule \`${schedule.cron}\``, 'schedule'] : queue ? [`the queue ${queue.name}`, 'queue'] : []
    return what === undefined ? [] : [`${what} is not started by anything yet; \`mayfly invoke ${functionName} --event ${event}\` starts it.`]
  })

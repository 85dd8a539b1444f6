import { Cron } from 'croner'
import { z } from 'zod'
import { patternFault } from '../lib/event-pattern.ts'
import { logPatternFault } from '../lib/log-pattern.ts'
import { LIMITS } from './limits.ts'
import { isPlainText } from './plain-text.ts'
import { QUEUE_RANGES, queueNameSchema } from './queue-spec.ts'
import { retryAfterSchema, unknownKeys, wholeNumber } from './spec-parts.ts'
import { httpTrigger, tidiedHttp, tidiedWebhook, webhookName, webhookTrigger } from './web-triggers.ts'

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

const SECONDS = ' of seconds'

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
    const next = new Cron(text, { paused: true, mode: '5-or-6-parts', timezone: 'UTC' }).nextRun()
    return next === null ? 'never comes' : null
  } catch (error) {
    return error instanceof Error ? error.message.replace(/^CronPattern: /, '') : 'is none'
  }
}

const DAY_SECONDS = 86_400

const scheduleTrigger = z
  .strictObject(
    {
      cron: z
        .string({ error: 'must be five fields such as `0 3 * * *`' })
        .max(100, { error: 'must be at most 100 characters' })
        .superRefine((text, context) => {
          const fault = cronFault(text)
          if (fault !== null) context.addIssue({ code: 'custom', message: `must be five fields such as \`0 3 * * *\`: ${fault}` })
        })
        .optional()
        .meta({ description: 'Minute, hour, day of the month, month, day of the week; a field before them is seconds.' }),
      every: z
        .number({ error: 'must be a number of seconds' })
        .int({ error: 'must be a whole number of seconds' })
        .min(1, { error: 'must be 1 or more' })
        .max(366 * DAY_SECONDS, { error: 'must be a year or less' })
        .optional()
        .meta({ description: 'Seconds from one start to the next, in place of `cron`.' }),
      at: z
        .string({ error: 'must be a date and time such as `2026-12-24T18:00:00`' })
        .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)?$/, { error: 'must be a date and time such as `2026-12-24T18:00:00`' })
        .refine((text) => !Number.isNaN(Date.parse(text)), { error: 'must be a date and time that there is' })
        .optional()
        .meta({ description: 'Once, in place of `cron`: a date and time of the zone, or with its own offset.' }),
      missed: z.enum(['skip', 'once', 'all'], { error: 'must be `skip`, `once` or `all`' }).optional().meta({
        description: 'Of due times that came while no node ran, a minute ago and more: none runs, one for all of them (as it is by itself), or each.',
      }),
      overlap: z
        .enum(['allow', 'skip', 'queue'], { error: 'must be `allow`, `skip` or `queue`' })
        .optional()
        .meta({ description: 'While the run before has not ended: it runs beside it (as it is by itself), it is left out, or it waits, 100 of them at most.' }),
      timezone: z
        .string({ error: 'must be a time zone such as `Asia/Seoul`' })
        .refine(isZone, { error: 'must be a time zone such as `Asia/Seoul`' })
        .default('UTC')
        .meta({ description: 'Where it is that time.' }),
    },
    { error: unknownKeys('must be an object with `cron`') },
  )
  .refine((schedule) => [schedule.cron, schedule.every, schedule.at].filter((one) => one !== undefined).length === 1, {
    error: 'must have either `cron`, `every` or `at`',
  })

const queueTrigger = z.strictObject(
  {
    name: queueNameSchema.meta({ description: 'The queue whose messages it takes.' }),
    batchSize: wholeNumber([1, 10]).default(10).meta({ description: 'How many messages one call gets at most.' }),
    windowSeconds: wholeNumber([0, 300], SECONDS)
      .optional()
      .meta({ description: 'How long a batch waits for more messages when it is not full; by itself it does not.' }),
    parallelism: wholeNumber([1, 1000]).optional().meta({ description: 'How many batches run at once, 5 by itself.' }),
    retryAfter: retryAfterSchema(QUEUE_RANGES.visibilitySeconds[1])
      .optional()
      .meta({ description: 'After how many seconds a message that failed comes again; by itself after the visibility of its queue.' }),
    bisect: z
      .boolean({ error: 'must be true or false' })
      .optional()
      .meta({ description: 'A batch that fails as a whole is run again at once in halves, until what fails stands alone; by itself all of it comes again.' }),
  },
  { error: unknownKeys('must be an object with `name`') },
)

const topicTrigger = z.strictObject(
  {
    name: z
      .string({ error: 'must be the name of a topic' })
      .regex(/^[a-zA-Z0-9_-]{1,256}$/, { error: 'must be 1 to 256 letters, digits, `-` and `_`' })
      .meta({ description: 'The topic whose messages it takes.' }),
    subscription: z
      .string({ error: 'must be the name of a subscription' })
      .regex(/^[a-zA-Z0-9._-]{1,80}$/, { error: 'must be 1 to 80 letters, digits, `.`, `-` and `_`' })
      .optional()
      .meta({ description: 'Each subscription gets every message: of the functions that name the same one, one of them. By itself the function is one.' }),
  },
  { error: unknownKeys('must be an object with `name`') },
)

const ROW_EVENTS = ['insert', 'update', 'delete'] as const

const SCHEMAS_OF_THE_NODE = new Set(['auth', 'storage', 'realtime', 'mayfly', 'information_schema'])
const isOwnTable = (table: string) => !SCHEMAS_OF_THE_NODE.has(table.split('.', 1)[0] ?? '') && !table.startsWith('pg_')

const column = z.string().min(1).max(63).refine(isPlainText, { error: 'must not hold control characters' })
const value = z.union([z.string().max(1024), z.number(), z.boolean(), z.null()], { error: 'must be a text, a number, true, false or null' })

const rowTrigger = z.strictObject(
  {
    table: z
      .string({ error: 'must be a table such as `public.orders`' })
      .regex(/^[^.]{1,63}\.[^.]{1,63}$/, { error: 'must be a schema and a table, such as `public.orders`' })
      .refine(isPlainText, { error: 'must not hold control characters' })
      .refine(isOwnTable, { error: 'must be a table of a schema of your own, such as `public`' })
      .meta({ description: 'The table whose rows it watches, with its schema.' }),
    events: z
      .array(z.enum(ROW_EVENTS, { error: 'must be `insert`, `update` or `delete`' }), { error: 'must be a list of `insert`, `update` and `delete`' })
      .min(1, { error: 'must name at least one event' })
      .refine((events) => new Set(events).size === events.length, { error: 'must name each event once' })
      .default([...ROW_EVENTS])
      .meta({ description: 'What happens to a row.' }),
    columns: z
      .array(column, { error: 'must be a list of names of columns' })
      .min(1, { error: 'must name at least one, or be left away' })
      .max(100, { error: 'must name at most 100' })
      .optional()
      .meta({ description: 'An update starts it only where the value of one of these columns is another one afterwards.' }),
    when: z
      .record(column, z.union([value, z.array(value).min(1).max(100)], { error: 'must be a value, or a list of values of which it is one' }), {
        error: 'must be an object such as {"status": "paid"}',
      })
      .refine((columns) => Object.keys(columns).length > 0 && Object.keys(columns).length <= 100, { error: 'must name 1 to 100 columns, or be left away' })
      .optional()
      .meta({ description: 'Values that the row has afterwards, or had when it was deleted: for each column one, or a list of which it is one.' }),
  },
  { error: unknownKeys('must be an object with `table`') },
)

const BUS = /^[a-zA-Z0-9._-]{1,256}$/
export const isBusName = (name: string): boolean => BUS.test(name)

const busTrigger = z.strictObject(
  {
    name: z
      .string({ error: 'must be the name of a bus' })
      .regex(BUS, { error: 'must be 1 to 256 letters, digits, `.`, `-` and `_`' })
      .default('default')
      .meta({ description: 'The bus whose events it takes.' }),
    pattern: z
      .record(z.string(), z.unknown(), { error: 'must be an object with the fields that an event has to have' })
      .superRefine((pattern, context) => {
        const fault = patternFault(pattern)
        if (fault !== null) context.addIssue({ code: 'custom', message: fault })
      })
      .optional()
      .meta({
        description:
          'Which of them, as a pattern of EventBridge: `{"detail-type": ["order.placed"], "detail": {"total": [{"numeric": [">", 100]}]}}`. Without it each.',
      }),
  },
  { error: unknownKeys('must be an object') },
)

const logTrigger = z.strictObject(
  {
    function: z
      .string({ error: 'must be the name of a function, or `*`' })
      .regex(/^(?:\*|[a-zA-Z0-9_-]{1,64})$/, { error: 'must be the name of a function, or `*` for all others' })
      .meta({ description: 'The function whose log it watches; `*` for each but the one that is started.' }),
    pattern: z
      .string({ error: 'must be a filter pattern such as `ERROR`' })
      .superRefine((pattern, context) => {
        const fault = logPatternFault(pattern)
        if (fault !== null) context.addIssue({ code: 'custom', message: fault })
      })
      .optional()
      .meta({
        description: 'Which lines, as a filter pattern of CloudWatch Logs: `ERROR -"no matter"`, `{ $.level = "error" && $.ms > 100 }`. Without it each.',
      }),
    batchSize: wholeNumber([1, 1_000]).default(100).meta({ description: 'How many lines one call gets at most.' }),
    windowSeconds: wholeNumber([0, 300], SECONDS)
      .optional()
      .meta({ description: 'How long lines wait for more of them when they are no full batch; by itself they do not.' }),
    format: z
      .enum(['cloudwatch', 'plain'], { error: 'must be `cloudwatch` or `plain`' })
      .optional()
      .meta({ description: 'As subscriptions of CloudWatch Logs tell them (as it is by itself), or as plain JSON.' }),
  },
  { error: unknownKeys('must be an object with `function`') },
)

const SOURCES = ['object', 'schedule', 'queue', 'topic', 'row', 'bus', 'log', 'webhook', 'http'] as const

/** One trigger: exactly one source. */
export const triggerSpecSchema = z
  .strictObject(
    {
      object: objectTrigger.meta({ description: 'Objects of a bucket that come or go.' }).optional(),
      schedule: scheduleTrigger.meta({ description: 'A time that comes again and again, or once.' }).optional(),
      queue: queueTrigger.meta({ description: 'Messages of a queue.' }).optional(),
      topic: topicTrigger.meta({ description: 'Messages of a topic: events that are sent to the bus of its name.' }).optional(),
      row: rowTrigger.meta({ description: 'Rows of a table that come, change or go.' }).optional(),
      bus: busTrigger.meta({ description: 'Events that are sent to a bus.' }).optional(),
      log: logTrigger.meta({ description: 'Lines that functions write.' }).optional(),
      webhook: webhookTrigger.meta({ description: 'Webhooks that another service sends to an address of the project.' }).optional(),
      http: httpTrigger.meta({ description: 'Requests to a path of the project.' }).optional(),
      enabled: z.boolean({ error: 'must be true or false' }).optional().meta({ description: 'False lets it start nothing until it is true again.' }),
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
  .superRefine((triggers, context) => {
    const names = new Set<string>()
    for (const [at, { webhook }] of triggers.entries()) {
      if (!webhook) continue
      const name = webhookName(webhook)
      if (names.has(name)) context.addIssue({ code: 'custom', path: [at, 'webhook', 'name'], message: `another webhook of the function is named ${name}` })
      names.add(name)
    }
  })

export type TriggerSpec = z.infer<typeof triggerSpecSchema>

const words = (text: string) => text.trim().split(/\s+/).join(' ')
const set = <T extends string>(texts: readonly T[]): T[] => [...new Set(texts)].toSorted()

/** One in the same words however it was written, so that equal ones are found equal. */
export function tidiedTrigger({ enabled, ...trigger }: TriggerSpec): TriggerSpec {
  return { ...tidiedSource(trigger), ...(enabled === false ? { enabled } : {}) }
}

function tidiedSource({ object, schedule, queue, topic, row, bus, log, webhook, http }: TriggerSpec): TriggerSpec {
  if (schedule) {
    const { cron, every, at, missed = 'once', overlap = 'allow', timezone } = schedule
    return {
      schedule: {
        ...(cron === undefined ? {} : { cron: words(cron) }),
        ...(every === undefined ? {} : { every }),
        ...(at === undefined ? {} : { at }),
        ...(missed === 'once' ? {} : { missed }),
        ...(overlap === 'allow' ? {} : { overlap }),
        timezone,
      },
    }
  }
  if (queue) {
    const { name, batchSize, windowSeconds = 0, parallelism, retryAfter, bisect = false } = queue
    return {
      queue: {
        name,
        batchSize,
        ...(windowSeconds === 0 ? {} : { windowSeconds }),
        ...(parallelism === undefined ? {} : { parallelism }),
        ...(retryAfter === undefined ? {} : { retryAfter }),
        ...(bisect ? { bisect } : {}),
      },
    }
  }
  if (topic) return { topic: { name: topic.name, ...(topic.subscription === undefined ? {} : { subscription: topic.subscription }) } }
  if (row) return { row: tidiedRow(row) }
  if (bus) return { bus: { name: bus.name, ...(bus.pattern === undefined ? {} : { pattern: bus.pattern }) } }
  if (log) {
    const { pattern = '', windowSeconds = 0, format = 'cloudwatch', batchSize } = log
    return {
      log: {
        function: log.function,
        ...(pattern.trim() === '' ? {} : { pattern: pattern.trim() }),
        batchSize,
        ...(windowSeconds === 0 ? {} : { windowSeconds }),
        ...(format === 'plain' ? { format } : {}),
      },
    }
  }
  if (webhook) return { webhook: tidiedWebhook(webhook) }
  if (http) return { http: tidiedHttp(http) }
  if (!object) return {}
  const { bucket, events, prefix, suffix } = object
  return {
    object: {
      bucket,
      events: set(events),
      ...(prefix ? { prefix: set(prefix) } : {}),
      ...(suffix ? { suffix: set(suffix.map((text) => text.toLowerCase())) } : {}),
    },
  }
}

const tidiedRow = ({ table, events, columns, when }: NonNullable<TriggerSpec['row']>): NonNullable<TriggerSpec['row']> => ({
  table,
  events: set(events),
  ...(columns ? { columns: set(columns) } : {}),
  ...(when ? { when } : {}),
})

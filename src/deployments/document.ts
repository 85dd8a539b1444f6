import { z } from 'zod'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { isPlainText } from '../core/plain-text.ts'
import { unknownKeys } from '../core/spec-parts.ts'
import { queueNameSchema, type QueueSpec, queueSpecSchema } from '../core/queue-spec.ts'
import { tidiedTrigger, type TriggerSpec, triggersSpecSchema } from '../core/trigger-spec.ts'
import { type FunctionSpec, functionSpecSchema, isFunctionName, type UrlSpec, urlSpecSchema } from '../functions/index.ts'
import { checkMigrations, migrationsSchema, type WantedMigration } from '../migrations/index.ts'
import { isSiteName, type NewSiteFile, siteFilesSchema } from '../sites/index.ts'

export interface DesiredFunction {
  readonly name: string
  readonly spec: FunctionSpec
  readonly triggers: readonly TriggerSpec[]
  /** Null when nothing is said of an address; false when there is to be none. */
  readonly url: UrlSpec | null
}
export interface DesiredBucket {
  readonly name: string
  readonly public: boolean
  readonly fileSizeLimit: number | null
  readonly allowedMimeTypes: readonly string[] | null
  /** What roles may do with its objects. */
  readonly allow: Readonly<Record<string, readonly string[]>>
}
export interface DesiredQueue {
  readonly name: string
  readonly spec: QueueSpec
}
export interface DesiredSite {
  readonly name: string
  readonly files: readonly NewSiteFile[]
}
/** All that a project file asks for. */
export interface Desired {
  readonly functions: readonly DesiredFunction[]
  readonly buckets: readonly DesiredBucket[]
  readonly sites: readonly DesiredSite[]
  /** Absent where there are none, as in documents from before there were queues. */
  readonly queues?: readonly DesiredQueue[]
  /** Files of SQL in the order in which they run; absent where there are none. */
  readonly migrations?: readonly WantedMigration[]
}

const UNITS: Readonly<Record<string, number>> = { '': 1, B: 1, KB: 1000, MB: 1000 ** 2, GB: 1000 ** 3, KIB: 1024, MIB: 1024 ** 2, GIB: 1024 ** 3 }

/** `10MB`, `512 KiB` or a number of bytes; null when it is no size. */
export function parseSize(size: string | number): number | null {
  if (typeof size === 'number') return Number.isSafeInteger(size) && size > 0 ? size : null
  const [, digits = '', unit = ''] = /^(\d{1,15}(?:\.\d{1,3})?) ?([a-z]{0,3})$/i.exec(size.trim()) ?? []
  const factor = UNITS[unit.toUpperCase()]
  if (digits === '' || factor === undefined) return null
  const bytes = Math.floor(Number(digits) * factor)
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null
}

const sizeSchema = z.union([z.number(), z.string()], { error: 'must be a size such as `10MB`, or a number of bytes' }).transform((size, context) => {
  const bytes = parseSize(size)
  if (bytes !== null) return bytes
  context.addIssue({ code: 'custom', message: 'must be a size such as `10MB`, or a number of bytes' })
  return z.NEVER
})

const bucketSchema = z.strictObject(
  {
    name: z
      .string({ error: 'must be a text' })
      .regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$/, { error: 'must be 1 to 100 letters, digits, `.`, `-` and `_`, beginning with a letter or digit' }),
    public: z.boolean({ error: 'must be true or false' }).default(false),
    fileSizeLimit: sizeSchema.nullable().default(null),
    allowedMimeTypes: z
      .array(z.string({ error: 'must be a text' }).regex(/^[\w.+-]+\/(\*|[\w.+-]+)$/, { error: 'must be a type such as `image/jpeg` or `image/*`' }), {
        error: 'must be a list of types such as `image/jpeg`',
      })
      .min(1, { error: 'must name at least one type, or be left away' })
      .max(100, { error: 'must name at most 100 types' })
      .nullable()
      .default(null),
    allow: z
      .partialRecord(
        z.enum(['anon', 'authenticated']),
        z.array(z.enum(['select', 'insert', 'update', 'delete'], { error: 'must be `select`, `insert`, `update` or `delete`' }), {
          error: 'must be a list of `select`, `insert`, `update` and `delete`',
        }),
        { error: 'must be an object such as {"anon": ["select"]}; the roles are anon and authenticated' },
      )
      .default({}),
  },
  { error: unknownKeys('must be an object with `name`') },
)

const siteSchema = z.strictObject(
  {
    name: z.string({ error: 'must be a text' }).refine(isSiteName, { error: 'must be 1 to 63 of a-z, 0-9 and hyphens inside: it becomes a host name' }),
    files: siteFilesSchema,
  },
  { error: unknownKeys('must be an object with `name` and `files`') },
)

const functionSchema = functionSpecSchema.extend({
  name: z.string({ error: 'must be a text' }).refine(isFunctionName, { error: 'must be 1 to 64 letters, digits, `-` and `_`' }),
  triggers: triggersSpecSchema.default([]),
  url: urlSpecSchema,
})

/** A file of one function that says nothing of triggers leaves those that are there. */
const oneFunctionSchema = functionSchema.extend({ triggers: triggersSpecSchema.optional() })

const listOf = <T extends z.ZodType<{ name: string }>>(one: T, what: string) =>
  z
    .array(one, { error: `must be a list of ${what}` })
    .max(LIMITS.deploymentParts.value, { error: `must be at most ${LIMITS.deploymentParts.value} ${what}` })
    .superRefine((list, context) => {
      const seen = new Set<string>()
      for (const { name } of list) {
        if (seen.has(name)) context.addIssue({ code: 'custom', message: `two of them are named ${JSON.stringify(name)}` })
        seen.add(name)
      }
    })
    .default([])

const documentSchema = z.strictObject(
  {
    name: z.string({ error: 'must be a text' }).refine(isFunctionName, { error: 'must be 1 to 64 letters, digits, `-` and `_`' }),
    functions: listOf(functionSchema, 'functions'),
    buckets: listOf(bucketSchema, 'buckets'),
    sites: listOf(siteSchema, 'sites'),
    queues: listOf(queueSpecSchema.extend({ name: queueNameSchema }), 'queues'),
    migrations: migrationsSchema,
  },
  { error: unknownKeys('the body must be a JSON object') },
)

/** @throws MayflyError bad_request that names each wrong field and what it may be */
export function parseDocument(body: unknown): { name: string; desired: Desired } {
  const parsed = documentSchema.safeParse(body)
  if (!parsed.success) throw new MayflyError('bad_request', problemsOf(parsed.error.issues, body).slice(0, 10).join('; '))
  const { name, functions, buckets, sites, queues, migrations } = parsed.data
  checkMigrations(migrations)
  return {
    name,
    desired: {
      functions: functions.map(({ name: own, triggers, url = null, ...spec }) => ({ name: own, spec, triggers: tidiedTriggers(triggers), url })),
      buckets: buckets.map((bucket) => ({ ...bucket, allow: tidied(bucket.allow) })),
      sites,
      ...(queues.length > 0 ? { queues: queues.map(({ name: own, ...spec }) => ({ name: own, spec })) } : {}),
      ...(migrations.length > 0 ? { migrations } : {}),
    },
  }
}

/** What deploying one function by itself says. @throws MayflyError bad_request */
export function parseFunction(name: string, body: unknown): Omit<DesiredFunction, 'triggers'> & { readonly triggers: readonly TriggerSpec[] | null } {
  const given = typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body, name } : body
  const parsed = oneFunctionSchema.safeParse(given)
  if (!parsed.success) throw new MayflyError('bad_request', problemsOf(parsed.error.issues, given).slice(0, 10).join('; '))
  const { name: own, triggers, url = null, ...spec } = parsed.data
  return { name: own, spec, triggers: triggers === undefined ? null : tidiedTriggers(triggers), url }
}

/** The same triggers in the same words, so that neither their order nor how they were written is a difference. */
export function tidiedTriggers(triggers: readonly TriggerSpec[]): TriggerSpec[] {
  const byText = new Map(triggers.map(tidiedTrigger).map((trigger) => [JSON.stringify(trigger), trigger]))
  return [...byText.keys()].toSorted().map((text) => byText.get(text) as TriggerSpec)
}

/** The same rights in the same words, so that their order is no difference. */
function tidied(allow: Readonly<Record<string, readonly string[] | undefined>>): Record<string, readonly string[]> {
  const entries = Object.entries(allow).flatMap(([role, rights]) => (rights && rights.length > 0 ? [[role, [...new Set(rights)].toSorted()] as const] : []))
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** A part of a list is told by its name, which people know, rather than by its number. */
function problemsOf(issues: readonly z.core.$ZodIssue[], body: unknown): string[] {
  return issues.map((issue) => {
    const words: string[] = []
    let at: unknown = body
    for (const key of issue.path) {
      at = typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined
      const name = typeof key === 'number' && typeof at === 'object' && at !== null ? (at as { name?: unknown }).name : undefined
      words.push(typeof name === 'string' && isPlainText(name) ? name.slice(0, 64) : String(key))
    }
    const message = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message
    return words.length > 0 ? `${words.join('.')}: ${message}` : message
  })
}

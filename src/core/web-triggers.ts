import { z } from 'zod'
import { isPlainText } from './plain-text.ts'
import { unknownKeys } from './spec-parts.ts'

/** What may be said of triggers whose events come over HTTP. They stand with those of `trigger-spec.ts`. */

const PROVIDERS = ['generic', 'standard', 'github', 'stripe'] as const
const MOST_SECRETS = 5

const secretName = z
  .string({ error: 'must be the name of a secret of the project' })
  .regex(/^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/, { error: 'must be the name of a secret of the project: 1 to 128 letters, digits and `_`' })

const headerName = (text: string) =>
  z
    .string({ error: 'must be the name of a header' })
    .regex(/^[A-Za-z0-9-]{1,100}$/, { error: 'must be the name of a header: 1 to 100 letters, digits and `-`' })
    .optional()
    .meta({ description: text })

const GENERIC_ONLY = ['header', 'encoding', 'prefix', 'idHeader'] as const

export const webhookTrigger = z
  .strictObject(
    {
      provider: z
        .enum(PROVIDERS, { error: 'must be `generic`, `standard`, `github` or `stripe`' })
        .default('generic')
        .meta({ description: 'How its sender signs: `standard` as Standard Webhooks says, `generic` an HMAC-SHA256 of the body in a header.' }),
      secret: z
        .union([secretName, z.array(secretName).min(1).max(MOST_SECRETS)], {
          error: `must be the name of a secret of the project, or a list of up to ${MOST_SECRETS} of which each is good`,
        })
        .meta({ description: 'The secret of the project by which it is signed; of several each is good, so that one can be replaced.' }),
      name: z
        .string({ error: 'must be a text' })
        .regex(/^[a-zA-Z0-9_-]{1,64}$/, { error: 'must be 1 to 64 letters, digits, `-` and `_`' })
        .optional()
        .meta({ description: 'The end of its address; that of its `provider` when absent.' }),
      header: headerName('Of `generic`: the header with the signature, `x-signature` when absent.'),
      encoding: z
        .enum(['hex', 'base64'], { error: 'must be `hex` or `base64`' })
        .optional()
        .meta({ description: 'Of `generic`: how the signature is written, `hex` when absent.' }),
      prefix: z
        .string({ error: 'must be a text such as `sha256=`' })
        .regex(/^[\x21-\x7e]{1,32}$/, { error: 'must be 1 to 32 characters such as `sha256=`' })
        .optional()
        .meta({ description: 'Of `generic`: what stands before the signature, such as `sha256=`.' }),
      idHeader: headerName('Of `generic`: the header with the id of a delivery; the same again starts nothing.'),
      events: z
        .array(z.string({ error: 'must be a text such as `push`' }).min(1).max(200).refine(isPlainText, { error: 'must not hold control characters' }), {
          error: 'must be a list of texts such as `push`',
        })
        .min(1, { error: 'must name at least one, or be left away' })
        .max(100, { error: 'must name at most 100' })
        .optional()
        .meta({ description: 'Of `github` and `stripe`: which events start it, such as `push` or `invoice.paid`; others are taken and dropped.' }),
    },
    { error: unknownKeys('must be an object with `secret`') },
  )
  .superRefine(({ provider, events, ...more }, context) => {
    for (const field of GENERIC_ONLY)
      if (provider !== 'generic' && more[field] !== undefined)
        context.addIssue({ code: 'custom', path: [field], message: 'is for the provider `generic` alone' })
    if (events !== undefined && provider !== 'github' && provider !== 'stripe')
      context.addIssue({ code: 'custom', path: ['events'], message: 'is for the providers `github` and `stripe` alone' })
  })

export type WebhookSpec = z.infer<typeof webhookTrigger>

export const webhookName = ({ name, provider }: Pick<WebhookSpec, 'name' | 'provider'>): string => name ?? provider

export function tidiedWebhook({ provider, secret, header, encoding, prefix, idHeader, events, ...more }: WebhookSpec): WebhookSpec {
  const [only, ...others] = [...new Set([secret].flat())]
  return {
    provider,
    secret: others.length === 0 && only !== undefined ? only : [...new Set([secret].flat())],
    name: webhookName({ provider, ...more }),
    ...(header === undefined ? {} : { header: header.toLowerCase() }),
    ...(encoding === undefined || encoding === 'hex' ? {} : { encoding }),
    ...(prefix === undefined ? {} : { prefix }),
    ...(idHeader === undefined ? {} : { idHeader: idHeader.toLowerCase() }),
    ...(events === undefined ? {} : { events: [...new Set(events)].toSorted() }),
  }
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const
const MOST_SEGMENTS = 32
const SEGMENT = /^[A-Za-z0-9._~!$&'()*+,;=@-][A-Za-z0-9._~!$&'()*+,;=:@-]*$/
const PARAMETER = /^\{([A-Za-z_][A-Za-z0-9_]{0,63})(\+?)\}$/

/** A piece of the path of a route. */
export type Segment =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'parameter'; readonly name: string }
  /** It takes all that is left, and at least a character of it. */
  | { readonly kind: 'rest'; readonly name: string }

/** The pieces of a path such as `/orders/{id}`; a text that says what is wrong with it. */
export function routeSegments(path: string): readonly Segment[] | string {
  if (!path.startsWith('/')) return 'must begin with a slash'
  if (path === '/') return []
  const segments: Segment[] = []
  const names = new Set<string>()
  const texts = path.slice(1).split('/')
  if (texts.length > MOST_SEGMENTS) return `must have at most ${MOST_SEGMENTS} segments`
  for (const [at, text] of texts.entries()) {
    const [, name, plus] = PARAMETER.exec(text) ?? []
    if (name === undefined) {
      if (!SEGMENT.test(text) || text === '.' || text === '..')
        return `must consist of segments such as \`orders\`, \`{id}\` and, at its end, \`{rest+}\`, which ${JSON.stringify(text.slice(0, 50))} is not`
      segments.push({ kind: 'literal', text })
      continue
    }
    if (names.has(name)) return `must name the parameter ${name} once`
    if (plus === '+' && at < texts.length - 1) return `{${name}+} must stand at its end`
    names.add(name)
    segments.push({ kind: plus === '+' ? 'rest' : 'parameter', name })
  }
  return segments
}

const headerNames = (what: string) =>
  z
    .array(z.string({ error: 'must be the name of a header' }).regex(/^(\*|[A-Za-z0-9!#$%&'+.^_|~-]{1,100})$/, { error: 'must be the name of a header' }), {
      error: 'must be a list of names of headers',
    })
    .max(100)
    .optional()
    .meta({ description: what })

const corsSchema = z
  .strictObject(
    {
      allowOrigins: z
        .array(
          z
            .string({ error: 'must be an origin' })
            .regex(/^(\*|https?:\/\/[A-Za-z0-9*.:[\]-]{1,253})$/, { error: 'must be `*` or an origin such as `https://example.com`' }),
          {
            error: 'must be a list of origins',
          },
        )
        .min(1, { error: 'must name at least one origin' })
        .max(100)
        .meta({ description: 'Origins whose pages may read answers: `*`, or such as `https://*.example.com`.' }),
      allowMethods: z
        .array(z.enum([...METHODS, '*'], { error: 'must be a method' }))
        .max(METHODS.length + 1)
        .optional()
        .meta({ description: 'Methods that they may use; those of the route when absent.' }),
      allowHeaders: headerNames('Headers that they may send.'),
      exposeHeaders: headerNames('Headers of an answer that they may read.'),
      allowCredentials: z.boolean({ error: 'must be true or false' }).optional(),
      maxAge: z
        .number({ error: 'must be a number of seconds' })
        .int()
        .min(0)
        .max(86_400)
        .optional()
        .meta({ description: 'How long a browser remembers that, in seconds.' }),
    },
    { error: unknownKeys('must be an object with `allowOrigins`') },
  )
  .refine(({ allowCredentials, allowOrigins }) => !(allowCredentials && allowOrigins.includes('*')), { error: 'with `allowCredentials` origins must be named' })

export const httpTrigger = z.strictObject(
  {
    path: z
      .string({ error: 'must be a path such as `/orders/{id}`' })
      .max(512, { error: 'must be at most 512 characters' })
      .superRefine((path, context) => {
        const segments = routeSegments(path)
        if (typeof segments === 'string') context.addIssue({ code: 'custom', message: segments })
      })
      .meta({ description: 'The path below the routes of the project: `/orders/{id}`, and `/files/{rest+}` for all that is below.' }),
    methods: z
      .array(z.enum(METHODS, { error: `must be ${METHODS.join(', ')}` }), { error: 'must be a list of methods' })
      .min(1, { error: 'must name at least one, or be left away' })
      .refine((methods) => new Set(methods).size === methods.length, { error: 'must name each method once' })
      .optional()
      .meta({ description: 'Its methods; all when absent. What has GET answers HEAD too.' }),
    auth: z
      .enum(['key', 'jwt', 'none'], { error: 'must be `key`, `jwt` or `none`' })
      .default('key')
      .meta({ description: 'Who may call it: whoever has a key of the project or is signed in to it, whoever is signed in alone, or anyone.' }),
    cors: corsSchema.optional().meta({ description: 'What browsers are told of other origins; the function answers for itself when absent.' }),
  },
  { error: unknownKeys('must be an object with `path`') },
)

export type HttpSpec = z.infer<typeof httpTrigger>

export const tidiedHttp = ({ path, methods, auth, cors }: HttpSpec): HttpSpec => ({
  path,
  ...(methods === undefined ? {} : { methods: [...methods].toSorted() }),
  auth,
  ...(cors === undefined ? {} : { cors }),
})

/** As it reads without the names of its parameters: of two that are alike nobody can say which is meant. */
const shapeOf = (path: string) => path.replaceAll(/\{[^}]*?(\+?)\}/g, '{$1}')

/** Whether some request is meant by both as closely. */
export const sameRoute = (a: HttpSpec, b: HttpSpec): boolean =>
  shapeOf(a.path) === shapeOf(b.path) && (a.methods === undefined || b.methods === undefined || a.methods.some((method) => b.methods?.includes(method)))

/** How a route is called where people read of it. */
export const saysRoute = ({ methods, path }: Pick<HttpSpec, 'methods' | 'path'>): string => `${methods?.join(', ') ?? 'any method'} ${path}`

export interface RouteOf {
  readonly function: string
  readonly http: HttpSpec
}

/** Two routes that are alike, as a sentence; null where none are. @param wanted  are looked at against one another, and against `others` */
export function routeConflict(wanted: readonly RouteOf[], others: readonly RouteOf[]): string | null {
  for (const [at, one] of wanted.entries()) {
    const other = [...wanted.slice(at + 1), ...others].find(({ http }) => sameRoute(one.http, http))
    if (other) return `the route ${saysRoute(one.http)} of ${one.function} is the route ${saysRoute(other.http)} of ${other.function}`
  }
  return null
}

import { z } from 'zod'
import { parseAllowedHost } from '../core/egress.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { isPlainLines, isPlainText } from '../core/plain-text.ts'
import { retryAfterSchema } from '../core/spec-parts.ts'
import { isBusName, triggersSpecSchema } from '../core/trigger-spec.ts'
import { ALL_SECRETS, isReservedName, isSecretName, SECRET_NAME_RULE } from './secrets/names.ts'
import { RUNTIMES } from './runtimes.ts'
import { DEFAULT_REGION } from './dialects/lambda/identifiers.ts'
import { layerVersionArn, parseLayerVersionArn } from './dialects/lambda/layer-arn.ts'
import type { AsyncSettings, FunctionDefinition } from './types.ts'

export const MAX_ENVIRONMENT_BYTES = 4096
/** Of who says nothing of it, as on Lambda. */
export const USUAL_TMP_MB = 512
export const MAX_TAGS = 50
const MAX_RESERVED = LIMITS.projectConcurrency.value - LIMITS.unreservedConcurrency.value

export type Environment = Readonly<Record<string, string>>

const whole = (unit: string, min: number, max: number) => {
  const error = `must be a whole number of ${unit} from ${min} to ${max}`
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error })
}
const within = (unit: string, { least, value }: { readonly least: number; readonly value: number }) => whole(unit, least, value)
const oneOf = <const T extends readonly [string, ...string[]]>(values: T) => z.enum(values, { error: `must be ${list(values)}` })
const named = (values: readonly string[], between = ', ') => values.map((value) => `\`${value}\``).join(between)
const list = (values: readonly string[]) => named(values, values.length === 2 ? ' or ' : ', ')
const text = (max: number) => {
  const error = `must be a text of at most ${max} characters`
  return z.string({ error }).max(max, { error }).refine(isPlainLines, { error: 'must not hold control characters' })
}

const ENVIRONMENT_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/

const environmentSchema = z
  .record(
    z.string().regex(ENVIRONMENT_NAME, {
      error: 'a name must consist of letters, digits and `_` and not begin with a digit',
    }),
    z.string({ error: 'each value must be a text' }).refine((value) => value.isWellFormed() && !value.includes('\0'), {
      error: 'a value must be whole characters without NUL',
    }),
    { error: 'must be an object of texts' },
  )
  .refine((value) => environmentBytes(value) <= MAX_ENVIRONMENT_BYTES, {
    error: `must be at most ${MAX_ENVIRONMENT_BYTES} bytes as JSON`,
  })

const environmentBytes = (environment: Environment) => Buffer.byteLength(JSON.stringify(environment))

const egressSchema = z
  .union([z.enum(['none', 'internet']), z.array(z.string())], {
    error: 'must be `none`, `internet`, or a list of hosts such as ["api.example.com", "*.example.org:443"]',
  })
  .superRefine((egress, context) => {
    if (typeof egress === 'string') return
    const most = LIMITS.egressHosts.value
    if (egress.length === 0) context.addIssue({ code: 'custom', message: 'must name at least one host; `none` opens nothing' })
    if (egress.length > most) context.addIssue({ code: 'custom', message: `must be at most ${most} hosts` })
    for (const [at, host] of egress.slice(0, most).entries()) {
      const parsed = parseAllowedHost(host)
      if (typeof parsed === 'string') context.addIssue({ code: 'custom', path: [at], message: parsed })
    }
  })

const MAX_RETRY_AFTER = 86_400

const MAX_RATE = 1_000
const RATE_RULE = `must be calls a second from 0.001 to ${MAX_RATE}`
const ORDER_RULE = 'must be a path of at most 16 names such as `detail.customer` or `Records.0.s3.object.key`'

const destinationSchema = z.union(
  [
    z.strictObject({ function: z.string().regex(/^[a-zA-Z0-9_-]{1,64}(:[a-zA-Z0-9_$-]{1,128})?$/) }),
    z.strictObject({ queue: z.string().regex(/^[a-zA-Z0-9_-]{1,80}$/) }),
    z.strictObject({ event: z.string().min(1).max(128).refine(isPlainText), bus: z.string().refine(isBusName).optional() }),
    z.strictObject({
      webhook: z.string().max(2_048).refine(isWebhookUrl),
      secret: z.string().refine(isSecretName),
    }),
  ],
  {
    error:
      'must be {"function": "name"}, {"queue": "name"}, {"event": "name"} or {"webhook": "https://…", "secret": "NAME"}, the name of a secret of the project that signs it',
  },
)

function isWebhookUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null
  return url !== null && (url.protocol === 'https:' || url.protocol === 'http:') && url.username === '' && url.password === ''
}

/** What `mayfly.json` may say of a function; the defaults are those of DESIGN, section 8. docs/mayfly-json.md and the JSON Schema are made from it. */
export const functionSpecSchema = z.strictObject(
  {
    artefact: z.string({ error: 'must be the SHA-256 of an uploaded artefact' }).regex(/^[0-9a-f]{64}$/, {
      error: 'must be 64 lower-case hexadecimal digits',
    }),
    runtime: z
      .enum(RUNTIMES, {
        error: `is not supported; this version has ${list(RUNTIMES)}`,
      })
      .default('nodejs24.x')
      .meta({ description: 'What runs the code.' }),
    handler: z
      .string({ error: 'must be a text such as `index.handler`' })
      .regex(/^\S{1,128}$/, {
        error: 'must be 1 to 128 characters without spaces, such as `index.handler`',
      })
      .refine(isPlainText, { error: 'must not hold control characters' })
      .default('index.handler')
      .meta({
        description: 'The file, without its ending, and the name that it exports; of a module whose default export has `fetch` the file alone counts.',
      }),
    framework: z.enum(['google', 'azure'], { error: 'must be `google` or `azure`' }).nullable().default(null).meta({
      description:
        "The cloud whose framework the code is written for, `google` or `azure`; `mayfly deploy` sees it in package.json. Its packages are installed by the node; `handler` is then the function's target, as that cloud names it.",
    }),
    description: text(256).default('').meta({ description: 'A sentence for people.', unit: 'characters' }),
    memory: within('MB', LIMITS.functionMemory)
      .default(256)
      .meta({ description: 'Memory of a sandbox, held by the kernel; processor time is shared in proportion.', unit: 'MB' }),
    timeout: within('seconds', LIMITS.functionTimeout).default(30).meta({ description: 'How long a call may take.', unit: 'seconds' }),
    tmp: within('MB', LIMITS.functionTmp)
      .default(USUAL_TMP_MB)
      .meta({ description: 'Size of /tmp. What lies there is memory of the sandbox, and counts against `memory`.', unit: 'MB' }),
    concurrency: within('calls', LIMITS.sandboxCalls).default(1).meta({ description: 'How many calls one sandbox takes at once.', unit: 'calls' }),
    reuse: oneOf(['function', 'fork', 'never']).default('function').meta({
      description:
        'Whether a sandbox serves further calls of its function; `never` uses each once. `fork`, of Python: each call runs in a process of its own, forked from one that has loaded the code, with an empty /tmp.',
    }),
    sandbox: oneOf(['auto', 'crun', 'runc', 'gvisor', 'bwrap']).default('auto').meta({
      description: 'What keeps its sandboxes apart, of what the host has; `auto` takes what the node takes, and only that waits booted.',
    }),
    egress: egressSchema.default('internet').meta({
      description:
        'What network the function has beside its own project: none, what is public of the internet, or the listed hosts alone, such as `["api.example.com", "*.example.org:443"]`.',
    }),
    role: oneOf(['service_role', 'authenticated', 'none'])
      .default('service_role')
      .meta({ description: 'With whose rights the function reaches its project; `none` gives it no key.' }),
    verifyJwt: z
      .boolean({ error: 'must be true or false' })
      .default(true)
      .meta({ description: 'Whether /functions/v1 asks callers for a key of the project.' }),
    reservedConcurrency: whole('calls', 0, MAX_RESERVED).nullable().default(null).meta({
      description: 'How many of its calls run at once, and no more: they are kept free for it. 0 refuses all of them and lets events wait.',
      unit: 'calls',
    }),
    provisioned: whole('sandboxes', 0, MAX_RESERVED)
      .default(0)
      .meta({ description: 'How many sandboxes of the newest version are kept loaded, whether calls come or not.', unit: 'sandboxes' }),
    async: z
      .strictObject(
        {
          maxAttempts: whole('attempts', 1, 100).optional().meta({ description: 'How many times it may fail.' }),
          maxAge: whole('seconds', 60, 1_209_600).optional().meta({ description: 'How old it may become before it is given up.', unit: 'seconds' }),
          retryAfter: retryAfterSchema(MAX_RETRY_AFTER).optional().meta({
            description:
              "How long what failed waits: always as long, or twice as long each time between `least` and `most`; by the node's own backoff when absent.",
            unit: 'seconds',
          }),
          parallelism: whole('calls', 1, 10_000).optional().meta({ description: 'How many of its queued calls run at once.', unit: 'calls' }),
          rate: z
            .number({ error: RATE_RULE })
            .min(0.001, { error: RATE_RULE })
            .max(MAX_RATE, { error: RATE_RULE })
            .optional()
            .meta({ description: 'How many of its queued calls begin in a second at most; 0.2 is one in five seconds.', unit: 'calls a second' }),
          orderBy: z
            .string({ error: ORDER_RULE })
            .regex(/^[^.\s]{1,64}(\.[^.\s]{1,64}){0,15}$/, { error: ORDER_RULE })
            .refine(isPlainText, { error: 'must not hold control characters' })
            .optional()
            .meta({
              description:
                'Where an event has what it is put in order by: those with the same there run one after the other in the order in which they came, retries in between.',
            }),
          keepResult: whole('seconds', 0, 1_209_600)
            .optional()
            .meta({ description: 'How long what it answered can be read by the id of the call.', unit: 'seconds' }),
          onceWithin: whole('seconds', 1, 1_209_600)
            .optional()
            .meta({ description: 'How long an idempotency key stands for the event that came under it first; a day when absent.', unit: 'seconds' }),
          mayLoop: z
            .boolean({ error: 'must be true or false' })
            .optional()
            .meta({ description: 'Whether it may go on where another is taken for a loop: behind 16 functions that caused each other.' }),
          onSuccess: destinationSchema.optional().meta({ description: 'Who is told of a success.' }),
          onFailure: destinationSchema.optional().meta({ description: 'Who is told when a call is given up.' }),
        },
        {
          error: (issue) =>
            issue.code === 'unrecognized_keys' ? `unknown settings: ${named(issue.keys)}` : 'must be an object such as {"maxAttempts": 3, "maxAge": 21600}',
        },
      )
      .default({})
      .meta({
        description:
          "A queued call's `maxAttempts` (1 to 100: how many times it may fail) and `maxAge` (60 to 1209600 s: how old it may become) before it is a dead letter, and `retryAfter` (how many seconds lie between two attempts); the node's settings where they are absent. `parallelism`, `rate` and `orderBy` say how many run and in which order, `keepResult` and `onceWithin` what is remembered, `mayLoop` that it may start itself for ever, `onSuccess` and `onFailure` who is told: see docs/invocations.md.",
      }),
    secrets: z
      .array(
        z.string({ error: 'must be a text' }).refine((name) => name === ALL_SECRETS || (isSecretName(name) && !isReservedName(name)), {
          error: `${SECRET_NAME_RULE}, and none of the platform's own`,
        }),
        { error: 'must be a list of names such as `STRIPE_KEY`' },
      )
      .max(LIMITS.secrets.value, { error: `must name at most ${LIMITS.secrets.value} secrets` })
      .default([])
      .meta({
        description:
          "Names of the project's secrets that it gets as environment variables, over `environment`; `*` for all of them. It gets none that it does not name.",
      }),
    layers: z
      .array(
        z
          .string({ error: 'must be a text such as `name:3`' })
          .refine((text) => layerOf(text) !== null, { error: 'must be `name:3`, the name of a layer and the number of its version, or the ARN of that' }),
        { error: 'must be a list of texts such as `name:3`' },
      )
      .max(LIMITS.functionLayers.value, { error: `must be at most ${LIMITS.functionLayers.value}` })
      .default([])
      .meta({ description: 'Versions of layers, unpacked below /opt: what a later one has stands over what an earlier one has.', unit: 'layers' }),
    environment: environmentSchema.default({}).meta({
      description: `Environment variables: names to texts, at most ${MAX_ENVIRONMENT_BYTES} bytes as JSON. Sealed where they are kept.`,
    }),
  },
  {
    error: (issue) => (issue.code === 'unrecognized_keys' ? `unknown settings: ${named(issue.keys)}` : 'the body must be a JSON object'),
  },
)

/** `name:3`, or an ARN, as the ARN that a definition holds; null when it is neither. */
function layerOf(text: string): string | null {
  const [, name, number] = /^([a-zA-Z0-9_-]{1,140}):([1-9]\d{0,8})$/.exec(text) ?? []
  if (name !== undefined) return layerVersionArn(DEFAULT_REGION, name, Number(number))
  return parseLayerVersionArn(text) ? text : null
}

/** An address of its own; `false` takes it away. What is there stays when nothing is said of it. */
export const urlSpecSchema = z
  .union(
    [
      z.boolean().transform((wanted): false | { auth: 'none' | 'iam'; stream: boolean } => wanted && { auth: 'none', stream: false }),
      z.strictObject({
        auth: oneOf(['none', 'iam']).default('none').meta({ description: 'Who may call it: anyone, or who signs with an access key of the project.' }),
        stream: z.boolean().default(false).meta({ description: 'Whether what it streams goes out as it is made.' }),
      }),
    ],
    { error: 'must be true, false, or an object such as {"auth": "none", "stream": false}' },
  )
  .optional()
export type UrlSpec = Exclude<z.infer<typeof urlSpecSchema>, undefined>

const FUNCTION_NAME = /^[a-zA-Z0-9_-]{1,64}$/

/** The file itself: what the body of a deploy says, the name that its path carries, and no artefact yet. */
export const mayflyJsonSchema = z.strictObject({
  $schema: z.string().optional().meta({ description: 'Where this schema lies, for editors.' }),
  name: z.string().regex(FUNCTION_NAME).optional().meta({ description: 'The name of the function; that of its folder when absent.' }),
  ...functionSpecSchema.omit({ artefact: true }).shape,
  entryPoint: z.string().optional().meta({
    description:
      "Of an app of `google`: the function that is meant, as `--entry-point` says it to gcloud; else what package.json's `start` or FUNCTION_TARGET names.",
  }),
  installScripts: z
    .array(z.string())
    .optional()
    .meta({ description: 'Of an app of `google` or `azure`: packages whose install scripts may run, in the sandbox that installs; of no others they do.' }),
  url: urlSpecSchema.meta({
    description: 'An address of its own (a function URL): `true` for one that anyone may call, or `false` for none; what is there stays when this is absent.',
  }),
  triggers: triggersSpecSchema.optional().meta({ description: 'What starts the function by itself; what is there stays when this is absent.' }),
})

export type FunctionSpec = z.infer<typeof functionSpecSchema>

/** @throws MayflyError bad_request that names each wrong field and what it may be */
export function parseFunctionSpec(body: unknown): FunctionSpec {
  const parsed = functionSpecSchema.safeParse(body)
  if (parsed.success) {
    if (parsed.data.reuse === 'fork' && !parsed.data.runtime.startsWith('python'))
      throw new MayflyError('bad_request', 'reuse: `fork` is for functions of python runtimes; `never` gives each call a sandbox of its own in all of them')
    return parsed.data
  }
  const problems = parsed.error.issues.map((issue) => (issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ${nested(issue)}` : issue.message))
  throw new MayflyError('bad_request', problems.slice(0, 10).join('; '))
}

/** A wrong key of a record carries its own complaints one level below. */
function nested(issue: z.core.$ZodIssue): string {
  return issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message
}

export const isFunctionName = (name: string) => FUNCTION_NAME.test(name)

export function checkFunctionName(name: string): void {
  if (!isFunctionName(name)) throw new MayflyError('bad_request', 'name: must be 1 to 64 letters, digits, `-` and `_`')
}

export function definitionOfSpec(name: string, spec: FunctionSpec, tags: Readonly<Record<string, string>>): FunctionDefinition {
  return {
    name,
    runtime: spec.runtime,
    handler: spec.handler,
    framework: spec.framework,
    description: spec.description,
    memoryMb: spec.memory,
    timeoutSeconds: spec.timeout,
    tmpMb: spec.tmp,
    concurrency: spec.concurrency,
    reuse: spec.reuse,
    driver: spec.sandbox === 'auto' ? null : spec.sandbox,
    egress: typeof spec.egress === 'string' ? spec.egress : [...new Set(spec.egress.map((host) => host.toLowerCase()))].toSorted(),
    role: spec.role,
    verifyJwt: spec.verifyJwt,
    secrets: [...new Set(spec.secrets)].toSorted(),
    reservedConcurrency: spec.reservedConcurrency,
    provisioned: spec.provisioned,
    async: {
      maxAttempts: spec.async.maxAttempts ?? null,
      maxAgeSeconds: spec.async.maxAge ?? null,
      ...asyncExtras(spec.async),
    },
    layers: spec.layers.map((text) => layerOf(text) as string),
    awsRole: null,
    tags,
  }
}

/** What was left open stays so: a definition that says nothing new equals what it was. */
function asyncExtras({
  retryAfter,
  parallelism,
  rate,
  orderBy,
  keepResult,
  onceWithin,
  mayLoop,
  onSuccess,
  onFailure,
}: FunctionSpec['async']): Omit<AsyncSettings, 'maxAttempts' | 'maxAgeSeconds'> {
  return {
    ...(retryAfter === undefined ? {} : { retryAfter }),
    ...(parallelism === undefined ? {} : { parallelism }),
    ...(rate === undefined ? {} : { rate }),
    ...(orderBy === undefined ? {} : { orderBy }),
    ...(keepResult ? { keepResultSeconds: keepResult } : {}),
    ...(onceWithin === undefined ? {} : { onceWithinSeconds: onceWithin }),
    ...(mayLoop ? { mayLoop } : {}),
    ...(onSuccess === undefined ? {} : { onSuccess }),
    ...(onFailure === undefined ? {} : { onFailure }),
  }
}

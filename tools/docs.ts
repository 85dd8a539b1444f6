import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { projectFileSchema } from '../client/project-file.ts'
import { routes as authRoutes } from '../src/auth/http.ts'
import { tokenRoutes, userRoutes } from '../src/auth/index.ts'
import { SECTIONS } from '../src/config.ts'
import { routes as deploymentRoutes } from '../src/deployments/http.ts'
import { buildRoutes } from '../src/deployments/builds/http.ts'
import { ERRORS } from '../src/core/errors.ts'
import { LIMIT_PROFILES } from '../src/core/limit-profiles.ts'
import { LIMITS } from '../src/core/limits.ts'
import { environmentName, flagName } from '../src/core/settings.ts'
import { lambdaRoutes, MAX_ENVIRONMENT_BYTES, mayflyJsonSchema, routes as functionRoutes, secretRoutes, urlRoutes } from '../src/functions/index.ts'
import { consoleRoutes, mayDeployBy, nodeRoutes, projectRoutes } from '../src/gateway/index.ts'
import { callRoutes, lambdaInvokeRoutes, queueRoutes, urlDoorRoutes, inspectUpgrades } from '../src/invoke/index.ts'
import { metricsRoutes, routes as logRoutes } from '../src/observe/http.ts'
import { METRICS } from '../src/observe/metrics.ts'
import { routes as siteRoutes } from '../src/sites/http.ts'
import { routes as dataRoutes } from '../src/data/http.ts'
import { routes as doorRoutes, upgrades as doorUpgrades } from '../src/door/http.ts'
import { messageQueueRoutes, sqsRoutes } from '../src/queues/http.ts'
import { routes as realtimeRoutes, upgrades as realtimeUpgrades } from '../src/realtime/http.ts'
import { busRoutes } from '../src/triggers/bus/http.ts'
import { routes as triggerRoutes } from '../src/triggers/http.ts'
import { httpRoutes } from '../src/triggers/routes/http.ts'
import { webhookRoutes } from '../src/triggers/webhooks/http.ts'
import { routes as storageRoutes } from '../src/storage/http.ts'
import { routes as usageRoutes } from '../src/usage/http.ts'
import { z } from 'zod'
import { livesOf } from './lives.ts'
import { ROOT } from './sources.ts'

// A route's row says all that the page needs; what its handler would call is never asked for.
const nothing = {} as never
const ROUTES = [
  ...nodeRoutes(nothing),
  ...projectRoutes(nothing),
  ...authRoutes(nothing),
  ...tokenRoutes(nothing),
  ...userRoutes({ config: {} } as never),
  ...consoleRoutes(nothing),
  ...functionRoutes(nothing),
  ...secretRoutes(nothing),
  ...urlRoutes(nothing),
  ...siteRoutes(nothing),
  ...deploymentRoutes(nothing),
  ...buildRoutes(nothing),
  ...logRoutes(nothing, nothing),
  ...metricsRoutes(nothing),
  ...usageRoutes(nothing),
  ...callRoutes(nothing),
  ...queueRoutes(nothing),
  ...urlDoorRoutes(nothing),
  ...triggerRoutes(nothing, nothing),
  ...webhookRoutes(nothing),
  ...httpRoutes(nothing),
  ...busRoutes(nothing),
  ...lambdaInvokeRoutes(nothing),
  ...realtimeRoutes(nothing),
  ...[...realtimeUpgrades(nothing), ...inspectUpgrades(nothing), ...doorUpgrades(nothing)].map((row) => ({
    ...row,
    method: 'ws',
    plane: row.access === 'manage' ? 'management' : 'data-plane',
  })),
  ...lambdaRoutes(nothing),
  ...storageRoutes(nothing),
  ...messageQueueRoutes(nothing),
  ...sqsRoutes(nothing),
  ...dataRoutes(nothing),
  ...doorRoutes(nothing),
]
const WHO: Record<string, string> = {
  open: 'anyone',
  operator: 'the operator token',
  manage: "the operator token or the project's secret key",
  project: 'a key of the project, or a function of it',
  own: 'whom the address lets in',
  aws: 'a SigV4 signature',
}
const whoOf = (route: (typeof ROUTES)[number]) => `${WHO[route.access] ?? route.access}${mayDeployBy(route) ? ', or a deploy token of it' : ''}`

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [`| ${head.join(' | ')} |`, `|${head.map(() => ' --- |').join('')}`, ...rows.map((row) => `| ${row.map(cell).join(' | ')} |`)].join('\n')
const page = (title: string, intro: string, body: string) =>
  `<!-- Made by \`npm run docs\`; change the catalogue instead. -->\n# ${title}\n\n${intro}\n\n${body}\n`

interface Field {
  readonly type?: string
  readonly description?: string
  readonly unit?: string
  readonly default?: unknown
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly anyOf?: readonly Field[]
  readonly items?: { readonly properties?: Readonly<Record<string, Field>> }
}

/** The JSON Schema of mayfly.json, as the node's own definition makes it. */
export function mayflySchema(): { readonly properties: Readonly<Record<string, Field>>; readonly [keyword: string]: unknown } {
  const made = z.toJSONSchema(mayflyJsonSchema, { io: 'input', target: 'draft-7' }) as { properties: Record<string, Field> }
  return { title: 'mayfly.json: a function of Mayfly', ...made }
}

/** Units stand in the description, as no schema has a word for them. */
function withUnits(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withUnits)
  if (typeof value !== 'object' || value === null) return value
  const { unit, ...rest } = value as Record<string, unknown>
  const shown = Object.fromEntries(Object.entries(rest).map(([name, one]) => [name, withUnits(one)]))
  return typeof unit === 'string' ? { ...shown, description: `${String(rest.description)} Unit: ${unit}.` } : shown
}

/** The JSON Schema of the mayfly.json of a whole project, as the client's own definition makes it. */
function projectSchema(): { readonly properties: Readonly<Record<string, Field>>; readonly [keyword: string]: unknown } {
  const { $schema: _, ...made } = z.toJSONSchema(projectFileSchema, { io: 'input', target: 'draft-7' }) as {
    $schema: string
    properties: Record<string, Field>
  }
  return made
}

/** As it is shipped: one file for both, told apart by what only a project has. */
function shippedSchema(): string {
  const { $schema, title: _, ...ofFunction } = mayflySchema()
  const ofProject = projectSchema()
  const { $schema: _own, ...overrides } = ofFunction.properties as Record<string, unknown>
  const entry = {
    type: 'object',
    required: ['folder'],
    properties: { folder: { type: 'string', description: 'The folder of the function, below this one.' }, ...overrides },
  }
  const functions = { ...ofProject.properties.functions, items: { anyOf: [{ type: 'string' }, { ...entry, additionalProperties: false }] } }
  const shipped = {
    $schema,
    title: 'mayfly.json: a function of Mayfly, or a project of several',
    if: { anyOf: ['functions', 'buckets', 'sites', 'migrations'].map((field) => ({ required: [field] })) },
    then: { $ref: '#/definitions/project' },
    else: { $ref: '#/definitions/function' },
    definitions: { function: ofFunction, project: { ...ofProject, properties: { ...ofProject.properties, functions } } },
  }
  return `${JSON.stringify(withUnits(shipped), null, 2)}\n`
}

const typeOf = (field: Field): string => field.type ?? (field.anyOf ? field.anyOf.map(typeOf).join(' or ') : 'string')

const fieldTable = (properties: Readonly<Record<string, Field>>) =>
  table(
    ['field', 'type', 'default', 'range', 'unit', 'what'],
    Object.entries(properties).map(([name, field]) => [
      `\`${name}\``,
      typeOf(field),
      field.default === undefined ? '–' : `\`${JSON.stringify(field.default)}\``,
      rangeOf(field),
      field.unit ?? '–',
      field.description ?? '',
    ]),
  )

/** The fields of what a list of the project file holds. */
const entriesOf = (list: string): Readonly<Record<string, Field>> => projectSchema().properties[list]?.items?.properties ?? {}

function rangeOf(field: Field): string {
  if (field.enum) return field.enum.map((value) => `\`${value}\``).join(', ')
  if (field.minimum !== undefined) return `${field.minimum} to ${field.maximum}`
  if (field.maxLength !== undefined) return `at most ${field.maxLength}`
  return field.pattern ? `\`${field.pattern}\`` : '–'
}

/** The pages that are made from the catalogues, by their path. */
export function pages(): Record<string, string> {
  return {
    'docs/errors.md': page(
      'Errors',
      'Every error of the platform is JSON with `code`, `message`, `hint` and `requestId`. The Lambda API and other foreign dialects say the same in their own words.',
      table(
        ['code', 'status', 'send again', 'what to do'],
        Object.entries(ERRORS).map(([code, entry]) => [`\`${code}\``, String(entry.status), entry.retry, entry.hint]),
      ),
    ),
    'docs/limits.md': page(
      'Limits',
      'Limits protect the machine. Each is reached by the test named in its row.',
      `${table(
        ['limit', 'value', 'unit', 'error', 'why', 'proven by'],
        Object.entries(LIMITS).map(([name, limit]) => [
          `\`${name}\``,
          'least' in limit ? `${limit.least} to ${limit.value}` : String(limit.value),
          limit.unit,
          limit.error === null ? '–' : `\`${limit.error}\``,
          limit.why,
          `\`${limit.provenBy}\``,
        ]),
      )}

## Limit profiles

A project has one of these; \`mayfly projects\` shows which, \`mayfly projects set <ref> --profile <name>\` gives it another (the operator's token is needed). What is deployed or configured beyond it is refused with \`profile_exceeded\`, by the name of the profile and its number. A function that was beyond a profile before its project got it goes on as it is, and each deploy says so until it is changed.

${table(
  ['profile', 'memory (MB)', 'timeout (s)', '/tmp (MB)', 'calls at once in a sandbox', 'event of a queued call (bytes)', 'what it is'],
  Object.entries(LIMIT_PROFILES).map(([name, { memory, timeout, tmp, concurrency, queuedPayload, about }]) => [
    `\`${name}\``,
    ...[memory, timeout, tmp, concurrency].map(({ least, most }) => (Number(least) === Number(most) ? String(most) : `${least} to ${most}`)),
    String(queuedPayload),
    about,
  ]),
)}

Alike in all of them: ${LIMITS.invocationBody.value} bytes of the event of a call that is waited for, ${LIMITS.zippedCode.value} bytes of code zipped and ${LIMITS.unzippedCode.value} unzipped, ${LIMITS.projectConcurrency.value} calls at once that a project may reserve and provision of, ${MAX_ENVIRONMENT_BYTES} bytes of environment. The Lambda API keeps AWS's own bounds under each profile: memory from 128 MB, /tmp from 512 MB.`,
    ),
    'docs/api.md': page(
      'Routes',
      'A key stands in `apikey` or in `Authorization: Bearer`. Routes of the data plane also answer below `/p/<ref>` for other projects than the default one, and are the only ones that a function reaches from inside.',
      table(
        ['method', 'path', 'who', 'plane', 'what'],
        ROUTES.map((route) => [route.method === '*' ? 'any' : route.method, `\`${route.path}\``, whoOf(route), route.plane, route.doc]),
      ),
    ),
    'docs/mayfly.schema.json': shippedSchema(),
    'docs/mayfly-json.md': page(
      'mayfly.json',
      'Stands beside the code of a function, or at the root of a project of several. Editors check it with `"$schema": "<checkout>/docs/mayfly.schema.json"`. What it does not know is refused at deploy, by name.',
      `## A function

Every field may be left away, and so may the file.

${fieldTable(mayflySchema().properties)}

## A project

A file with \`functions\`, \`buckets\` or \`sites\` tells of a whole project. \`mayfly deploy <folder>\` says what it will make, change and remove and why, does only that, and says of a second run that nothing changes; \`--dry-run\` only says it. What a former file of the same \`name\` had and this one has not is removed: functions, their triggers, sites. Buckets stay, with their objects, and queues that have messages. Killed in the middle, it is finished by the next start of the node.

${fieldTable(projectSchema().properties)}

An entry of \`functions\` is the name of a folder, or an object with \`folder\` and any field of a function, which replaces what stands in the folder's own mayfly.json.

### \`buckets\`

${fieldTable(entriesOf('buckets'))}

### \`sites\`

All files of the folder are served as they are, but for names that begin with a dot (except \`.well-known\`), \`node_modules\`, \`package.json\`, \`package-lock.json\`, \`tsconfig*.json\`, \`mayfly.json\`, \`*.d.ts\`, and TypeScript that a script bundles. Links are refused. \`index.html\` answers for its folder, \`404.html\` for what is not there. A page finds its project by \`fetch('/_mayfly/project.json')\`: \`url\`, \`ref\`, \`publishableKey\`.

${fieldTable(entriesOf('sites'))}`,
    ),
    'docs/lives.md': page(
      'The lives of a sandbox and of an invocation',
      'For who changes them. A row is a state, a column an event, a cell the state that follows. `=`: the news is late, and nothing changes. `–`: the two never meet, and whoever tells of it is at fault.',
      livesOf(table),
    ),
    'docs/metrics.md': page(
      'Metrics',
      `\`GET /metrics\` answers in Prometheus' text format, to the operator token only. A running node keeps that token, new at each start, in \`operator.token\` in its data directory (mode 0600: Prometheus must be able to read it, so run both as one user or copy it):

\`\`\`yaml
scrape_configs:
  - job_name: mayfly
    authorization:
      credentials_file: /srv/mayfly/data/operator.token
    static_configs:
      - targets: ['127.0.0.1:54321']
\`\`\`

By hand: \`curl -H "Authorization: Bearer $(cat .mayfly/operator.token)" http://127.0.0.1:54321/metrics\`. Counters begin at 0 with each start of the node.`,
      table(
        ['metric', 'type', 'labels', 'what'],
        Object.entries(METRICS).map(([name, metric]) => [`\`${name}\``, metric.type, 'labels' in metric ? metric.labels : '–', metric.help]),
      ),
    ),
    'docs/settings.md': page(
      'Settings',
      'A flag of `mayfly up` beats the environment, that beats `mayfly.config.json` in the working directory, that beats the default. `npx mayfly config` shows what is in force and where it came from.',
      table(
        ['flag', 'environment', 'default', 'takes', 'what it is'],
        Object.entries(SECTIONS).flatMap(([section, settings]) =>
          Object.entries(settings).map(([name, setting]) => [
            `\`--${flagName(section, name)}\``,
            `\`${environmentName(section, name)}\``,
            setting.default === null || (Array.isArray(setting.default) && setting.default.length === 0) ? '–' : `\`${String(setting.default)}\``,
            setting.takes,
            setting.doc,
          ]),
        ),
      ),
    ),
  }
}

if (import.meta.main) {
  let stale = 0
  for (const [file, text] of Object.entries(pages())) {
    const at = path.join(ROOT, file)
    let now = ''
    try {
      now = readFileSync(at, 'utf8')
    } catch {
      // made below
    }
    if (now === text) continue
    if (process.argv.includes('--check')) {
      stale++
      process.stdout.write(`docs: ${file} differs from its catalogue; run \`npm run docs\`\n`)
    } else {
      mkdirSync(path.dirname(at), { recursive: true })
      writeFileSync(at, text)
    }
  }
  process.exitCode = stale > 0 ? 1 : 0
}

import { createHash, randomBytes } from 'node:crypto'
import { azureTriggers, type Retry, retryAfterOf } from './azure-triggers.ts'
import { type AppBuild, ApiError, type Client } from './client.ts'
import type { Packed } from './deploy.ts'
import { FolderError } from './mayfly-json.ts'
import { listSecrets, setSecrets } from './secrets.ts'

type AppFunction = AppBuild['functions'][number]

const KEYS = ['AZURE_FUNCTION_KEY', 'AZURE_MASTER_KEY'] as const
const MOST_ATTEMPTS = 100
/** What the node lets a call take at most, and what Azure waits for an HTTP function. */
const MOST_SECONDS = 900
const MOST_HTTP_SECONDS = 230

/** An app is as many functions as it registers: one that answers for all that take HTTP, and each of the others on its own. */
export interface AzureFunctions {
  readonly functions: readonly Packed[]
  readonly warnings: readonly string[]
  /** Keys that were made now, by the names of their secrets: they are told this once. */
  readonly keys: Readonly<Record<string, string>>
}

/** @param make  whether keys that are asked for and not there are made @throws ApiError */
export async function azureFunctions(client: Client, project: string, packed: Packed, build: AppBuild, make: boolean): Promise<AzureFunctions> {
  const isHttp = ({ trigger }: AppFunction) => trigger.toLowerCase() === 'httptrigger'
  const { url, triggers: _, ...base } = packed.definition
  const http = build.functions.filter(isHttp)
  const asks = http.some(({ details }) => !['anonymous', undefined].includes(String(details.authLevel ?? 'anonymous').toLowerCase()))
  const warnings: string[] = []
  const { made: keys, own } = asks
    ? await keysOf(client, project, { app: packed.name, names: http.map(({ name }) => name), make, warnings })
    : { made: {}, own: [] }
  const environment = (base.environment ?? {}) as Readonly<Record<string, string>>
  const functions: Packed[] = []
  const timeout = timeoutOf(build.functions, base.timeout, warnings)
  if (http.length > 0) {
    const secrets = [...((base.secrets ?? []) as string[]), ...(asks ? [...KEYS, ...own] : [])]
    functions.push({
      ...packed,
      definition: {
        ...base,
        timeout: base.timeout ?? Math.min(timeout, MOST_HTTP_SECONDS),
        handler: 'app.http',
        description: `HTTP: ${http.map(({ name }) => name).join(', ')}`.slice(0, 256),
        url: url ?? { auth: 'none', stream: true },
        ...(secrets.length > 0 ? { secrets } : {}),
      },
    })
  }
  for (const one of build.functions.filter((other) => !isHttp(other))) {
    const name = `${packed.name}-${one.name}`
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name))
      throw new FolderError(`"${name}" is no name of a function (1 to 64 letters, digits, - and _): deploy the app by a shorter --name.`)
    const { triggers, warnings: ofTriggers } = azureTriggers(one, environment.WEBSITE_TIME_ZONE)
    warnings.push(...ofTriggers.map((text) => `${one.name}: ${text}`))
    const definition = { ...base, timeout: base.timeout ?? timeout, async: { ...triesOf(one), ...((base.async ?? {}) as object) } }
    functions.push({ ...packed, name, definition: { ...definition, handler: one.name, description: wordsOf(one), triggers } })
  }
  return { functions, warnings, keys }
}

function wordsOf({ trigger, details }: AppFunction): string {
  const { schedule, queueName, topicName, path: at, containerName } = details
  const what = [schedule, queueName, topicName, at, containerName].find((one) => typeof one === 'string')
  return `${trigger}${what === undefined ? '' : ` ${what}`}`.slice(0, 256)
}

/** How long its calls may take: as its mayfly.json says, else as host.json does. */
function timeoutOf([one]: readonly AppFunction[], own: unknown, warnings: string[]): number {
  const wanted = one?.details.timeoutSeconds as number | null | undefined
  if (wanted === undefined) return MOST_HTTP_SECONDS
  if (own === undefined && (wanted ?? Number.POSITIVE_INFINITY) > MOST_SECONDS)
    warnings.push(`host.json: "functionTimeout" is more than a call may take here: it is ended after ${MOST_SECONDS} s.`)
  return Math.max(1, Math.min(MOST_SECONDS, wanted ?? MOST_SECONDS))
}

/** How often its events are tried, and what lies between: by its own policy, else as Azure does by what starts it. */
function triesOf({ details }: AppFunction): Record<string, unknown> {
  const { attempts, retry } = details as { attempts: number | null; retry?: Retry }
  if (retry === undefined) return attempts === null ? {} : { maxAttempts: attemptsWithin(attempts) }
  return { maxAttempts: retry.maxRetryCount < 0 ? MOST_ATTEMPTS : attemptsWithin(retry.maxRetryCount + 1), retryAfter: retryAfterOf(retry) }
}

const attemptsWithin = (attempts: number) => Math.max(1, Math.min(MOST_ATTEMPTS, attempts))

/**
 * Makes those keys of an app that are not there.
 * @returns them, and the names of those that open one function alone: who sets such a secret wants it to
 */
async function keysOf(
  client: Client,
  project: string,
  how: { readonly app: string; readonly names: readonly string[]; readonly make: boolean; readonly warnings: string[] },
) {
  const named = ownKeysOf(how.names)
  const ownKeys = new Set(named.values())
  for (const [name, key] of named)
    if (key !== plainKeyOf(name)) how.warnings.push(`${name}: its own key is ${key}, as another function's name is written the same.`)
  const secrets = await listSecrets(client, project).catch((error: unknown) => {
    // A deploy token has no business with secrets.
    if (error instanceof ApiError && error.status === 403) return null
    throw error
  })
  if (secrets === null) {
    how.warnings.push(
      `its callers show keys: where ${KEYS.join(' and ')} are no secrets of the project yet, an operator makes them with \`mayfly secrets set\`.`,
    )
    // Those that it has already stay.
    const there = await client.function(project, how.app).catch(() => null)
    return { made: {}, own: ((there?.secrets ?? []) as readonly string[]).filter((one) => ownKeys.has(one)) }
  }
  const there = new Set(secrets.map((one) => one.name))
  const own = [...there].filter((one) => ownKeys.has(one))
  if (!how.make) return { made: {}, own }
  const made = Object.fromEntries(KEYS.filter((one) => !there.has(one)).map((one) => [one, randomBytes(32).toString('base64url')]))
  if (Object.keys(made).length > 0) await setSecrets(client, project, made)
  return { made, own }
}

/** The secret that is a function's own key, by its name; where two would share one, the hash of each name keeps them apart. */
export function ownKeysOf(names: readonly string[]): ReadonlyMap<string, string> {
  const shared = Map.groupBy(names, plainKeyOf)
  const apart = (name: string) => `_${createHash('sha256').update(name).digest('hex').slice(0, 8).toUpperCase()}`
  return new Map(names.map((name) => [name, `${plainKeyOf(name)}${(shared.get(plainKeyOf(name))?.length ?? 0) > 1 ? apart(name) : ''}`]))
}

const plainKeyOf = (name: string) => `${KEYS[0]}_${name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_')}`

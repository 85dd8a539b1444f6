import { randomBytes } from 'node:crypto'
import { type AppBuild, ApiError, type Client } from './client.ts'
import type { Packed } from './deploy.ts'
import { FolderError } from './mayfly-json.ts'
import { listSecrets, setSecrets } from './secrets.ts'

type AppFunction = AppBuild['functions'][number]

const KEYS = ['AZURE_FUNCTION_KEY', 'AZURE_MASTER_KEY'] as const
const MOST_ATTEMPTS = 100

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
  const keys = asks && make ? await missingKeys(client, project, warnings) : {}
  const functions: Packed[] = []
  if (http.length > 0) {
    const secrets = [...((base.secrets ?? []) as string[]), ...(asks ? KEYS : [])]
    functions.push({
      ...packed,
      definition: {
        ...base,
        handler: 'app',
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
    const triggers = triggersOf(one)
    if (triggers.length === 0) warnings.push(`${one.name} (${one.trigger}) is not started by anything yet; \`mayfly invoke ${name} --data …\` starts it.`)
    const retry = one.details.retry as { maxRetryCount?: number } | undefined
    const tries =
      retry?.maxRetryCount === undefined
        ? {}
        : { async: { maxAttempts: retry.maxRetryCount < 0 ? MOST_ATTEMPTS : Math.min(MOST_ATTEMPTS, retry.maxRetryCount + 1) } }
    functions.push({ ...packed, name, definition: { ...base, ...tries, handler: one.name, description: wordsOf(one, triggers.length > 0), triggers } })
  }
  return { functions, warnings, keys }
}

/** `photos/{name}.png` is the bucket `photos`, and what its keys begin and end with. */
function triggersOf({ trigger, details }: AppFunction): object[] {
  if (trigger.toLowerCase() !== 'blobtrigger' || typeof details.path !== 'string') return []
  const slash = details.path.indexOf('/')
  const bucket = slash === -1 ? details.path : details.path.slice(0, slash)
  const rest = slash === -1 ? '' : details.path.slice(slash + 1)
  const prefix = rest.includes('{') ? rest.slice(0, rest.indexOf('{')) : rest
  const suffix = rest.includes('}') ? rest.slice(rest.lastIndexOf('}') + 1) : ''
  return [{ object: { bucket, events: ['created'], ...(prefix === '' ? {} : { prefix: [prefix] }), ...(suffix === '' ? {} : { suffix: [suffix] }) } }]
}

function wordsOf({ trigger, details }: AppFunction, started: boolean): string {
  const { schedule, queueName, topicName, path: at, containerName } = details
  const what = [schedule, queueName, topicName, at, containerName].find((one) => typeof one === 'string')
  return `${trigger}${what === undefined ? '' : ` ${what}`}${started ? '' : ', not started by anything yet'}`.slice(0, 256)
}

async function missingKeys(client: Client, project: string, warnings: string[]): Promise<Record<string, string>> {
  const secrets = await listSecrets(client, project).catch((error: unknown) => {
    // A deploy token has no business with secrets.
    if (error instanceof ApiError && error.status === 403) return null
    throw error
  })
  if (secrets === null) {
    warnings.push(`its callers show keys: where ${KEYS.join(' and ')} are no secrets of the project yet, an operator makes them with \`mayfly secrets set\`.`)
    return {}
  }
  const there = new Set(secrets.map(({ name }) => name))
  const made = Object.fromEntries(KEYS.filter((name) => !there.has(name)).map((name) => [name, randomBytes(32).toString('base64url')]))
  if (Object.keys(made).length > 0) await setSecrets(client, project, made)
  return made
}

import { isPlainLines, isPlainText } from '../../../core/plain-text.ts'
import { MAX_ENVIRONMENT_BYTES, MAX_TAGS } from '../../definition.ts'
import { isRuntime, unknownRuntime } from '../../runtimes.ts'
import { invalidParameter, LambdaError, validation } from './errors.ts'

export type Json = Readonly<Record<string, unknown>>

const RESERVED = new Set(
  `_HANDLER _X_AMZN_TRACE_ID AWS_DEFAULT_REGION AWS_REGION AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_MEMORY_SIZE
   AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_ACCESS_KEY
   AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_LAMBDA_RUNTIME_API LAMBDA_TASK_ROOT LAMBDA_RUNTIME_DIR`.split(/\s+/),
)
const ROLE = /^arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role\/?[a-zA-Z_0-9+=,.@\-_/]+$/
const ROLE_PATTERN = String.raw`arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`
const ENVIRONMENT_NAME = /^[a-zA-Z]([a-zA-Z0-9_])+$/
const ENVIRONMENT_PATTERN = '[a-zA-Z]([a-zA-Z0-9_])+'
const TAG = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u

export const content = (message: string) => new LambdaError('InvalidRequestContentException', 400, message)

/** @throws LambdaError InvalidRequestContentException */
export function parseBody(body: Buffer): Json {
  if (body.length === 0) return {}
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw content(`Could not parse request body into json: ${error instanceof Error ? error.message.slice(0, 200) : 'not JSON'}`)
  }
  return object(value, 'The request body')
}

function object(value: unknown, what: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw content(`${what} must be a JSON object`)
  return value as Json
}

/** `null` counts as absent, as for the SDKs. */
export function optional<T>(body: Json, field: string, type: 'string' | 'number' | 'boolean'): T | null {
  const value = Object.hasOwn(body, field) ? body[field] : undefined
  if (value === undefined || value === null) return null
  if (typeof value !== type) throw content(`${field} must be a ${type}`)
  return value as T
}

export const textOf = (body: Json, field: string) => optional<string>(body, field, 'string')

export function objectOf(body: Json, field: string): Json | null {
  const value = Object.hasOwn(body, field) ? body[field] : undefined
  return value === undefined || value === null ? null : object(value, field)
}

export function listOf(body: Json, field: string): readonly unknown[] | null {
  const value = Object.hasOwn(body, field) ? body[field] : undefined
  if (value === undefined || value === null) return null
  if (!Array.isArray(value)) throw content(`${field} must be a list`)
  return value
}

function textsOf(value: Json, what: string): Record<string, string> {
  const texts: Record<string, string> = Object.create(null)
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw content(`${what}: each value must be a string`)
    texts[name] = text
  }
  return { ...texts }
}

/** Collects violations, so that several in one request are told together. */
export class Violations {
  readonly #found: string[] = []

  missing(path: string): void {
    this.#found.push(`Value null at '${path}' failed to satisfy constraint: Member must not be null`)
  }
  add(path: string, value: unknown, constraint: string): void {
    this.#found.push(`Value '${String(value).slice(0, 300)}' at '${path}' failed to satisfy constraint: ${constraint}`)
  }
  range(path: string, value: number | null, min: number, max: number): void {
    if (value === null) return
    if (!Number.isInteger(value)) throw content(`${path} must be a whole number`)
    if (value < min) this.add(path, value, `Member must have value greater than or equal to ${min}`)
    if (value > max) this.add(path, value, `Member must have value less than or equal to ${max}`)
  }
  /** @throws LambdaError ValidationException when there is one */
  check(): void {
    if (this.#found.length > 0) throw validation(this.#found)
  }
}

export interface ConfigurationRequest {
  readonly role: string | null
  readonly runtime: string | null
  readonly handler: string | null
  readonly description: string | null
  readonly timeoutSeconds: number | null
  readonly memoryMb: number | null
  readonly tmpMb: number | null
  /** Null when absent. */
  readonly environment: Record<string, string> | null
}

/**
 * What CreateFunction and UpdateFunctionConfiguration share.
 * @throws LambdaError with all violations, or what this version has not
 */
export function parseConfiguration(body: Json, violations: Violations): ConfigurationRequest {
  const role = textOf(body, 'Role')
  if (role !== null && !ROLE.test(role)) violations.add('role', role, `Member must satisfy regular expression pattern: ${ROLE_PATTERN}`)
  const handler = textOf(body, 'Handler')
  if (handler !== null) {
    if (handler.length > 128) violations.add('handler', handler, 'Member must have length less than or equal to 128')
    if (!/^\S+$/.test(handler) || !isPlainText(handler)) violations.add('handler', handler, 'Member must satisfy regular expression pattern: [^\\s]+')
  }
  const description = textOf(body, 'Description')
  if (description !== null && description.length > 256) violations.add('description', description, 'Member must have length less than or equal to 256')
  const timeoutSeconds = optional<number>(body, 'Timeout', 'number')
  violations.range('timeout', timeoutSeconds, 1, 900)
  const memoryMb = optional<number>(body, 'MemorySize', 'number')
  violations.range('memorySize', memoryMb, 128, 10_240)
  const storage = objectOf(body, 'EphemeralStorage')
  const tmpMb = storage === null ? null : optional<number>(storage, 'Size', 'number')
  violations.range('ephemeralStorage.size', tmpMb, 512, 10_240)
  const environment = parseEnvironment(body, violations)
  violations.check()
  const runtime = textOf(body, 'Runtime')
  if (runtime !== null && !isRuntime(runtime)) throw invalidParameter(unknownRuntime(runtime))
  if (description !== null && !isPlainLines(description)) throw invalidParameter('Description must not hold control characters.')
  refuseWhatIsNotThere(body)
  return {
    role,
    runtime,
    handler,
    description,
    timeoutSeconds,
    memoryMb,
    tmpMb,
    environment,
  }
}

function parseEnvironment(body: Json, violations: Violations): Record<string, string> | null {
  const environment = objectOf(body, 'Environment')
  const variables = environment === null ? null : objectOf(environment, 'Variables')
  if (variables === null) return null
  const texts = textsOf(variables, 'Environment.Variables')
  const reserved = Object.keys(texts).filter((name) => RESERVED.has(name))
  if (reserved.length > 0) {
    throw invalidParameter(
      `Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: ${reserved.join(', ')}`,
    )
  }
  for (const [name, value] of Object.entries(texts)) {
    if (!ENVIRONMENT_NAME.test(name))
      violations.add(
        'environment.variables',
        name,
        `Map keys must satisfy constraint: [Member must satisfy regular expression pattern: ${ENVIRONMENT_PATTERN}]`,
      )
    if (!value.isWellFormed() || value.includes('\0')) violations.add('environment.variables', name, 'Map value must be whole characters without NUL')
  }
  const measured = JSON.stringify(texts)
  if (Buffer.byteLength(measured) > MAX_ENVIRONMENT_BYTES) {
    // The whole text is not repeated: it may hold secrets and has no bound of its own.
    throw invalidParameter(
      `Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: ${Buffer.byteLength(measured)} bytes`,
    )
  }
  return texts
}

/** Settings that this version does not have are refused unless they say what holds anyway. */
function refuseWhatIsNotThere(body: Json): void {
  const refuse = (field: string, detail: string) => invalidParameter(`${field} is not supported by this version of Mayfly: ${detail}`)
  for (const field of ['TenancyConfig', 'CapacityProviderConfig', 'DurableConfig', 'RuntimeConfig', 'AcceleratorConfig'])
    if (objectOf(body, field) !== null) throw refuse(field, 'leave it out.')
}

/** The archive in `Code` (create) or in the body itself (update). */
export function zipOf(code: Json): Buffer {
  if (textOf(code, 'ImageUri') !== null)
    throw invalidParameter('ImageUri is not supported by this version of Mayfly: send an archive in ZipFile, or name one in a bucket.')
  const text = textOf(code, 'ZipFile')
  if (text === null) throw invalidParameter('Please provide a source for function code.')
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw content('ZipFile must be base64')
  return Buffer.from(text, 'base64')
}

export const codeOf = (body: Json) => objectOf(body, 'Code')

export function tagsOf(body: Json): Record<string, string> | null {
  const value = objectOf(body, 'Tags')
  if (value === null) return null
  const tags = textsOf(value, 'Tags')
  if (Object.keys(tags).length > MAX_TAGS) throw invalidParameter('Number of tags exceeds resource tag limit.')
  for (const [key, text] of Object.entries(tags)) {
    if (key.length < 1 || key.length > 128 || !TAG.test(key)) throw invalidParameter('Tags: a key has 1 to 128 letters, digits, spaces or _.:/=+-@')
    if (text.length > 256 || !TAG.test(text)) throw invalidParameter('Tags: a value has at most 256 letters, digits, spaces or _.:/=+-@')
  }
  return tags
}

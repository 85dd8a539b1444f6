import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { LoadError, type Sandboxes } from '../../sandbox/index.ts'
import { buildSpec, wholeBody } from './build-sandbox.ts'
import type { BuildRequest } from './request.ts'

/** A function that an app registers. */
export interface AppFunction {
  readonly name: string
  /** `http`, or the type of the binding that starts it. */
  readonly trigger: string
  /** What the app says of it, as JSON. */
  readonly details: Readonly<Record<string, unknown>>
}

export interface Described {
  readonly functions: readonly AppFunction[]
  readonly warnings: readonly string[]
}

const MEMORY_MB = 512
const MOST_FUNCTIONS = 200
const MOST_BYTES = 1024 * 1024
const TIMEOUT_MS = 30_000
/** The runtime's adapters answer with what was registered where this is set. */
export const DESCRIBE = '_MAYFLY_DESCRIBE'

/**
 * Runs an app's registration in a sandbox that has no secret, no network and nothing of the project, and asks what it registered.
 * @throws MayflyError app_broken with the app's own words and lines
 */
export async function describeApp(sandboxes: Sandboxes, id: string, codeDir: string, request: BuildRequest): Promise<Described> {
  const printed: string[] = []
  const log = {
    write: (_stream: string, bytes: Uint8Array) => void (printed.length < 100 && printed.push(Buffer.from(bytes).toString('utf8'))),
    lost: () => {},
  }
  const key = `describe-${id}`
  const late = AbortSignal.timeout(LIMITS.installTime.value)
  try {
    using lease = await sandboxes.acquire(
      buildSpec({
        name: 'describe',
        key,
        runtime: request.runtime,
        codeDir,
        handler: request.handler,
        framework: request.framework,
        environment: { TZ: ':UTC', ...request.environment, [DESCRIBE]: '1' },
        memoryMb: MEMORY_MB,
        timeoutMs: TIMEOUT_MS,
        openRelay: (connection) => void connection.destroy(),
      }),
      log,
      late,
    )
    const context = { invocationId: id, traceId: '', clientContext: null, depth: 0, invokedArn: 'describe' }
    const result = await lease.run({ kind: 'http', context, method: 'GET', url: 'http://localhost/', headers: [], body: null }, log, late)
    if (result.kind === 'error') throw broken(wordsOf(result.payload), printed)
    if (result.kind !== 'http') throw broken('it does not say what it registers', printed)
    return parse(await wholeBody(result, MOST_BYTES, () => broken('what it registers is too large', [])), printed)
  } catch (error) {
    if (error instanceof LoadError) throw broken(wordsOf(error.payload), printed)
    throw error
  } finally {
    sandboxes.retire(key)
  }
}

/** What comes out of a sandbox is whatever the app says: only its form is believed. */
function parse(bytes: Buffer, printed: readonly string[]): Described {
  try {
    const { functions, warnings } = JSON.parse(bytes.toString('utf8')) as { functions: unknown; warnings: unknown }
    if (!Array.isArray(functions) || !Array.isArray(warnings) || functions.length > MOST_FUNCTIONS) throw new Error('no list')
    return {
      functions: functions.map((one: Record<string, unknown>) => {
        const { name, trigger, details } = one
        if (typeof name !== 'string' || typeof trigger !== 'string' || typeof details !== 'object' || details === null) throw new Error('no function')
        return { name: name.slice(0, 128), trigger: trigger.slice(0, 64), details: details as Record<string, unknown> }
      }),
      warnings: warnings.map((text) => String(text).slice(0, 500)).slice(0, MOST_FUNCTIONS),
    }
  } catch {
    throw broken('what it registers cannot be read', printed)
  }
}

/** The error as its owner knows it: with the lines of the app's own files, and none of the platform's. */
function wordsOf(payload: Uint8Array): string {
  try {
    const { errorType, errorMessage, trace } = JSON.parse(Buffer.from(payload).toString('utf8')) as {
      errorType?: string
      errorMessage?: string
      trace?: string[]
    }
    const lines = Array.isArray(trace) ? trace.slice(1).map(String).filter(isOfApp) : []
    const message = Array.isArray(trace) && typeof trace[0] === 'string' && trace[0].includes(errorMessage ?? '\0') ? trace[0] : `${errorType}: ${errorMessage}`
    return [message, ...lines.slice(0, 8)].map((line) => line.replaceAll(/(file:\/\/)?\/var\/task\//g, '')).join('\n')
  } catch {
    return 'it ended with an error'
  }
}

const isOfApp = (line: string) => !/\(?(node:|file:\/\/\/var\/runtime|\/var\/runtime)/.test(line) && !line.includes('/node_modules/')

const broken = (why: string, printed: readonly string[]) => {
  const said = printed.join('').trim().slice(0, 2_000)
  return new MayflyError('app_broken', `the app does not load: ${why.slice(0, 4_000)}${said === '' ? '' : `\nIt printed:\n${said}`}`)
}

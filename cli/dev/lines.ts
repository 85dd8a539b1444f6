import type { Client, LogLine } from '../../client/client.ts'
import { inOrderOfTime } from '../../client/log-order.ts'
import type { Stacks } from './stacks.ts'

export interface Said {
  readonly function: string
  readonly kind: 'line' | 'error' | 'call'
  readonly text: string
}

const AGAIN_MS = 500

/** Follows the logs of functions, each for as long as the session lasts. */
export class LogLines {
  readonly #client: Client
  readonly #project: string
  readonly #stacks: Stacks
  readonly #tell: (said: Said) => void
  readonly #signal: AbortSignal
  readonly #followed = new Map<string, Promise<void>>()

  constructor(deps: { client: Client; project: string; stacks: Stacks; tell: (said: Said) => void; signal: AbortSignal }) {
    this.#client = deps.client
    this.#project = deps.project
    this.#stacks = deps.stacks
    this.#tell = deps.tell
    this.#signal = deps.signal
  }

  follow(name: string): void {
    if (!this.#followed.has(name)) this.#followed.set(name, this.#run(name))
  }

  /** When the session has ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#followed.values())
  }

  /** A node that goes away comes back; what was written meanwhile is not shown twice. */
  async #run(name: string): Promise<void> {
    let seen = ''
    while (!this.#signal.aborted) {
      try {
        const fresh = async function* (lines: AsyncIterable<LogLine>) {
          for await (const line of lines) {
            if (seen !== '' && BigInt(line.seq) <= BigInt(seen)) continue
            seen = line.seq
            yield line
          }
        }
        for await (const line of inOrderOfTime(fresh(this.#client.followLogs(this.#project, name, 100, this.#signal)))) {
          const said = saidOf(name, line, this.#stacks)
          if (said) this.#tell(said)
        }
      } catch {
        // It is away, or the function is.
      }
      if (!this.#signal.aborted) await pause(AGAIN_MS, this.#signal)
    }
  }
}

const pause = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms)
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })

const REPORT = /^REPORT RequestId: \S+\tDuration: ([\d.]+) ms.*?Max Memory Used: (\d+) MB(?:\tInit Duration: ([\d.]+) ms)?/
const FRAME = /^(?:START|END|INIT_START|EXTENSION|INIT_REPORT) /

/** Null for what only frames the rest. */
function saidOf(name: string, line: LogLine, stacks: Stacks): Said | null {
  const text = line.text.replace(/\n$/, '')
  if (line.source === 'platform') {
    const [, duration, memory, init] = REPORT.exec(text) ?? []
    if (duration !== undefined)
      return { function: name, kind: 'call', text: `${duration} ms, ${memory} MB${init === undefined ? '' : `, loaded in ${init} ms`}` }
    return FRAME.test(text) ? null : { function: name, kind: 'error', text: stacks.stack(name, [text.replace(/^\S+ \S+ /, '')]) }
  }
  const fault = errorOf(text)
  if (fault) return { function: name, kind: 'error', text: stacks.stack(name, fault) }
  // `time, request id, level, text`: who is at the keyboard knows when it is.
  const plain = /^\d{4}-[\d-]+T[\d:.]+Z\t[\w-]+\t([A-Z]+)\t([\s\S]*)$/.exec(text)
  const isError = line.source === 'stderr' || plain?.[1] === 'ERROR'
  const said = (plain?.[2] ?? text).replaceAll('\r', '\n')
  return { function: name, kind: isError ? 'error' : 'line', text: stacks.stack(name, said.split('\n')) }
}

/** What the runtime wrote of an error that nobody caught. */
function errorOf(text: string): string[] | null {
  const json = /\tERROR\t(?:Invoke Error|Uncaught Exception|Unhandled Promise Rejection) ?\t(\{[\s\S]*\})$/.exec(text)?.[1]
  if (json === undefined) return null
  try {
    const { errorType, errorMessage, stack } = JSON.parse(json) as { errorType?: string; errorMessage?: string; stack?: string[] }
    return stack && stack.length > 0 ? stack : [`${errorType}: ${errorMessage}`]
  } catch {
    return null
  }
}

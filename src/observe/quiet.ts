import { LINES_PER_RECORD, type LogSubject, type QuietCall, type QuietRecord } from '../core/meter.ts'
import { QUIET_LINES } from '../core/lines-of-call.ts'

/** So many calls have no more lines than one record. */
export const CALLS_PER_RECORD = Math.floor(LINES_PER_RECORD / QUIET_LINES)
/** A record that nobody waits for is told after so long at the latest. */
const TOLD_MS = 5

/** Gathers the calls of a few milliseconds that wrote nothing: one record of many costs little more than of one. */
export class QuietCalls {
  readonly #tell: (record: QuietRecord) => void
  readonly #open = new Map<string, Gathered>()
  /** Most calls are of the same version as the one before. */
  #last: Gathered | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(tell: (record: QuietRecord) => void) {
    this.#tell = tell
  }

  add(of: LogSubject, call: QuietCall): void {
    const last = this.#last
    const isOfLast =
      last !== null && last.version === of.version && last.depth === of.depth && last.functionName === of.functionName && last.project === of.project
    const gathered = isOfLast ? last : this.#of(of)
    gathered.calls.push(call)
    if (gathered.calls.length >= CALLS_PER_RECORD) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), TOLD_MS)
  }

  /** Tells what was gathered. */
  flush(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    this.#last = null
    for (const gathered of this.#open.values()) this.#tell(gathered)
    this.#open.clear()
  }

  #of({ project, functionName, version, depth }: LogSubject): Gathered {
    const key = keyOf({ project, functionName, version, ...(depth === undefined ? {} : { depth }) })
    let gathered = this.#open.get(key)
    if (gathered === undefined) {
      gathered = { project, functionName, version, ...(depth === undefined ? {} : { depth }), calls: [] }
      this.#open.set(key, gathered)
    }
    this.#last = gathered
    return gathered
  }
}

type Gathered = LogSubject & { readonly calls: QuietCall[] }

const keyOf = (of: LogSubject) => JSON.stringify([of.project, of.functionName, of.version, of.depth ?? 0])

/** As few records as there may be of the same calls. */
export function together(records: readonly QuietRecord[]): QuietRecord[] {
  const all: QuietRecord[] = []
  for (const of of Map.groupBy(records, keyOf).values()) {
    const [first] = of as [QuietRecord]
    const calls = of.flatMap((record) => record.calls)
    for (let at = 0; at < calls.length; at += CALLS_PER_RECORD) all.push({ ...first, calls: calls.slice(at, at + CALLS_PER_RECORD) })
  }
  return all
}

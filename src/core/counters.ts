import type { MeterRecord } from './meter.ts'

export const OUTCOMES = ['ok', 'error', 'timeout', 'exit', 'cut'] as const satisfies readonly MeterRecord['outcome'][]
/** Why a call was cold, as `sandbox` says it; the first is a warm one, the last is what this list does not know. */
export const COLD_REASONS = ['none', 'first-call', 'scale-out', 'new-version', 'idle-drop', 'node-restart', 'reuse-never', 'sandbox-lost', 'other'] as const
/** Upper bounds of the durations that are counted apart, ms; what is longer than all stands in one more place. */
export const DURATION_BOUNDS_MS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000] as const

/** Where the time of an execution goes, in the order in which it does. */
export const PARTS = ['queue', 'sandbox', 'init', 'run', 'response'] as const

const OUTCOME_AT: ReadonlyMap<string, number> = new Map(OUTCOMES.map((name, at) => [name, at * COLD_REASONS.length]))
const COLD_AT: ReadonlyMap<string, number> = new Map(COLD_REASONS.map((name, at) => [name, at]))
const OTHER = COLD_REASONS.length - 1

/** What this process has run, as numbers that only grow. Counting is a few additions and makes nothing. */
export class InvocationCounters {
  readonly #byKind = new Float64Array(OUTCOMES.length * COLD_REASONS.length)
  readonly #durations = new Durations()
  readonly #parts = { queue: new Durations(), sandbox: new Durations(), init: new Durations(), run: new Durations(), response: new Durations() }
  billedMs = 0
  bytesIn = 0
  bytesOut = 0

  count(record: MeterRecord): void {
    const cold = record.cold === null ? 0 : (COLD_AT.get(record.cold) ?? OTHER)
    ;(this.#byKind[(OUTCOME_AT.get(record.outcome) ?? 0) + cold] as number)++
    this.billedMs += record.billedMs
    this.bytesIn += record.bytesIn
    this.bytesOut += record.bytesOut
    if (record.outcome === 'cut') return // it never ran: it has no duration
    this.#durations.add(record.durationMs)
    const { queue, sandbox, init, run, response } = this.#parts
    if (record.queueMs !== null) queue.add(record.queueMs)
    sandbox.add(record.waitMs)
    if (record.cold !== null) init.add(record.initMs)
    run.add(record.durationMs - record.responseMs)
    response.add(record.responseMs)
  }

  /** All of it, as numbers that another process can add. */
  snapshot(): CountersSnapshot {
    return {
      byKind: [...this.#byKind],
      durations: this.#durations.snapshot(),
      parts: PARTS.map((part) => this.#parts[part].snapshot()),
      sums: [this.billedMs, this.bytesIn, this.bytesOut],
    }
  }

  /** Adds what another process has counted. */
  add({ byKind, durations, parts, sums }: CountersSnapshot): this {
    for (const [at, count] of byKind.entries()) (this.#byKind[at] as number) += count
    this.#durations.addAll(durations)
    for (const [at, part] of PARTS.entries()) this.#parts[part].addAll(parts[at] as readonly number[])
    const [billedMs = 0, bytesIn = 0, bytesOut = 0] = sums
    this.billedMs += billedMs
    this.bytesIn += bytesIn
    this.bytesOut += bytesOut
    return this
  }

  of(outcome: (typeof OUTCOMES)[number], cold: (typeof COLD_REASONS)[number]): number {
    return this.#byKind[(OUTCOME_AT.get(outcome) as number) + (COLD_AT.get(cold) as number)] as number
  }

  durations(): Counted {
    return this.#durations.counted()
  }

  /** Of those that were queued for the queue, of cold ones for the init, and of all for the others. */
  part(part: (typeof PARTS)[number]): Counted {
    return this.#parts[part].counted()
  }
}

export interface CountersSnapshot {
  readonly byKind: readonly number[]
  readonly durations: readonly number[]
  readonly parts: readonly (readonly number[])[]
  readonly sums: readonly number[]
}

/** How many took at most so long, for each bound; all of them and their sum. */
export interface Counted {
  readonly atMost: readonly number[]
  readonly count: number
  readonly sumMs: number
}

class Durations {
  readonly #counts = new Float64Array(DURATION_BOUNDS_MS.length + 1)
  #sumMs = 0

  add(ms: number): void {
    let at = 0
    while (at < DURATION_BOUNDS_MS.length && ms > (DURATION_BOUNDS_MS[at] as number)) at++
    ;(this.#counts[at] as number)++
    this.#sumMs += ms
  }

  /** The counts, and the sum last. */
  snapshot(): number[] {
    return [...this.#counts, this.#sumMs]
  }

  addAll(snapshot: readonly number[]): void {
    for (let at = 0; at < this.#counts.length; at++) (this.#counts[at] as number) += snapshot[at] ?? 0
    this.#sumMs += snapshot[this.#counts.length] ?? 0
  }

  counted(): Counted {
    let sum = 0
    const atMost = [...this.#counts].map((n) => (sum += n))
    return { atMost: atMost.slice(0, -1), count: sum, sumMs: this.#sumMs }
  }
}

import { DatabaseError } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'

const KNOWN = 500
/** So often in a row it was quick. */
const TIMES = 10
/** What took many times too long has to be quick so often, before it is trusted again. */
const TIMES_AFTER_SLOW = 500
const SLOW_MS = 4 * LIMITS.dataQuick.value
/** What is larger keeps its session busy, however quick it was found. */
const SMALL_BYTES = 128 * 1024

/** Ended by its timeout, or by who cancels it. */
const CANCELED = '57014'

/** Which texts of a role are known to be answered quickly: by what they took, as no plan tells it. */
export class QuickReads {
  /** How often each was quick since it last was not. */
  readonly #times = new Map<string, number>()

  isQuick(key: string): boolean {
    return (this.#times.get(key) ?? 0) >= TIMES
  }

  saw(key: string, { ms, bytes }: { readonly ms: number; readonly bytes: number }): void {
    const known = this.#times.get(key) ?? 0
    const isQuick = ms <= LIMITS.dataQuick.value && bytes <= SMALL_BYTES
    const times = isQuick ? Math.min(known + 1, TIMES) : ms > SLOW_MS ? TIMES - TIMES_AFTER_SLOW : Math.min(known, 0)
    this.#times.delete(key)
    this.#times.set(key, times)
    if (this.#times.size > KNOWN) this.#times.delete(this.#times.keys().next().value as string)
  }

  /** What was ended before its answer has taken too long. */
  failed(key: string, error: unknown): void {
    if (error instanceof DatabaseError && error.sqlState === CANCELED) this.saw(key, { ms: Number.POSITIVE_INFINITY, bytes: 0 })
  }
}

import { randomInt } from 'node:crypto'

/** So often it is looked, about: where is chance, so that nobody inside knows when. */
const LOOK_MS = 100
/** A runtime has this to do behind an answer, such as to collect what the call left; the kernel counts in steps of some milliseconds besides. */
const MOST_MS = 10

/**
 * Whether code works while no call of it runs, by a thread or a process that it started. Between a call and the moment
 * at which an idle sandbox is frozen there is a while that nobody pays for: calls that come before it is over would
 * have a function's whole work done for nothing. Asking the kernel is too dear for each call, so now and then.
 */
export class IdleWork {
  readonly #cpuMs: () => number | null
  #from: number | null = null
  #nextMs = 0
  /** It was seen, once. */
  isSeen = false

  /** @param cpuMs  what the processors have done for the sandbox; null where nobody counts it */
  constructor(cpuMs: () => number | null) {
    this.#cpuMs = cpuMs
  }

  /** Its last call is over. */
  begin(nowMs: number): void {
    if (this.isSeen || nowMs < this.#nextMs) return
    this.#nextMs = nowMs + LOOK_MS / 2 + randomInt(LOOK_MS)
    this.#from = this.#cpuMs()
  }

  /** The next one begins, or it is frozen. */
  end(): void {
    if (this.#from === null) return
    const did = (this.#cpuMs() ?? 0) - this.#from
    this.#from = null
    if (did > MOST_MS) this.isSeen = true
  }
}

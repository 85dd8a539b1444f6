import type { Clock } from '../lib/clock.ts'
import { FairOrder } from '../lib/fair-order.ts'
import type { Leaving } from '../lib/leaving.ts'
import { DataError } from './errors.ts'

export interface GateOptions {
  readonly max: number
  readonly waitMs: number
  readonly maxWaiting: number
  readonly clock: Pick<Clock, 'monotonic' | 'timer'>
}

/** A request that runs so long is slow: one session is kept for others than who asks such. */
const SLOW_MS = 500

interface Waiting {
  readonly party: string
  readonly enter: () => void
}

/**
 * Who may use one of a project's few sessions, in fair turns of those who ask: the one that was served least is next, and
 * whose requests are slow does not get the last session. Alone, anybody may have all of them.
 */
export class Gate {
  readonly #options: GateOptions
  #order = new FairOrder()
  /** When those that run have begun, by party. */
  readonly #running = new Map<string, number[]>()
  #runs = 0
  readonly #waiting: Waiting[] = []

  constructor(options: GateOptions) {
    this.#options = options
  }

  /**
   * @returns to be disposed of when the session is free again
   * @throws DataError PGRST003 when none comes free in time; the signal's reason
   */
  async enter(party: string, signal: Leaving): Promise<Disposable> {
    if (this.#runs >= this.#options.max || this.#waiting.length > 0 || this.#isBound(party)) await this.#wait(party, signal)
    else this.#begin(party)
    const begun = this.#running.get(party)?.at(-1) as number
    return { [Symbol.dispose]: () => this.#leave(party, begun) }
  }

  async #wait(party: string, signal: Leaving): Promise<void> {
    const { maxWaiting, waitMs, clock } = this.#options
    // One alone does not take all places of the line.
    const most = Math.ceil(maxWaiting / 2)
    const isFull = this.#waiting.length >= maxWaiting
    if (isFull || (this.#waiting.length >= most && this.#waiting.filter((each) => each.party === party).length >= most)) throw tooLate()
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiting: Waiting = { party, enter: resolve }
    const giveUp = (why: unknown) => {
      const place = this.#waiting.indexOf(waiting)
      if (place === -1) return
      this.#waiting.splice(place, 1)
      this.#order.leave(party)
      reject(why)
    }
    this.#waiting.push(waiting)
    this.#order.enter(party)
    const onAbort = () => giveUp(signal.reason)
    signal.addEventListener('abort', onAbort)
    try {
      using _late = clock.timer(waitMs, () => giveUp(tooLate()))
      // One that has just become slow may have left a session free that nobody was let to.
      this.#next()
      await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Whether it has all sessions but one already, with slow requests. */
  #isBound(party: string): boolean {
    const { max, clock } = this.#options
    if (max <= 1 || this.#runs < max - 1) return false
    const running = this.#running.get(party)
    return running !== undefined && running.length >= max - 1 && clock.monotonic() - (running[0] ?? 0) > SLOW_MS
  }

  #begin(party: string): void {
    const running = this.#running.get(party)
    const now = this.#options.clock.monotonic()
    if (running) running.push(now)
    else this.#running.set(party, [now])
    this.#runs++
    this.#order.serve(party)
  }

  #leave(party: string, begun: number): void {
    const running = this.#running.get(party) ?? []
    running.splice(running.indexOf(begun), 1)
    if (running.length === 0) this.#running.delete(party)
    this.#runs--
    // Nobody is ahead of anybody any more: who asked once is not remembered for ever.
    if (this.#runs === 0 && this.#waiting.length === 0) this.#order = new FairOrder()
    this.#next()
  }

  #next(): void {
    while (this.#runs < this.#options.max) {
      let found: Waiting | undefined
      for (const each of this.#waiting) {
        if (this.#isBound(each.party)) continue
        if (!found || this.#order.turnOf(each.party) < this.#order.turnOf(found.party)) found = each
      }
      if (!found) return
      this.#waiting.splice(this.#waiting.indexOf(found), 1)
      this.#begin(found.party)
      this.#order.leave(found.party)
      found.enter()
    }
  }
}

const tooLate = () => new DataError('PGRST003', 'Timed out acquiring connection from connection pool.')

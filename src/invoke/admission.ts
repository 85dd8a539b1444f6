import { MayflyError } from '../core/errors.ts'

/** The right to run one invocation now. Giving it back twice is harmless. */
export interface Slot extends Disposable {
  readonly [Symbol.dispose]: () => void
}

/** What functions have for themselves: no other takes it, and they take no more. */
export interface Reservations {
  /** Null where nothing is reserved. */
  readonly of: (functionId: string) => number | null
  /** Of all functions together. */
  readonly total: number
}

/** Which limit a call met: of the node, of any one function, or what its own function has reserved. */
export type LimitMet = 'node' | 'function' | 'reserved'

/** Of ten slots of the node one stays for functions without a reservation, whatever the others have reserved. */
const UNRESERVED_SHARE = 0.1

/**
 * Hands out slots: so many on the node, so many for one function. A full house is refused at once, never
 * queued: the client or the queue knows better when to come again. One instance serves the node; worker
 * processes will ask it over the bus.
 */
export class Admission {
  readonly #limits: { readonly node: number; readonly perFunction: number }
  readonly #reservations: Reservations
  readonly #byFunction = new Map<string, number>()
  #running = 0
  /** Of those, what runs without a reservation. */
  #unreserved = 0
  readonly #refused: Record<LimitMet, number> = { node: 0, function: 0, reserved: 0 }

  constructor(limits: { node: number; perFunction: number }, reservations: Reservations = { of: () => null, total: 0 }) {
    this.#limits = limits
    this.#reservations = reservations
  }

  get running(): number {
    return this.#running
  }

  /** Calls that were refused, by the limit that they met. */
  get refused(): Readonly<Record<LimitMet, number>> {
    return this.#refused
  }

  /** How many more calls a function with a reservation may run; without one, or with none at all, that is not known before. */
  freeOf(functionId: string): number {
    const reserved = this.#reservations.of(functionId)
    return reserved === null || reserved === 0 ? Number.POSITIVE_INFINITY : Math.max(0, reserved - (this.#byFunction.get(functionId) ?? 0))
  }

  /** @throws MayflyError too_many_invocations, function_concurrency_reached, naming the limit that was met */
  enter(functionId: string): Slot {
    const { node, perFunction } = this.#limits
    const own = this.#byFunction.get(functionId) ?? 0
    const reserved = this.#reservations.of(functionId)
    if (reserved !== null && own >= reserved) throw this.#refuse('reserved', `the function runs ${own} invocations already; ${reserved} are reserved for it`)
    if (own >= perFunction) throw this.#refuse('function', `the function runs ${own} invocations already; ${perFunction} at once is the limit`)
    if (this.#running >= node) throw this.#refuse('node', `the node runs ${this.#running} invocations already; ${node} at once is the limit`)
    const kept = Math.ceil(node * UNRESERVED_SHARE)
    const open = Math.max(node - this.#reservations.total, kept)
    // More may be reserved than the node has: what is kept for the others is not taken by who came first either.
    const most = Math.max(1, node - kept)
    if (reserved !== null && this.#running - this.#unreserved >= most)
      throw this.#refuse(
        'node',
        `functions with a reservation run ${this.#running - this.#unreserved} invocations already; ${most} of the node's ${node} are for them`,
      )
    if (reserved === null && this.#unreserved >= open) {
      throw this.#refuse('node', `functions without a reservation run ${this.#unreserved} invocations already; ${open} of the node's ${node} are not reserved`)
    }
    const counted = reserved === null ? 1 : 0
    this.#running++
    this.#unreserved += counted
    this.#byFunction.set(functionId, own + 1)
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        this.#running--
        this.#unreserved -= counted
        const left = (this.#byFunction.get(functionId) ?? 1) - 1
        if (left <= 0) this.#byFunction.delete(functionId)
        else this.#byFunction.set(functionId, left)
      },
    }
  }
  #refuse(limit: LimitMet, message: string): MayflyError {
    this.#refused[limit]++
    return limit === 'reserved' ? new MayflyError('function_concurrency_reached', message) : new MayflyError('too_many_invocations', message)
  }
}

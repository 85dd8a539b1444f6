import { MayflyError } from '../core/errors.ts'

/** The right to run one invocation now. Giving it back twice is harmless. */
export interface Slot extends Disposable {
  readonly [Symbol.dispose]: () => void
}

/**
 * Hands out slots: so many on the node, so many for one function. A full house is refused at once, never
 * queued: the client or the queue knows better when to come again. One instance serves the node; worker
 * processes will ask it over the bus.
 */
export class Admission {
  readonly #limits: { readonly node: number; readonly perFunction: number }
  readonly #byFunction = new Map<string, number>()
  #running = 0

  constructor(limits: { node: number; perFunction: number }) {
    this.#limits = limits
  }

  get running(): number {
    return this.#running
  }

  /** @throws MayflyError too_many_invocations, naming the limit that was met */
  enter(functionId: string): Slot {
    const own = this.#byFunction.get(functionId) ?? 0
    if (own >= this.#limits.perFunction) {
      throw new MayflyError('too_many_invocations', `the function runs ${own} invocations already; ${this.#limits.perFunction} at once is the limit`)
    }
    if (this.#running >= this.#limits.node) {
      throw new MayflyError('too_many_invocations', `the node runs ${this.#running} invocations already; ${this.#limits.node} at once is the limit`)
    }
    this.#running++
    this.#byFunction.set(functionId, own + 1)
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        this.#running--
        const left = (this.#byFunction.get(functionId) ?? 1) - 1
        if (left <= 0) this.#byFunction.delete(functionId)
        else this.#byFunction.set(functionId, left)
      },
    }
  }
}

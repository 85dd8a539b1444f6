import type { ServerResponse } from 'node:http'
import { LIMITS } from '../core/limits.ts'

interface Held {
  readonly response: Pick<ServerResponse, 'destroy'>
  readonly bytes: number
}

/**
 * Large replies that are there whole stay in memory until their clients have taken them, which nobody can make them do. Past
 * the bound the connection is closed that has taken nothing for longest: in its order, the first of those that are held.
 */
export class HeldReplies {
  readonly #most: number
  readonly #held = new Set<Held>()
  #bytes = 0

  constructor(most: number = LIMITS.heldReplies.value) {
    this.#most = most
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Until it is disposed. */
  hold(response: Held['response'], bytes: number): Disposable & { readonly moved: () => void } {
    const held = { response, bytes }
    const leave = () => {
      if (this.#held.delete(held)) this.#bytes -= bytes
    }
    this.#held.add(held)
    this.#bytes += bytes
    for (const one of this.#held) {
      if (this.#bytes <= this.#most) break
      this.#held.delete(one)
      this.#bytes -= one.bytes
      one.response.destroy()
    }
    return {
      // A part of it was taken.
      moved: () => {
        if (this.#held.delete(held)) this.#held.add(held)
      },
      [Symbol.dispose]: leave,
    }
  }
}

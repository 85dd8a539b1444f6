import { MiB } from '../lib/bytes.ts'

/** Of all sandboxes together. */
const MOST_BYTES = 512 * MiB
/** An answer fits into this: whoever holds no more is never refused for what others hold. */
const OWN_BYTES = 8 * MiB

/**
 * What guests have sent of answers that are not whole yet. Each call may have a large one, and a guest may begin those of
 * all its calls and end none: so past a bound who holds more than its own gets no room.
 */
export class Collected {
  readonly #mostBytes: number
  readonly #ownBytes: number
  #bytes = 0

  constructor(mostBytes: number = MOST_BYTES, ownBytes: number = OWN_BYTES) {
    this.#mostBytes = mostBytes
    this.#ownBytes = ownBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** For one sandbox. */
  open(): { readonly take: (bytes: number) => boolean; readonly give: (bytes: number) => void } {
    let own = 0
    return {
      take: (bytes) => {
        if (this.#bytes + bytes > this.#mostBytes && own + bytes > this.#ownBytes) return false
        own += bytes
        this.#bytes += bytes
        return true
      },
      give: (bytes) => {
        own -= bytes
        this.#bytes -= bytes
      },
    }
  }
}

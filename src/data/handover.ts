import type { Clock } from '../lib/clock.ts'

/** Who takes takes too slowly, or too long. */
export class TakenTooSlowly extends Error {}

/** Nobody takes any more. */
export class Left extends Error {
  constructor() {
    super('nobody takes what is given any more')
  }
}

/**
 * Hands what is made on to who takes it, one piece ahead: who makes waits for who takes, but not without end. What breaks
 * it breaks both sides.
 */
export class Handover<T> implements AsyncIterableIterator<T, undefined> {
  readonly #clock: Pick<Clock, 'timer'>
  readonly #idleMs: number
  #ready: T[] = []
  #isEnded = false
  #broken: { readonly by: unknown } | null = null
  #taker: PromiseWithResolvers<IteratorResult<T, undefined>> | null = null
  #giver: PromiseWithResolvers<void> | null = null

  constructor(clock: Pick<Clock, 'timer'>, idleMs: number) {
    this.#clock = clock
    this.#idleMs = idleMs
  }

  /** Settles when there is room for more. @throws what broke it; TakenTooSlowly, which breaks it */
  async give(piece: T): Promise<void> {
    if (this.#broken) throw this.#broken.by
    if (this.#taker) {
      this.#taker.resolve({ value: piece, done: false })
      this.#taker = null
      return
    }
    this.#ready.push(piece)
    this.#giver = Promise.withResolvers()
    using _idle = this.#clock.timer(this.#idleMs, () => this.break(new TakenTooSlowly(`nothing was taken for ${this.#idleMs} ms`)))
    await this.#giver.promise
  }

  /** @param last  what still is to be taken; nobody waits for that */
  end(last: T): void {
    if (this.#broken) return
    this.#isEnded = true
    if (this.#taker) this.#taker.resolve({ value: last, done: false })
    else this.#ready.push(last)
    this.#taker = null
  }

  break(by: unknown): void {
    if (this.#broken || this.#isEnded) return
    this.#broken = { by }
    this.#ready = []
    this.#giver?.reject(by)
    this.#taker?.reject(by)
    this.#giver = null
    this.#taker = null
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#broken) throw this.#broken.by
    const piece = this.#ready.shift()
    if (piece !== undefined) {
      this.#giver?.resolve()
      this.#giver = null
      return { value: piece, done: false }
    }
    if (this.#isEnded) return { value: undefined, done: true }
    this.#taker = Promise.withResolvers()
    return await this.#taker.promise
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.break(new Left())
    return { value: undefined, done: true }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

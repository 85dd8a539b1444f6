/** With fewer that stand ready than this, so many more are made: who takes one waits for none. */
const SPARE = 2
const AT_ONCE = 4
/** Where takers wait, up to so many: to begin a program stops the node for longer than all that the program does. */
const MOST_AT_ONCE = 16

export interface StockDeps<Made> {
  /** Makes as many, or as there can be, but one at least. */
  readonly make: (count: number) => Promise<Made[]>
  /** None could be made; who waited is told too. */
  readonly failed: (error: Error) => void
}

/** What takes a program to make, several at once: some stand ready, and where none does the first that are made go to who has waited longest. */
export class Stock<Made> {
  readonly #deps: StockDeps<Made>
  readonly #spare: Made[] = []
  readonly #waiting: PromiseWithResolvers<Made>[] = []
  #making: Promise<void> | null = null
  #isClosed = false

  constructor(deps: StockDeps<Made>) {
    this.#deps = deps
  }

  /** @throws what making one throws; Error when this is closed */
  async take(): Promise<Made> {
    const spare = this.#spare.shift()
    if (spare !== undefined) {
      this.#fill()
      return spare
    }
    const waiter = Promise.withResolvers<Made>()
    this.#waiting.push(waiter)
    this.#fill()
    return await waiter.promise
  }

  /** Makes no more, and resolves when none is being made. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#making
    this.#refuse(new Error('no more are made'))
  }

  #fill(): void {
    if (this.#isClosed) this.#refuse(new Error('no more are made'))
    if (this.#making !== null || this.#isClosed || !this.#lacks) return
    this.#making = this.#make().finally(() => {
      this.#making = null
      // Who came when it was about to end.
      if (this.#waiting.length > 0) this.#fill()
    })
  }

  get #lacks(): boolean {
    return this.#waiting.length > 0 || this.#spare.length < SPARE
  }

  async #make(): Promise<void> {
    try {
      for (let count = AT_ONCE; !this.#isClosed && this.#lacks; ) {
        const made = await this.#deps.make(count)
        count = this.#waiting.length > made.length ? Math.min(2 * count, MOST_AT_ONCE) : AT_ONCE
        for (const one of made) {
          const waiter = this.#waiting.shift()
          if (waiter) waiter.resolve(one)
          else this.#spare.push(one)
        }
      }
    } catch (error) {
      this.#deps.failed(error as Error)
      this.#refuse(error)
    }
  }

  #refuse(error: unknown): void {
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error)
  }
}

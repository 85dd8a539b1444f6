/** Fewer than so many wait for the transaction that runs rather than have one beside it: each would bear more of it than it gains. */
const WORTH = 16

/**
 * Lets requests of one instant share a transaction: while it is under way, the next gather. Whoever adds an item
 * hears when the transaction that holds it has committed, or why it has not.
 */
export class GroupCommit<T> {
  readonly #commit: (items: readonly T[]) => Promise<void>
  readonly #most: number
  readonly #atOnce: number
  readonly #isOrdered: (item: T) => boolean
  #waiting: { readonly item: T; readonly done: () => void; readonly failed: (error: unknown) => void }[] = []
  readonly #running = new Set<Promise<void>>()
  #isOrderedRunning = false
  #isSoon = false

  /**
   * @param most  how many items one transaction takes
   * @param atOnce  how many transactions run at once, so that one is made ready while the database has another
   * @param isOrdered  of what must not be committed beside what came before or after it
   */
  constructor(most: number, commit: (items: readonly T[]) => Promise<void>, atOnce = 1, isOrdered: (item: T) => boolean = () => false) {
    this.#most = most
    this.#commit = commit
    this.#atOnce = atOnce
    this.#isOrdered = isOrdered
  }

  add(item: T): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ item, done, failed })
      this.#soon()
    })
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    while (this.#isSoon || this.#running.size > 0) {
      if (this.#isSoon) await new Promise((turn) => setImmediate(turn))
      await Promise.all(this.#running)
    }
  }

  #soon(): void {
    if (this.#isSoon || this.#running.size >= this.#atOnce || this.#isOrderedRunning) return
    this.#isSoon = true
    setImmediate(() => {
      this.#isSoon = false
      this.#begin()
    })
  }

  /** What waits is shared by as many transactions as may begin. */
  #begin(): void {
    while (this.#waiting.length > 0 && this.#running.size < this.#atOnce && !this.#isOrderedRunning) {
      const isOrdered = this.#waiting.some(({ item }) => this.#isOrdered(item))
      if (this.#running.size > 0 && (isOrdered || this.#waiting.length < WORTH)) return
      const share = isOrdered ? this.#waiting.length : Math.max(WORTH, Math.ceil(this.#waiting.length / (this.#atOnce - this.#running.size)))
      const group = this.#waiting.splice(0, Math.min(share, this.#most))
      this.#isOrderedRunning = isOrdered
      const run = this.#run(group).then(() => {
        this.#running.delete(run)
        this.#isOrderedRunning = false
        this.#begin()
      })
      this.#running.add(run)
    }
  }

  async #run(group: { readonly item: T; readonly done: () => void; readonly failed: (error: unknown) => void }[]): Promise<void> {
    try {
      await this.#commit(group.map(({ item }) => item))
      for (const { done } of group) done()
    } catch (error) {
      for (const { failed } of group) failed(error)
    }
  }
}

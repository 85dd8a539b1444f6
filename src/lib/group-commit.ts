/**
 * Lets requests of one instant share a transaction: while one is under way, the next gather. Whoever adds an item
 * hears when the transaction that holds it has committed, or why it has not.
 */
export class GroupCommit<T> {
  readonly #commit: (items: readonly T[]) => Promise<void>
  readonly #most: number
  #waiting: { readonly item: T; readonly done: () => void; readonly failed: (error: unknown) => void }[] = []
  #running: Promise<void> | null = null

  /** @param most  how many items one transaction takes */
  constructor(most: number, commit: (items: readonly T[]) => Promise<void>) {
    this.#most = most
    this.#commit = commit
  }

  add(item: T): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ item, done, failed })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    await new Promise((soon) => setImmediate(soon))
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.#most)
      try {
        await this.#commit(group.map(({ item }) => item))
        for (const { done } of group) done()
      } catch (error) {
        for (const { failed } of group) failed(error)
      }
    }
    this.#running = null
  }
}

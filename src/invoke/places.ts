/** Where entries of the queue run: so many at once, counted by their functions. A place is taken before its entry is leased. */
export class Places {
  readonly #most: number
  readonly #byFunction = new Map<string, number>()
  #taken = 0

  constructor(most: number) {
    this.#most = most
  }

  get left(): number {
    return this.#most - this.#taken
  }
  /** How many may be taken by what has only just come: of four, one is left to what waits, so that a stream of it holds up nobody. */
  get leftForNew(): number {
    return this.left - Math.ceil(this.#most / 4)
  }

  takenBy(functionId: string): number {
    return this.#byFunction.get(functionId) ?? 0
  }

  take(functionId: string, count = 1): void {
    this.#taken += count
    this.#byFunction.set(functionId, this.takenBy(functionId) + count)
  }

  giveBack(functionId: string, count = 1): void {
    this.#taken -= count
    const left = this.takenBy(functionId) - count
    if (left > 0) this.#byFunction.set(functionId, left)
    else this.#byFunction.delete(functionId)
  }
}

/** What was learnt of a bounded number of names, a "no" as well; the oldest goes first. */
export class Believed<T> {
  readonly #most: number
  readonly #believable: () => boolean
  readonly #entries = new Map<string, T | null>()
  /** Raised when something is forgotten: what was asked before is not kept. */
  #generation = 0

  constructor(most: number, believable: () => boolean) {
    this.#most = most
    this.#believable = believable
  }
  /** What is known at once; undefined when it has to be asked for. */
  known(name: string): T | null | undefined {
    const known = this.#entries.get(name)
    return known !== undefined && this.#believable() ? known : undefined
  }
  async get(name: string, ask: () => Promise<T | null>): Promise<T | null> {
    const known = this.known(name)
    if (known !== undefined) return known
    const generation = this.#generation
    const value = await ask()
    if (generation === this.#generation) this.#keep(name, value)
    return value
  }
  forget(name: string): void {
    this.#generation++
    this.#entries.delete(name)
  }
  clear(): void {
    this.#generation++
    this.#entries.clear()
  }
  #keep(name: string, value: T | null): void {
    this.#entries.delete(name)
    this.#entries.set(name, value)
    if (this.#entries.size > this.#most) this.#entries.delete(this.#entries.keys().next().value as string)
  }
}

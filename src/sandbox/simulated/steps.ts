/** Something that the world may do next, in one of several ways: the first is how it should go. */
export interface Step {
  readonly what: string
  readonly ways: Readonly<Record<string, () => void>>
}

/** What has not happened yet. A test says what happens next, and how; what is called off happens in no way. */
export class Steps {
  readonly #pending = new Set<Step>()

  /** @returns what calls it off */
  add(what: string, ways: Step['ways']): () => void {
    const step = { what, ways }
    this.#pending.add(step)
    return () => void this.#pending.delete(step)
  }

  get length(): number {
    return this.#pending.size
  }

  get all(): readonly string[] {
    return [...this.#pending].map(({ what }) => what)
  }

  /**
   * @param which  any number; counts round those that may happen
   * @param way  its name, or any number, which counts round the ways that this one has
   * @returns what happened; null when nothing could, or not in this way
   */
  take(which: number, way: number | string): string | null {
    const step = [...this.#pending][which % Math.max(1, this.#pending.size)]
    if (!step) return null
    const names = Object.keys(step.ways)
    const name = typeof way === 'number' ? (names[way % names.length] as string) : way
    const happens = step.ways[name]
    if (!happens) return null
    this.#pending.delete(step)
    happens()
    return `${step.what}: ${name}`
  }
}

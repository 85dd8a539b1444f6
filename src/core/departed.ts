const REMEMBERED = 1_000

/**
 * Projects that went, by their refs, and when. What was begun in one ends a little later: it is nobody's, and least of
 * all that of a project which gets the same ref meanwhile.
 */
export class Departed {
  readonly #at = new Map<string, number>()

  /** @param now  wall time, ms since 1970 */
  note(ref: string, now: number): void {
    this.#at.delete(ref)
    this.#at.set(ref, now)
    if (this.#at.size > REMEMBERED) this.#at.delete(this.#at.keys().next().value as string)
  }

  /** Was it begun in a project that is gone? */
  owns(ref: string, begunAt: number): boolean {
    const at = this.#at.get(ref)
    return at !== undefined && begunAt <= at
  }
}

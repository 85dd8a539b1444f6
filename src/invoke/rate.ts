const SECOND_MS = 1_000

/**
 * How many of each function may begin now, where it says how many do in a second. In any second there are at most so
 * many: what did not begin is not saved up. Where that is no whole number they begin one by one, as far apart as it says.
 */
export class Rates {
  /** When the last of each function began, the oldest first. */
  readonly #began = new Map<string, number[]>()
  readonly #now: () => number

  /** @param now  ms of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now
  }

  left(functionId: string, perSecond: number): number {
    const { most, stretchMs } = stretchOf(perSecond)
    return most - this.#within(functionId, stretchMs).length
  }

  /** How long until another may begin; 0 where one may now. */
  waitMs(functionId: string, perSecond: number): number {
    const { most, stretchMs } = stretchOf(perSecond)
    const began = this.#within(functionId, stretchMs)
    return began.length < most ? 0 : Math.max(0, (began[began.length - most] as number) + stretchMs - this.#now())
  }

  began(functionId: string): void {
    const before = this.#began.get(functionId)
    if (before) before.push(this.#now())
    else this.#began.set(functionId, [this.#now()])
  }

  #within(functionId: string, stretchMs: number): number[] {
    const began = this.#began.get(functionId)
    if (!began) return []
    const from = this.#now() - stretchMs
    const still = began.filter((at) => at > from)
    if (still.length === 0) this.#began.delete(functionId)
    else this.#began.set(functionId, still)
    return still
  }
}

const stretchOf = (perSecond: number) =>
  Number.isInteger(perSecond) ? { most: perSecond, stretchMs: SECOND_MS } : { most: 1, stretchMs: SECOND_MS / perSecond }

/** What one says next arrives within this, most likely; it tells then what it took to hear it. */
const TURN_MS = 1

/**
 * All sandboxes share one thread. Those that say very much at once are heard on one after the other, and after each the
 * thread is everybody else's for as long as that took: however many they are, they have half of it.
 */
export class Talkers {
  readonly #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | null = null
  #restMs = 0

  /** @param tookMs  what it took to hear it just now. @param hearOn  called once, in its turn */
  rest(tookMs: number, hearOn: () => void): void {
    this.#waiting.push(hearOn)
    this.#restMs = Math.max(this.#restMs, performance.now() + tookMs)
    this.#wait()
  }

  #wait(): void {
    this.#timer ??= setTimeout(() => this.#next(), Math.max(TURN_MS, this.#restMs - performance.now()))
  }

  #next(): void {
    this.#timer = null
    if (performance.now() >= this.#restMs) this.#waiting.shift()?.()
    // Where that one has nothing more to say, nobody else would call those behind it.
    if (this.#waiting.length > 0) this.#wait()
  }
}

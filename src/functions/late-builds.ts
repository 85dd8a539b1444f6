import type { Clock } from '../lib/clock.ts'

/** Edits that come upon one another are built once, when they have come to rest. */
const REST_MS = 10_000

/** What is built for later calls, when nobody works on it any more: until then it loads without what a build gives. */
export class LateBuilds implements Disposable {
  readonly #clock: Pick<Clock, 'timer'>
  readonly #waiting = new Map<string, Disposable>()

  constructor(clock: Pick<Clock, 'timer'>) {
    this.#clock = clock
  }

  add(key: string, build: () => unknown): void {
    this.drop(key)
    const timer = this.#clock.timer(REST_MS, () => {
      this.#waiting.delete(key)
      build()
    })
    this.#waiting.set(key, timer)
  }

  /** It serves no more. */
  drop(key: string): void {
    this.#waiting.get(key)?.[Symbol.dispose]()
    this.#waiting.delete(key)
  }

  [Symbol.dispose](): void {
    for (const key of [...this.#waiting.keys()]) this.drop(key)
  }
}

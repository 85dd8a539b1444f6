import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from './clock.ts'

/** Long work of one thread in pieces: `if (turns.over) await turns.next()` between two steps lets everybody else have theirs. */
export class Turns {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #ms: number
  #until: number

  /** @param ms  how long one turn may take, but for the step that runs over it */
  constructor(clock: Pick<Clock, 'monotonic'>, ms: number) {
    this.#clock = clock
    this.#ms = ms
    this.#until = clock.monotonic() + ms
  }

  get over(): boolean {
    return this.#clock.monotonic() >= this.#until
  }

  async next(): Promise<void> {
    await nextTurn()
    this.begin()
  }

  /** After a wait for something else. */
  begin(): void {
    this.#until = this.#clock.monotonic() + this.#ms
  }
}

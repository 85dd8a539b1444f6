import type { Log } from '../core/log.ts'

/** What must be over before the pool is closed. */
export class Endings {
  readonly #pending = new Set<Promise<void>>()
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  track(ending: Promise<void>): void {
    const done = ending
      .catch((error: Error) => this.#log.error({ error: error.message }, 'a sandbox could not be given back'))
      .then(() => void this.#pending.delete(done))
    this.#pending.add(done)
  }

  /** Resolves when nothing is pending, what came meanwhile included. */
  async over(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
  }
}

import type { Clock } from './clock.ts'

/** Time that passes only when it is told to: what waits for it runs in the order of its due times. For suites. */
export class VirtualClock implements Clock {
  #now = 0
  #next = 0
  readonly #due: { readonly at: number; readonly order: number; readonly fire: () => void }[] = []

  now(): number {
    return this.#now
  }
  monotonic(): number {
    return this.#now
  }

  timer(ms: number, fire: () => void): Disposable {
    const entry = { at: this.#now + ms, order: this.#next++, fire }
    this.#due.push(entry)
    return {
      [Symbol.dispose]: () => {
        const at = this.#due.indexOf(entry)
        if (at !== -1) this.#due.splice(at, 1)
      },
    }
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.timer(ms, resolve)
      signal?.addEventListener('abort', () => {
        timer[Symbol.dispose]()
        reject(signal.reason as Error)
      })
    })
  }

  /** Lets `ms` pass; between two due times everything else that can run has run. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms
    for (;;) {
      await settled()
      const next = this.#due.toSorted((a, b) => a.at - b.at || a.order - b.order)[0]
      if (!next || next.at > until) break
      this.#due.splice(this.#due.indexOf(next), 1)
      this.#now = Math.max(this.#now, next.at)
      next.fire()
    }
    this.#now = until
  }
}

/** All that is only a chain of promises away has happened. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

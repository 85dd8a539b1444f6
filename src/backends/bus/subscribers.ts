import type { BusValue } from './bus.ts'

type Hear = (value: BusValue) => void

/** Who hears of which subject in this process. */
export class Subscribers {
  readonly #bySubject = new Map<string, Set<Hear>>()

  add(subject: string, hear: Hear): Disposable {
    const all = this.#bySubject.get(subject) ?? new Set()
    this.#bySubject.set(subject, all.add(hear))
    return {
      [Symbol.dispose]: () => {
        all.delete(hear)
        if (all.size === 0 && this.#bySubject.get(subject) === all) this.#bySubject.delete(subject)
      },
    }
  }

  /** Each hears of it by itself, after this turn. */
  tell(subject: string, value: BusValue): void {
    for (const hear of this.#bySubject.get(subject) ?? []) {
      queueMicrotask(() => {
        try {
          hear(value)
        } catch {
          // Lossy by contract: what a subscriber missed it finds out by itself.
        }
      })
    }
  }

  clear(): void {
    this.#bySubject.clear()
  }
}

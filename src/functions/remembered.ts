import { LIMITS } from '../core/limits.ts'

/** What was read, until somebody says that it changed; those who ask at the same time share one reading. */
export class Remembered<T> {
  readonly #believable: () => boolean
  readonly #known = new Map<string, T>()
  readonly #loading = new Map<string, Promise<T>>()
  /** Raised by each change: what was read before it is not kept. */
  #generation = 0

  constructor(believable: () => boolean) {
    this.#believable = believable
  }

  async get(key: string, load: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key)
    if (known && this.#believable()) return known
    const running = this.#loading.get(key)
    if (running) return await running
    const loading = this.#load(key, load)
    this.#loading.set(key, loading)
    try {
      return await loading
    } finally {
      if (this.#loading.get(key) === loading) this.#loading.delete(key)
    }
  }

  values(): T[] {
    return [...this.#known.values()]
  }

  /** Forgets all whose key begins so. */
  forget(prefix: string): void {
    this.#generation += 1
    for (const key of this.#known.keys()) if (key.startsWith(prefix)) this.#known.delete(key)
    for (const key of this.#loading.keys()) if (key.startsWith(prefix)) this.#loading.delete(key)
  }

  async #load(key: string, load: () => Promise<T>): Promise<T> {
    const generation = this.#generation
    const value = await load()
    if (generation === this.#generation) {
      if (this.#known.size >= LIMITS.rememberedVersions.value) this.#known.delete(this.#known.keys().next().value as string)
      this.#known.set(key, value)
    }
    return value
  }
}

/** First in, first out. An array's own `shift` moves all that is left, which in a long queue costs more than the rest of the work. */
export class Fifo<T> {
  #items: (T | undefined)[] = []
  #from = 0

  get length(): number {
    return this.#items.length - this.#from
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** The first one, which stays; undefined when there is none. */
  get first(): T | undefined {
    return this.#items[this.#from]
  }

  /** The first one; undefined when there is none. */
  shift(): T | undefined {
    if (this.#from === this.#items.length) return undefined
    const item = this.#items[this.#from] as T
    this.#items[this.#from++] = undefined
    if (this.#from === this.#items.length) this.#clear()
    else if (this.#from * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#from)
      this.#from = 0
    }
    return item
  }

  /** All that are in it, which is empty then. */
  takeAll(): T[] {
    const all = this.#items.slice(this.#from) as T[]
    this.#clear()
    return all
  }

  toArray(): T[] {
    return this.#items.slice(this.#from) as T[]
  }

  #clear(): void {
    this.#items = []
    this.#from = 0
  }
}

/** Looks again and again while there is something to look at, and wakes nobody while there is not. */
export class Ticking implements Disposable {
  readonly #everyMs: number
  readonly #look: () => boolean
  #timer: NodeJS.Timeout | null = null

  /** @param look  tells whether there is anything to look at still */
  constructor(everyMs: number, look: () => boolean) {
    this.#everyMs = everyMs
    this.#look = look
  }

  get isArmed(): boolean {
    return this.#timer !== null
  }

  /** There is something. On the path of every call. */
  wake(): void {
    // Kept until a look finds nothing, rather than set anew for each that comes and goes. It holds up no end of the process.
    this.#timer ??= setInterval(() => this.#tick(), this.#everyMs).unref()
  }

  [Symbol.dispose](): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  #tick(): void {
    if (!this.#look()) this[Symbol.dispose]()
  }
}

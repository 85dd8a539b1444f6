import { privateMbOf } from './family.ts'

/** How often one looks: what a sandbox may take meanwhile the host must have. */
const LOOK_MS = 250

interface Watched {
  /** Its first process. */
  readonly init: number
  readonly limitMb: number
  /** Called once, when it holds more. */
  readonly over: () => void
}

/** Ends sandboxes that hold more memory than they may, where no control group does. By manners: the kernel would be at once. */
export class MemoryWatch<Sandbox extends object> implements Disposable {
  readonly #watched = new Map<Sandbox, Watched>()
  #timer: NodeJS.Timeout | null = null

  /** From now on; in place of what was said before. */
  watch(sandbox: Sandbox, what: Watched): void {
    this.#watched.set(sandbox, what)
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref()
  }

  /** One that is stopped or gone takes nothing. */
  leave(sandbox: Sandbox): void {
    this.#watched.delete(sandbox)
    if (this.#watched.size > 0) return
    this[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  #look(): void {
    for (const [sandbox, { init, limitMb, over }] of [...this.#watched]) {
      if (privateMbOf(init) <= limitMb) continue
      this.leave(sandbox)
      over()
    }
  }
}

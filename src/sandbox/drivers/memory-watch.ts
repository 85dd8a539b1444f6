import { LIMITS } from '../../core/limits.ts'
import { heldBy, sharedOutMbOf } from './family.ts'

/** How often one looks: what a sandbox may take meanwhile the host must have. */
const LOOK_MS = LIMITS.memoryLook.value
/** Who is asked about closely is left alone for so many times as long as that took. */
const PAUSE = 10

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
  readonly #asked = new WeakSet<Sandbox>()
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
    for (const [sandbox, what] of [...this.#watched]) {
      const { togetherMb, mostMb } = heldBy(what.init)
      if (mostMb > what.limitMb) this.#over(sandbox, what)
      else if (togetherMb > what.limitMb && !this.#asked.has(sandbox)) void this.#askClosely(sandbox, what)
    }
  }

  /** One that forks seems to hold what its children share with it as often as there are children. */
  async #askClosely(sandbox: Sandbox, what: Watched): Promise<void> {
    this.#asked.add(sandbox)
    const from = performance.now()
    const heldMb = await sharedOutMbOf(what.init)
    setTimeout(() => this.#asked.delete(sandbox), (performance.now() - from) * PAUSE).unref()
    // It may have been stopped meanwhile, or ended.
    if (this.#watched.get(sandbox) === what && heldMb > what.limitMb) this.#over(sandbox, what)
  }

  #over(sandbox: Sandbox, { over }: Watched): void {
    this.leave(sandbox)
    over()
  }
}

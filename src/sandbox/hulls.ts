import type { Clock } from '../lib/clock.ts'
import type { Endings } from './endings.ts'

/** How many stand in all. Each holds a shell's memory, where one that is booted holds a runtime's. */
const MOST = 2
/** The call for which one was taken has the processors to itself for so long. */
const AFTER_MS = 25
/** When no call had to wait for a start for so long, none stand any more. */
const KEPT_MS = 5 * 60_000

export interface HullsDeps<Hull> {
  readonly clock: Clock
  readonly closing: AbortSignal
  readonly endings: Endings
  /** Whether calls wait for starts: then these come later. */
  readonly isBusy: () => boolean
  readonly make: (kind: string) => Promise<Hull>
  readonly end: (hull: Hull) => Promise<void>
  /** Resolves when nothing lives in it any more, by whosever doing. */
  readonly over: (hull: Hull) => Promise<unknown>
  readonly failed: (error: Error) => void
}

/**
 * Sandboxes in which no program runs yet. Where calls find no booted one, most of what they wait for is the making of
 * namespaces, mounts and groups, which is the same for all of a kind: so it is done ahead of the next such call.
 */
export class Hulls<Hull> {
  readonly #deps: HullsDeps<Hull>
  /** The one that was made first stands first. */
  readonly #standing: { readonly kind: string; readonly hull: Hull }[] = []
  /** That of which one was asked for last, and when. */
  #asked: { readonly kind: string; readonly at: number } | null = null
  #later: Disposable | null = null
  #making = false

  constructor(deps: HullsDeps<Hull>) {
    this.#deps = deps
  }

  /** For a call that waits; gone from here. */
  take(kind: string): Hull | null {
    this.#asked = { kind, at: this.#deps.clock.monotonic() }
    const at = this.#standing.findIndex((one) => one.kind === kind)
    this.#in(AFTER_MS)
    return at === -1 ? null : (this.#standing.splice(at, 1)[0]?.hull ?? null)
  }

  close(): void {
    this.#later?.[Symbol.dispose]()
    this.#later = null
    for (const { hull } of this.#standing.splice(0)) this.#end(hull)
  }

  #in(ms: number): void {
    this.#later?.[Symbol.dispose]()
    this.#later = this.#deps.closing.aborted ? null : this.#deps.clock.timer(ms, () => this.#look())
  }

  #look(): void {
    const { clock, isBusy, endings } = this.#deps
    const asked = this.#asked
    if (this.#making || asked === null) return
    if (clock.monotonic() - asked.at >= KEPT_MS) {
      this.close()
      return
    }
    if (isBusy()) {
      this.#in(AFTER_MS)
      return
    }
    // Of another kind one goes only where there is none of this.
    if (this.#standing.length >= MOST && !this.#standing.some(({ kind }) => kind === asked.kind)) this.#end(this.#standing.shift()?.hull as Hull)
    if (this.#standing.length < MOST) endings.track(this.#make(asked.kind))
    else this.#in(KEPT_MS)
  }

  async #make(kind: string): Promise<void> {
    const { make, closing, failed } = this.#deps
    this.#making = true
    try {
      const hull = await make(kind)
      if (closing.aborted) this.#end(hull)
      else this.#stand({ kind, hull })
      this.#in(0)
    } catch (error) {
      // The next call that finds none has it tried again, and says why it failed.
      failed(error as Error)
      this.#in(KEPT_MS)
    } finally {
      this.#making = false
    }
  }

  /** One that dies meanwhile is of use to nobody, and another is made when a call asks for one: what dies at once is not made without end. */
  #stand(one: { readonly kind: string; readonly hull: Hull }): void {
    this.#standing.push(one)
    void this.#deps.over(one.hull).then(() => {
      const at = this.#standing.indexOf(one)
      if (at === -1) return
      this.#standing.splice(at, 1)
      this.#end(one.hull)
    })
  }

  #end(hull: Hull): void {
    this.#deps.endings.track(this.#deps.end(hull))
  }
}

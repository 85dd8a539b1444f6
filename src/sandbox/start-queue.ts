import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'

interface Waiter<Booted, Ready> {
  readonly key: string
  /** What will do: a runtime with a size of /tmp. Null: only one of its own version, and none is started for it. */
  readonly kind: string | null
  readonly got: (found: Found<Booted, Ready>) => void
  readonly failed: (error: unknown) => void
}

/** What a waiting call gets: a sandbox that can become anything, or one of its own version that became free. */
export type Found<Booted, Ready> = { readonly booted: Booted; readonly ready: null } | { readonly booted: null; readonly ready: Ready }

export interface StartQueueDeps<Booted> {
  /** How many are started at once. */
  readonly starts: number
  readonly start: (kind: string) => Promise<Booted>
  /** Takes one that nobody waits for any more. */
  readonly surplus: (booted: Booted, kind: string) => void
  readonly clock: Clock
}

/**
 * The calls that found no sandbox, in the order they came. So many sandboxes as there are calls are started, a few at
 * once; whatever comes first serves the call that has waited longest for such a thing. A start belongs to nobody:
 * its call may have been served or have left meanwhile.
 */
export class StartQueue<Booted, Ready> {
  readonly #deps: StartQueueDeps<Booted>
  readonly #waiting: Waiter<Booted, Ready>[] = []
  /** Starts under way, by their kind. */
  readonly #starting = new Map<string, number>()
  #startingAll = 0
  #closed: unknown = null

  constructor(deps: StartQueueDeps<Booted>) {
    this.#deps = deps
  }

  get length(): number {
    return this.#waiting.length
  }

  /**
   * Waits for whichever comes first.
   * @throws the signal's reason at once; MayflyError too_many_invocations after LIMITS.sandboxWait; what a start throws
   */
  async wait(wanted: { readonly key: string; readonly kind: string }, signal: AbortSignal): Promise<Found<Booted, Ready>> {
    signal.throwIfAborted()
    if (this.#closed !== null) throw this.#closed
    const { promise, resolve, reject } = Promise.withResolvers<Found<Booted, Ready>>()
    const waiter: Waiter<Booted, Ready> = { ...wanted, got: resolve, failed: reject }
    const leave = (error: unknown) => {
      const at = this.#waiting.indexOf(waiter)
      if (at !== -1) this.#waiting.splice(at, 1)
      reject(error)
    }
    const onAbort = () => leave(signal.reason)
    signal.addEventListener('abort', onAbort)
    const limitMs = LIMITS.sandboxWait.value
    using _ = this.#deps.clock.timer(limitMs, () =>
      leave(
        new MayflyError(
          'too_many_invocations',
          `no sandbox could be had within ${limitMs} ms: ${this.#waiting.length} calls wait, ${this.#deps.starts} are started at once`,
        ),
      ),
    )
    this.#waiting.push(waiter)
    this.#pump()
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /**
   * Waits only for one of its version that becomes free, for at most `ms`; null when none did.
   * @throws the signal's reason at once; what the queue was closed with
   */
  async freed(key: string, ms: number, signal: AbortSignal): Promise<Ready | null> {
    if (this.#closed !== null) throw this.#closed
    const { promise, resolve, reject } = Promise.withResolvers<Ready | null>()
    const waiter: Waiter<Booted, Ready> = { key, kind: null, got: ({ ready }) => resolve(ready), failed: reject }
    const leave = () => {
      const at = this.#waiting.indexOf(waiter)
      if (at !== -1) this.#waiting.splice(at, 1)
    }
    const onAbort = () => {
      leave()
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort)
    using _ = this.#deps.clock.timer(ms, () => {
      leave()
      resolve(null)
    })
    this.#waiting.push(waiter)
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Gives a booted one to whoever has waited longest for its kind. @returns whether anybody did */
  giveBooted(booted: Booted, kind: string): boolean {
    return this.#serve((waiter) => waiter.kind === kind, { booted, ready: null })
  }

  /** Gives a freed one to whoever has waited longest for its version. @returns whether anybody did */
  giveReady(ready: Ready, key: string): boolean {
    return this.#serve((waiter) => waiter.key === key, { booted: null, ready })
  }

  /** Nobody waits any more, or will. */
  close(reason: unknown): void {
    this.#closed = reason
    for (const { failed } of this.#waiting.splice(0)) failed(reason)
  }

  #serve(fits: (waiter: Waiter<Booted, Ready>) => boolean, found: Found<Booted, Ready>): boolean {
    const at = this.#waiting.findIndex(fits)
    if (at === -1) return false
    this.#waiting.splice(at, 1)[0]?.got(found)
    return true
  }

  /** Starts as many as are waited for, the longest waiting first, within the limit. */
  #pump(): void {
    const wanted = new Map<string, number>()
    for (const { kind } of this.#waiting) {
      if (kind === null) continue
      if (this.#startingAll >= this.#deps.starts) return
      const count = (wanted.get(kind) ?? 0) + 1
      wanted.set(kind, count)
      if (count > (this.#starting.get(kind) ?? 0)) void this.#start(kind)
    }
  }

  async #start(kind: string): Promise<void> {
    this.#count(kind, 1)
    try {
      const booted = await this.#deps.start(kind)
      if (!this.giveBooted(booted, kind)) this.#deps.surplus(booted, kind)
    } catch (error) {
      const at = this.#waiting.findIndex((waiter) => waiter.kind === kind)
      if (at !== -1) this.#waiting.splice(at, 1)[0]?.failed(error)
    }
    this.#count(kind, -1)
    this.#pump()
  }

  #count(kind: string, by: 1 | -1): void {
    this.#startingAll += by
    const left = (this.#starting.get(kind) ?? 0) + by
    if (left === 0) this.#starting.delete(kind)
    else this.#starting.set(kind, left)
  }
}

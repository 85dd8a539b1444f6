import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { NestedOrder } from '../lib/fair-order.ts'

interface Waiter<Booted, Ready> {
  readonly project: string
  /** Its version. */
  readonly name: string
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
  /** How many of those one project may have begun, of this moment. */
  readonly most?: (project: string) => number
  /** @param project  whose turn it is */
  readonly start: (kind: string, project: string) => Promise<Booted>
  /** Takes one that nobody waits for any more. */
  readonly surplus: (booted: Booted, kind: string) => void
  readonly clock: Clock
}

/** Who waits: a call of this version of a project. */
export interface Wanted {
  readonly project: string
  readonly key: string
  /** What will do; see `kindOf`. */
  readonly kind: string
}

/**
 * The calls that found no sandbox. So many sandboxes as there are calls are started, a few at once, and projects take
 * turns for them, and within a project its versions; those of one version are served in the order they came. A start
 * belongs to nobody: its call may have been served or have left meanwhile. What a version gets back of its own goes to
 * the one of its calls that has waited longest, and is no turn.
 */
export class StartQueue<Booted, Ready> {
  readonly #deps: StartQueueDeps<Booted>
  readonly #waiting: Waiter<Booted, Ready>[] = []
  readonly #order = new NestedOrder()
  /** Starts under way, by their kind. */
  readonly #starting = new Map<string, number>()
  readonly #startingFor = new Map<string, number>()
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
  async wait({ project, key, kind }: Wanted, signal: AbortSignal): Promise<Found<Booted, Ready>> {
    signal.throwIfAborted()
    if (this.#closed !== null) throw this.#closed
    const { promise, resolve, reject } = Promise.withResolvers<Found<Booted, Ready>>()
    const waiter: Waiter<Booted, Ready> = { project, name: key, kind, got: resolve, failed: reject }
    const leave = (error: unknown) => {
      this.#take(waiter)
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
    this.#enter(waiter)
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
  async freed({ project, key }: Omit<Wanted, 'kind'>, ms: number, signal: AbortSignal): Promise<Ready | null> {
    if (this.#closed !== null) throw this.#closed
    const { promise, resolve, reject } = Promise.withResolvers<Ready | null>()
    const waiter: Waiter<Booted, Ready> = { project, name: key, kind: null, got: ({ ready }) => resolve(ready), failed: reject }
    const leave = () => void this.#take(waiter)
    const onAbort = () => {
      leave()
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort)
    using _ = this.#deps.clock.timer(ms, () => {
      leave()
      resolve(null)
    })
    this.#enter(waiter)
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Gives a booted one to the call whose turn it is among those that wait for its kind. @returns whether there is one */
  giveBooted(booted: Booted, kind: string): boolean {
    const waiter = this.#turn(kind)
    if (!waiter) return false
    this.#order.serve(waiter.project, waiter.name)
    this.#take(waiter)
    waiter.got({ booted, ready: null })
    return true
  }

  /** Gives a freed one to whoever has waited longest for its version. @returns whether anybody did */
  giveReady(ready: Ready, key: string): boolean {
    const waiter = this.#waiting.find(({ name }) => name === key)
    if (!waiter) return false
    this.#take(waiter)
    waiter.got({ booted: null, ready })
    return true
  }

  /** Nobody waits any more, or will. */
  close(reason: unknown): void {
    this.#closed = reason
    for (const waiter of [...this.#waiting]) {
      this.#take(waiter)
      waiter.failed(reason)
    }
  }

  #enter(waiter: Waiter<Booted, Ready>): void {
    this.#waiting.push(waiter)
    this.#order.enter(waiter.project, waiter.name)
  }

  #take(waiter: Waiter<Booted, Ready>): void {
    const at = this.#waiting.indexOf(waiter)
    if (at === -1) return
    this.#waiting.splice(at, 1)
    this.#order.leave(waiter.project, waiter.name)
  }

  #turn(kind: string): Waiter<Booted, Ready> | undefined {
    return this.#order.next(this.#waiting.filter((waiter) => waiter.kind === kind))
  }

  /**
   * Starts as many as are waited for, within the limits; of several kinds first what those wait for whose turn it is. A
   * project that may begin no more now has one under way, whose end has this looked at again.
   */
  #pump(): void {
    const { starts } = this.#deps
    const most = new Map<string, number>()
    const mostOf = (project: string) => {
      const known = most.get(project) ?? Math.max(1, this.#deps.most?.(project) ?? starts)
      most.set(project, known)
      return known
    }
    while (this.#startingAll < starts) {
      const wanted = new Map<string, number>()
      for (const { kind } of this.#waiting) if (kind !== null) wanted.set(kind, (wanted.get(kind) ?? 0) + 1)
      const startingFor = (project: string) => this.#startingFor.get(project) ?? 0
      const missing = this.#waiting.filter(
        ({ kind, project }) => kind !== null && (wanted.get(kind) ?? 0) > (this.#starting.get(kind) ?? 0) && startingFor(project) < mostOf(project),
      )
      const next = this.#order.next(missing, startingFor)
      if (!next || next.kind === null) return
      void this.#start(next.kind, next.project)
    }
  }

  /** For whoever's turn it is when it has come; that it was begun counts for the project whose turn it was then. */
  async #start(kind: string, project: string): Promise<void> {
    this.#startingAll++
    count(this.#starting, kind, 1)
    count(this.#startingFor, project, 1)
    try {
      const booted = await this.#deps.start(kind, project)
      if (!this.giveBooted(booted, kind)) this.#deps.surplus(booted, kind)
    } catch (error) {
      const waiter = this.#turn(kind)
      if (waiter) {
        this.#take(waiter)
        waiter.failed(error)
      }
    }
    this.#startingAll--
    count(this.#starting, kind, -1)
    count(this.#startingFor, project, -1)
    this.#pump()
  }
}

function count(counts: Map<string, number>, name: string, by: 1 | -1): void {
  const left = (counts.get(name) ?? 0) + by
  if (left === 0) counts.delete(name)
  else counts.set(name, left)
}

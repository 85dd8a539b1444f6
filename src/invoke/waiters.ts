import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { NestedOrder } from '../lib/fair-order.ts'

export interface WaitBounds {
  readonly node: number
  readonly project: number
  readonly function: number
}

interface Waiter<Given> {
  readonly project: string
  readonly name: string
  readonly got: (given: Given | null) => void
}

const BOUNDS: WaitBounds = { node: LIMITS.waitingCalls.value, project: LIMITS.waitingCallsOfProject.value, function: LIMITS.waitingCallsOfFunction.value }

/** The calls that wait in front of something full, so many of a function, of a project and of all; served in turns. */
export class Waiters<Given> {
  readonly #clock: Clock
  readonly #weightOf: (project: string) => number
  readonly #bounds: WaitBounds
  readonly #waiting: Waiter<Given>[] = []
  readonly #order = new NestedOrder()
  readonly #byProject = new Map<string, number>()
  readonly #byFunction = new Map<string, number>()

  constructor(clock: Clock, weightOf: (project: string) => number, bounds: WaitBounds = BOUNDS) {
    this.#clock = clock
    this.#weightOf = weightOf
    this.#bounds = bounds
  }

  get length(): number {
    return this.#waiting.length
  }

  /** Whether one of this function waits. */
  has(name: string): boolean {
    return this.#byFunction.has(name)
  }

  /**
   * Waits for at most `ms`; null when nothing came, at once where too many wait already.
   * @throws the signal's reason at once
   */
  async enter({ project, name }: { readonly project: string; readonly name: string }, ms: number, signal: AbortSignal): Promise<Given | null> {
    signal.throwIfAborted()
    const { node, project: ofProject, function: ofFunction } = this.#bounds
    if (this.#waiting.length >= node || this.#of(this.#byProject, project) >= ofProject || this.#of(this.#byFunction, name) >= ofFunction) return null
    const { promise, resolve, reject } = Promise.withResolvers<Given | null>()
    const waiter: Waiter<Given> = { project, name, got: resolve }
    const onAbort = () => {
      this.#take(waiter)
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', onAbort)
    using _ = this.#clock.timer(ms, () => {
      this.#take(waiter)
      resolve(null)
    })
    this.#waiting.push(waiter)
    this.#order.enter(project, name)
    this.#byProject.set(project, this.#of(this.#byProject, project) + 1)
    this.#byFunction.set(name, this.#of(this.#byFunction, name) + 1)
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Gives what `give` makes to the one whose turn it is among those that may have it. @returns whether there is one */
  serve(
    may: (waiter: { readonly project: string; readonly name: string }) => boolean,
    give: (waiter: { readonly project: string; readonly name: string }) => Given,
  ): boolean {
    const allowed = new Map<string, boolean>()
    const mayHave = (waiter: Waiter<Given>) => {
      const known = allowed.get(waiter.name) ?? may(waiter)
      allowed.set(waiter.name, known)
      return known
    }
    const next = this.#order.next(this.#waiting.filter(mayHave))
    if (!next) return false
    this.#order.serve(next.project, next.name, this.#weightOf(next.project))
    this.#take(next)
    next.got(give(next))
    return true
  }

  #of(counts: ReadonlyMap<string, number>, name: string): number {
    return counts.get(name) ?? 0
  }

  #take(waiter: Waiter<Given>): void {
    const at = this.#waiting.indexOf(waiter)
    if (at === -1) return
    this.#waiting.splice(at, 1)
    this.#order.leave(waiter.project, waiter.name)
    for (const [counts, name] of [
      [this.#byProject, waiter.project],
      [this.#byFunction, waiter.name],
    ] as const) {
      const left = this.#of(counts, name) - 1
      if (left === 0) counts.delete(name)
      else counts.set(name, left)
    }
  }
}

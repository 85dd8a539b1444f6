import { MayflyError } from '../core/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { mostOf, Uses } from '../lib/fair-share.ts'
import { type WaitBounds, Waiters } from './waiters.ts'

/** The right to run one invocation now. Giving it back twice is harmless. */
export interface Slot extends Disposable {
  readonly [Symbol.dispose]: () => void
}

/** Whose call it is. */
export interface Caller {
  readonly project: string
  readonly functionId: string
}

/** What functions have for themselves: no other takes it, and they take no more; and what projects have. */
export interface Reservations {
  /** Null where nothing is reserved. */
  readonly of: (functionId: string) => number | null
  /** Of all functions together. */
  readonly total: number
  /** How many projects have functions. */
  readonly projects: number
  /** How much of a full node a project has beside others, 1 where nobody has said anything. */
  readonly weightOf: (project: string) => number
  /** The largest of them. */
  readonly mostWeight: number
  /** How many a project may run at once; null where nobody has said that. */
  readonly mostOf: (project: string) => number | null
}

export interface AdmissionLimits {
  readonly node: number
  readonly perProject: number
  readonly perFunction: number
}

const NOTHING: Reservations = { of: () => null, total: 0, projects: 1, weightOf: () => 1, mostWeight: 1, mostOf: () => null }

/** Which limit a call met: of the node, its project's share of a full node, of its project, of any one function, or what its own function has reserved. */
export type LimitMet = 'node' | 'share' | 'project' | 'function' | 'reserved'

/** Of ten slots of the node one stays for functions without a reservation, whatever the others have reserved. */
const UNRESERVED_SHARE = 0.1

/**
 * Hands out slots: so many on the node, on a project, on one function. Where projects compete for those that nobody has
 * reserved, each has its share, and more only while the others leave it. A call past a limit is refused at once, or
 * waits a moment where its caller lets it. One instance serves the node.
 */
export class Admission {
  readonly #limits: AdmissionLimits
  readonly #reservations: Reservations
  readonly #waiters: Waiters<Slot>
  readonly #byFunction = new Map<string, number>()
  readonly #byProject = new Map<string, number>()
  /** Of projects, what runs without a reservation. */
  readonly #unreserved: Uses
  #running = 0
  #unreservedAll = 0
  readonly #refused: Record<LimitMet, number> = { node: 0, share: 0, project: 0, function: 0, reserved: 0 }

  constructor(limits: AdmissionLimits, clock: Clock, reservations: Reservations = NOTHING, bounds?: WaitBounds) {
    this.#limits = limits
    this.#reservations = reservations
    this.#unreserved = new Uses(clock)
    this.#waiters = new Waiters(clock, (project) => reservations.weightOf(project), bounds)
  }

  get running(): number {
    return this.#running
  }

  /** Calls that wait for a slot. */
  get waiting(): number {
    return this.#waiters.length
  }

  /** Calls that were refused, by the limit that they met. */
  get refused(): Readonly<Record<LimitMet, number>> {
    return this.#refused
  }

  /** How many more calls a function with a reservation may run; without one, or with none at all, that is not known before. */
  freeOf(functionId: string): number {
    const reserved = this.#reservations.of(functionId)
    return reserved === null || reserved === 0 ? Number.POSITIVE_INFINITY : Math.max(0, reserved - (this.#byFunction.get(functionId) ?? 0))
  }

  /** @throws MayflyError too_many_invocations, function_concurrency_reached, naming the limit that was met */
  enter(caller: Caller): Slot {
    const met = this.#met(caller)
    if (met) throw this.#refuse(met)
    return this.#take(caller)
  }

  /** Whether one more of a function that nobody calls yet keeps it from nobody. */
  isRoomy(functionId: string): boolean {
    return this.#reservations.of(functionId) === null && this.#waiters.length === 0 && this.#running * 2 < this.#limits.node
  }

  /**
   * The same for a call that may wait for so long: in turns of the projects and their functions, and no longer than the
   * queue of its function is bounded. What will not change by waiting is refused at once.
   * @throws also the signal's reason
   */
  async wait(caller: Caller, ms: number, signal: AbortSignal): Promise<Slot> {
    const slot = this.atOnce(caller)
    if (slot) return slot
    if (ms === 0 || this.#reservations.of(caller.functionId) === 0) return this.enter(caller)
    const waits = this.#waiters.enter({ project: caller.project, name: caller.functionId }, ms, signal)
    // It has waited in vain, or could not even wait: what it meets now is what it is told.
    return (await waits) ?? this.enter(caller)
  }

  /** Null where it would have to wait. */
  atOnce(caller: Caller): Slot | null {
    return this.#waiters.has(caller.functionId) || this.#met(caller) !== null ? null : this.#take(caller)
  }

  #take({ project, functionId }: Caller): Slot {
    const counted = this.#reservations.of(functionId) === null ? 1 : 0
    this.#count(project, functionId, 1, counted)
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        this.#count(project, functionId, -1, -counted)
        if (this.#waiters.length > 0) this.#pump()
      },
    }
  }

  /** Gives what is free to those that wait and may have it, whose turn it is. */
  #pump(): void {
    while (this.#running < this.#limits.node) {
      const served = this.#waiters.serve(
        ({ project, name }) => this.#met({ project, functionId: name }) === null,
        ({ project, name }) => this.#take({ project, functionId: name }),
      )
      if (!served) return
    }
  }

  #count(project: string, functionId: string, by: number, unreserved: number): void {
    this.#running += by
    this.#unreservedAll += unreserved
    if (unreserved !== 0) this.#unreserved.set(project, this.#unreserved.of(project) + unreserved)
    add(this.#byProject, project, by)
    add(this.#byFunction, functionId, by)
  }

  /** Null where the call may run. */
  #met({ project, functionId }: Caller): { readonly limit: LimitMet; readonly message: string } | null {
    const { node, perProject, perFunction } = this.#limits
    const reservations = this.#reservations
    const own = this.#byFunction.get(functionId) ?? 0
    const reserved = reservations.of(functionId)
    if (reserved !== null && own >= reserved)
      return { limit: 'reserved', message: `the function runs ${own} invocations already; ${reserved} are reserved for it` }
    if (own >= perFunction) return { limit: 'function', message: `the function runs ${own} invocations already; ${perFunction} at once is the limit` }
    if (this.#running >= node) return { limit: 'node', message: `the node runs ${this.#running} invocations already; ${node} at once is the limit` }
    const ofProject = this.#byProject.get(project) ?? 0
    const most = Math.min(perProject, reservations.mostOf(project) ?? Number.POSITIVE_INFINITY)
    if (ofProject >= most) return { limit: 'project', message: `the project runs ${ofProject} invocations already; ${most} at once is the limit` }
    const kept = Math.ceil(node * UNRESERVED_SHARE)
    if (reserved !== null) {
      // More may be reserved than the node has: what is kept for the others is not taken by who came first either.
      const room = Math.max(1, node - kept)
      const running = this.#running - this.#unreservedAll
      if (running < room) return null
      return { limit: 'node', message: `functions with a reservation run ${running} invocations already; ${room} of the node's ${node} are for them` }
    }
    const open = Math.max(node - reservations.total, kept)
    const running = this.#unreservedAll
    if (running >= open)
      return { limit: 'node', message: `functions without a reservation run ${running} invocations already; ${open} of the node's ${node} are not reserved` }
    const share = this.#shareOf(project, open)
    const uses = this.#unreserved.of(project)
    if (uses < share) return null
    return {
      limit: 'share',
      message: `the project runs ${uses} invocations already; ${share} of the node's ${open} are its share beside what is kept for other projects`,
    }
  }

  /** How many of the slots that nobody has reserved a project may have now. */
  #shareOf(project: string, open: number): number {
    const { projects, weightOf, mostWeight } = this.#reservations
    // On the path of every call: who uses less than the smallest share there can be needs no sum over all projects.
    if (projects <= 1 || this.#unreserved.of(project) < open / ((this.#unreserved.parties + 1) * mostWeight)) return open
    const uses = this.#unreserved.all(weightOf)
    return Math.max(1, Math.floor(mostOf(project, uses, open, projects > uses.size + (uses.has(project) ? 0 : 1))))
  }

  #refuse({ limit, message }: { readonly limit: LimitMet; readonly message: string }): MayflyError {
    this.#refused[limit]++
    return limit === 'reserved' ? new MayflyError('function_concurrency_reached', message) : new MayflyError('too_many_invocations', message)
  }
}

function add(counts: Map<string, number>, name: string, by: number): void {
  const left = (counts.get(name) ?? 0) + by
  if (left <= 0) counts.delete(name)
  else counts.set(name, left)
}

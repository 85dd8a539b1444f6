import { MayflyError } from '../core/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { mostOf, type Use, Uses } from '../lib/fair-share.ts'
import type { MemorySource, Recalled } from './memory-leases.ts'
import type { Server, Serving } from './serving.ts'
import { runningMb } from './state.ts'
import type { Shares } from './types.ts'

/** What has stood idle for so long gives way to a project that wants more than its share. */
const LONG_IDLE_MS = 60_000

const UNASKED_SHARE = 0.9
/** Of what it began with, the least that is asked of other processes at once. */
const CHUNK = 1 / 8
const ASKED_MOST = 4

/** What memory is asked for. */
interface Wanted {
  readonly key: string
  readonly memoryMb: number
  readonly identity: { readonly project: string }
}

export interface MemoryBudgetDeps<Sandbox extends Server> {
  readonly totalMb: number
  /** Where it gets more, in a node of several processes. */
  readonly source?: MemorySource
  readonly serving: Serving<Sandbox>
  readonly shares: Shares
  readonly clock: Pick<Clock, 'monotonic'>
  /** Those that wait for any version, beyond what waits in any case: what they count with, and the end of one of them. */
  readonly waiting: { readonly mb: () => number; readonly drop: () => boolean }
  /** Ends one; it counts no more when this returns. */
  readonly drop: (sandbox: Sandbox) => void
}

/**
 * The memory that all sandboxes together may have: those that serve, and those on their way. Projects that compete for
 * it have their shares: idle sandboxes of who has more than its share go first, and what runs or ran lately in
 * another project is kept for it.
 */
export class MemoryBudget<Sandbox extends Server> {
  readonly #deps: MemoryBudgetDeps<Sandbox>
  /** Those on their way, by version. */
  readonly #coming = new Map<string, number>()
  readonly #comingMb = new Map<string, number>()
  /** Of each project, what ran of it, now and lately. */
  readonly #ran: Uses
  #totalMb: number
  #growing: Promise<boolean> | null = null
  /** What is asked of others now, together. */
  #lackingMb = 0

  constructor(deps: MemoryBudgetDeps<Sandbox>) {
    this.#totalMb = deps.source?.firstMb ?? deps.totalMb
    this.#deps = deps
    this.#ran = new Uses(deps.clock)
    deps.source?.lends((asked) => this.#give(asked))
  }

  get totalMb(): number {
    return this.#totalMb
  }

  /** Whether more of the node's memory would help this process. */
  lacks(wanted: Wanted): boolean {
    return this.#deps.source !== undefined && !this.fits(wanted)
  }

  /** The same of one that stands frozen and is to run. On the path of every warm call. */
  lacksToRun(sandbox: Sandbox): boolean {
    const { source, serving } = this.#deps
    if (source === undefined || sandbox.state.state !== 'frozen') return false
    return this.usedMb + sandbox.spec.memoryMb - serving.memoryOf(sandbox) > this.totalMb
  }

  /**
   * Asks the other processes for memory that they do not use.
   * @param asked  how often for this; not for ever, as two that lack more than there is would take it from each other in turn
   * @returns whether there is more now
   */
  async grow({ memoryMb }: Wanted, asked: number): Promise<boolean> {
    if (asked >= ASKED_MOST) return false
    this.#lackingMb += memoryMb
    try {
      return await this.#grow()
    } finally {
      this.#lackingMb -= memoryMb
    }
  }

  /** For all that lack some now; who comes meanwhile waits for the same answer. */
  #grow(): Promise<boolean> {
    const { source } = this.#deps
    if (source === undefined) return Promise.resolve(false)
    this.#growing ??= this.#ask(source).finally(() => {
      this.#growing = null
    })
    return this.#growing
  }

  async #ask(source: MemorySource): Promise<boolean> {
    // Those who are about to ask are asked for too.
    await new Promise((resolve) => setImmediate(resolve))
    const mb = Math.ceil(Math.max(this.#lackingMb, source.firstMb * CHUNK))
    // Where the main process is away it ends this one.
    const totalMb = await source.more(mb).catch(() => this.#totalMb)
    const isMore = totalMb > this.#totalMb
    this.#totalMb = totalMb
    return isMore
  }

  #give({ mb, leastMb, evict }: Recalled): number {
    const wantedMb = Math.min(mb, Math.max(0, this.#totalMb - leastMb))
    const freeMb = () => Math.max(0, Math.floor(this.#totalMb - this.usedMb))
    while (evict && freeMb() < wantedMb) {
      if (this.#deps.waiting.drop()) continue
      const [oldest] = this.#deps.serving.idle().toSorted((one, other) => one.sinceMs - other.sinceMs)
      if (!oldest) break
      this.#deps.drop(oldest.sandbox)
    }
    this.#totalMb -= Math.min(wantedMb, freeMb())
    return this.#totalMb
  }

  /** Whether there is room for what nobody has asked for; a tenth is left to those who will. */
  hasRoomFor(mb: number): boolean {
    return this.usedMb + mb <= this.totalMb * UNASKED_SHARE
  }

  /** Whether there is room without pushing anybody out. */
  fits(wanted: Wanted): boolean {
    return this.usedMb + wanted.memoryMb <= this.totalMb && this.#isWithin(wanted, this.#uses(wanted))
  }

  /** Idle sandboxes go until another fits. @throws MayflyError too_many_invocations */
  makeRoom(wanted: Wanted): void {
    this.#makeRoom(wanted, null)
  }

  /** The same for one that stands frozen and is to run: then it counts for its limit. @throws MayflyError too_many_invocations */
  makeRoomToRun(sandbox: Sandbox): void {
    const { spec, state } = sandbox
    if (state.state === 'frozen') this.#makeRoom({ ...spec, memoryMb: spec.memoryMb - this.#deps.serving.memoryOf(sandbox) }, sandbox)
  }

  #makeRoom(wanted: Wanted, stays: Sandbox | null): void {
    // On the path of every call that wakes one: where there is room for all that ran lately nobody's share is asked for.
    if (this.usedMb + wanted.memoryMb + Math.max(this.#ran.wantedTogether(), this.totalMb * (1 - UNASKED_SHARE)) <= this.totalMb) return
    for (;;) {
      const uses = this.#uses(wanted)
      if (this.usedMb + wanted.memoryMb <= this.totalMb && this.#isWithin(wanted, uses)) return
      if (this.usedMb + wanted.memoryMb > this.totalMb && this.#deps.waiting.drop()) continue
      const victim = this.#victim(wanted, uses, stays)
      if (!victim) throw this.#refusal(wanted, uses)
      this.#deps.drop(victim)
    }
  }

  /** Looks at what runs: that is kept for its project for a while. */
  sample(): void {
    const running = new Map<string, number>()
    for (const { spec, state } of this.#deps.serving.all()) add(running, spec.identity.project, runningMb(state, spec.memoryMb))
    for (const [project, mb] of this.#comingMb) add(running, project, mb)
    for (const project of this.#ran.names()) if (!running.has(project)) this.#ran.set(project, 0)
    for (const [project, mb] of running) this.#ran.set(project, mb)
  }

  /** A sandbox for this is on its way until this is disposed: it counts, so that several at once do not slip through together. */
  comes({ key, memoryMb, identity }: Wanted): Disposable {
    add(this.#comingMb, identity.project, memoryMb)
    add(this.#coming, key, 1)
    return {
      [Symbol.dispose]: () => {
        add(this.#comingMb, identity.project, -memoryMb)
        add(this.#coming, key, -1)
      },
    }
  }

  isComing(key: string): boolean {
    return this.#coming.has(key)
  }

  get usedMb(): number {
    let comingMb = 0
    for (const mb of this.#comingMb.values()) comingMb += mb
    return this.#deps.serving.memoryMb + this.#deps.waiting.mb() + comingMb
  }

  /** What each project has, and what it wanted lately. */
  #uses({ identity }: Wanted): Map<string, Use> {
    this.sample()
    const { serving, shares } = this.#deps
    const used = new Map<string, number>([[identity.project, 0]])
    for (const sandbox of serving.all()) add(used, sandbox.spec.identity.project, serving.memoryOf(sandbox), true)
    for (const [project, mb] of this.#comingMb) add(used, project, mb, true)
    const ran = this.#ran.all(() => 1)
    for (const project of ran.keys()) add(used, project, 0, true)
    return new Map([...used].map(([project, mb]) => [project, { used: mb, wanted: ran.get(project)?.wanted ?? 0, weight: shares.weightOf(project) }]))
  }

  #hasNewcomers(uses: ReadonlyMap<string, Use>): boolean {
    return this.#deps.shares.projects() > uses.size
  }

  #isWithin({ memoryMb, identity }: Wanted, uses: ReadonlyMap<string, Use>): boolean {
    const used = uses.get(identity.project)?.used ?? 0
    return used + memoryMb <= mostOf(identity.project, uses, this.totalMb, this.#hasNewcomers(uses))
  }

  /**
   * Which idle one gives way: the oldest of projects that have more than their share, then of its own project, then of
   * those that have more than is kept for them: of these only what is long idle, unless it is the wanting project's share.
   */
  #victim({ memoryMb, identity }: Wanted, uses: ReadonlyMap<string, Use>, stays: Sandbox | null): Sandbox | null {
    const now = this.#deps.clock.monotonic()
    const own = identity.project
    let weights = this.#hasNewcomers(uses) ? 1 : 0
    for (const { weight } of uses.values()) weights += weight
    const shareOf = (project: string) => (this.totalMb * (uses.get(project)?.weight ?? 1)) / weights
    const isDue = (uses.get(own)?.used ?? 0) + memoryMb <= shareOf(own)
    const idle = this.#deps.serving
      .idle()
      .filter(({ sandbox }) => sandbox !== stays)
      .toSorted((one, other) => one.sinceMs - other.sinceMs)
    const projectOf = ({ sandbox }: (typeof idle)[number]) => sandbox.spec.identity.project
    const overShare = idle.find((one) => (uses.get(projectOf(one))?.used ?? 0) > shareOf(projectOf(one)))
    const ownIdle = idle.find((one) => projectOf(one) === own)
    const spare = idle.find((one) => {
      const { used = 0, wanted = 0 } = uses.get(projectOf(one)) ?? {}
      return used > Math.min(shareOf(projectOf(one)), wanted) && (isDue || now - one.sinceMs >= LONG_IDLE_MS)
    })
    return (overShare ?? ownIdle ?? spare)?.sandbox ?? null
  }

  #refusal({ memoryMb, identity }: Wanted, uses: ReadonlyMap<string, Use>): MayflyError {
    const used = uses.get(identity.project)?.used ?? 0
    const most = Math.floor(mostOf(identity.project, uses, this.totalMb, this.#hasNewcomers(uses)))
    const who =
      this.usedMb + memoryMb > this.totalMb
        ? `the sandboxes of this node use ${this.usedMb} of ${this.totalMb} MB of memory`
        : `the sandboxes of the project use ${used} MB of memory, and ${most} MB are its share of this node beside what is kept for other projects`
    return new MayflyError('too_many_invocations', `${who}; another of ${memoryMb} MB does not fit now`)
  }
}

/** @param keep  also where nothing is left */
function add(sums: Map<string, number>, name: string, by: number, keep = false): void {
  const left = (sums.get(name) ?? 0) + by
  if (left === 0 && !keep) sums.delete(name)
  else sums.set(name, left)
}

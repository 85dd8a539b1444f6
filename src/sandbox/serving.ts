import { budgetMb, idleSince, type SandboxState, takesCalls } from './state.ts'
import type { RelayIdentity, SandboxSpec } from './types.ts'

/** A sandbox as far as this file must know it. */
export interface Server {
  readonly spec: Pick<SandboxSpec, 'key' | 'memoryMb' | 'concurrency' | 'reuse'> & { readonly identity: Pick<RelayIdentity, 'project'> }
  readonly state: SandboxState
}

/** Who says which sandboxes stay, whatever becomes of others. */
interface Keeper<Sandbox> {
  wants(key: string): boolean
  holds(sandbox: Sandbox): boolean
  /** The one that calls come to before all others. */
  first(key: string): Sandbox | null
}

/** The sandboxes that serve a version, by version; of each those last that were used last. */
export class Serving<Sandbox extends Server> {
  readonly #byKey = new Map<string, Sandbox[]>()
  readonly #keeper: Keeper<Sandbox>

  constructor(keeper: Keeper<Sandbox>) {
    this.#keeper = keeper
  }

  add(sandbox: Sandbox): void {
    const { key } = sandbox.spec
    const all = this.#byKey.get(key)
    if (all) all.push(sandbox)
    else this.#byKey.set(key, [sandbox])
  }

  remove(sandbox: Sandbox): void {
    const { key } = sandbox.spec
    const all = this.#byKey.get(key)
    const at = all?.indexOf(sandbox) ?? -1
    if (at !== -1) all?.splice(at, 1)
    if (all?.length === 0) this.#byKey.delete(key)
  }

  has(key: string): boolean {
    return this.#byKey.has(key)
  }

  /** A copy: ending one of them takes it away from here. */
  of(key: string): Sandbox[] {
    return [...(this.#byKey.get(key) ?? [])]
  }

  all(): Sandbox[] {
    return [...this.#byKey.values()].flat()
  }

  /** How many of it stand idle, or are about to. */
  idleOf(key: string): number {
    return (this.#byKey.get(key) ?? []).reduce(
      (count, { state }) => (state.state === 'ready' || state.state === 'frozen' || state.state === 'freezing' ? count + 1 : count),
      0,
    )
  }

  /** The one used last: its caches are warmest, and the others may grow old. On the path of every call. */
  findReady(spec: Pick<SandboxSpec, 'key' | 'concurrency' | 'reuse'>): Sandbox | null {
    const all = this.#byKey.get(spec.key)
    if (!all) return null
    const most = atOnce(spec)
    const keeps = this.#keeper.wants(spec.key)
    const first = keeps ? this.#keeper.first(spec.key) : null
    let found = -1
    for (let i = all.length - 1; i >= 0; i--) {
      const sandbox = all[i] as Sandbox
      if (!takesCalls(sandbox.state, most)) continue
      if (found === -1) found = i
      if (!keeps) break
      if (first !== null && first !== sandbox && takesCalls(first.state, most)) continue
      // What is provisioned stays in any case; the others may grow old.
      if (first !== sandbox && !this.#keeper.holds(sandbox)) continue
      found = i
      break
    }
    const sandbox = all[found]
    if (!sandbox) return null
    if (found !== all.length - 1) {
      all.splice(found, 1)
      all.push(sandbox)
    }
    return sandbox
  }

  /** Those that stand idle and need not stay, with since when. */
  idle(): { readonly sandbox: Sandbox; readonly sinceMs: number }[] {
    return this.all().flatMap((sandbox) => {
      const sinceMs = idleSince(sandbox.state)
      return sinceMs === null || this.#keeper.holds(sandbox) ? [] : [{ sandbox, sinceMs }]
    })
  }

  /** What they count for together. */
  get memoryMb(): number {
    let sum = 0
    for (const all of this.#byKey.values()) for (const sandbox of all) sum += this.memoryOf(sandbox)
    return sum
  }

  /** What one counts for. One that must stay keeps the room of its limit when it is frozen too, for it will run again. */
  memoryOf(sandbox: Sandbox): number {
    return this.#staysFrozen(sandbox) ? sandbox.spec.memoryMb : budgetMb(sandbox.state, sandbox.spec.memoryMb)
  }

  #staysFrozen(sandbox: Sandbox): boolean {
    return sandbox.state.state === 'frozen' && this.#keeper.holds(sandbox)
  }
}

/** How many calls one takes that is already busy: where each serves one call, none. */
export const atOnce = (spec: Pick<SandboxSpec, 'reuse' | 'concurrency'>): number => (spec.reuse === 'never' ? 0 : spec.concurrency)

import type { BusValue } from './backends/bus/bus.ts'
import type { Crew } from './crew.ts'
import type { Version } from './functions/index.ts'
import { homeKey } from './home-key.ts'
import type { Homes } from './homes.ts'
import type { KeepsLoaded } from './invoke/index.ts'
import type { ProvisionedState } from './sandbox/index.ts'

export type KeptStates = Readonly<Record<string, ProvisionedState>>

/** With the longest reasons these are a quarter of what a message may have. */
const KEPT_AT_ONCE = 150

/** Of a worker: what it keeps loaded, in messages that are no larger than the bus takes, however much that is. */
export class ToldOfKept {
  readonly #read: () => KeptStates
  readonly #atOnce: number
  #said = '{}'
  #next = 0

  constructor(read: () => KeptStates, atOnce = KEPT_AT_ONCE) {
    this.#read = read
    this.#atOnce = atOnce
  }

  /** All of it, where anything of it is another than when this was asked last. */
  changed(): KeptStates[] {
    const states = this.#read()
    const text = JSON.stringify(states)
    if (text === this.#said) return []
    this.#said = text
    const all = Object.entries(states)
    return Array.from({ length: Math.ceil(all.length / this.#atOnce) }, (_, at) => Object.fromEntries(all.slice(at * this.#atOnce, (at + 1) * this.#atOnce)))
  }

  /** Some of it, and each time the ones behind: for what was lost on its way. */
  some(): KeptStates {
    const all = Object.entries(this.#read())
    const from = this.#next < all.length ? this.#next : 0
    this.#next = from + this.#atOnce
    return Object.fromEntries(all.slice(from, this.#next))
  }
}

/**
 * What is provisioned, by the workers: each version's sandboxes are kept by its home, and when that one goes by the next.
 * What is told of them is what their workers said last.
 */
export class KeptByWorkers implements KeepsLoaded {
  readonly #homes: Homes
  readonly #crew: Crew
  readonly #here: KeepsLoaded
  readonly #kept = new Map<string, { readonly version: Version; count: number; worker: number | null }>()
  readonly #states = new Map<string, ProvisionedState>()

  /** @param here  for when there is no worker */
  constructor(homes: Homes, crew: Crew, here: KeepsLoaded) {
    this.#homes = homes
    this.#crew = crew
    this.#here = here
  }

  provision(version: Version, count: number): void {
    const worker = this.#homes.of(homeKey(version.project, version.functionName))
    const known = this.#kept.get(version.id)
    if (known && known.worker !== worker) this.#letGo(version.id, known.worker)
    if (known?.worker !== worker || known.count !== count) this.#states.set(version.id, { requested: count, available: 0, status: 'IN_PROGRESS', reason: null })
    this.#kept.set(version.id, { version, count, worker })
    if (worker === null) this.#here.provision(version, count)
    else this.#tell(worker, 'provision', { version: version as unknown as BusValue, count })
  }

  unprovision(key: string): void {
    const known = this.#kept.get(key)
    this.#kept.delete(key)
    this.#states.delete(key)
    if (known) this.#letGo(key, known.worker)
  }

  provisionedKeys(): readonly string[] {
    return [...this.#kept.keys()]
  }

  provisioned(key: string): ProvisionedState | null {
    const known = this.#kept.get(key)
    if (!known) return null
    if (known.worker === null) return this.#here.provisioned(key)
    const state = this.#states.get(key)
    return state === undefined ? null : { ...state, requested: known.count }
  }

  /** A worker says how it stands with those that it keeps. */
  heard(worker: number, states: Readonly<Record<string, ProvisionedState>>): void {
    for (const [key, state] of Object.entries(states)) {
      const known = this.#kept.get(key)
      if (known?.worker === worker && known.count === state.requested) this.#states.set(key, state)
    }
  }

  /** What a worker kept is gone with it: asked for again, it is its next home's. */
  lost(worker: number): void {
    for (const [key, known] of this.#kept) {
      if (known.worker !== worker) continue
      known.worker = null
      known.count = 0
      this.#states.set(key, { requested: 0, available: 0, status: 'IN_PROGRESS', reason: null })
    }
  }

  #letGo(key: string, worker: number | null): void {
    if (worker === null) this.#here.unprovision(key)
    else this.#tell(worker, 'unprovision', key)
  }

  /** One that does not hear it is ended by its silence, and begins with nothing. */
  #tell(worker: number, what: string, value: BusValue): void {
    if (this.#homes.live.includes(worker)) void this.#crew.askOne(worker, what, value).catch(() => {})
  }
}

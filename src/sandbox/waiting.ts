import { LIMITS } from '../core/limits.ts'
import type { RuntimeName } from './types.ts'

/** The one that always waits; another does while a version of it is known. */
const ALWAYS: RuntimeName = 'nodejs24.x'
const OTHERS_WAIT = 1

export interface WaitingSizes {
  /** How many of the first runtime wait in any case. */
  readonly least: number
  /** How many of one runtime at most, where it is asked for often. */
  readonly most: number
  /** How many of it should, by how often they are asked for. */
  readonly demand: (runtime: RuntimeName) => number
  /** Whether there is memory for one more than wait in any case. */
  readonly hasMemory: () => boolean
}

/** The sandboxes that wait booted, by runtime, and how many should. */
export class Waiting<Booted extends { readonly runtime: RuntimeName }> {
  readonly #sizes: WaitingSizes
  readonly #booted: Booted[] = []
  readonly #filling = new Map<RuntimeName, number>()
  /** Versions that are expected to be called, of runtimes other than the one that always waits. */
  readonly #versions = new Map<string, RuntimeName>()
  /** How many of them have each runtime. */
  readonly #known = new Map<RuntimeName, number>()

  constructor(sizes: WaitingSizes) {
    this.#sizes = sizes
  }

  get length(): number {
    return this.#booted.length
  }
  count(runtime: RuntimeName): number {
    return this.#booted.filter((one) => one.runtime === runtime).length
  }

  /** How many wait beyond what waits in any case. */
  get extra(): number {
    return this.runtimes().reduce((sum, runtime) => sum + Math.max(0, this.count(runtime) - this.#least(runtime)), 0)
  }

  /** Those of which some should wait. */
  runtimes(): RuntimeName[] {
    return [...new Set([ALWAYS, ...this.#known.keys()])]
  }

  /** Each runtime of which some wait or should. */
  shown(): { readonly runtime: RuntimeName; readonly booted: number; readonly wanted: number }[] {
    const runtimes = new Set([...this.runtimes(), ...this.#booted.map((one) => one.runtime)])
    return [...runtimes].map((runtime) => ({ runtime, booted: this.count(runtime), wanted: this.#wanted(runtime) }))
  }

  /** A version may be called. @returns whether one should be booted that was not wanted before */
  expect(key: string, runtime: RuntimeName): boolean {
    if (runtime === ALWAYS || this.#versions.has(key)) return false
    this.#versions.set(key, runtime)
    this.#known.set(runtime, (this.#known.get(runtime) ?? 0) + 1)
    if (this.#versions.size > LIMITS.rememberedVersions.value) this.#forget(this.#versions.keys().next().value as string)
    return true
  }

  /** A version is called no more. @returns those that nobody will need */
  retire(key: string): Booted[] {
    const runtime = this.#forget(key)
    if (runtime === undefined || this.#least(runtime) > 0) return []
    return this.#removeAll(this.#booted.filter((one) => one.runtime === runtime))
  }

  /** One of each runtime of which more wait than should: they are gone from here. */
  surplus(): Booted[] {
    const over = this.runtimes().filter((runtime) => this.count(runtime) > this.#wanted(runtime))
    return this.#removeAll(over.map((runtime) => this.#booted.find((one) => one.runtime === runtime) as Booted))
  }

  /** One that waits beyond what waits in any case, for who needs its memory; gone from here. */
  takeExtra(): Booted | null {
    const over = this.runtimes().find((runtime) => this.count(runtime) > this.#least(runtime))
    return over === undefined ? null : (this.take(over) ?? null)
  }

  /** A runtime of which too few wait. @param not  those that nobody should start now */
  next(not: (runtime: RuntimeName) => boolean = () => false): RuntimeName | null {
    return this.runtimes().find((runtime) => !not(runtime) && this.hasPlace(runtime, this.#filling.get(runtime) ?? 0)) ?? null
  }
  /** One of it is on its way, until this is disposed. */
  filling(runtime: RuntimeName): Disposable {
    this.#filling.set(runtime, (this.#filling.get(runtime) ?? 0) + 1)
    return { [Symbol.dispose]: () => void this.#filling.set(runtime, (this.#filling.get(runtime) ?? 1) - 1) }
  }
  hasPlace(runtime: RuntimeName, coming = 0): boolean {
    const count = this.count(runtime) + coming
    return count < this.#wanted(runtime) && (count < this.#least(runtime) || this.#sizes.hasMemory())
  }

  add(booted: Booted): void {
    this.#booted.push(booted)
  }
  take(runtime: RuntimeName): Booted | undefined {
    const at = this.#booted.findIndex((one) => one.runtime === runtime)
    return at === -1 ? undefined : this.#booted.splice(at, 1)[0]
  }
  /** @returns whether it was there */
  remove(booted: Booted): boolean {
    const at = this.#booted.indexOf(booted)
    if (at !== -1) this.#booted.splice(at, 1)
    return at !== -1
  }
  clear(): Booted[] {
    return this.#booted.splice(0)
  }

  #forget(key: string): RuntimeName | undefined {
    const runtime = this.#versions.get(key)
    this.#versions.delete(key)
    if (runtime === undefined) return undefined
    const left = (this.#known.get(runtime) ?? 1) - 1
    if (left === 0) this.#known.delete(runtime)
    else this.#known.set(runtime, left)
    return runtime
  }

  #removeAll(all: readonly Booted[]): Booted[] {
    return all.filter((one) => this.remove(one))
  }

  #least(runtime: RuntimeName): number {
    const { least } = this.#sizes
    if (runtime === ALWAYS) return least
    return this.#known.has(runtime) ? Math.min(OTHERS_WAIT, least) : 0
  }

  #wanted(runtime: RuntimeName): number {
    const least = this.#least(runtime)
    // Where none is to wait in any case the operator wants no pool.
    return least === 0 ? 0 : Math.max(least, Math.min(this.#sizes.most, Math.floor(this.#sizes.demand(runtime))))
  }
}

import { LIMITS } from '../core/limits.ts'
import type { RuntimeName } from './types.ts'

/** The one that always waits; another does while a version of it is known. */
const ALWAYS: RuntimeName = 'nodejs24.x'
const OTHERS_WAIT = 1

/** The sandboxes that wait booted, by runtime, and how many should. */
export class Waiting<Booted extends { readonly runtime: RuntimeName }> {
  readonly #size: number
  readonly #booted: Booted[] = []
  readonly #filling = new Map<RuntimeName, number>()
  /** Versions that are expected to be called, of runtimes other than the one that always waits. */
  readonly #versions = new Map<string, RuntimeName>()

  /** @param size  how many of the first runtime wait */
  constructor(size: number) {
    this.#size = size
  }

  get length(): number {
    return this.#booted.length
  }
  count(runtime: RuntimeName): number {
    return this.#booted.filter((one) => one.runtime === runtime).length
  }

  /** Each runtime of which some wait or should. */
  shown(): { readonly runtime: RuntimeName; readonly booted: number; readonly wanted: number }[] {
    const runtimes = new Set([ALWAYS, ...this.#versions.values(), ...this.#booted.map((one) => one.runtime)])
    return [...runtimes].map((runtime) => ({ runtime, booted: this.count(runtime), wanted: this.#wanted(runtime) }))
  }

  /** A version may be called. @returns whether one should be booted that was not wanted before */
  expect(key: string, runtime: RuntimeName): boolean {
    if (runtime === ALWAYS || this.#versions.has(key)) return false
    this.#versions.set(key, runtime)
    if (this.#versions.size > LIMITS.rememberedVersions.value) this.#versions.delete(this.#versions.keys().next().value as string)
    return true
  }

  /** A version is called no more. @returns those that nobody will need */
  retire(key: string): Booted[] {
    const runtime = this.#versions.get(key)
    this.#versions.delete(key)
    if (runtime === undefined || this.#wanted(runtime) > 0) return []
    const useless = this.#booted.filter((one) => one.runtime === runtime)
    for (const one of useless) this.remove(one)
    return useless
  }

  /** A runtime of which too few wait. */
  next(): RuntimeName | null {
    for (const runtime of new Set([ALWAYS, ...this.#versions.values()])) if (this.hasPlace(runtime, this.#filling.get(runtime) ?? 0)) return runtime
    return null
  }
  /** One of it is on its way, until this is disposed. */
  filling(runtime: RuntimeName): Disposable {
    this.#filling.set(runtime, (this.#filling.get(runtime) ?? 0) + 1)
    return { [Symbol.dispose]: () => void this.#filling.set(runtime, (this.#filling.get(runtime) ?? 1) - 1) }
  }
  hasPlace(runtime: RuntimeName, coming = 0): boolean {
    return this.count(runtime) + coming < this.#wanted(runtime)
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

  #wanted(runtime: RuntimeName): number {
    if (runtime === ALWAYS) return this.#size
    return [...this.#versions.values()].includes(runtime) ? Math.min(OTHERS_WAIT, this.#size) : 0
  }
}

import { MayflyError } from '../../core/errors.ts'
import type { Driver, DriverName, RuntimeName, SandboxProcess, StartOptions } from '../types.ts'
import { isDriver, type NoDriver } from './detect.ts'

export interface SeveralDriversDeps {
  /** What sandboxes are made by that ask for nothing else. */
  readonly own: Driver
  /** Drivers that sandboxes may ask for beside it. */
  readonly others: readonly DriverName[]
  /** Opens one of them, with names of its own on this host; asked when it is first needed. */
  readonly open: (name: DriverName) => Promise<Driver | NoDriver>
  /** Whether a former life of this node has left something of it. */
  readonly leftBehind: (name: DriverName) => boolean
}

const noneOf = (name: DriverName, { why, todo }: NoDriver) => `this node has no driver \`${name}\`: ${why}. ${todo}`

/** The drivers of a host as one: each sandbox is made by that which it asks for. */
export class SeveralDrivers implements Driver {
  readonly name: DriverName
  readonly limits: Driver['limits']
  readonly missing: Driver['missing']
  readonly resizesTmp: boolean
  readonly holds: boolean
  readonly #deps: SeveralDriversDeps
  readonly #known = new Map<DriverName, Driver>()
  readonly #opened = new Map<DriverName, Promise<Driver | NoDriver>>()

  constructor(deps: SeveralDriversDeps) {
    const { name, limits, missing, resizesTmp, holds } = deps.own
    this.name = name
    this.limits = limits
    this.missing = missing
    this.resizesTmp = resizesTmp
    this.holds = holds ?? false
    this.#deps = deps
  }

  /** Why no sandbox can be made by a driver, with what to do about it; null when one can. */
  async refusal(name: DriverName): Promise<string | null> {
    const found = await this.#find(name)
    return isDriver(found) ? null : noneOf(name, found)
  }

  /** What one that was found does not hold on this host; null: the node's own. */
  missingOf(name: DriverName | null): Driver['missing'] {
    return (name === null ? null : this.#known.get(name))?.missing ?? this.missing
  }

  runs(runtime: RuntimeName): boolean {
    return this.#deps.own.runs(runtime)
  }

  async start(options: StartOptions): Promise<SandboxProcess> {
    if (options.driver === null) return await this.#deps.own.start(options)
    const found = await this.#find(options.driver)
    if (!isDriver(found)) throw new MayflyError('sandbox_unavailable', noneOf(options.driver, found))
    return await found.start(options)
  }

  async sweep(): Promise<void> {
    await this.#deps.own.sweep()
    for (const name of this.#deps.others) if (this.#deps.leftBehind(name)) await this.#find(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opening of this.#opened.values()) {
      const found = await opening.catch(() => null)
      if (found && isDriver(found)) await found[Symbol.asyncDispose]()
    }
    await this.#deps.own[Symbol.asyncDispose]()
  }

  async #find(name: DriverName): Promise<Driver | NoDriver> {
    const { own, others } = this.#deps
    if (name === own.name) return own
    if (!others.includes(name))
      return {
        why: `all functions are kept apart by \`${own.name}\`, as it was started`,
        todo: 'Leave `sandbox` away, or start the node with `--sandbox auto`.',
      }
    let opening = this.#opened.get(name)
    if (!opening) {
      opening = this.#open(name)
      this.#opened.set(name, opening)
      // What is installed meanwhile is found by the next who asks.
      void opening.then(
        (found) => isDriver(found) || this.#opened.delete(name),
        () => this.#opened.delete(name),
      )
    }
    return await opening
  }

  async #open(name: DriverName): Promise<Driver | NoDriver> {
    const found = await this.#deps.open(name)
    if (isDriver(found)) {
      await found.sweep()
      this.#known.set(name, found)
    }
    return found
  }
}

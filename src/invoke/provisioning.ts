import type { Log } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import { type Concurrency, type FunctionsService, targetsOf, type Version } from '../functions/index.ts'
import type { Clock } from '../lib/clock.ts'
import type { ProvisionedState } from '../sandbox/index.ts'

type Config = Awaited<ReturnType<Concurrency['allProvisioned']>>[number]

/** After a look that failed, the next comes so much later. */
const AGAIN_MS = 1_000

/** Who keeps sandboxes of versions loaded; as `Sandboxes` does, but told of versions. */
export interface KeepsLoaded {
  provision(version: Version, count: number): void
  unprovision(key: string): void
  provisionedKeys(): readonly string[]
  provisioned(key: string): ProvisionedState | null
}

export interface ProvisioningDeps {
  readonly concurrency: Concurrency
  readonly functions: FunctionsService
  readonly sandboxes: KeepsLoaded
  /** Ends what serves no more: its sandboxes, its handle. */
  readonly retired: (versionId: string) => void
  readonly clock: Clock
  readonly log: Log
}

/**
 * Brings what functions have provisioned to the sandboxes: looks at all of it again whenever something of a project was
 * changed, so that what an alias or $LATEST names by now is what is kept loaded.
 */
export class Provisioning implements AsyncDisposable {
  readonly #deps: ProvisioningDeps
  readonly #stop = new AbortController()
  #looking: Promise<void> | null = null
  #again = false
  /** Whose it is what is kept loaded, by version. */
  readonly #kept = new Map<string, { readonly project: ProjectRef; readonly name: string; readonly isLatest: boolean }>()

  constructor(deps: ProvisioningDeps) {
    this.#deps = deps
  }

  /** Something was changed. */
  look(): void {
    this.#again = true
    if (this.#stop.signal.aborted || this.#looking) return
    this.#looking = this.#work().finally(() => {
      this.#looking = null
      if (this.#again) this.look()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#looking
  }

  async #work(): Promise<void> {
    const { clock, log } = this.#deps
    let failing = false
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false
      try {
        await this.#settle()
        failing = false
      } catch (error) {
        this.#again = true
        if (!failing) log.warn({ error: (error as Error).message }, 'what is provisioned could not be read; it is tried again')
        failing = true
        await clock.sleep(AGAIN_MS, this.#stop.signal).catch(() => {})
      }
    }
  }

  async #settle(): Promise<void> {
    const { concurrency, sandboxes } = this.#deps
    const wanted = new Map<string, { version: Version; count: number }>()
    const faults = new Map<ProjectRef, unknown>()
    for (const config of await concurrency.allProvisioned()) {
      await this.#want(config, wanted).catch((error: unknown) => void faults.set(config.project, error))
    }
    // Where something could not be looked at all stays as it is; the other projects have nothing to do with that.
    const stays = (key: string) => wanted.has(key) || faults.has(this.#kept.get(key)?.project as ProjectRef)
    for (const key of sandboxes.provisionedKeys()) if (!stays(key)) await this.#letGo(key)
    for (const { version, count } of wanted.values()) {
      if (this.#stop.signal.aborted) return
      sandboxes.provision(version, count)
      this.#kept.set(version.id, { project: version.project, name: version.functionName, isLatest: version.version === '$LATEST' })
    }
    for (const error of faults.values()) throw error
  }

  async #want(config: Config, wanted: Map<string, { version: Version; count: number }>): Promise<void> {
    const { concurrency, functions } = this.#deps
    const targets = await targetsOf(functions, config.project, config.functionName, config)
    // What named it is gone, and what it asked for with it.
    if (targets.length === 0) await concurrency.unprovision(config.project, config.functionId, config.qualifier)
    for (const { record, count } of targets) {
      const version = await functions.resolve(config.project, config.functionName, record.version)
      wanted.set(version.id, { version, count: count + (wanted.get(version.id)?.count ?? 0) })
    }
  }

  async #letGo(key: string): Promise<void> {
    const { functions, sandboxes, retired } = this.#deps
    sandboxes.unprovision(key)
    const kept = this.#kept.get(key)
    this.#kept.delete(key)
    // It may have been retired a moment before it was provisioned: then nobody else ends what was made of it since.
    if (kept?.isLatest && (await functions.find(kept.project, kept.name))?.versionId !== key) retired(key)
  }
}

/** How many sandboxes of the node are to be kept loaded, and how many are. */
export function provisionedOf(sandboxes: Pick<KeepsLoaded, 'provisionedKeys' | 'provisioned'>): { wanted: number; loaded: number } {
  const states = sandboxes.provisionedKeys().map((key) => sandboxes.provisioned(key))
  const sum = (of: 'requested' | 'available') => states.reduce((all, state) => all + (state?.[of] ?? 0), 0)
  return { wanted: sum('requested'), loaded: sum('available') }
}

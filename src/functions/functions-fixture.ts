import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Database } from '../backends/database/database.ts'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import type { LimitProfileName } from '../core/limit-profiles.ts'
import { silentLog } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import { Sealer } from '../core/seal.ts'
import { insertProject, updateProjectState } from '../core/store.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Artefacts, type Kin } from './artefacts.ts'
import { Concurrency } from './concurrency/concurrency.ts'
import { type FunctionSpec, definitionOfSpec, parseFunctionSpec } from './definition.ts'
import type { LoadFault } from './aliases.ts'
import { FunctionsService } from './service.ts'
import type { Version } from './types.ts'
import { makeZip } from './zip-fixture.ts'

export const PROJECT = 'one' as ProjectRef

/** The room on a real database, with a build that only remembers what it was asked for. */
export class FunctionsWorld implements AsyncDisposable {
  readonly control: Database
  readonly functions: FunctionsService
  readonly concurrency: Concurrency
  readonly artefacts: Artefacts
  readonly built: { readonly version: Version; readonly like: string | null }[] = []
  /** What is built when edits have come to rest. */
  readonly late = new Map<string, () => unknown>()
  readonly retired: string[] = []
  readonly started: { readonly version: Version; readonly instead: Version | null }[] = []
  /** What its functions are held to. */
  profile: LimitProfileName = 'mayfly'
  /** What the code says of itself when it is started next. */
  fault: LoadFault | null = null
  /** What the next calls of an alias with a share draw. */
  fractions: number[] = []
  readonly #folder: string
  readonly #databases: EmbeddedDatabases

  private constructor(folder: string, databases: EmbeddedDatabases, sealer: Sealer) {
    this.#folder = folder
    this.#databases = databases
    this.control = databases.control
    this.artefacts = new Artefacts({ root: join(folder, 'artefacts') })
    this.concurrency = new Concurrency({ control: this.control, clock: systemClock })
    this.functions = new FunctionsService({
      control: this.control,
      concurrency: this.concurrency,
      artefacts: this.artefacts,
      sealer,
      clock: systemClock,
      log: silentLog,
      build: async (version, like) => void this.built.push({ version, like }),
      late: { add: (key, build) => void this.late.set(key, build) },
      start: async (version, instead) => {
        this.started.push({ version, instead })
        return this.fault
      },
      retired: (id) => void this.retired.push(id),
      limitProfileOf: () => this.profile,
      memoryBudgetMb: () => 8_192,
      driverRefusal: async ({ driver }) =>
        driver === null || driver === 'bwrap' ? null : `sandbox: this node has no driver \`${driver}\`: runsc is not installed. Install it.`,
      fraction: () => this.fractions.shift() ?? 0.5,
    })
  }

  static async open(): Promise<FunctionsWorld> {
    const { databases, folder } = await openTestDatabases()
    const sealer = new Sealer(randomBytes(32))
    const id = uuidv7(systemClock.now())
    const dataKey = sealer.makeDataKey(id)
    sealer.useDataKey(id, dataKey)
    await insertProject(databases.control.sql, { id, ref: PROJECT, name: PROJECT, dataKey })
    await updateProjectState(databases.control.sql, PROJECT, 'active')
    const world = new FunctionsWorld(folder, databases, sealer)
    await world.artefacts.recover()
    return world
  }

  /** Deploys a function whose code returns `value`. */
  async deploy(name: string, value: unknown = 1, spec: Partial<FunctionSpec> = {}, kin: Kin | null = null): Promise<void> {
    const artefact = await this.functions.storeArtefact(
      PROJECT,
      makeZip([{ name: 'index.js', data: `exports.handler = async () => ${JSON.stringify(value)}` }]),
      undefined,
      kin,
    )
    const whole = parseFunctionSpec({ ...spec, artefact })
    await this.functions.put(PROJECT, definitionOfSpec(name, whole, {}), whole.environment, artefact)
  }

  /** Deploys and publishes one version after the other. */
  async publish(name: string, count: number): Promise<void> {
    for (let n = 1; n <= count; n++) {
      await this.deploy(name, `${name} ${n}`)
      await this.functions.versions.publish(PROJECT, name)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#databases[Symbol.asyncDispose]()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

import { isDeepStrictEqual } from 'node:util'
import type { Database } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import { ERRORS, MayflyError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Sealer } from '../core/seal.ts'
import { Bell } from '../lib/bell.ts'
import type { Clock } from '../lib/clock.ts'
import { fewAtOnce } from '../lib/few-at-once.ts'
import { uuidv7 } from '../lib/ids.ts'
import { within } from '../lib/within.ts'
import { definitionOfSpec, isFunctionName } from '../functions/index.ts'
import type { Desired, DesiredFunction } from './document.ts'
import {
  type Change,
  checkRoutes,
  functionChanges,
  functionsOf,
  inOrder,
  leftOver,
  notMadeBy,
  partsIn,
  pendingOf,
  planOf,
  type Rooms,
  sameTriggers,
  sameUrl,
} from './plan.ts'
import {
  beginDeployment,
  claimParts,
  type DeploymentRow,
  type DeploymentState,
  deploymentById,
  endDeployment,
  findDeployment,
  foreignParts,
  listDeployments,
  lockDeployment,
  noteError,
  type Part,
  partsOf,
  projectId,
  releasePart,
  unfinishedDeployments,
} from './store.ts'

export interface DeploymentsDeps {
  readonly control: Database
  readonly sealer: Sealer
  readonly rooms: Rooms
  readonly clock: Clock
  readonly log: Log
  /** Called after each step of a pass; a test ends the node there. */
  readonly crash: Crash
}

export interface DeploymentInfo {
  readonly name: string
  readonly version: number
  /** The version that the project was last equal to; 0 for none. */
  readonly reached: number
  readonly state: DeploymentState
  readonly error: string | null
  readonly modifiedAt: Date
}

export interface Plan {
  readonly changes: readonly Change[]
  /** What was understood, but does not work as it reads in this version. */
  readonly warnings: readonly string[]
  /** What has to be uploaded before it can be applied. */
  readonly missing: { readonly artefacts: readonly string[]; readonly files: readonly string[] }
  /** Whether this very document was applied and reached. */
  readonly reached: boolean
}

const FIRST_WAIT_MS = 500
const MAX_WAIT_MS = 30_000
/** Of a deployment: what each of them takes is mostly the start of a sandbox. */
const FUNCTIONS_AT_ONCE = 4

interface Step {
  readonly what: string
  readonly make: () => Promise<unknown>
}

/**
 * Whole project files as desired state. What is asked for is committed first and then made true step by step; each
 * step may be repeated, so that a pass that was ended anywhere is simply done again, at once or after the next start.
 */
export class Deployments implements AsyncDisposable {
  readonly #deps: DeploymentsDeps
  readonly #stop = new AbortController()
  readonly #working = new Map<string, { readonly done: Promise<void>; again: boolean }>()
  /** Rung when a deployment was asked for: who waits to try again need not. */
  readonly #asked = new Bell()

  constructor(deps: DeploymentsDeps) {
    this.#deps = deps
  }

  /** Goes on with what a former life left unfinished. */
  async start(): Promise<void> {
    for (const { id } of await unfinishedDeployments(this.#deps.control.sql)) this.#kick(id)
  }

  /** What applying would do. Changes nothing. @throws MayflyError bad_request, deployment_conflict */
  async plan(project: ProjectRef, name: string, desired: Desired, alias: string | null = null): Promise<Plan> {
    const { control, rooms } = this.#deps
    const row = await findDeployment(control.sql, project, name)
    refuseForeign(await foreignParts(control.sql, await this.#projectId(project), row?.id ?? null, partsIn(desired)))
    const changes = await planOf(rooms, project, desired, row ? await partsOf(control.sql, row.id) : [], alias)
    const reached = row?.state === 'reached' && isDeepStrictEqual(this.#open(row), plain(desired))
    const warnings = await Promise.all(
      desired.functions.map(async (one) =>
        (await this.#warnings(project, { ...one, triggers: notMadeBy(one.triggers, desired, changes) })).map((text) => `${one.name}: ${text}`),
      ),
    )
    return { changes, warnings: warnings.flat(), missing: await this.#missing(project, desired), reached }
  }

  /** What deploying one function by itself would do; nothing is said of triggers that it does not speak of. Changes nothing. */
  async planFunction(
    project: ProjectRef,
    wanted: Omit<DesiredFunction, 'triggers'> & { readonly triggers: DesiredFunction['triggers'] | null },
    alias: string | null,
  ): Promise<Pick<Plan, 'changes' | 'warnings'>> {
    if (wanted.triggers !== null) await checkRoutes(this.#deps.rooms, project, [{ name: wanted.name, triggers: wanted.triggers }], [])
    return {
      changes: await functionChanges(this.#deps.rooms, project, wanted, alias),
      warnings: await this.#warnings(project, wanted),
    }
  }

  async #warnings(
    project: ProjectRef,
    { name, spec, triggers }: Pick<DesiredFunction, 'name' | 'spec'> & { readonly triggers: DesiredFunction['triggers'] | null },
  ): Promise<string[]> {
    const { rooms } = this.#deps
    const ofFunction = await rooms.functions.warnings(project, definitionOfSpec(name, spec, {}), spec.environment)
    return [...ofFunction, ...(await rooms.triggers.warnings(project, triggers ?? []))]
  }

  /**
   * Commits the document, then makes the project equal to it. Resolves when that is reached, has failed, or takes
   * longer than `waitMs`: the state says which.
   * @throws MayflyError bad_request, deployment_conflict, migration_changed, migration_out_of_order: then nothing was changed
   */
  async apply(project: ProjectRef, name: string, desired: Desired, waitMs: number): Promise<DeploymentInfo> {
    const { control, clock, sealer } = this.#deps
    const missing = await this.#missing(project, desired)
    const [first] = [...missing.artefacts, ...missing.files]
    if (first !== undefined)
      throw new MayflyError(
        'bad_request',
        `${missing.artefacts.length + missing.files.length} artefacts and files were not uploaded, such as ${first}; PUT them first`,
      )
    // What may not run is refused before anything is changed.
    await pendingOf(this.#deps.rooms, project, desired)
    const inProject = await this.#projectId(project)
    const before = await findDeployment(control.sql, project, name)
    await checkRoutes(this.#deps.rooms, project, desired.functions, before ? functionsOf(leftOver(desired, await partsOf(control.sql, before.id))) : [])
    const seal = (id: string) => sealer.seal(placeOf(inProject, id), Buffer.from(JSON.stringify(desired)))
    const newId = uuidv7(clock.now())
    const id = await control.transaction(async (tx) => {
      const row = await lockDeployment(tx, { id: newId, project: inProject, name, document: seal(newId) })
      if (!row.isNew) {
        const same = isDeepStrictEqual(this.#open({ id: row.id, projectId: inProject, document: row.document }), plain(desired))
        await beginDeployment(tx, row.id, same ? null : seal(row.id))
      }
      refuseForeign(await claimParts(tx, inProject, row.id, partsIn(desired)))
      return row.id
    })
    const until = clock.monotonic() + waitMs
    for (;;) {
      await within(clock, until - clock.monotonic(), this.#kick(id))
      const info = await this.get(project, name)
      // Who asked for something else meanwhile may not have begun on it: the pass that ended was of what it replaced.
      if (info.state !== 'applying' || clock.monotonic() >= until || this.#stop.signal.aborted) return info
    }
  }

  /** @throws MayflyError deployment_not_found */
  async get(project: ProjectRef, name: string): Promise<DeploymentInfo> {
    const row = isFunctionName(name) ? await findDeployment(this.#deps.control.sql, project, name) : null
    if (!row) throw new MayflyError('deployment_not_found', `no deployment named ${JSON.stringify(name.slice(0, 100))} in project ${project}`)
    return infoOf(row)
  }

  async list(project: ProjectRef): Promise<DeploymentInfo[]> {
    return (await listDeployments(this.#deps.control.sql, project)).map(infoOf)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.all([...this.#working.values()].map((work) => work.done))
  }

  /** Resolves when nothing is left to be done for this deployment. Never rejects. */
  #kick(id: string): Promise<void> {
    const running = this.#working.get(id)
    if (running) {
      running.again = true
      this.#asked.ring()
      return running.done
    }
    const work = { again: true, done: Promise.resolve() }
    this.#working.set(id, work)
    work.done = this.#reach(id, work)
    return work.done
  }

  async #reach(id: string, work: { again: boolean }): Promise<void> {
    const { clock, control, log } = this.#deps
    for (let failures = 0; ; ) {
      if (!work.again || this.#stop.signal.aborted) {
        // In one breath with the look: who asks a moment later begins anew and is not lost.
        this.#working.delete(id)
        return
      }
      work.again = false
      try {
        await this.#pass(id)
        failures = 0
      } catch (error) {
        // Whoever asks again meanwhile, or what passes by itself, is tried again.
        const message = error instanceof Error ? error.message : String(error)
        log.warn({ deployment: id, error: message }, 'a deployment is not reached yet')
        await noteError(control.sql, id, message).catch(() => {})
        work.again = true
        await this.#asked.wait(clock, Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** failures++), this.#stop.signal)
      }
    }
  }

  /** One pass over all steps. A refusal that no repetition helps ends it as failed; what is thrown may be tried again. */
  async #pass(id: string): Promise<void> {
    const { control, crash } = this.#deps
    const row = await deploymentById(control.sql, id)
    if (row?.state !== 'applying') return
    const version = Number(row.version)
    try {
      const desired = this.#open(row) as Desired
      // The pass of what this replaced may have given up a part that is wanted again.
      refuseForeign(await control.transaction((tx) => claimParts(tx, row.projectId, id, partsIn(desired))))
      for await (const steps of this.#steps(row, desired)) {
        await fewAtOnce(steps, FUNCTIONS_AT_ONCE, async ({ what, make }) => {
          if (this.#stop.signal.aborted) return
          await make().catch((error: unknown) => {
            throw error instanceof MayflyError ? new MayflyError(error.code, withPlace(what, error), { cause: error }) : error
          })
          crash('afterDeployStep')
        })
        if (this.#stop.signal.aborted) return
      }
      await endDeployment(control.sql, id, version, 'reached', null)
    } catch (error) {
      if (!(error instanceof MayflyError) || ERRORS[error.code].retry !== 'never') throw error
      await endDeployment(control.sql, id, version, 'failed', error.message)
    }
  }

  /** In an order in which nothing ever points at what is not there yet; removals come last. Those of one list may be made at once. */
  async *#steps(row: DeploymentRow, desired: Desired): AsyncGenerator<readonly Step[]> {
    const { control, rooms } = this.#deps
    const { project } = row
    // One by one: what a pass that was cut off has run is not run again. Functions that need the tables come after them.
    for (const { name } of await pendingOf(rooms, project, desired))
      yield [{ what: `migration ${name}`, make: () => rooms.migrations.up(project, upTo(desired, name), false) }]
    for (const bucket of desired.buckets) yield [{ what: `bucket ${bucket.name}`, make: () => rooms.buckets.ensure(project, bucket) }]
    // Before the triggers, which make a queue that is not there.
    for (const queue of inOrder(desired.queues))
      if (rooms.queues.differences(project, queue)?.length !== 0) yield [{ what: `queue ${queue.name}`, make: () => rooms.queues.ensure(project, queue) }]
    yield desired.functions.map(({ name, spec }) => ({
      what: `function ${name}`,
      make: () => rooms.functions.put(project, definitionOfSpec(name, spec, {}), spec.environment, spec.artefact),
    }))
    // What one gives up another may take before that.
    const together = [...desired.functions.map(({ name }) => name), ...functionsOf(leftOver(desired, await partsOf(control.sql, row.id)))]
    for (const { name, triggers } of desired.functions)
      if (!sameTriggers(await rooms.triggers.get(project, name), triggers))
        yield [{ what: `triggers of ${name}`, make: () => rooms.triggers.put(project, name, triggers, together) }]
    for (const { name, url = null } of desired.functions)
      if (url !== null && !sameUrl(await rooms.urls.get(project, name), url))
        yield [{ what: `address of ${name}`, make: () => rooms.urls.put(project, name, url) }]
    for (const { name, files } of desired.sites) yield [{ what: `site ${name}`, make: () => rooms.sites.put(project, name, files) }]
    for (const part of leftOver(desired, await partsOf(control.sql, row.id))) {
      // What was asked for meanwhile may want just this part.
      if ((await deploymentById(control.sql, row.id))?.version !== row.version) return
      yield [{ what: `${part.kind} ${part.name}`, make: () => this.#remove(row, part) }]
    }
  }

  async #remove(row: DeploymentRow, part: Part): Promise<void> {
    const { control, rooms } = this.#deps
    switch (part.kind) {
      case 'function':
        if (await rooms.functions.find(row.project, part.name)) {
          if ((await rooms.triggers.get(row.project, part.name)).length > 0) await rooms.triggers.put(row.project, part.name, [], [])
          await rooms.functions.delete(row.project, part.name)
        }
        break
      case 'site':
        if (await rooms.sites.find(row.project, part.name)) await rooms.sites.delete(row.project, part.name)
        break
      case 'queue':
        await rooms.queues.remove(row.project, part.name)
        break
      case 'bucket': // its objects are somebody's
        break
    }
    await releasePart(control.sql, row.id, part)
  }

  async #missing(project: ProjectRef, desired: Desired): Promise<Plan['missing']> {
    const { functions, sites } = this.#deps.rooms
    const artefacts: string[] = []
    for (const sha256 of new Set(desired.functions.map((one) => one.spec.artefact)))
      if ((await functions.artefactBytes(project, sha256)) === null) artefacts.push(sha256)
    const files = [...new Set(desired.sites.flatMap((site) => site.files.map((file) => file.sha256)))]
    return { artefacts, files: files.length > 0 ? await sites.missing(project, files) : [] }
  }

  #open(row: Pick<DeploymentRow, 'id' | 'projectId' | 'document'>): unknown {
    return JSON.parse(Buffer.from(this.#deps.sealer.open(placeOf(row.projectId, row.id), row.document)).toString('utf8'))
  }

  async #projectId(project: ProjectRef): Promise<string> {
    const id = await projectId(this.#deps.control.sql, project)
    if (id === null) throw new MayflyError('project_not_found', `no project has the ref "${project}"`)
    return id
  }
}

/** A migration that fails begins with the name of its file. */
const withPlace = (what: string, { code, message }: MayflyError) => (code === 'migration_failed' ? `migration ${message}` : `${what}: ${message}`)

/** The migrations of a document as far as one, whose text is given with those before it. */
const upTo = ({ migrations = [] }: Desired, name: string) => migrations.slice(0, migrations.findIndex((file) => file.name === name) + 1)

const placeOf = (project: string, id: string) => ({ project, table: 'deployment', column: 'document', row: id })
/** As it reads when it was stored. */
const plain = (desired: Desired): unknown => JSON.parse(JSON.stringify(desired))

const infoOf = (row: Omit<DeploymentRow, 'document'>): DeploymentInfo => ({
  name: row.name,
  version: Number(row.version),
  reached: Number(row.reached),
  state: row.state,
  error: row.error,
  modifiedAt: row.modifiedAt,
})

/** @throws MayflyError deployment_conflict */
function refuseForeign(parts: readonly (Part & { owner: string })[]): void {
  if (parts.length === 0) return
  const told = parts.slice(0, 10).map((part) => `the ${part.kind} ${part.name} belongs to the deployment ${part.owner}`)
  throw new MayflyError('deployment_conflict', told.join('; '))
}

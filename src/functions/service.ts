import { isDeepStrictEqual } from 'node:util'
import { type Database, DatabaseError } from '../backends/database/database.ts'
import type { Egress } from '../core/egress.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { DEFAULT_LIMIT_PROFILE, type LimitProfileName } from '../core/limit-profiles.ts'
import type { Log } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Stays } from '../core/stays.ts'
import type { Sealer } from '../core/seal.ts'
import { storableText } from '../lib/text.ts'
import { bumpProjectVersion } from '../core/store.ts'
import type { Clock } from '../lib/clock.ts'
import { type Random, randomFraction, systemRandom, uuidv7 } from '../lib/ids.ts'
import type { Concurrency } from './concurrency/concurrency.ts'
import { type Alias, Aliases, isAliasName, type LoadFault } from './aliases.ts'
import type { Artefacts, Kin } from './artefacts.ts'
import { Layers } from './layers/service.ts'
import { Builds, type FunctionRecord, LATEST, noArtefact } from './builds.ts'
import { type Environment, MAX_TAGS } from './definition.ts'
import type { LateBuilds } from './late-builds.ts'
import { ALL_SECRETS } from './secrets/names.ts'
import { admitByProfile, beyondMachine, tmpBeyondMemory } from './profile.ts'
import type { Secrets } from './secrets/service.ts'
import { checkRuntime } from './runtimes.ts'
import { sourceMapOf } from './source-map.ts'
import {
  artefactBytes,
  deleteFunction,
  deleteOldVersions,
  findFunction,
  forgetArtefact,
  insertFunction,
  insertVersion,
  latestFunctions,
  listFunctions,
  moveLatest,
  refuseUpdate,
  projectId,
  saveArtefact,
  saveTags,
  unusedArtefacts,
  versionsOf,
} from './store.ts'
import { Resolver } from './resolver.ts'
import type { FunctionDefinition, Functions, Version } from './types.ts'
import { Versions } from './versions.ts'

export type { FunctionRecord } from './builds.ts'

export interface FunctionsDeps {
  readonly control: Database
  /** Told, in the transaction of a change, what a definition says of its concurrency. */
  readonly concurrency?: Concurrency
  readonly artefacts: Artefacts
  /** Absent where projects are never deleted. */
  readonly stays?: Stays
  readonly sealer: Sealer
  readonly clock: Clock
  readonly log: Log
  readonly random?: Random
  /** From 0 to below 1: which of an alias's two versions takes a call. */
  readonly fraction?: () => number
  /**
   * Makes the compile cache; `like` is a build with the same code, whose cache may serve.
   * What it throws is logged: a function without one starts slower and that is all.
   */
  readonly build: (version: Version, like: string | null) => Promise<void>
  /** Where an edit of code that loads large packages is built when no other follows it; absent: at once. */
  readonly late?: Pick<LateBuilds, 'add'>
  /**
   * Before a version takes the calls of another (null: in any case): starts a sandbox of it, unless there is no room for one or the
   * other never served. @returns what its code said when it did not load
   */
  readonly start?: (version: Version, instead: Version | null) => Promise<LoadFault | null>
  /** Told the id of each version that serves no more. */
  readonly retired: (versionId: string) => void
  /** Told, and waited for, when a function of a project is gone. What it throws is logged. */
  readonly deleted?: (project: ProjectRef) => Promise<void>
  /** Absent where this process unpacks code itself: resolves when that of a version is unpacked. */
  readonly unpacked?: (project: ProjectRef, name: string, qualifier: string) => Promise<void>
  /** Told, off the path of calls, of a version that will probably be called: what can be made before is made then. */
  readonly expected?: (version: Version) => Promise<void>
  /** What a version's sandboxes are told beside its environment: read by the time that the version is. */
  readonly secrets?: Pick<Secrets, 'isReady' | 'ready' | 'list'>
  /** Why this node cannot run a runtime, with what to do about it; null when it can. */
  readonly refusal?: (runtime: string) => string | null
  /** What of a function's wish for a network this node does not do; null when it does all of it. */
  readonly egressWarning?: (egress: Egress, driver: FunctionDefinition['driver']) => string | null
  /** Which limits the functions of a project are held to; Mayfly's own where this is absent. */
  readonly limitProfileOf?: (project: ProjectRef) => LimitProfileName
  /** MB that all sandboxes of this node may have together; null where there are none. */
  readonly memoryBudgetMb?: () => number | null
  /** The same of a driver of sandboxes, and of what functions are to be under it. */
  readonly driverRefusal?: (asked: Pick<FunctionDefinition, 'driver' | 'reuse'>) => Promise<string | null>
  /** Whether what is remembered may be used without asking the database again. */
  readonly believable?: () => boolean
}

export interface Change {
  readonly definition?: Partial<Omit<FunctionDefinition, 'name' | 'tags'>>
  readonly environment?: Environment | null
  /** The SHA-256 of an artefact of the project. */
  readonly artefact?: string
}

/** An artefact that nothing names stays this long: between its upload and the deploy that names it, and while its last calls run. */
const GRACE_SECONDS = 3600
const SWEEP_BATCH = 100
const MAX_REASON = 1_000
/** So many functions are read ahead of their first call. */
const EXPECTED_FUNCTIONS = 500

/**
 * Definitions, versions and code. A change is built first and then becomes true in one transaction:
 * a node killed in between leaves the function as it was, and an artefact for the sweep.
 */
export class FunctionsService implements Functions {
  readonly #deps: FunctionsDeps
  readonly #random: Random
  readonly #builds: Builds
  readonly #resolver: Resolver
  readonly layers: Layers
  readonly versions: Versions
  readonly aliases: Aliases

  constructor(deps: FunctionsDeps) {
    this.#deps = deps
    this.#random = deps.random ?? systemRandom
    this.layers = new Layers(deps)
    this.#builds = new Builds({ ...deps, layers: this.layers })
    this.#resolver = new Resolver({
      control: deps.control,
      builds: this.#builds,
      ...(deps.unpacked ? { unpacked: deps.unpacked } : {}),
      believable: () => deps.believable?.() ?? true,
      fraction: deps.fraction ?? randomFraction,
    })
    const shared = {
      control: deps.control,
      resolver: this.#resolver,
      newId: () => this.#id(),
      expected: (project: ProjectRef, name: string, version: string) => void this.#expect(project, name, version),
    }
    this.versions = new Versions({ ...shared, builds: this.#builds, retired: deps.retired })
    this.aliases = new Aliases({ ...shared, start: (project, record) => this.#start(project, record, null) })
  }

  /** On the path of every call: where all is known it waits for nothing in between. */
  resolve(project: ProjectRef, name: string, qualifier: string | null = null): Promise<Version> {
    const { secrets } = this.#deps
    if (!secrets || secrets.isReady(project)) return this.#resolver.resolve(project, name, qualifier)
    return secrets.ready(project).then(() => this.#resolver.resolve(project, name, qualifier))
  }

  /** Reads the functions that were changed last, so that their first call finds them known. For after a start; never throws. */
  async expectAll(signal: AbortSignal): Promise<void> {
    const { control, log } = this.#deps
    const latest = await latestFunctions(control.sql, EXPECTED_FUNCTIONS).catch((error: Error) => {
      log.warn({ error: error.message }, 'the functions could not be read ahead')
      return []
    })
    for (const { project, name } of latest) {
      if (signal.aborted) return
      await this.#expect(project, name)
    }
  }

  /** Something else changed a project: forgets its functions, and reads again those that were known. Never throws. */
  async refresh(project: ProjectRef): Promise<void> {
    const known = this.#resolver.known(project).slice(-EXPECTED_FUNCTIONS)
    this.invalidate(project)
    for (const { functionName, version } of known) await this.#expect(project, functionName, version)
  }

  async #expect(project: ProjectRef, name: string, version: string | null = null): Promise<void> {
    try {
      await this.#deps.expected?.(await this.resolve(project, name, version))
    } catch (error) {
      if (!(error instanceof MayflyError)) this.#deps.log.debug({ project, function: name, error: String(error) }, 'a function could not be read ahead')
    }
  }

  /** Forgets what is known of a function, or of all functions of a project. */
  invalidate(project: ProjectRef, name: string | null = null): void {
    this.#resolver.forget(project, name)
  }

  /** @throws MayflyError function_not_found */
  async get(project: ProjectRef, name: string, qualifier: string | null = null): Promise<FunctionRecord> {
    return await this.#resolver.get(project, name, qualifier)
  }

  async find(project: ProjectRef, name: string, qualifier: string | null = null): Promise<FunctionRecord | null> {
    return await this.#resolver.find(project, name, qualifier)
  }

  /** Names after `after`, in the order of their bytes. */
  async list(project: ProjectRef, after: string, limit: number): Promise<FunctionRecord[]> {
    const rows = await listFunctions(this.#deps.control.sql, project, after, limit)
    return rows.map((row) => this.#builds.recordOf(row))
  }

  /**
   * Checks and stores an archive; durable when it resolves.
   * @returns its SHA-256
   * @throws MayflyError zip_invalid, project_not_found
   */
  async storeArtefact(project: ProjectRef, zip: Buffer, limitBytes: number = LIMITS.zippedCode.value, kin: Kin | null = null): Promise<string> {
    if (zip.length > limitBytes) throw new MayflyError('payload_too_large', `Zipped size must be smaller than ${limitBytes} bytes`)
    const id = await this.#projectId(project)
    using _stay = this.#deps.stays?.enter(id)
    const record = async (sha256: string) => {
      await saveArtefact(this.#deps.control.sql, id, sha256, zip.length)
    }
    return await this.#deps.artefacts.put(project, zip, record, kin)
  }

  /** Its size, or null when the project has none of this hash. */
  async artefactBytes(project: ProjectRef, sha256: string): Promise<number | null> {
    const bytes = await artefactBytes(this.#deps.control.sql, project, sha256)
    return bytes !== null && (await this.#deps.artefacts.has(project, sha256)) ? bytes : null
  }

  /** @throws MayflyError not_found */
  async readArtefact(project: ProjectRef, sha256: string): Promise<{ bytes: number; pieces: AsyncIterable<Uint8Array> }> {
    const bytes = await this.artefactBytes(project, sha256)
    if (bytes === null) throw new MayflyError('not_found', `the project ${project} has no artefact ${sha256}`)
    return { bytes, pieces: this.#deps.artefacts.stream(project, sha256) }
  }

  /** Of the bundle that a version or alias runs, as JSON. @throws MayflyError not_found, also where there is none */
  async sourceMap(project: ProjectRef, name: string, qualifier: string | null): Promise<Buffer> {
    const { artefact } = await this.get(project, name, qualifier)
    const map = await sourceMapOf(await this.#deps.artefacts.ready(project, artefact))
    if (map === null) throw new MayflyError('not_found', `the code of ${name} has no source map`)
    return map
  }

  limitProfileOf(project: ProjectRef): LimitProfileName {
    return this.#deps.limitProfileOf?.(project) ?? DEFAULT_LIMIT_PROFILE
  }

  readonly #refusal = (runtime: string) => this.#deps.refusal?.(runtime) ?? null

  async #checkDriver(asked: Pick<FunctionDefinition, 'driver' | 'reuse'>): Promise<void> {
    const why = await this.#deps.driverRefusal?.(asked)
    if (why) throw new MayflyError('bad_request', why)
  }

  /** @throws MayflyError function_exists, profile_exceeded, bad_request (no such artefact, a runtime that is not here) */
  async create(project: ProjectRef, definition: FunctionDefinition, environment: Environment | null, artefact: string): Promise<FunctionRecord> {
    const { name, tags, ...stored } = definition
    const exists = () => new MayflyError('function_exists', `Function already exist: ${name}`)
    if (await findFunction(this.#deps.control.sql, project, name)) throw exists()
    checkTags(tags)
    admitByProfile(this.limitProfileOf(project), stored, null)
    checkRuntime(definition, this.#refusal)
    await this.#checkDriver(stored)
    await this.layers.admit(project, stored.layers)
    const functionId = this.#id()
    const id = await this.#projectId(project)
    const made = await this.#builds.make(project, id, {
      id: this.#id(),
      version: LATEST,
      like: null,
      functionId,
      name,
      tags,
      stored,
      environment,
      artefact,
    })
    try {
      await this.#deps.control.transaction(async (tx) => {
        await insertFunction(tx, {
          id: functionId,
          project: id,
          name,
          versionId: made.id,
          revisionId: this.#id(),
          tags,
        })
        await insertVersion(tx, id, made)
        await bumpProjectVersion(tx, project)
        await this.#deps.concurrency?.followIn(tx, project, functionId, stored, null)
      })
    } catch (error) {
      this.#deps.retired(made.id)
      if (error instanceof DatabaseError && error.sqlState === '23505') throw exists()
      throw this.#changeError(error, artefact)
    }
    await this.#deps.concurrency?.followed(stored, null)
    this.invalidate(project, name)
    void this.#expect(project, name)
    return await this.get(project, name)
  }

  /**
   * Makes a new version of what is there and the change, and points $LATEST at it once it has started. When its code
   * does not load and that of the version before did, that one goes on serving: the record says why (`refused`).
   * @param revisionId  the change is refused when the function has another one
   * @throws MayflyError function_not_found, revision_mismatch, function_changing, profile_exceeded
   */
  async update(project: ProjectRef, name: string, change: Change, revisionId: string | null = null): Promise<FunctionRecord> {
    const before = await this.get(project, name)
    if (revisionId !== null && before.revisionId !== revisionId)
      throw new MayflyError('revision_mismatch', `the function "${name}" has another revision id than ${JSON.stringify(revisionId.slice(0, 100))}`)
    const { name: _name, tags, ...stored } = { ...before.definition, ...change.definition }
    admitByProfile(this.limitProfileOf(project), stored, before.definition)
    checkRuntime(stored, this.#refusal)
    await this.#checkDriver(stored)
    if (change.definition?.layers !== undefined) await this.layers.admit(project, stored.layers, before.definition.layers)
    const artefact = change.artefact ?? before.artefact
    const environment = change.environment === undefined ? before.environment : change.environment
    const id = await this.#projectId(project)
    const wanted = { ...before, artefact, environment, definition: { ...stored, name, tags } }
    const [isAlike, isSame] = [loadsAlike(before, wanted), before.artefact === artefact]
    const made = await this.#builds.make(project, id, {
      id: this.#id(),
      version: LATEST,
      like: isAlike && isSame ? before.versionId : null,
      isEdit: isAlike && !isSame && this.#deps.artefacts.loadAlike(project, before.artefact, artefact),
      functionId: before.id,
      name,
      tags,
      stored,
      environment,
      artefact,
    })
    const fault = await this.#start(project, { ...wanted, versionId: made.id }, before)
    try {
      await this.#deps.control.transaction(async (tx) => {
        const moved =
          fault === null
            ? await moveLatest(tx, before.id, made.id, this.#id(), before.revisionId)
            : await refuseUpdate(tx, before.id, this.#id(), before.revisionId, refusalOf(fault))
        if (!moved) throw new Overtaken()
        if (fault === null) await insertVersion(tx, id, made)
        await bumpProjectVersion(tx, project)
        if (fault === null) await this.#deps.concurrency?.followIn(tx, project, before.id, stored, before.definition)
      })
    } catch (error) {
      this.#deps.retired(made.id)
      if (!(error instanceof Overtaken)) throw this.#changeError(error, artefact)
      await this.get(project, name) // deleted meanwhile: then that is what to say
      throw new MayflyError('function_changing', `another change of the function "${name}" was made at the same time`)
    }
    if (fault === null) await this.#deps.concurrency?.followed(stored, before.definition)
    this.invalidate(project, name)
    this.#deps.retired(fault === null ? before.versionId : made.id)
    void this.#expect(project, name)
    return await this.get(project, name)
  }

  /**
   * Gives all calls of an alias to a version; without one to what $LATEST is now, published if it is not yet.
   * @throws MayflyError function_not_found, version_not_found, version_broken
   */
  async promote(
    project: ProjectRef,
    name: string,
    alias: string,
    version: string | null,
  ): Promise<{ readonly alias: Alias; readonly published: boolean; readonly changed: boolean }> {
    if (!isAliasName(alias)) throw new MayflyError('bad_request', 'alias: 1 to 128 letters, digits, `-` and `_`, and not digits alone')
    const made = version === null ? await this.versions.publish(project, name) : null
    return { ...(await this.aliases.point(project, name, alias, made?.record.version ?? version ?? LATEST)), published: made?.created ?? false }
  }

  /** Has a sandbox ready for the first call of what takes the place of another. */
  async #start(project: ProjectRef, record: FunctionRecord, instead: FunctionRecord | null): Promise<LoadFault | null> {
    const versionOf = async (one: FunctionRecord) => await this.#builds.versionOf(project, one)
    return (await this.#deps.start?.(await versionOf(record), instead && (await versionOf(instead)))) ?? null
  }

  /** Makes the function equal to what is said; the same content and settings again build nothing. */
  async put(
    project: ProjectRef,
    definition: FunctionDefinition,
    environment: Environment,
    artefact: string,
  ): Promise<{
    record: FunctionRecord
    created: boolean
    changed: boolean
    warnings: string[]
  }> {
    const before = await this.find(project, definition.name)
    const warnings = await this.#warnings(project, definition, environment, before)
    if (!before)
      return {
        record: await this.create(project, definition, environment, artefact),
        created: true,
        changed: true,
        warnings,
      }
    const wanted = {
      ...definition,
      tags: before.definition.tags,
      awsRole: before.definition.awsRole,
      ...(before.definition.kept ? { kept: before.definition.kept } : {}),
    }
    if (before.artefact === artefact && isDeepStrictEqual(before.definition, wanted) && isDeepStrictEqual({ ...before.environment }, { ...environment })) {
      return { record: before, created: false, changed: false, warnings }
    }
    const { name: _name, tags: _tags, ...change } = wanted
    const record = await this.update(project, definition.name, { definition: change, environment, artefact })
    if (record.refused !== null)
      throw new MayflyError('version_broken', `the new version of "${definition.name}" does not load, the one before it stays: ${record.refused.reason}`)
    return { record, created: false, changed: true, warnings }
  }

  /**
   * What of a definition is accepted, but does not work as it reads.
   * @throws MayflyError profile_exceeded, bad_request (a driver that is not here)
   */
  async warnings(project: ProjectRef, definition: FunctionDefinition, environment: Environment): Promise<string[]> {
    return await this.#warnings(project, definition, environment, await this.find(project, definition.name))
  }

  async #warnings(project: ProjectRef, definition: FunctionDefinition, environment: Environment, before: FunctionRecord | null): Promise<string[]> {
    await this.#checkDriver(definition)
    const beyond = admitByProfile(this.limitProfileOf(project), definition, before?.definition ?? null)
    const { secrets } = definition
    const there = secrets.length === 0 ? [] : ((await this.#deps.secrets?.list(project)) ?? []).map((secret) => secret.name)
    const missing = secrets.filter((name) => name !== ALL_SECRETS && !there.includes(name))
    const hidden = (secrets.includes(ALL_SECRETS) ? there : secrets).filter((name) => Object.hasOwn(environment, name))
    const network = this.#deps.egressWarning?.(definition.egress, definition.driver) ?? null
    return [
      ...(network === null ? [] : [network]),
      ...beyond,
      ...beyondMachine(definition.memoryMb, this.#deps.memoryBudgetMb?.() ?? null),
      ...tmpBeyondMemory(definition),
      ...missing.map((name) => `secrets: the project has no secret ${name} yet; set it with \`mayfly secrets set ${name}\`, or calls go without.`),
      ...hidden.map((name) => `secrets: ${name} stands in environment too; the secret counts.`),
    ]
  }

  /** @throws MayflyError function_not_found */
  async delete(project: ProjectRef, name: string): Promise<void> {
    const record = await this.get(project, name)
    const versionIds = await this.#deps.control.transaction(async (tx) => {
      const deleted = await deleteFunction(tx, project, name)
      if (deleted.length > 0) await bumpProjectVersion(tx, project)
      return deleted
    })
    this.invalidate(project, name)
    for (const id of new Set([record.versionId, ...versionIds])) this.#deps.retired(id)
    await this.#deps
      .deleted?.(project)
      .catch((error: Error) => this.#deps.log.warn({ project, function: name, error: error.message }, 'what a function leaves behind is cleared away later'))
  }

  /** Tags belong to the function, not to a version: changing them builds nothing. */
  async changeTags(project: ProjectRef, name: string, change: (tags: Readonly<Record<string, string>>) => Record<string, string>): Promise<void> {
    const record = await this.get(project, name)
    const tags = change(record.definition.tags)
    checkTags(tags)
    await this.#deps.control.transaction(async (tx) => {
      await saveTags(tx, record.id, tags)
      await bumpProjectVersion(tx, project)
    })
    this.invalidate(project, name)
  }

  /** Removes versions and artefacts that nothing needs any more. */
  async sweep(graceSeconds: number = GRACE_SECONDS): Promise<number> {
    const { control, artefacts } = this.#deps
    await deleteOldVersions(control.sql, graceSeconds)
    await this.layers.sweep(graceSeconds)
    const unused = await unusedArtefacts(control.sql, graceSeconds, SWEEP_BATCH)
    for (const { project, ref, sha256 } of unused) {
      await artefacts.remove(ref, sha256, () => forgetArtefact(control, project, sha256, graceSeconds))
    }
    return unused.length
  }

  /** Gives back what a project had on disk; its rows go with the project's own. */
  async dropProject(project: ProjectRef): Promise<void> {
    for (const { id } of await versionsOf(this.#deps.control.sql, project)) this.#deps.retired(id)
    this.invalidate(project)
    await this.#deps.artefacts.removeProject(project)
    this.invalidate(project)
  }

  #changeError(error: unknown, artefact: string): unknown {
    // 23503: the sweep, or the deletion of the function, came between.
    return error instanceof DatabaseError && error.sqlState === '23503' ? noArtefact(artefact) : error
  }

  async #projectId(project: ProjectRef): Promise<string> {
    const id = await projectId(this.#deps.control.sql, project)
    if (id === null) throw new MayflyError('project_not_found', `no project has the ref "${project}"`)
    return id
  }

  #id(): string {
    return uuidv7(this.#deps.clock.now(), this.#random)
  }
}

/** Rolls the transaction back when somebody else changed the function first. */
class Overtaken extends Error {}

/** Whether code is loaded in the same way, so that what was compiled of it serves both where it is the same. Only what is known to be of no matter is left out. */
function loadsAlike(a: FunctionRecord, b: FunctionRecord): boolean {
  const how = ({ definition }: FunctionRecord) => {
    const { description: _a, timeoutSeconds: _b, memoryMb: _c, tmpMb: _d, role: _e, verifyJwt: _f, async: _g, awsRole: _h, tags: _i, ...rest } = definition
    return rest
  }
  return isDeepStrictEqual(how(a), how(b))
}

/** In the Lambda API's words. What user code says of itself has a bound. */
const refusalOf = ({ type, message }: LoadFault) => ({
  code: 'FunctionError.RuntimeInitError',
  reason: storableText(`${type}: ${message}`).slice(0, MAX_REASON),
})

function checkTags(tags: Readonly<Record<string, string>>): void {
  if (Object.keys(tags).length > MAX_TAGS) throw new MayflyError('bad_request', 'Number of tags exceeds resource tag limit.')
}

/** As the Lambda API writes it. */
export const codeSha256 = (record: FunctionRecord) => Buffer.from(record.artefact, 'hex').toString('base64')

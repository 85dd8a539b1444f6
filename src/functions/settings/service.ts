import type { Database, Tx } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import { bumpProjectVersion } from '../../core/store.ts'
import type { Clock } from '../../lib/clock.ts'
import { type Random, systemRandom, uuidv7 } from '../../lib/ids.ts'
import {
  countEventSources,
  deleteEventInvoke,
  deleteEventSource,
  deletePolicy,
  lockFunction,
  lockProject,
  saveEventInvoke,
  saveEventSource,
  saveLoop,
  savePolicy,
  saveRevision,
  saveRuntimeManagement,
  selectActiveSources,
  selectCodeUsage,
  selectEventInvokes,
  selectEventSource,
  selectEventSources,
  selectLoop,
  selectLoopers,
  selectPolicy,
  selectRemembered,
  selectRevision,
  selectRuntimeManagement,
  type SourceFilter,
} from './store.ts'
import type {
  ActiveSource,
  EventInvoke,
  EventSource,
  PolicyDocument,
  PolicyStatement,
  RecursiveLoop,
  Remembered,
  RuntimeManagement,
  StoredEventInvoke,
} from './types.ts'

export interface FunctionSettingsDeps {
  readonly control: Database
  readonly clock: Clock
  readonly random?: Random
  /** Whether what is remembered may be used without asking the database again. */
  readonly believable?: () => boolean
}

/** A function, or one of its versions or aliases, as settings name it. */
export interface Settable {
  readonly id: string
  readonly name: string
  /** `$LATEST` for the function itself. */
  readonly qualifier: string
}

const LATEST = '$LATEST'
const NOTHING: Remembered = { policies: new Map(), eventInvokes: new Map(), loop: 'Terminate' }

/**
 * Settings that stand beside the versions of a function: changing one builds nothing.
 * What calls ask for is remembered by the function's name; each change raises the project's version, as for definitions.
 */
export class FunctionSettings {
  readonly #deps: FunctionSettingsDeps
  readonly #random: Random
  readonly #cache = new Map<string, Remembered>()
  /** Raised by each forgetting: what was read before it is not kept. */
  #generation = 0

  constructor(deps: FunctionSettingsDeps) {
    this.#deps = deps
    this.#random = deps.random ?? systemRandom
  }

  /** The statements about who may call a function by this qualifier (null for none); each qualifier has its own. */
  async policyOf(project: ProjectRef, functionName: string, qualifier: string | null): Promise<readonly PolicyStatement[]> {
    return (await this.#remembered(project, functionName)).policies.get(qualifier ?? LATEST)?.Statement ?? []
  }

  /** How calls of this qualifier from the queue are handled; null leaves all to the function. */
  async eventInvokeOf(project: ProjectRef, functionName: string, qualifier: string | null): Promise<EventInvoke | null> {
    return (await this.#remembered(project, functionName)).eventInvokes.get(qualifier ?? LATEST) ?? null
  }

  /** Whether the function may go on where others are taken for a loop. */
  async mayLoop(project: ProjectRef, functionName: string): Promise<boolean> {
    return (await this.#remembered(project, functionName)).loop === 'Allow'
  }

  /** The names of all that may. */
  async loopers(project: ProjectRef): Promise<ReadonlySet<string>> {
    return new Set((await selectLoopers(this.#deps.control.sql, project)).map(({ name }) => name))
  }

  /** Forgets what is known of the functions of a project. */
  forget(project: ProjectRef): void {
    this.#generation += 1
    for (const key of [...this.#cache.keys()]) if (key.startsWith(`${project}/`)) this.#cache.delete(key)
  }

  async policy(functionId: string, qualifier: string): Promise<PolicyDocument | null> {
    const text = await selectPolicy(this.#deps.control.sql, functionId, qualifier)
    return text === null ? null : (JSON.parse(text) as PolicyDocument)
  }

  /**
   * Makes another policy of what is there; null takes it away. The function has another revision id afterwards.
   * @param expected  the change is refused when the function has another revision id
   * @throws MayflyError function_not_found, revision_mismatch, and what `change` throws
   */
  async changePolicy(
    project: ProjectRef,
    target: Settable,
    expected: string | null,
    change: (before: PolicyDocument | null) => PolicyDocument | null,
  ): Promise<{ readonly document: PolicyDocument | null; readonly revisionId: string }> {
    return await this.#change(project, target, async (tx, revision) => {
      if (expected !== null && expected !== revision) throw new MayflyError('revision_mismatch', 'the policy has another revision id')
      const before = await selectPolicy(tx, target.id, target.qualifier)
      const document = change(before === null ? null : (JSON.parse(before) as PolicyDocument))
      if (document === null) await deletePolicy(tx, target.id, target.qualifier)
      else await savePolicy(tx, target.id, target.qualifier, JSON.stringify(document))
      const revisionId = this.#id()
      await saveRevision(tx, target.id, target.qualifier, revisionId)
      return { document, revisionId }
    })
  }

  async eventInvoke(functionId: string, qualifier: string): Promise<StoredEventInvoke | null> {
    return (await selectEventInvokes(this.#deps.control.sql, functionId, qualifier, '', 1))[0] ?? null
  }

  /** In the order of qualifiers. */
  async eventInvokes(functionId: string, after: string, limit: number): Promise<StoredEventInvoke[]> {
    return await selectEventInvokes(this.#deps.control.sql, functionId, null, after, limit)
  }

  /** @throws MayflyError function_not_found, and what `change` throws */
  async changeEventInvoke(project: ProjectRef, target: Settable, change: (before: EventInvoke | null) => EventInvoke): Promise<StoredEventInvoke> {
    return await this.#change(project, target, async (tx) => {
      const [before] = await selectEventInvokes(tx, target.id, target.qualifier, '', 1)
      await saveEventInvoke(tx, target.id, target.qualifier, change(before ?? null))
      return (await selectEventInvokes(tx, target.id, target.qualifier, '', 1))[0] as StoredEventInvoke
    })
  }

  /** @returns false when there was none */
  async deleteEventInvoke(project: ProjectRef, target: Settable): Promise<boolean> {
    return await this.#change(project, target, (tx) => deleteEventInvoke(tx, target.id, target.qualifier))
  }

  async loop(functionId: string): Promise<RecursiveLoop> {
    return await selectLoop(this.#deps.control.sql, functionId)
  }

  async setLoop(project: ProjectRef, target: Settable, loop: RecursiveLoop): Promise<void> {
    await this.#change(project, target, async (tx) => void (await saveLoop(tx, target.id, loop)))
  }

  async runtimeManagement(functionId: string, qualifier: string): Promise<RuntimeManagement> {
    return (await selectRuntimeManagement(this.#deps.control.sql, functionId, qualifier)) ?? { updateOn: 'Auto', runtimeVersionArn: null }
  }

  async setRuntimeManagement(project: ProjectRef, target: Settable, wanted: RuntimeManagement): Promise<void> {
    await this.#change(project, target, async (tx) => void (await saveRuntimeManagement(tx, target.id, target.qualifier, wanted)))
  }

  /** In the order of ids. */
  async eventSources(project: ProjectRef, filter: SourceFilter, after: string | null, limit: number): Promise<EventSource[]> {
    return await selectEventSources(this.#deps.control.sql, project, filter, after, limit)
  }

  /** Those of all projects to sources of a service that are to be read now. */
  async activeSources(service: string): Promise<ActiveSource[]> {
    return await selectActiveSources(this.#deps.control.sql, service)
  }

  async eventSource(project: ProjectRef, id: string): Promise<EventSource | null> {
    return await selectEventSource(this.#deps.control.sql, project, id)
  }

  /**
   * @param same  told a mapping of the same source and function, if there is one; it throws what is to be said of it
   * @throws MayflyError project_not_found, bad_request when the project has LIMITS.eventSourceMappings
   */
  async createEventSource(project: ProjectRef, wanted: Omit<EventSource, 'id' | 'modifiedAt'>, same: (one: EventSource) => never): Promise<EventSource> {
    const id = this.#id()
    await this.#deps.control.transaction(async (tx) => {
      const projectId = await this.#lockProject(tx, project)
      const { functionName, qualifier, sourceArn } = wanted
      const [other] = sourceArn === null ? [] : await selectEventSources(tx, project, { functionName, qualifier, sourceArn }, null, 1)
      if (other) same(other)
      if ((await countEventSources(tx, projectId)) >= LIMITS.eventSourceMappings.value)
        throw new MayflyError('bad_request', `The project has ${LIMITS.eventSourceMappings.value} event source mappings already.`)
      await saveEventSource(tx, projectId, { ...wanted, id })
    })
    return (await this.eventSource(project, id)) as EventSource
  }

  /**
   * @param same  as above, for a change that may name another function; null for one that does not
   * @returns null when there is none; what it was and what it is
   */
  async changeEventSource(
    project: ProjectRef,
    id: string,
    change: (before: EventSource) => Omit<EventSource, 'modifiedAt'>,
    same: ((one: EventSource) => never) | null,
  ): Promise<{ readonly before: EventSource; readonly after: EventSource } | null> {
    return await this.#deps.control.transaction(async (tx) => {
      const projectId = await this.#lockProject(tx, project)
      const before = await selectEventSource(tx, project, id)
      if (!before) return null
      const wanted = change(before)
      const { functionName, qualifier, sourceArn } = wanted
      if (sourceArn !== null && (functionName !== before.functionName || qualifier !== before.qualifier)) {
        const [other] = await selectEventSources(tx, project, { functionName, qualifier, sourceArn }, null, 1)
        if (other) same?.(other)
      }
      await saveEventSource(tx, projectId, wanted)
      return { before, after: (await selectEventSource(tx, project, id)) as EventSource }
    })
  }

  /** @returns what it was; null when there was none */
  async deleteEventSource(project: ProjectRef, id: string): Promise<EventSource | null> {
    return await this.#deps.control.transaction(async (tx) => {
      const projectId = await this.#lockProject(tx, project)
      const before = await selectEventSource(tx, project, id)
      if (before) await deleteEventSource(tx, projectId, id)
      return before
    })
  }

  async codeUsage(project: ProjectRef): Promise<{ readonly functions: number; readonly codeBytes: number }> {
    return await selectCodeUsage(this.#deps.control.sql, project)
  }

  async #change<T>(project: ProjectRef, target: Settable, work: (tx: Tx, revision: string) => Promise<T>): Promise<T> {
    const result = await this.#deps.control.transaction(async (tx) => {
      const revision = (await lockFunction(tx, target.id)) ? await selectRevision(tx, target.id, target.qualifier) : null
      // Gone between the look and the change.
      if (revision === null) throw new MayflyError('function_not_found', `no function named ${JSON.stringify(target.name)} in project ${project}`)
      const done = await work(tx, revision)
      await bumpProjectVersion(tx, project)
      return done
    })
    this.forget(project)
    return result
  }

  async #lockProject(tx: Tx, project: ProjectRef): Promise<string> {
    const id = await lockProject(tx, project)
    if (id === null) throw new MayflyError('project_not_found', `no project has the ref "${project}"`)
    return id
  }

  async #remembered(project: ProjectRef, name: string): Promise<Remembered> {
    const key = `${project}/${name}`
    const known = this.#cache.get(key)
    if (known && (this.#deps.believable?.() ?? true)) return known
    const generation = this.#generation
    const row = await selectRemembered(this.#deps.control.sql, project, name)
    if (!row) return NOTHING // not kept: it may come to be at any time
    const read: Remembered = {
      policies: new Map(row.policies.map(({ qualifier, document }) => [qualifier, JSON.parse(document) as PolicyDocument])),
      eventInvokes: new Map(row.eventInvokes.map(({ qualifier, ...rest }) => [qualifier, rest])),
      loop: row.loop ?? 'Terminate',
    }
    if (generation === this.#generation) {
      if (this.#cache.size >= LIMITS.rememberedVersions.value) this.#cache.delete(this.#cache.keys().next().value as string)
      this.#cache.set(key, read)
    }
    return read
  }

  #id(): string {
    return uuidv7(this.#deps.clock.now(), this.#random)
  }
}

import { type Connection, type Database, DatabaseError, type Databases } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { bumpProjectVersion } from '../core/store.ts'
import type { TriggerSpec } from '../core/trigger-spec.ts'
import { type RouteOf, routeConflict, webhookName } from '../core/web-triggers.ts'
import type { Clock } from '../lib/clock.ts'
import { within } from '../lib/within.ts'
import { changesOf, type Definition, definitionOf, specOf } from './definition.ts'
import type { EventSource, KeptMapping, SourceHost } from './event-source.ts'
import { countUnseen } from './log/store.ts'
import { Pumping } from './pumping.ts'
import { type MappedQueue, mappedQueue } from './queue/mapped.ts'
import { Relay } from './relay.ts'
import { timeOf } from './schedule/due.ts'
import { sealOutbox } from './sealing.ts'
import {
  clearEvents,
  deleteOrphans,
  deleteTriggers,
  hasRows,
  hasTable,
  insertTriggers,
  lockTriggers,
  lockSubscriptions,
  reachMirror,
  replaceSubscriptions,
  type Subscription,
  selectBehind,
  selectMirror,
  selectMirrors,
  selectTriggers,
  type TriggerRow,
  watchRows,
} from './store.ts'

/** What a bell did not tell of is found by looking. */
const LOOK_MS = 1_000
const RETRY_MAX_MS = 30_000
const SWEEP_MS = 3_600_000
const ORPHANED_SECONDS = 3_600
const CLOSE_MS = 5_000
/** How long who writes a table may keep its triggers from being put there. */
const TABLE_WAIT_MS = 5_000
const LOCK_NOT_AVAILABLE = '55P03'
/** Projects whose servers are started, or waited for, at once. */
const AT_ONCE = 4

export interface TriggersDeps extends Pick<SourceHost, 'hasBucket' | 'queues' | 'mappings' | 'queue' | 'logs' | 'loopers' | 'invoke' | 'recorded'> {
  readonly sources: readonly EventSource[]
  readonly databases: Pick<Databases, 'control' | 'openProject' | 'openOwner' | 'status' | 'brokenOff'>
  readonly functions: { get(project: ProjectRef, name: string): Promise<{ readonly id: string }> }
  readonly project: (ref: ProjectRef) => Project | null
  /** The event source mappings of a project, whatever they read. */
  readonly mappingsOf?: (ref: ProjectRef) => Promise<readonly KeptMapping[]>
  /** All of them: SQL may start a function in each. */
  readonly projects?: () => readonly Project[]
  /** The names of a project's secrets. */
  readonly secretNames?: (ref: ProjectRef) => Promise<readonly string[]>
  /** It rests: its events were handed on before. */
  readonly rests?: (ref: ProjectRef) => boolean
  /** The paths that functions of a project answer are others. */
  readonly routesChanged?: (project: ProjectRef) => void
  readonly newId: () => string
  /** What events say of where they come from. */
  readonly region: string
  readonly crash: Crash
  readonly clock: Clock
  readonly log: Log
}

export interface Trigger {
  readonly id: string
  readonly function: string
  readonly spec: TriggerSpec
  /** Of a schedule: when it is due next. */
  readonly nextAt: Date | null
  /** Of lines of a log: how many were given up before it looked at them. */
  readonly unseen: number
  readonly createdAt: Date
}

/** A project that has or had triggers. */
interface Followed {
  readonly relay: Relay
  /** The pass under way. */
  passing: Promise<void> | null
  /** It was rung for while a pass was under way: what came then may not have been visible. */
  again: boolean
  failures: number
  /** Not before this moment of the monotonic clock, after a failure. */
  notBefore: number
  /** One at a time brings the mirror to its state. */
  mirroring: Promise<void>
  readonly stop: AbortController
}

/**
 * What starts functions by itself. The triggers of all projects stand in the control database; a mirror in each
 * project's own database tells whoever causes an event there that somebody waits for it, and a relay brings the event
 * from there to the queue.
 */
export class Triggers implements AsyncDisposable {
  readonly #deps: TriggersDeps
  readonly #followed = new Map<ProjectRef, Followed>()
  readonly #stop = new AbortController()
  /** Mirrors that a look brings to their state: a slow one holds up no other look. */
  readonly #behind = new Map<ProjectRef, Promise<void>>()
  #looking: Promise<void> | null = null
  #starting: Promise<void> | null = null
  readonly #sources: ReadonlyMap<string, EventSource>
  readonly #pumps: ReadonlyMap<string, Pumping>
  readonly #host: SourceHost

  constructor(deps: TriggersDeps) {
    this.#deps = deps
    this.#sources = new Map(deps.sources.map((source) => [source.kind, source]))
    const { databases } = deps
    const host: SourceHost = {
      ...deps,
      control: databases.control,
      hasTable: async (ref, schema, table) => await hasTable((await databases.openProject(ref)).sql, schema, table),
    }
    this.#host = host
    this.#pumps = new Map(deps.sources.flatMap(({ kind, open }) => (open ? [[kind, new Pumping(kind, open(host), deps)]] : [])))
  }

  /**
   * Begins to follow the projects that have triggers, and those in which SQL may have called a function just before the
   * end; what a former life left half done is finished beside.
   */
  async start(): Promise<void> {
    const { databases, project } = this.#deps
    const refs = new Set((await selectMirrors(databases.control.sql)).map(({ ref }) => ref))
    for (const ref of await databases.brokenOff()) refs.add(ref as ProjectRef)
    const active = [...refs].filter((ref) => project(ref)?.state === 'active')
    for (const ref of active) this.#follow(ref)
    this.#starting = this.#lookAtAll(active.filter((ref) => !this.#rests(ref)))
    this.#looking = this.#look()
    for (const pump of this.#pumps.values()) pump.start()
  }

  /** A hint that an event was committed in a project; when it is lost, the next look finds the event. */
  wake(ref: ProjectRef): void {
    const followed = this.#followed.get(ref)
    if (followed) void this.#pass(ref, followed)
  }

  /** Something may have come that a source looks for by itself: a hint. */
  ring(kind: string): void {
    this.#pumps.get(kind)?.ring()
  }

  /** Takes what there is now of a project's events, and of those that sources look for. */
  async once(ref: ProjectRef): Promise<void> {
    for (const pump of this.#pumps.values()) await pump.once()
    this.#follow(ref)
    await this.settle(ref)
  }

  /** Events that were seen in outboxes and not handed on yet. */
  get backlog(): number {
    return this.#followed.values().reduce((sum, { relay }) => sum + relay.backlog, 0)
  }

  /** Lines of logs that were given up before triggers that are there had looked at them. */
  unseenLines(): Promise<number> {
    return countUnseen(this.#deps.databases.control.sql)
  }

  /** @throws MayflyError function_not_found */
  async of(ref: ProjectRef, functionName: string): Promise<Trigger[]> {
    await this.#deps.functions.get(ref, functionName)
    return await this.#select(ref, functionName)
  }

  list(ref: ProjectRef): Promise<Trigger[]> {
    return this.#select(ref, null)
  }

  /** The event source mappings of a project that read a queue. */
  async mapped(ref: ProjectRef): Promise<MappedQueue[]> {
    const kept = (await this.#deps.mappingsOf?.(ref)) ?? []
    return kept.flatMap((one) => mappedQueue(one, (name) => this.#deps.queues.find(ref, name) !== null) ?? [])
  }

  /** What lets triggers like these start nothing yet, for who deploys them. */
  async warnings(ref: ProjectRef, specs: readonly TriggerSpec[]): Promise<string[]> {
    return [...(await this.#lacks(ref, specs)), ...(await this.#unsigned(ref, specs)), ...this.#past(specs)]
  }

  /** Of times that are over: they never come. */
  #past(specs: readonly TriggerSpec[]): string[] {
    const now = this.#deps.clock.now()
    return specs.flatMap(({ schedule, enabled }) => {
      if (schedule?.at === undefined || enabled === false || (timeOf(schedule.at, schedule.timezone) ?? 0) > now) return []
      return [`triggers: the time of the schedule ${schedule.at} (${schedule.timezone}) is over; it starts nothing.`]
    })
  }

  /** Of webhooks whose secret the project does not have. */
  async #unsigned(ref: ProjectRef, specs: readonly TriggerSpec[]): Promise<string[]> {
    const hooks = specs.flatMap(({ webhook, enabled }) => (webhook && enabled !== false ? [webhook] : []))
    if (hooks.length === 0 || this.#deps.secretNames === undefined) return []
    const there = new Set(await this.#deps.secretNames(ref))
    return hooks.flatMap((hook) => {
      const names = [hook.secret].flat()
      if (names.some((name) => there.has(name))) return []
      return [
        `triggers: webhooks of ${webhookName(hook)} are refused until the project has the secret ${names.join(' or ')}; set it with \`mayfly secrets set ${names[0]}\`.`,
      ]
    })
  }

  /**
   * Makes the triggers of a function equal to these. Resolves when the project's database knows it: what happens there
   * from now on is told. What was caused before for a trigger that goes is dropped.
   * @param over  functions that lose a route to this one where both have it, as they are about to give it up
   * @throws MayflyError function_not_found, bad_request (too many), route_conflict; database_unavailable when it is kept but not yet in force
   */
  async put(
    ref: ProjectRef,
    functionName: string,
    specs: readonly TriggerSpec[],
    over: readonly string[] = [],
  ): Promise<{ triggers: Trigger[]; changed: boolean }> {
    const { databases, functions, newId } = this.#deps
    const project = this.#active(ref)
    const { id: functionId } = await functions.get(ref, functionName)
    const wanted = specs.map(definitionOf)
    for (const one of wanted) await this.#sources.get(one.kind)?.prepare?.(this.#host, ref, one, functionName)
    const changed = await databases.control
      .transaction(async (tx) => {
        await lockTriggers(tx, project.id)
        const all = await selectTriggers(tx, project.id, null)
        const { gone, come } = changesOf(
          all.filter((one) => one.functionName === functionName),
          wanted,
        )
        if (all.length - gone.length + come.length > LIMITS.projectTriggers.value)
          throw new MayflyError('bad_request', `triggers: a project may have ${LIMITS.projectTriggers.value} of them`)
        const others = all.filter((one) => one.functionName !== functionName && !over.includes(one.functionName)).flatMap(routeOfRow)
        const conflict = routeConflict(
          wanted.flatMap((one) => routeOf(functionName, one)),
          others,
        )
        if (conflict !== null) throw new MayflyError('route_conflict', conflict)
        if ([...gone.map(({ kind }) => kind), ...come.map(({ kind }) => kind)].includes('http')) await bumpProjectVersion(tx, ref)
        // In this order: the function's row is held before the mirror's, as when a function is deleted.
        if (come.length > 0) {
          const made = come.map((definition) => ({ id: newId(), functionId, functionName, kind: definition.kind, definition }))
          await insertTriggers(tx, project.id, made)
          for (const [kind, of] of Map.groupBy(made, (one) => one.kind)) {
            const ids = of.map(({ id }) => id)
            await this.#sources.get(kind)?.begin?.(tx, this.#host, ref, ids)
          }
        }
        if (gone.length > 0)
          await deleteTriggers(
            tx,
            gone.map(({ id }) => id),
          )
        return gone.length + come.length > 0
      })
      .catch(async (error: unknown) => {
        if (!(error instanceof DatabaseError && error.sqlState === '23503')) throw error
        // The function, or the project, was deleted meanwhile.
        await functions.get(ref, functionName)
        throw notThere(ref)
      })
    if (changed) this.#deps.routesChanged?.(ref)
    await this.reconcile(ref)
    // Also where all are gone: what they waited for is taken no more.
    for (const kind of this.#pumps.keys()) this.ring(kind)
    return { triggers: await this.#select(ref, functionName), changed }
  }

  /** Of what triggers would wait for: sentences about what is not there, by which they start nothing until it is. */
  async #lacks(ref: ProjectRef, specs: readonly TriggerSpec[]): Promise<string[]> {
    const wanted = specs.map(definitionOf).filter(({ enabled }) => enabled !== false)
    const lacking = await Promise.all(wanted.map((one) => this.#sources.get(one.kind)?.lacks?.(this.#host, ref, one)))
    return [...new Set(lacking.filter((one) => typeof one === 'string'))].map((text) => `nothing starts it until there is ${text}.`)
  }

  /**
   * Brings the mirror of a project to what is wanted; nothing when it is there. Called again and again until it succeeds.
   * @throws DatabaseError when the project's database is away
   */
  async reconcile(ref: ProjectRef): Promise<void> {
    const followed = this.#followed.get(ref) ?? this.#follow(ref)
    const work = followed.mirroring.catch(() => {}).then(() => this.#mirror(ref))
    followed.mirroring = work
    work.catch(() => {})
    await work
  }

  /** Its triggers went with it: takes them out of the mirror. What was caused for it until then becomes dead letters. */
  async functionGone(ref: ProjectRef): Promise<void> {
    this.#deps.routesChanged?.(ref)
    if (this.#followed.has(ref)) await this.reconcile(ref)
  }

  /**
   * Hands on all that lies in a project's outbox: nothing of it waits when this resolves.
   * @throws what keeps an event from being handed on
   */
  async settle(ref: ProjectRef): Promise<void> {
    const followed = this.#followed.get(ref) ?? (this.#deps.projects && this.#deps.project(ref)?.state === 'active' ? this.#follow(ref) : null)
    if (!followed) return
    await followed.mirroring.catch(() => {})
    await followed.passing
    // Another relay that works on it is one that loses its session with the project.
    await followed.relay.run(AbortSignal.any([this.#stop.signal, followed.stop.signal]))
    await followed.passing
  }

  /**
   * As `settle`, and from then on nobody can commit an event of the project, until this is disposed of. Null where nothing waits for any.
   * @throws what keeps an event from being handed on
   */
  async seal(ref: ProjectRef, reach: () => Promise<Connection>): Promise<AsyncDisposable | null> {
    while (this.#followed.has(ref)) {
      const sealed = await sealOutbox(await reach())
      if (sealed) return sealed
      await this.settle(ref)
    }
    return null
  }

  /** A project was made as a copy: events that another's triggers waited for are none of it. */
  async clearCopy(ref: ProjectRef): Promise<void> {
    await (await this.#deps.databases.openProject(ref)).transaction((tx) => clearEvents(tx))
  }

  /** A project goes: its relay ends before its queue and its database do. Its rows go with the project's own. */
  async dropProject(ref: ProjectRef): Promise<void> {
    const followed = this.#followed.get(ref)
    if (!followed) return
    this.#followed.delete(ref)
    await settled(followed)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    // What a database that does not answer holds up is finished in the next life.
    await within(
      this.#deps.clock,
      CLOSE_MS,
      Promise.all([
        ...[...this.#pumps.values()].map((pump) => pump[Symbol.asyncDispose]()),
        this.#looking,
        this.#starting,
        ...this.#behind.values(),
        ...[...this.#followed.values()].map(settled),
      ]),
    )
  }

  #rests = (ref: ProjectRef): boolean => this.#deps.rests?.(ref) === true

  #functionId = async (ref: ProjectRef, name: string): Promise<string | null> => {
    try {
      return (await this.#deps.functions.get(ref, name)).id
    } catch (error) {
      if (error instanceof MayflyError && error.code === 'function_not_found') return null
      throw error
    }
  }

  #active(ref: ProjectRef): Project {
    const project = this.#deps.project(ref)
    if (project?.state !== 'active') throw notThere(ref)
    return project
  }

  #follow(ref: ProjectRef): Followed {
    const known = this.#followed.get(ref)
    if (known) return known
    const made: Followed = {
      relay: new Relay({ ...this.#deps, sources: this.#sources, functionId: this.#functionId }, this.#active(ref)),
      passing: null,
      again: false,
      failures: 0,
      notBefore: Number.NEGATIVE_INFINITY,
      mirroring: Promise.resolve(),
      stop: new AbortController(),
    }
    this.#followed.set(ref, made)
    return made
  }

  async #select(ref: ProjectRef, functionName: string | null): Promise<Trigger[]> {
    return (await selectTriggers(this.#deps.databases.control.sql, this.#active(ref).id, functionName)).map(shown)
  }

  #subscriptionsOf(triggerId: string, definition: Definition): Subscription[] {
    const { kind } = definition
    const subscribes = definition.enabled === false ? undefined : this.#sources.get(kind)?.subscribes
    return (subscribes?.(triggerId, definition) ?? []).map((one) => ({ triggerId, kind, ...one }))
  }

  async #mirror(ref: ProjectRef): Promise<void> {
    const { databases } = this.#deps
    const { control } = databases
    const { id } = this.#active(ref)
    for (;;) {
      const before = await selectMirror(control.sql, id)
      if (!before || before.wanted === before.reached) return
      const database: Database = await databases.openProject(ref)
      const reached = await database.transaction(async (tx) => {
        // Who comes later has read later: an older state never replaces a newer one.
        await lockSubscriptions(tx)
        const now = await selectMirror(control.sql, id)
        const triggers = await selectTriggers(control.sql, id, null)
        await replaceSubscriptions(
          tx,
          triggers.flatMap((one) => this.#subscriptionsOf(one.id, one.definition as Definition)),
        )
        return now?.wanted ?? before.wanted
      })
      // After that is committed: whoever watches a table asks what for.
      if (await hasRows(database.sql)) await this.#watchRows(ref)
      await reachMirror(control.sql, id, reached)
    }
  }

  async #watchRows(ref: ProjectRef): Promise<void> {
    await using owner = await this.#deps.databases.openOwner(ref)
    try {
      await owner.transaction((tx) => watchRows(tx, TABLE_WAIT_MS))
    } catch (error) {
      if (!(error instanceof DatabaseError && error.sqlState === LOCK_NOT_AVAILABLE)) throw error
      throw new MayflyError('database_unavailable', 'a table whose rows start a function is in use; it is tried again')
    }
  }

  /** Hands on what lies in a project's outbox; one pass at a time, and another one when it was rung for meanwhile. Never throws. */
  async #pass(ref: ProjectRef, followed: Followed): Promise<void> {
    if (followed.passing) {
      followed.again = true
      return await followed.passing
    }
    if (this.#stop.signal.aborted || followed.stop.signal.aborted || this.#deps.clock.monotonic() < followed.notBefore) return
    followed.passing = this.#passes(ref, followed).finally(() => {
      followed.passing = null
    })
    await followed.passing
  }

  async #passes(ref: ProjectRef, followed: Followed): Promise<void> {
    const { clock, log } = this.#deps
    const signal = AbortSignal.any([this.#stop.signal, followed.stop.signal])
    do {
      followed.again = false
      try {
        await followed.relay.run(signal)
        if (followed.failures > 0) log.info({ project: ref }, 'events of a project are handed on again')
        followed.failures = 0
      } catch (error) {
        if (signal.aborted || this.#deps.project(ref)?.state !== 'active') return
        if (followed.failures === 0) log.warn({ project: ref, error: (error as Error).message }, 'events of a project wait in its database; it is tried again')
        followed.failures++
        followed.notBefore = clock.monotonic() + Math.min(RETRY_MAX_MS, LOOK_MS * 2 ** Math.min(10, followed.failures - 1))
        return
      }
    } while (followed.again && !signal.aborted)
  }

  /** A few at once: each look may have to start a server. */
  async #lookAtAll(refs: readonly ProjectRef[]): Promise<void> {
    const open = [...refs]
    const look = async () => {
      for (let ref = open.shift(); ref !== undefined && !this.#stop.signal.aborted; ref = open.shift()) {
        const followed = this.#followed.get(ref)
        if (followed) await this.#pass(ref, followed)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, look))
  }

  async #look(): Promise<void> {
    const { clock, databases, log } = this.#deps
    let sweptAt = Number.NEGATIVE_INFINITY
    while (!this.#stop.signal.aborted) {
      await clock.sleep(LOOK_MS, this.#stop.signal).catch(() => {})
      if (this.#stop.signal.aborted) return
      try {
        for (const { ref } of await selectBehind(databases.control.sql)) {
          // Who finds no place now is found behind again by the next look.
          if (this.#behind.size >= AT_ONCE) break
          if (this.#behind.has(ref) || clock.monotonic() < (this.#followed.get(ref)?.notBefore ?? Number.NEGATIVE_INFINITY)) continue
          const work = this.reconcile(ref)
            .catch((error: Error) => this.#mirrorFailed(ref, error))
            .finally(() => this.#behind.delete(ref))
          this.#behind.set(ref, work)
        }
        if (clock.monotonic() - sweptAt >= SWEEP_MS) {
          sweptAt = clock.monotonic()
          await deleteOrphans(databases.control.sql, ORPHANED_SECONDS)
        }
        // What does not run here has no events that are new; but one that failed is asked again.
        const places = await databases.status()
        const running = new Set(places.filter((place) => place.running).map(({ place }) => place))
        for (const { ref, state } of this.#deps.projects?.() ?? []) if (state === 'active' && (places.length === 0 || running.has(ref))) this.#follow(ref)
        for (const [ref, followed] of this.#followed) {
          // An external server has no places of ours: it runs.
          if (!this.#rests(ref) && (places.length === 0 || running.has(ref) || followed.failures > 0)) void this.#pass(ref, followed)
        }
      } catch (error) {
        log.debug({ error: String(error) }, 'triggers could not be looked at')
      }
    }
  }

  #mirrorFailed(ref: ProjectRef, error: Error): void {
    const followed = this.#followed.get(ref)
    if (!followed) return
    if (followed.failures === 0) this.#deps.log.warn({ project: ref, error: error.message }, 'triggers of a project are not yet in force; it is tried again')
    followed.failures++
    followed.notBefore = this.#deps.clock.monotonic() + Math.min(RETRY_MAX_MS, LOOK_MS * 2 ** Math.min(10, followed.failures - 1))
  }
}

async function settled(followed: Followed): Promise<void> {
  followed.stop.abort()
  await Promise.allSettled([followed.passing, followed.mirroring])
}

const routeOf = (functionName: string, definition: Definition): RouteOf[] =>
  definition.kind === 'http' ? [{ function: functionName, http: definition.http }] : []
const routeOfRow = ({ functionName, definition }: TriggerRow): RouteOf[] => routeOf(functionName, definition as Definition)

const shown = (row: TriggerRow): Trigger => ({
  id: row.id,
  function: row.functionName,
  spec: specOf(row.definition as Definition),
  nextAt: row.nextAt,
  unseen: row.unseen,
  createdAt: row.createdAt,
})

const notThere = (ref: ProjectRef) => new MayflyError('project_not_found', `there is no project ${ref}`)

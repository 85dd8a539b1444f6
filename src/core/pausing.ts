import type { Database, Databases } from '../backends/database/database.ts'
import type { Clock } from '../lib/clock.ts'
import { within } from '../lib/within.ts'
import type { Crash } from './crash.ts'
import { MayflyError } from './errors.ts'
import { LIMITS } from './limits.ts'
import type { Log } from './log.ts'
import type { Project, ProjectRef } from './project.ts'
import { selectPaused, updatePaused, updateResumed } from './store.ts'

/** How often idle projects are looked for, at most. */
const LOOK_MS = 30_000
const LEAST_LOOK_MS = 250

export interface PausingDeps {
  readonly control: Database
  readonly projects: { find(ref: ProjectRef): Project | null; list(): readonly Project[] }
  /** Stops what runs of its database. Called again where that was begun already. */
  readonly stop: (ref: ProjectRef) => Promise<void>
  /** The projects whose servers run; null where servers are not ours. */
  readonly running: () => Promise<ReadonlySet<string> | null>
  /** The rooms give back what they hold of it, and hand on what lies in its outbox. @throws when an event cannot be handed on now */
  readonly letGo: (project: Project) => Promise<void>
  /**
   * Hands on what was committed to its outbox since, and keeps everybody from adding to it until what this gives is disposed of.
   * @throws when an event cannot be handed on now
   */
  readonly seal: (project: Project) => Promise<AsyncDisposable | null>
  /** What a project is kept awake by though nobody asks anything; null when there is nothing. */
  readonly keptBy: (project: Project) => Promise<string | null>
  /** What forbids a pause by hand too; null when nothing does. */
  readonly heldBy: (project: Project) => Promise<string | null>
  readonly idleMs: number
  readonly crash: Crash
  readonly clock: Clock
  readonly log: Log
}

interface Place {
  users: number
  usedAt: number
  /** Resolved when nobody is in it, if somebody waits for that. */
  quiet: PromiseWithResolvers<void> | null
  /** A pause under way, and whether it is past the point of no return. */
  pausing: { readonly done: Promise<void>; stopping: boolean } | null
  resuming: Promise<void> | null
  readonly use: Disposable
}

/**
 * Which projects rest. One that does has no server, connection, socket, slot or sandbox; whoever comes next wakes it.
 * The control database says so after all of its events were handed on and before its server stops: whenever the node
 * is killed, it is either awake or at rest. A request that outlasts the grace of a pause by hand either has committed what
 * it does before the outbox is sealed, or is not acknowledged.
 */
export class Pausing implements AsyncDisposable {
  readonly #deps: PausingDeps
  readonly #paused = new Set<ProjectRef>()
  readonly #places = new Map<ProjectRef, Place>()
  /** Awake here; whether control heard of that is not known. */
  readonly #doubtful = new Set<ProjectRef>()
  readonly #stop = new AbortController()
  #looking: Promise<void> | null = null

  constructor(deps: PausingDeps) {
    this.#deps = deps
  }

  /** Learns who rests. */
  async start(): Promise<void> {
    for (const { ref } of await selectPaused(this.#deps.control.sql)) this.#paused.add(ref)
  }

  /** Begins to look for projects that nobody uses. */
  watch(): void {
    this.#looking ??= this.#watch()
  }

  isPaused(ref: ProjectRef): boolean {
    return this.#paused.has(ref)
  }

  /** It rests, or is about to: who only looks after it leaves it alone, as opening its database would wake it again. */
  rests(ref: ProjectRef): boolean {
    return this.#paused.has(ref) || (this.#places.get(ref)?.pausing ?? null) !== null
  }

  /**
   * Somebody uses a project until what this gives is disposed of. One that rests wakes; a pause under way is waited for.
   * @throws DatabaseError when the control database is away
   */
  enter(ref: ProjectRef): Disposable | Promise<Disposable> {
    const place = this.#placeOf(ref)
    if (place.pausing || this.#paused.has(ref)) return this.#enterLater(ref, place)
    place.users++
    return place.use
  }

  /** It was used elsewhere: counts as a visit. */
  used(ref: ProjectRef): void {
    if (this.#paused.has(ref) || this.#places.get(ref)?.pausing) {
      void this.wake(ref).catch((error: Error) => this.#deps.log.warn({ project: ref, error: error.message }, 'a project could not be woken'))
      return
    }
    this.#placeOf(ref).usedAt = this.#deps.clock.monotonic()
  }

  /** For whoever opens its database: it rests no more. What is being let go may still be opened by the rooms that do so. */
  async wake(ref: ProjectRef): Promise<void> {
    const place = this.#places.get(ref)
    while (place?.pausing?.stopping) await place.pausing.done.catch(() => {})
    if (this.#paused.has(ref)) await this.#resume(ref)
  }

  /** By hand, or of another's bidding. @throws MayflyError project_not_found */
  async resume(ref: ProjectRef): Promise<void> {
    this.#active(ref)
    const entered = this.enter(ref)
    ;(entered instanceof Promise ? await entered : entered)[Symbol.dispose]()
  }

  /**
   * Waits a little for what runs, then lets go of everything. Does nothing to one that rests.
   * @throws MayflyError project_not_found, project_busy; what kept its events from being handed on
   */
  async pause(ref: ProjectRef): Promise<void> {
    const project = this.#active(ref)
    const held = await this.#deps.heldBy(project)
    if (held !== null) throw new MayflyError('project_busy', `the project ${ref} cannot rest: ${held}`)
    await this.#pause(project, LIMITS.pauseGrace.value)
  }

  /** A project goes, or a former one of its name went. */
  forget(ref: ProjectRef): void {
    this.#paused.delete(ref)
    this.#places.delete(ref)
  }

  /** One round of looking. */
  async look(): Promise<void> {
    const { control, projects, running, stop, keptBy, idleMs, clock, log } = this.#deps
    for (const ref of this.#doubtful) {
      if (!this.#paused.has(ref)) await updateResumed(control.sql, ref)
      this.#doubtful.delete(ref)
    }
    const places = await running()
    for (const project of projects.list()) {
      const { ref } = project
      if (this.#stop.signal.aborted || project.state !== 'active') continue
      const place = this.#placeOf(ref)
      if (place.pausing || (places && !places.has(ref))) continue
      // Whoever came past the gate as it closed has started it again.
      if (this.#paused.has(ref)) {
        if (places && !place.resuming) await stop(ref)
        continue
      }
      const isIdle = () => idleMs > 0 && place.users === 0 && clock.monotonic() - place.usedAt >= idleMs && !place.pausing && !this.#paused.has(ref)
      if (!isIdle() || (await keptBy(project)) !== null || !isIdle()) continue
      await this.#pause(project, 0).then(
        () => log.info({ project: ref }, 'a project that nobody uses was paused'),
        (error: Error) => {
          place.usedAt = clock.monotonic()
          log.warn({ project: ref, error: error.message }, 'a project that nobody uses could not be paused; it is tried again')
        },
      )
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#looking
    await Promise.allSettled([...this.#places.values()].flatMap(({ pausing, resuming }) => [pausing?.done, resuming]))
  }

  #active(ref: ProjectRef): Project {
    const project = this.#deps.projects.find(ref)
    if (project?.state !== 'active') throw new MayflyError('project_not_found', `there is no project ${ref}`)
    return project
  }

  #placeOf(ref: ProjectRef): Place {
    const known = this.#places.get(ref)
    if (known) return known
    const { clock } = this.#deps
    const place: Place = {
      users: 0,
      usedAt: clock.monotonic(),
      quiet: null,
      pausing: null,
      resuming: null,
      use: {
        [Symbol.dispose]: () => {
          place.usedAt = clock.monotonic()
          if (--place.users === 0) place.quiet?.resolve()
        },
      },
    }
    this.#places.set(ref, place)
    return place
  }

  async #enterLater(ref: ProjectRef, place: Place): Promise<Disposable> {
    for (;;) {
      if (place.pausing) await place.pausing.done.catch(() => {})
      else if (this.#paused.has(ref)) await this.#resume(ref)
      else break
    }
    place.users++
    return place.use
  }

  async #resume(ref: ProjectRef): Promise<void> {
    const { control, crash, clock } = this.#deps
    const place = this.#placeOf(ref)
    place.resuming ??= (async () => {
      await updateResumed(control.sql, ref)
      crash('afterResumeCommit')
      place.usedAt = clock.monotonic()
      this.#paused.delete(ref)
    })().finally(() => {
      place.resuming = null
    })
    await place.resuming
  }

  async #pause(project: Project, graceMs: number): Promise<void> {
    const place = this.#placeOf(project.ref)
    if (place.pausing) return await place.pausing.done
    if (this.#paused.has(project.ref)) return
    const under = { done: Promise.resolve(), stopping: false }
    place.pausing = under
    under.done = this.#rest(project, place, graceMs, () => {
      under.stopping = true
    }).finally(() => {
      place.pausing = null
    })
    under.done.catch(() => {})
    await under.done
  }

  async #rest(project: Project, place: Place, graceMs: number, pastReturn: () => void): Promise<void> {
    const { control, letGo, seal, stop, crash, clock } = this.#deps
    const { ref } = project
    if (place.users > 0) {
      place.quiet = Promise.withResolvers()
      await within(clock, graceMs, place.quiet.promise)
      place.quiet = null
    }
    await letGo(project)
    crash('afterPauseLetGo')
    await using _sealed = await seal(project)
    pastReturn()
    const [row] = await updatePaused(control.sql, project.id).catch((error: unknown) => {
      this.#doubtful.add(ref)
      throw error
    })
    if (!row) throw new MayflyError('project_not_found', `the project ${ref} was deleted`)
    this.#paused.add(ref)
    crash('afterPauseCommit')
    await stop(ref)
  }

  async #watch(): Promise<void> {
    const { clock, log, idleMs } = this.#deps
    const pauseMs = idleMs === 0 ? LOOK_MS : Math.max(LEAST_LOOK_MS, Math.min(LOOK_MS, idleMs / 4))
    while (!this.#stop.signal.aborted) {
      await clock.sleep(pauseMs, this.#stop.signal).catch(() => {})
      if (this.#stop.signal.aborted) return
      await this.look().catch((error: Error) => log.debug({ error: error.message }, 'idle projects could not be looked for'))
    }
  }
}

/** The databases of a node whose projects may rest: whoever opens one wakes it. */
export function waking(databases: Databases, wake: (ref: ProjectRef) => Promise<void>): Databases {
  const woken = async (ref: string) => await wake(ref as ProjectRef)
  return {
    get kind() {
      return databases.kind
    },
    get memoryMb() {
      return databases.memoryMb
    },
    get missing() {
      return databases.missing
    },
    get control() {
      return databases.control
    },
    controlConnection: () => databases.controlConnection(),
    ensureProject: (ref) => databases.ensureProject(ref),
    cloneProject: async (from, to) => {
      await woken(from)
      await databases.cloneProject(from, to)
    },
    pauseProject: (ref) => databases.pauseProject(ref),
    dropProject: (ref) => databases.dropProject(ref),
    openProject: async (ref) => {
      await woken(ref)
      return await databases.openProject(ref)
    },
    openRoles: async (ref) => {
      await woken(ref)
      return await databases.openRoles(ref)
    },
    openLogin: async (ref) => {
      await woken(ref)
      return await databases.openLogin(ref)
    },
    rolesConnection: async (ref) => {
      await woken(ref)
      return await databases.rolesConnection(ref)
    },
    openOwner: async (ref) => {
      await woken(ref)
      return await databases.openOwner(ref)
    },
    ownerConnection: async (ref) => {
      await woken(ref)
      return await databases.ownerConnection(ref)
    },
    renewOwner: async (ref) => {
      await woken(ref)
      await databases.renewOwner(ref)
    },
    projectConnection: async (ref) => {
      await woken(ref)
      return await databases.projectConnection(ref)
    },
    brokenOff: () => databases.brokenOff(),
    status: () => databases.status(),
    [Symbol.asyncDispose]: () => databases[Symbol.asyncDispose](),
  }
}

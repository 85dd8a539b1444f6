import type { Databases } from '../backends/database/database.ts'
import { SessionPool } from '../backends/database/session-pool.ts'
import { SharedSessions } from '../backends/database/shared-sessions.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Clock } from '../lib/clock.ts'
import type { DataConfig } from './config.ts'
import { Gate } from './gate.ts'
import { QuickReads } from './quick.ts'
import { SchemaCache } from './schema/cache.ts'
import { cancelBackend } from './store.ts'
import type { StreamDeps } from './stream.ts'

export interface DataDeps {
  readonly databases: Databases
  readonly config: DataConfig
  readonly clock: Clock
  readonly log: Log
}

/** What the room holds of one project: what its database has, and a few sessions in it. */
export interface DataPlace {
  readonly schema: SchemaCache
  readonly pool: SessionPool
  /** Whose turn it is to use one of them. */
  readonly gate: Gate
  readonly cancel: (pid: number) => Promise<void>
  /** For what is known to be quick, which needs no session of its own; null where it is to have one. */
  readonly shared: SharedPlaces | null
  /** Whose turn it is to have a large answer leave in pieces. */
  readonly streams: Gate
  readonly streaming: StreamDeps
}

export interface SharedPlaces {
  readonly reads: SharedPlace
  readonly writes: SharedPlace
  readonly quick: QuickReads
}
interface SharedPlace {
  readonly sessions: SharedSessions
  readonly gate: Gate
}

// What goes out and comes in together is cheaper than a second process.
const FEW_READS = 4
// Each session waits for the disk at each commit: as many at once as would without sharing.
const FEW_WRITES = 1

/** The user's tables over HTTP. */
export class Data implements AsyncDisposable {
  readonly #deps: DataDeps
  readonly #places = new Map<string, Promise<DataPlace>>()

  constructor(deps: DataDeps) {
    this.#deps = deps
  }

  get clock(): Clock {
    return this.#deps.clock
  }

  /** @throws DatabaseError when the database is away */
  async placeOf(ref: string): Promise<DataPlace> {
    const known = this.#places.get(ref)
    if (known) return await known
    const opening = this.#open(ref)
    this.#places.set(ref, opening)
    opening.catch(() => {
      // One of a project made anew by this name is not this one's to forget.
      if (this.#places.get(ref) === opening) this.#places.delete(ref)
    })
    return await opening
  }

  async #open(ref: string): Promise<DataPlace> {
    const { databases, config, clock, log } = this.#deps
    const connection = await databases.rolesConnection(ref)
    const pool = new SessionPool(connection, { max: config.connections, waitMs: config.waitMs, maxWaiting: LIMITS.dataWaiting.value })
    const gateOf = (max: number) => new Gate({ max, waitMs: config.waitMs, maxWaiting: LIMITS.dataWaiting.value, clock })
    const cancel = async (pid: number) => {
      await cancelBackend((await databases.openProject(ref)).sql, pid)
    }
    const depth = LIMITS.dataSharedDepth.value
    const sharing = { depth, heldUpMs: LIMITS.dataQuick.value, connectMs: config.waitMs, clock, cancel }
    const placeOf = (max: number, few: number, mayRunTwice: boolean): SharedPlace => ({
      sessions: new SharedSessions(connection, { ...sharing, max, few, mayRunTwice }),
      gate: gateOf(max * depth),
    })
    const shared =
      config.sharedSessions === 0
        ? null
        : { reads: placeOf(config.sharedSessions, FEW_READS, true), writes: placeOf(config.connections, FEW_WRITES, false), quick: new QuickReads() }
    return {
      shared,
      schema: new SchemaCache(ref, { databases, defaults: { maxRows: config.maxRows }, clock, log }),
      pool,
      gate: gateOf(config.connections),
      cancel,
      streams: gateOf(Math.max(1, Math.min(LIMITS.dataStreams.value, config.connections - 1))),
      streaming: {
        pool,
        clock,
        bounds: { idleMs: LIMITS.dataStreamIdle.value, wholeMs: LIMITS.dataStreamTime.value },
        cancel,
        onCut: (why) => log.info({ project: ref, why }, 'a large answer of the data API was cut, for its client did not take it in time'),
      },
    }
  }

  /** Said by who has changed a project's schema: the next request sees what it is now. */
  async changed(ref: string): Promise<void> {
    const place = await this.#places.get(ref)?.catch(() => null)
    place?.schema.changed()
  }

  async dropProject(ref: string): Promise<void> {
    const place = this.#places.get(ref)
    this.#places.delete(ref)
    await close(place)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const places = [...this.#places.values()]
    this.#places.clear()
    await Promise.all(places.map(close))
  }
}

async function close(place: Promise<DataPlace> | undefined): Promise<void> {
  const open = await place?.catch(() => null)
  if (!open) return
  await open.schema[Symbol.asyncDispose]()
  await Promise.all([open.pool[Symbol.asyncDispose](), open.shared?.reads.sessions[Symbol.asyncDispose](), open.shared?.writes.sessions[Symbol.asyncDispose]()])
}

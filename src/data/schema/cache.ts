import type { Databases } from '../../backends/database/database.ts'
import { Listener } from '../../backends/database/listener.ts'
import type { Log } from '../../core/log.ts'
import type { Clock } from '../../lib/clock.ts'
import { DataError } from '../errors.ts'
import { buildSnapshot, type Defaults } from './build.ts'
import type { Snapshot } from './snapshot.ts'
import { selectSchema } from './store.ts'

export interface SchemaCacheDeps {
  readonly databases: Databases
  readonly defaults: Defaults
  readonly clock: Clock
  readonly log: Log
}

/** How old a snapshot may be where nobody tells of changes. */
const UNTOLD_MS = 5_000
/** Who asks for what is not there has the schema read again, but not more often than this. */
const LOOK_AGAIN_MS = 500
/** Where the schema changes without end it is read so often. */
const GAP_MS = 100
/** Who could not be heard is tried again after so long. */
const LISTEN_AGAIN_MS = 5_000
/** Without requests for so long nothing is kept: neither the session that listens nor what was read. */
const IDLE_MS = 120_000

/**
 * What the database of one project has, read when it is first asked for and again when it changes. While it is read the
 * former one serves; nobody sees half of one.
 */
export class SchemaCache implements AsyncDisposable {
  readonly #deps: SchemaCacheDeps
  readonly #ref: string
  #snapshot: Snapshot | null = null
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Promise<Snapshot> | null = null
  /** Changed again while it was being read. */
  #isStale = false
  /** How often it was said to have changed, and what of that the snapshot has. */
  #changes = 0
  #changesRead = 0
  #listener: Promise<Listener | null> | null = null
  #isClosed = false

  constructor(ref: string, deps: SchemaCacheDeps) {
    this.#ref = ref
    this.#deps = deps
  }

  /** @throws DataError PGRST002; DatabaseError when the database is away */
  async current(): Promise<Snapshot> {
    this.#use()
    this.#listen()
    const snapshot = this.#snapshot
    if (!snapshot || this.#changesRead < this.#changes) return await this.#anew()
    const isTold = snapshot.isAnnounced && this.#isListening
    if (this.#isStale || (!isTold && this.#deps.clock.monotonic() - this.#readAt > UNTOLD_MS)) void this.#read().catch(() => {})
    return snapshot
  }

  /** Said by who has changed it, and is about to say that it is done: the next request reads it anew, before it is heard of. */
  changed(): void {
    this.#changes++
  }

  async #anew(): Promise<Snapshot> {
    let snapshot = await this.#read()
    // One that was being read already may be of before.
    while (this.#changesRead < this.#changes) snapshot = await this.#read()
    return snapshot
  }

  /**
   * What it is now, for who did not find something: it may have been made an instant ago.
   * @returns null when it has been looked at just now
   */
  async again(seen: Snapshot): Promise<Snapshot | null> {
    if (this.#snapshot !== seen && this.#snapshot !== null) return this.#snapshot
    if (this.#deps.clock.monotonic() - this.#readAt < LOOK_AGAIN_MS && !this.#isStale) return null
    const snapshot = await this.#read()
    // One that was being read already may be of before.
    return this.#isStale ? await this.#read() : snapshot
  }

  #read(): Promise<Snapshot> {
    if (this.#reading) return this.#reading
    const reading = (async () => {
      try {
        this.#isStale = false
        const changes = this.#changes
        const startedAt = this.#deps.clock.monotonic()
        const { databases, defaults } = this.#deps
        const { user } = await databases.rolesConnection(this.#ref)
        const { sql } = await databases.openProject(this.#ref)
        const [row] = await selectSchema(sql, user)
        if (!row) throw new DataError('PGRST002', 'Could not query the database for the schema cache. Retrying.')
        const snapshot = buildSnapshot(row, user, defaults)
        this.#snapshot = snapshot
        this.#readAt = startedAt
        this.#changesRead = changes
        return snapshot
      } finally {
        this.#reading = null
        if (this.#isStale) this.#readSoon()
      }
    })()
    this.#reading = reading
    return reading
  }

  #soon: Disposable | null = null
  #readSoon(): void {
    if (this.#reading || this.#soon || this.#isClosed) return
    const wait = this.#readAt + GAP_MS - this.#deps.clock.monotonic()
    const read = () => {
      this.#soon = null
      if (this.#isStale && !this.#isClosed) void this.#read().catch(() => {})
    }
    if (wait > 0) this.#soon = this.#deps.clock.timer(wait, read)
    else read()
  }

  #isListening = false

  #listenAt = Number.NEGATIVE_INFINITY
  #isTold = false
  #listen(): void {
    if (this.#listener || this.#isClosed || this.#deps.clock.monotonic() < this.#listenAt) return
    this.#listener = this.#open().catch((error: unknown) => {
      // Said once, though it is tried again and again.
      if (!this.#isTold)
        this.#deps.log.warn({ project: this.#ref, error: error instanceof Error ? error.message : String(error) }, 'changes of a schema are not heard of')
      this.#isTold = true
      this.#listenAt = this.#deps.clock.monotonic() + LISTEN_AGAIN_MS
      this.#listener = null
      return null
    })
  }

  #usedAt = 0
  #idle: Disposable | null = null
  #use(): void {
    this.#usedAt = this.#deps.clock.monotonic()
    if (!this.#idle && !this.#isClosed) this.#rest(IDLE_MS)
  }

  #rest(ms: number): void {
    this.#idle = this.#deps.clock.timer(ms, () => {
      this.#idle = null
      const left = this.#usedAt + IDLE_MS - this.#deps.clock.monotonic()
      if (left > 0) this.#rest(left)
      else void this.#forget()
    })
  }

  /** Changes are not heard of any more: the next request reads all anew. */
  async #forget(): Promise<void> {
    const listener = this.#listener
    this.#listener = null
    this.#isListening = false
    this.#snapshot = null
    await (await listener)?.[Symbol.asyncDispose]()
  }

  async #open(): Promise<Listener | null> {
    const connection = await this.#deps.databases.projectConnection(this.#ref)
    const listener = await Listener.open(
      connection,
      'pgrst',
      (payload) => {
        // `reload schema`, `reload config`, or nothing: both are read at once.
        if (!['', 'reload schema', 'reload config'].includes(payload)) return
        this.#isStale = true
        this.#readSoon()
      },
      () => {
        this.#isListening = false
        this.#listener = null
        this.#isStale = true
      },
    )
    if (this.#isClosed) {
      await listener[Symbol.asyncDispose]()
      return null
    }
    this.#isListening = true
    this.#isTold = false
    // What changed before it listened was told to nobody.
    this.#isStale = this.#snapshot !== null
    return listener
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#idle?.[Symbol.dispose]()
    this.#soon?.[Symbol.dispose]()
    await (await this.#listener)?.[Symbol.asyncDispose]()
    await this.#reading?.catch(() => {})
  }
}

import type { Database, Tx } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import type { Clock } from '../lib/clock.ts'
import { GroupCommit } from '../lib/group-commit.ts'
import { takeKeys } from './lives/store.ts'
import { storableKey } from './order-key.ts'
import type { Places } from './places.ts'
import type { Tries } from './settling.ts'
import { insertEntries, type LeasedEntry, type NewEntry, type Taker } from './store.ts'

const GROUP = 500
/** One is put together while the database stores another. */
const AT_ONCE = 2
/** A day, as most who send again do so within minutes. */
const ONCE_WITHIN_SECONDS = 86_400

export interface IntakeDeps {
  readonly database: Database
  readonly holder: string
  readonly leaseMs: number
  readonly places: Places
  readonly crash: Crash
  readonly clock: Clock
  /** Whether entries may run as they come. */
  readonly mayTake: () => boolean
  /** Whether the function has no more calls at once than it has reserved. */
  readonly isReserved: (functionId: string) => boolean
  readonly stored: (entry: NewEntry) => void
  /** Lets one run that is leased and has its place. */
  readonly begin: (entry: LeasedEntry) => void
  /** Of these functions something was stored that waits, or a place is free again. */
  readonly left: (functionIds: readonly string[]) => void
}

/** What comes by itself, and for which invocation its key stands when it has one. */
interface Coming {
  readonly entry: NewEntry
  readonly own: Tries
  /** By the clock that never goes back. */
  readonly cameAt: number
  readonly once: { readonly key: string; readonly windowSeconds: number } | null
  standsFor: string
}

/**
 * Stores what comes by itself: entries of one instant in one statement, where none has an order or a key. What there is a
 * place for is leased by that same statement, and runs once it is committed.
 */
export class Intake {
  readonly #deps: IntakeDeps
  readonly #commits: GroupCommit<Coming>
  /** Entries that are being stored as leased ones. */
  readonly taking = new Set<string>()

  constructor(deps: IntakeDeps) {
    this.#deps = deps
    this.#commits = new GroupCommit(
      GROUP,
      (coming) => this.#admit(coming),
      AT_ONCE,
      (one) => !isPlain(one),
    )
  }

  /** Resolves when the entry is on disk. @returns the id of the first under its key, where that was used before */
  async add(entry: NewEntry, own: Tries, onceKey: string | null): Promise<string> {
    const once = onceKey === null ? null : { key: storableKey(onceKey), windowSeconds: own.onceWithinSeconds ?? ONCE_WITHIN_SECONDS }
    const coming: Coming = { entry, own, once, cameAt: this.#deps.clock.monotonic(), standsFor: entry.id }
    await this.#commits.add(coming)
    return coming.standsFor
  }

  settled(): Promise<void> {
    return this.#commits.settled()
  }

  /** Stores what came in one instant, and lets run at once what there is a place for. */
  async #admit(coming: readonly Coming[]): Promise<void> {
    const taken = this.#takePlaces(coming)
    let leased: ReadonlySet<string>
    try {
      leased = new Set(await this.#write(coming, { holder: this.#deps.holder, leaseMs: this.#deps.leaseMs, ids: taken }))
    } catch (error) {
      const had = coming.flatMap(({ entry }) => (this.taking.delete(entry.id) ? [entry.functionId] : []))
      for (const functionId of had) this.#deps.places.giveBack(functionId)
      if (had.length > 0) this.#deps.left([...new Set(had)])
      throw error
    }
    const left = new Set<string>()
    for (const { entry, cameAt, standsFor } of coming) {
      const isNew = standsFor === entry.id
      if (isNew) this.#deps.stored(entry)
      if (leased.has(entry.id)) this.#deps.begin(asLeased(entry, this.#deps.clock.monotonic() - cameAt))
      else {
        const hasPlace = taken.has(entry.id)
        if (hasPlace) this.#deps.places.giveBack(entry.functionId)
        if (isNew || hasPlace) left.add(entry.functionId)
      }
      this.taking.delete(entry.id)
    }
    if (left.size > 0) this.#deps.left([...left])
  }

  async #write(coming: readonly Coming[], taker: Taker): Promise<readonly string[]> {
    const { database, crash } = this.#deps
    const isStatement = coming.every(isPlain)
    if (taker.ids.size > 0) crash('beforeLease')
    if (isStatement) crash('beforeEnqueueCommit')
    const leased = isStatement
      ? await insertEntries(
          database.sql,
          coming.map(({ entry }) => entry),
          taker,
        )
      : await database.transaction(async (tx) => {
          const stored = await this.#store(tx, coming, taker)
          crash('beforeEnqueueCommit')
          return stored
        })
    crash('afterEnqueueCommit')
    if (leased.length > 0) crash('afterLease')
    return leased
  }

  /** Which of them may run as they come. Where a rate, an order or a reservation bounds them they stand in the queue first. */
  #takePlaces(coming: readonly Coming[]): ReadonlySet<string> {
    const taken = new Set<string>()
    if (!this.#deps.mayTake()) return taken
    for (const { entry, own } of coming) {
      if (this.#deps.places.leftForNew <= 0) break
      const { id, functionId, orderKey } = entry
      const { rate, parallelism = Number.POSITIVE_INFINITY } = own
      if (rate !== undefined || orderKey != null || parallelism <= this.#deps.places.takenBy(functionId) || this.#deps.isReserved(functionId)) continue
      this.#deps.places.take(functionId)
      this.taking.add(id)
      taken.add(id)
    }
    return taken
  }

  /** What came before under the same key is not stored again. */
  async #store(tx: Tx, coming: readonly Coming[], taker: Taker): Promise<readonly string[]> {
    const keyed = coming.flatMap(({ entry: { functionId, id }, once }) =>
      once ? [{ functionId, key: once.key, invocationId: id, windowSeconds: once.windowSeconds }] : [],
    )
    if (keyed.length > 0) {
      const first = new Map((await takeKeys(tx, keyed)).map((one) => [`${one.functionId} ${one.key}`, one.invocationId]))
      for (const one of coming) if (one.once) one.standsFor = first.get(`${one.entry.functionId} ${one.once.key}`) ?? one.entry.id
    }
    const fresh = coming.filter(({ entry, standsFor }) => standsFor === entry.id).map(({ entry }) => entry)
    return fresh.length === 0 ? [] : await insertEntries(tx, fresh, taker)
  }
}

const isPlain = ({ entry, once }: Coming): boolean => once === null && entry.orderKey == null

/** As it stands in the database when it was leased as it came. */
const asLeased = (entry: NewEntry, queuedMs: number): LeasedEntry => ({
  ...entry,
  qualifier: entry.qualifier ?? null,
  orderKey: entry.orderKey ?? null,
  webhook: entry.webhook ?? null,
  payload: Buffer.from(entry.payload.buffer, entry.payload.byteOffset, entry.payload.byteLength),
  attempt: 1,
  spent: 0,
  lost: 0,
  lastError: null,
  queuedMs,
  ageMs: queuedMs,
})

import type { Database, Tx } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import type { Clock } from '../lib/clock.ts'
import type { Places } from './places.ts'
import type { Rates } from './rate.ts'
import type { Refill, Tries } from './settling.ts'
import { type FreeSlots, leaseDue, type LeasedEntry, selectWaitingFunctions, type WaitingFunction } from './store.ts'

/** So long what waits is taken to be of those functions for which something waited when that was last looked at. */
const KNOWN_MS = 100
/** A look that found nothing to run is not repeated sooner for what comes and waits: of a function that is paused that may be much. */
const FRUITLESS_MS = 5

export interface ClaimsDeps {
  readonly database: Database
  readonly clock: Clock
  readonly crash: Crash
  readonly holder: string
  readonly leaseMs: number
  readonly places: Places
  readonly rates: Rates
  /** How many more of a function's could run now; without a bound where nobody knows. */
  readonly freeOf: (functionId: string) => number
  /** What its function says of how its entries are handled. */
  readonly ownOf: (one: WaitingFunction) => Promise<Tries>
  /** Whether what is leased while others end may be known of. */
  readonly mayRefill: () => boolean
  /** Whether nothing more begins. */
  readonly isStopped: () => boolean
  /** Lets one run that is leased and has its place. */
  readonly begin: (entry: LeasedEntry, isRated: boolean) => void
  /** Something may have been left waiting for which there is a place. */
  readonly lookAgain: () => void
}

/** What has a place until it is about to end. */
export interface Placed {
  readonly functionId: string
  hasPlace: boolean
}

/** Which of what waits runs next, in how many of the places: it is leased by a look, or while others end. */
export class Claims {
  readonly #deps: ClaimsDeps
  /** For whom more waits than was leased at the last look, or may. */
  #known: Known | null = null
  /** What is leased while others end is not known yet. */
  #refilling: Promise<void> | null = null
  /** What has its places and is not known to be leased, by function: it may begin, and counts for a rate. */
  readonly #asked = new Set<ReadonlyMap<string, number>>()
  /** When was last looked for nothing. */
  #fruitlessAt = Number.NEGATIVE_INFINITY

  constructor(deps: ClaimsDeps) {
    this.#deps = deps
  }

  /** Resolves when it is known what was leased while others ended. */
  async refilled(): Promise<void> {
    await this.#refilling
  }

  /** What is known to wait holds no longer. */
  forget(): void {
    this.#known = null
  }

  /** Something of these functions waits from now on. @returns ms before which it is not worth looking */
  came(functionIds: readonly string[]): number {
    const { due } = this.#known ?? {}
    if (due && functionIds.some((functionId) => !due.some((one) => one.functionId === functionId))) this.#known = null
    return this.#fruitlessAt + FRUITLESS_MS - this.#deps.clock.monotonic()
  }

  /** Leases what is due and has room, and lets it run. @returns ms until it is worth looking again; infinite where only what comes or ends changes that */
  async look(): Promise<number> {
    const { clock, database, places, rates } = this.#deps
    let nextMs = Number.POSITIVE_INFINITY
    if (places.left <= 0) return nextMs
    const waiting = (await selectWaitingFunctions(database.sql)).toSorted((a, b) => a.dueMs - b.dueMs)
    const due: Due[] = []
    for (const one of waiting) {
      if (one.dueMs > 0) {
        nextMs = Math.min(nextMs, one.dueMs)
        break
      }
      const { functionId } = one
      const { parallelism = Number.POSITIVE_INFINITY, rate } = await this.#deps.ownOf(one)
      // Those that run as many as they may are left until one of theirs is over.
      const bounded = { functionId, parallelism, rate }
      if (this.#freeNow(bounded) > 0) due.push(bounded)
      else if (rate !== undefined) nextMs = Math.min(nextMs, rates.waitMs(functionId, rate) || Number.POSITIVE_INFINITY)
    }
    const shares = this.#shares(due)
    this.#known = null
    if (shares.functions.length === 0) {
      this.#fruitlessAt = clock.monotonic()
      return nextMs
    }
    const more = await this.#lease(shares, due)
    if (more.length > 0) this.#known = { due: more, until: clock.monotonic() + KNOWN_MS }
    return 0
  }

  /**
   * The places of what is over go to what is known to wait, leased by the transaction that ends the others: nobody has to
   * look in between. If that fails, those that did not end have their places again, so that no more are without an end
   * than there are places.
   */
  refill(over: readonly Placed[]): Refill {
    const { clock, holder, leaseMs, places } = this.#deps
    const ending = over.filter(({ hasPlace }) => hasPlace)
    for (const run of ending) {
      run.hasPlace = false
      places.giveBack(run.functionId)
    }
    const known = this.#known
    const mayLease = known !== null && known.until > clock.monotonic() && this.#deps.mayRefill()
    const shares = mayLease ? this.#shares(known.due) : NO_SLOTS
    const taken = this.#takeShares(shares)
    const asked = shares.slots.reduce((sum, slots) => sum + slots, 0)
    const { promise, resolve } = Promise.withResolvers<void>()
    if (asked > 0) this.#refilling = promise
    const end = () => {
      this.#giveBackUnused(taken)
      this.#refilling = null
      resolve()
    }
    return {
      lease: asked === 0 ? null : (tx: Tx) => leaseDue(tx, holder, shares, leaseMs),
      begin: (leased) => {
        // Those that are leased by now are given back with all others that the node still holds.
        if (!this.#deps.isStopped()) this.#beginTaken(leased, taken, known?.due ?? [])
        end()
        if (leased.length < asked || places.left > 0) this.#deps.lookAgain()
      },
      failed: () => {
        end()
        for (const run of ending) {
          run.hasPlace = true
          places.take(run.functionId)
        }
      },
    }
  }

  /** @returns those of whom so many were leased as were asked for */
  async #lease(shares: FreeSlots, due: readonly Due[]): Promise<readonly Due[]> {
    const { database, holder, leaseMs, crash } = this.#deps
    const taken = this.#takeShares(shares)
    try {
      crash('beforeLease')
      const leased = await leaseDue(database.sql, holder, shares, leaseMs)
      if (leased.length > 0) crash('afterLease')
      this.#beginTaken(leased, taken, due)
      return due.filter(({ functionId }) => taken.get(functionId) === 0)
    } finally {
      this.#giveBackUnused(taken)
    }
  }

  /** Their places are taken before they are leased. @returns how many of each function are still without an entry */
  #takeShares({ functions, slots }: FreeSlots): Map<string, number> {
    const taken = new Map(functions.map((functionId, n) => [functionId, slots[n] as number]))
    for (const [functionId, count] of taken) this.#deps.places.take(functionId, count)
    this.#asked.add(taken)
    return taken
  }

  #beginTaken(leased: readonly LeasedEntry[], taken: Map<string, number>, due: readonly Due[]): void {
    const rated = new Set(due.flatMap(({ functionId, rate }) => (rate === undefined ? [] : [functionId])))
    for (const entry of leased) {
      taken.set(entry.functionId, (taken.get(entry.functionId) ?? 0) - 1)
      this.#deps.begin(entry, rated.has(entry.functionId))
    }
  }

  #giveBackUnused(taken: ReadonlyMap<string, number>): void {
    if (!this.#asked.delete(taken)) return
    for (const [functionId, count] of taken) this.#deps.places.giveBack(functionId, count)
  }

  /** How many of a function's may begin now. */
  #freeNow({ functionId, parallelism, rate }: Due): number {
    const { freeOf, places, rates } = this.#deps
    const free = Math.min(freeOf(functionId), parallelism - places.takenBy(functionId))
    if (rate === undefined || free <= 0) return free
    let asked = 0
    for (const taken of this.#asked) asked += taken.get(functionId) ?? 0
    return Math.min(free, rates.left(functionId, rate) - asked)
  }

  /** The room is shared by the functions that wait; those with less running come first, then those that have waited longest. */
  #shares(due: readonly Due[]): FreeSlots {
    const { places } = this.#deps
    const room = places.left
    const order = due.toSorted((a, b) => places.takenBy(a.functionId) - places.takenBy(b.functionId))
    const chosen = order.slice(0, Math.max(0, room)).flatMap((one) => {
      const free = this.#freeNow(one)
      return free > 0 ? [{ functionId: one.functionId, free }] : []
    })
    const each = Math.floor(room / chosen.length)
    const rest = room - each * chosen.length
    return { functions: chosen.map(({ functionId }) => functionId), slots: chosen.map(({ free }, n) => Math.min(free, each + (n < rest ? 1 : 0))) }
  }
}

/** What a look at the queue found, for as long as nothing else is heard. */
interface Known {
  readonly due: readonly Due[]
  readonly until: number
}

interface Due {
  readonly functionId: string
  /** As its function says; without a bound where it says nothing. */
  readonly parallelism: number
  readonly rate: number | undefined
}

const NO_SLOTS: FreeSlots = { functions: [], slots: [] }

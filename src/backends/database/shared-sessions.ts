import pg from 'pg'
import type { Clock } from '../../lib/clock.ts'
import type { Leaving } from '../../lib/leaving.ts'
import { type Connection, DatabaseError } from './database.ts'
import { Flight, type Landed, type Parsed, type Statement } from './flight.ts'
import { asDatabaseError } from './postgres.ts'
import { isOutdated, MOST_PARSED, OWN_DEFAULTS, type Settled, settledOf } from './session-pool.ts'
import { StatementNames } from './statement-names.ts'

export interface SharedSessionsOptions {
  readonly max: number
  /** How many flights of one session are under way at most. */
  readonly depth: number
  /** So many wait in a session before another one is taken. */
  readonly few: number
  /** What runs so long holds up those behind it. */
  readonly heldUpMs: number
  /** Where they write: none is ever sent twice by itself, and none ended but by PostgreSQL, which says that nothing of it stays. */
  readonly mayRunTwice: boolean
  readonly connectMs: number
  readonly clock: Pick<Clock, 'monotonic' | 'now' | 'timer'>
  /** Ends what a session runs, from another one. */
  readonly cancel: (pid: number) => Promise<void>
}

/**
 * What is sent, in a session where it may have to wait.
 * @param startBy  by the clock of the database, in seconds: begun later, one of its first two divides by zero, and nothing of it is done
 */
export type Statements = readonly Statement[] | ((startBy: number) => readonly Statement[])

/** What became of a flight, and how long it took by itself. */
export interface Shared {
  readonly settled: readonly Settled[]
  readonly ms: number
}

interface Flying {
  readonly sentAt: number
  readonly signal: Leaving
  readonly settle: (outcome: Shared | null) => void
  /** What its client's leaving does, once it runs too long. */
  onLeave: (() => void) | null
}
interface Lane {
  readonly client: pg.PoolClient
  readonly parsed: Parsed
  /** What the clock of the database says beyond ours, where it is another machine's. */
  readonly aheadMs: number
  /** In the order in which they were sent, and will be answered. */
  readonly flying: Flying[]
  /** Those that the driver does not know of yet: it takes one at a time. */
  readonly sent: Flight[]
  /** Whether it has one. */
  isDriven: boolean
  /** Since when the first of them runs. */
  since: number
  watch: Disposable | null
  /** Takes nothing any more, and its session nobody else. */
  isClosed: boolean
  isCorked: boolean
  readonly onError: (error: Error) => void
}

/** Where a session writes to, and who holds back what is written. */
interface Connected {
  readonly connection: { readonly stream: { cork(): void; uncork(): void } }
}

const NOT_PARSED = '26000'
const TOO_LATE = '22012'
/** Waited too long for a lock, or was ended: by its timeout, or from outside. */
export const ENDED_EARLY: ReadonlySet<string> = new Set(['55P03', '57014'])
const CLOCK = 'select (extract(epoch from pg_catalog.clock_timestamp()) operator(pg_catalog.*) 1000)::pg_catalog.text as ms'

/**
 * Sessions that many ask at once, what is known to be quick: a flight leaves without waiting for the one before it, and
 * PostgreSQL is not woken for each. Each ends with a Sync of its own, so each is a transaction of its own, and one that fails
 * takes no other along. Where one is not quick after all, those behind it are given back, to be asked elsewhere, if they only
 * read. What writes is given back by PostgreSQL alone: ended by its bounds or from outside, it was rolled back; where its
 * session breaks, nobody knows whether it was done, and it is told as lost.
 */
export class SharedSessions implements AsyncDisposable {
  readonly #options: SharedSessionsOptions
  readonly #pool: pg.Pool
  readonly #names = new StatementNames()
  readonly #parsed = new WeakMap<pg.PoolClient, Parsed>()
  readonly #ahead = new WeakMap<pg.PoolClient, number>()
  readonly #lanes: Lane[] = []
  /** The database's clock is this machine's. */
  readonly #isHere: boolean
  /** How long each takes, of late. */
  #paceMs = 0
  #opening: Promise<Lane | null> | null = null

  constructor(connection: Connection, options: SharedSessionsOptions) {
    this.#options = options
    this.#isHere = connection.host.startsWith('/')
    this.#pool = new pg.Pool({
      ...connection,
      max: options.max,
      idleTimeoutMillis: 30_000,
      connectionTimeoutMillis: options.connectMs,
      application_name: 'mayfly data',
      options: OWN_DEFAULTS,
      allowExitOnIdle: true,
    })
    this.#pool.on('error', () => {}) // an idle session that broke is replaced at its next use
  }

  /**
   * @param signal  whose client leaves ends what runs too long
   * @returns null where it is to be asked elsewhere, as nothing was done of it: no session has room, or what is before it is
   * slow, or the session broke or remembers what has changed
   */
  async flight(statements: Statements, signal: Leaving): Promise<Shared | null> {
    const { max, depth, few } = this.#options
    const found = this.#roomiest()
    const isEnough = found !== null && (found.flying.length < few || this.#lanes.length >= max)
    const lane = isEnough ? found : ((await this.#open()) ?? found)
    const mayGo = lane !== null && !lane.isClosed && lane.flying.length < depth && this.#isSoon(lane) && !signal.aborted
    if (mayGo) return await this.#send(lane, statements, signal)
    // One that was opened for this alone would be nobody's.
    if (lane?.flying.length === 0) this.#release(lane)
    signal.throwIfAborted()
    return null
  }

  /** Whether what is sent now is likely to begin in time: else it would be sent twice. */
  #isSoon(lane: Lane): boolean {
    const { mayRunTwice, heldUpMs } = this.#options
    return mayRunTwice || lane.flying.length * this.#paceMs <= heldUpMs / 2
  }

  #roomiest(): Lane | null {
    let found: Lane | null = null
    for (const lane of this.#lanes) {
      // One that has parsed too much is left to end what it has, however many ask: it is replaced when nothing is under way.
      if (lane.isClosed || lane.parsed.size > MOST_PARSED) continue
      if (found === null || lane.flying.length < found.flying.length) found = lane
    }
    return found
  }

  async #open(): Promise<Lane | null> {
    if (this.#lanes.length >= this.#options.max) return null
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null
    })
    return await this.#opening
  }

  async #connect(): Promise<Lane | null> {
    // Whoever asks by himself says what is wrong.
    const client = await this.#pool.connect().catch(() => null)
    if (client === null) return null
    const aheadMs = this.#isHere || this.#options.mayRunTwice ? 0 : await this.#aheadOf(client)
    if (aheadMs === null) {
      client.release(true)
      return null
    }
    const parsed: Parsed = this.#parsed.get(client) ?? new Map()
    this.#parsed.set(client, parsed)
    const onError = () => {
      lane.isClosed = true
    }
    const lane: Lane = { client, parsed, aheadMs, flying: [], sent: [], isDriven: false, since: 0, watch: null, isClosed: false, isCorked: false, onError }
    client.on('error', onError)
    this.#lanes.push(lane)
    return lane
  }

  /** Rather too much than too little, as all would begin too late then. Null where the session broke. */
  async #aheadOf(client: pg.PoolClient): Promise<number | null> {
    const known = this.#ahead.get(client)
    if (known !== undefined) return known
    const before = this.#options.clock.monotonic()
    // One that breaks meanwhile says so here alone.
    const ignore = () => {}
    client.on('error', ignore)
    const asked = await client.query<{ ms: string }>(CLOCK).catch(() => null)
    const told = asked?.rows[0]
    if (told === undefined) return null
    client.removeListener('error', ignore)
    const ahead = Number(told.ms) - before
    this.#ahead.set(client, ahead)
    return ahead
  }

  async #send(lane: Lane, made: Statements, signal: Leaving): Promise<Shared | null> {
    const { clock, heldUpMs } = this.#options
    const now = this.#isHere ? clock.now() : clock.monotonic() + lane.aheadMs
    const statements = typeof made === 'function' ? made((now + heldUpMs) / 1000) : made
    const { promise, resolve } = Promise.withResolvers<Shared | null>()
    const flight = new Flight(
      statements.map((each) => this.#names.named(each)),
      lane.parsed,
      () => drive(lane),
    )
    this.#cork(lane)
    const wrong = flight.sendBehind((lane.client as unknown as Connected).connection)
    if (wrong !== null) {
      if (lane.flying.length === 0) this.#release(lane)
      throw wrong
    }
    lane.sent.push(flight)
    if (!lane.isDriven) drive(lane)
    lane.flying.push({ sentAt: clock.monotonic(), signal, settle: resolve, onLeave: null })
    if (lane.flying.length === 1) this.#begin(lane)
    void flight.landed.then((landed) => this.#landed(lane, statements.length, landed))
    return await promise
  }

  /** What is sent in one turn of the loop leaves in one write. */
  #cork(lane: Lane): void {
    if (lane.isCorked) return
    lane.isCorked = true
    const { stream } = (lane.client as unknown as Connected).connection
    stream.cork()
    setImmediate(() => {
      lane.isCorked = false
      stream.uncork()
    })
  }

  #begin(lane: Lane): void {
    const { clock, heldUpMs, mayRunTwice } = this.#options
    // Where PostgreSQL itself ends what takes too long, that goes first.
    const lookMs = mayRunTwice ? heldUpMs : 2 * heldUpMs
    lane.since = clock.monotonic()
    const look = () => {
      if (lane.flying.length === 0 || (lane.isClosed && mayRunTwice)) return
      const left = lane.since + lookMs - clock.monotonic()
      const { since } = lane
      if (left > 0) lane.watch = clock.timer(Math.ceil(left), look)
      // Where this loop itself was held up its answer may be there, and is read before that.
      else setImmediate(() => (lane.since !== since ? look() : mayRunTwice ? this.#heldUp(lane) : this.#endEach(lane)))
    }
    lane.watch = clock.timer(lookMs, look)
  }

  /** Whichever of them it meets is rolled back, and done elsewhere: so no end of a transaction that waits holds up many. */
  #endEach(lane: Lane): void {
    lane.isClosed = true
    if (lane.flying.length === 0) return
    void this.#options.cancel(pidOf(lane)).catch(() => {})
    lane.watch = this.#options.clock.timer(this.#options.heldUpMs, () => this.#endEach(lane))
  }

  /** Those behind the first are given back. The first goes on, and its client may end it now: nobody else is behind it. */
  #heldUp(lane: Lane): void {
    if (lane.isClosed) return
    lane.isClosed = true
    const [first, ...behind] = lane.flying
    for (const each of behind) each.settle(null)
    if (first === undefined) return
    first.onLeave = () => void this.#options.cancel(pidOf(lane)).catch(() => {})
    if (first.signal.aborted) first.onLeave()
    else first.signal.addEventListener('abort', first.onLeave)
  }

  #landed(lane: Lane, statements: number, { results, error }: Landed): void {
    const { clock } = this.#options
    const landed = lane.flying.shift() as Flying
    const now = clock.monotonic()
    const ms = now - lane.since
    lane.since = now
    this.#paceMs += (ms - this.#paceMs) / 16
    if (landed.onLeave) landed.signal.removeEventListener('abort', landed.onLeave)
    const fault = error === null ? null : asDatabaseError(error)
    const isLost = fault !== null && (!(fault instanceof DatabaseError) || fault.isAway)
    // By what its session remembers wrongly; elsewhere it may be otherwise.
    const isForgotten = fault instanceof DatabaseError && (fault.sqlState === NOT_PARSED || isOutdated(fault))
    const { mayRunTwice } = this.#options
    const isLate = !mayRunTwice && results.length <= 1 && fault instanceof DatabaseError && fault.sqlState === TOO_LATE
    // Its clock was set, or runs otherwise: all would be.
    const isOff = isLate && !this.#isHere && now - landed.sentAt < this.#options.heldUpMs
    // What it has locked for its whole session ends with it.
    const isHeld = !mayRunTwice && fault instanceof DatabaseError && ENDED_EARLY.has(fault.sqlState)
    if (isLost || isForgotten || isOff || isHeld) lane.isClosed = true
    landed.settle(isForgotten || isLate || (isLost && mayRunTwice) ? null : { settled: settledOf(results, fault, statements), ms })
    const isGivenUp = lane.isClosed && mayRunTwice
    if (isGivenUp) for (const each of lane.flying) each.settle(null)
    if (lane.flying.length === 0 || isGivenUp) this.#release(lane)
  }

  #release(lane: Lane): void {
    const at = this.#lanes.indexOf(lane)
    if (at === -1) return
    this.#lanes.splice(at, 1)
    lane.watch?.[Symbol.dispose]()
    lane.client.removeListener('error', lane.onError)
    const isOver = lane.isClosed || lane.parsed.size > MOST_PARSED
    // What is still to come from it is nobody's.
    if (lane.isClosed) lane.client.on('error', () => {})
    lane.isClosed = true
    lane.client.release(isOver)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
  }
}

const pidOf = (lane: Lane) => (lane.client as unknown as { readonly processID: number }).processID

/** The driver hands what comes to one at a time, and is given the next when one is over: before it reads on. */
function drive(lane: Lane): void {
  const next = lane.sent.shift()
  lane.isDriven = next !== undefined
  if (next) lane.client.query(next)
}

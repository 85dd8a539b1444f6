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
  /** What runs so long holds up those behind it. */
  readonly heldUpMs: number
  readonly connectMs: number
  readonly clock: Pick<Clock, 'monotonic' | 'timer'>
  /** Ends what a session runs, from another one. */
  readonly cancel: (pid: number) => Promise<void>
}

/** What became of a flight, and how long it took by itself. */
export interface Shared {
  readonly settled: readonly Settled[]
  readonly ms: number
}

interface Flying {
  readonly signal: Leaving
  readonly settle: (outcome: Shared | null) => void
  /** What its client's leaving does, once it runs too long. */
  onLeave: (() => void) | null
}
interface Lane {
  readonly client: pg.PoolClient
  readonly parsed: Parsed
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
// So many wait in a session before another one is taken: what goes out and comes in together is cheaper than a second process.
const FEW = 4

/**
 * Sessions that many ask at once, what only reads and is known to be quick: a flight leaves without waiting for the one before
 * it, and PostgreSQL is not woken for each. Each ends with a Sync of its own, so each is a transaction of its own, and one that
 * fails takes no other along. Where one is not quick after all, those behind it are given back, to be asked elsewhere: they
 * must do no harm when they run twice.
 */
export class SharedSessions implements AsyncDisposable {
  readonly #options: SharedSessionsOptions
  readonly #pool: pg.Pool
  readonly #names = new StatementNames()
  readonly #parsed = new WeakMap<pg.PoolClient, Parsed>()
  readonly #lanes: Lane[] = []
  #opening: Promise<Lane | null> | null = null

  constructor(connection: Connection, options: SharedSessionsOptions) {
    this.#options = options
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
   * @returns null where it is to be asked elsewhere: no session has room, what is before it is slow, or the session broke
   */
  async flight(statements: readonly Statement[], signal: Leaving): Promise<Shared | null> {
    const { max, depth } = this.#options
    const found = this.#roomiest()
    const isEnough = found !== null && (found.flying.length < FEW || this.#lanes.length >= max)
    const lane = isEnough ? found : ((await this.#open()) ?? found)
    const mayGo = lane !== null && !lane.isClosed && lane.flying.length < depth && !signal.aborted
    if (mayGo) return await this.#send(lane, statements, signal)
    // One that was opened for this alone would be nobody's.
    if (lane?.flying.length === 0) this.#release(lane)
    signal.throwIfAborted()
    return null
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
    const parsed: Parsed = this.#parsed.get(client) ?? new Map()
    this.#parsed.set(client, parsed)
    const onError = () => {
      lane.isClosed = true
    }
    const lane: Lane = { client, parsed, flying: [], sent: [], isDriven: false, since: 0, watch: null, isClosed: false, isCorked: false, onError }
    client.on('error', onError)
    this.#lanes.push(lane)
    return lane
  }

  async #send(lane: Lane, statements: readonly Statement[], signal: Leaving): Promise<Shared | null> {
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
    lane.flying.push({ signal, settle: resolve, onLeave: null })
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
    const { clock, heldUpMs } = this.#options
    lane.since = clock.monotonic()
    const look = () => {
      if (lane.isClosed || lane.flying.length === 0) return
      const left = lane.since + heldUpMs - clock.monotonic()
      const { since } = lane
      if (left > 0) lane.watch = clock.timer(Math.ceil(left), look)
      // Where this loop itself was held up its answer may be there, and is read before that.
      else setImmediate(() => (lane.isClosed || lane.since !== since ? look() : this.#heldUp(lane)))
    }
    lane.watch = clock.timer(heldUpMs, look)
  }

  /** Those behind the first are given back. The first goes on, and its client may end it now: nobody else is behind it. */
  #heldUp(lane: Lane): void {
    lane.isClosed = true
    const [first, ...behind] = lane.flying
    for (const each of behind) each.settle(null)
    if (first === undefined) return
    const { processID: pid } = lane.client as unknown as { readonly processID: number }
    first.onLeave = () => void this.#options.cancel(pid).catch(() => {})
    if (first.signal.aborted) first.onLeave()
    else first.signal.addEventListener('abort', first.onLeave)
  }

  #landed(lane: Lane, statements: number, { results, error }: Landed): void {
    const { clock } = this.#options
    const landed = lane.flying.shift() as Flying
    const now = clock.monotonic()
    const ms = now - lane.since
    lane.since = now
    if (landed.onLeave) landed.signal.removeEventListener('abort', landed.onLeave)
    const fault = error === null ? null : asDatabaseError(error)
    // Nothing was answered, or by what its session remembers wrongly: elsewhere it may be.
    const isLost = fault !== null && (!(fault instanceof DatabaseError) || fault.isAway || fault.sqlState === NOT_PARSED || isOutdated(fault))
    if (isLost) lane.isClosed = true
    landed.settle(isLost ? null : { settled: settledOf(results, fault, statements), ms })
    if (lane.isClosed) for (const each of lane.flying) each.settle(null)
    if (lane.flying.length === 0 || lane.isClosed) this.#release(lane)
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

/** The driver hands what comes to one at a time, and is given the next when one is over: before it reads on. */
function drive(lane: Lane): void {
  const next = lane.sent.shift()
  lane.isDriven = next !== undefined
  if (next) lane.client.query(next)
}

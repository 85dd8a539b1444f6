import pg from 'pg'
import { type Connection, DatabaseError } from './database.ts'
import { Flight, type Parsed, type Statement, type StatementResult } from './flight.ts'
import { asDatabaseError } from './postgres.ts'
import { StatementNames } from './statement-names.ts'

export type { Statement, StatementResult } from './flight.ts'

/** What became of a statement; those behind one that failed did not run, a COMMIT neither. */
export type Settled = { readonly result: StatementResult; readonly error: null } | { readonly result: null; readonly error: unknown }

export interface SessionPoolOptions {
  readonly max: number
  /** How long somebody waits for a session. */
  readonly waitMs: number
  /** How many may wait. */
  readonly maxWaiting: number
}

/** No session came free in time, or too many wait already. */
export class NoSession extends Error {
  constructor() {
    super('no session of the database came free in time')
    this.name = 'NoSession'
  }
}

// A session remembers what it has parsed: one that has seen so much is replaced.
export const MOST_PARSED = 200
/** What is no BEGIN's to say, where a flight is a transaction of itself: what the database or the login role has for it does not count. */
export const OWN_DEFAULTS = '-c default_transaction_isolation=read\\ committed -c default_transaction_read_only=off'
// A statement keeps the types of when it was parsed: where a column has another since, a session that parses it anew helps.
const OF_OTHER_TYPES: ReadonlySet<string> = new Set(['42883', '42804', '0A000'])

export const isOutdated = (error: unknown): boolean => error instanceof DatabaseError && OF_OTHER_TYPES.has(error.sqlState)

const passedOver = () => new DatabaseError('25P02', 'passed over: a statement before it failed')

/** A session that somebody has for himself. */
export interface HeldSession {
  /** Sends all of it at once, and waits for all of it: none behind one that fails runs. */
  flight(statements: readonly Statement[]): Promise<readonly Settled[]>
  /** Ends what runs in it, from outside. */
  readonly pid: number
  /** Whether a transaction is open in it, a failed one too. */
  readonly isOpen: boolean
}

/**
 * A few sessions of one login role, each for one request at a time, which sends its statements in one flight. Who finds
 * none waits in line.
 */
export class SessionPool implements AsyncDisposable {
  readonly #pool: pg.Pool
  readonly #options: SessionPoolOptions
  readonly #names = new StatementNames()
  readonly #parsed = new WeakMap<pg.PoolClient, Parsed>()

  constructor(connection: Connection, options: SessionPoolOptions) {
    this.#options = options
    this.#pool = new pg.Pool({
      ...connection,
      max: options.max,
      idleTimeoutMillis: 30_000,
      connectionTimeoutMillis: options.waitMs,
      application_name: 'mayfly data',
      options: OWN_DEFAULTS,
      allowExitOnIdle: true,
    })
    this.#pool.on('error', () => {}) // an idle session that broke is replaced at its next use
  }

  /**
   * @param work  gets a session; nobody else has it until its promise settles
   * @throws NoSession; DatabaseError 08006 when the database is away
   */
  async use<T>(work: (session: HeldSession) => Promise<T>): Promise<T> {
    if (this.#pool.waitingCount >= this.#options.maxWaiting) throw new NoSession()
    const client = await this.#pool.connect().catch((error: unknown) => {
      // The driver says it in words alone.
      if (error instanceof Error && /timeout exceeded when trying to connect/.test(error.message) && this.#pool.totalCount >= this.#options.max)
        throw new NoSession()
      throw asDatabaseError(error)
    })
    let broken: Error | undefined
    let hasOutdated = false
    const onError = (error: Error) => {
      broken = error
    }
    // Where nothing is known of it, it is.
    const isOpen = () => (client as unknown as { getTransactionStatus(): string | null }).getTransactionStatus() !== 'I'
    client.on('error', onError)
    try {
      return await work({
        get isOpen() {
          return isOpen()
        },
        pid: (client as unknown as { processID: number }).processID,
        flight: async (statements) => {
          const settled = await this.#flight(client, statements)
          hasOutdated ||= settled.some(({ error }) => isOutdated(error))
          // The driver tells of a lost session to who waits for an answer, and to nobody else.
          for (const { error } of settled) if (error instanceof DatabaseError && error.isAway) broken ??= error
          return settled
        },
      })
    } finally {
      client.removeListener('error', onError)
      const isOld = (this.#parsed.get(client)?.size ?? 0) > MOST_PARSED
      // Where an end was cut short (ended from outside, refused) a transaction may be open still: it is nobody else's.
      client.release(broken ?? (isOld || hasOutdated || isOpen()))
    }
  }

  async #flight(client: pg.PoolClient, statements: readonly Statement[]): Promise<readonly Settled[]> {
    const parsed = this.#parsed.get(client) ?? new Map()
    this.#parsed.set(client, parsed)
    const flight = client.query(
      new Flight(
        statements.map((each) => this.#names.named(each)),
        parsed,
      ),
    )
    const { results, error } = await flight.landed
    // Only when it has passed over all that is left does it tell whether a transaction is open: an empty query waits for that.
    if (error !== null) await client.query('').catch(() => {})
    return settledOf(results, error, statements.length)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
  }
}

/** @param error  what the flight ended with, or null */
export function settledOf(results: readonly StatementResult[], error: unknown, statements: number): readonly Settled[] {
  // What fails when all of them are done is the end of the transaction that they were.
  const failed = error === null ? statements : Math.min(results.length, statements - 1)
  return Array.from({ length: statements }, (_, place): Settled => {
    const result = results[place]
    if (result && place !== failed) return { result, error: null }
    return { result: null, error: place === failed ? asDatabaseError(error) : passedOver() }
  })
}

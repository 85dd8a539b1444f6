import { createHash } from 'node:crypto'
import pg from 'pg'
import { type Connection, DatabaseError } from './database.ts'
import { asDatabaseError } from './postgres.ts'

/** A statement with its values: `$1`… in the text. Values are texts, numbers, lists of texts or null. */
export interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}
export interface StatementResult {
  /** The command tag, such as `COMMIT`. */
  readonly tag: string
  readonly rows: readonly Readonly<Record<string, unknown>>[]
}
/** What became of a statement; those behind one that failed fail too. */
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
const MOST_PARSED = 200
// A statement keeps the types of when it was parsed: where a column has another since, a session that parses it anew helps.
const OF_OTHER_TYPES: ReadonlySet<string> = new Set(['42883', '42804', '0A000'])
const KNOWN_TEXTS = 300
const LONGEST_KNOWN = 4_096

/** A session that somebody has for himself. */
export interface HeldSession {
  /** Sends all of it at once, and waits for all of it. */
  flight(statements: readonly Statement[]): Promise<readonly Settled[]>
  /** Ends what runs in it, from outside. */
  readonly pid: number
  /** Whether the first statement that was sent ended well; settles with it. */
  readonly begun: Promise<boolean>
}

/**
 * A few sessions of one login role, each for one request at a time, which sends its statements in one flight. Who finds
 * none waits in line.
 */
export class SessionPool implements AsyncDisposable {
  readonly #pool: pg.Pool
  readonly #options: SessionPoolOptions
  /** How often a text was met: the second time it gets a name, and is parsed once for each session. */
  readonly #texts = new Map<string, string | null>()
  readonly #parsed = new WeakMap<pg.PoolClient, Set<string>>()

  constructor(connection: Connection, options: SessionPoolOptions) {
    this.#options = options
    this.#pool = new pg.Pool({
      ...connection,
      max: options.max,
      idleTimeoutMillis: 30_000,
      connectionTimeoutMillis: options.waitMs,
      application_name: 'mayfly data',
      allowExitOnIdle: true,
      pipeline: true,
    } as pg.PoolConfig)
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
    let isOutdated = false
    const begun = Promise.withResolvers<boolean>()
    const onError = (error: Error) => {
      broken = error
    }
    client.on('error', onError)
    try {
      return await work({
        pid: (client as unknown as { processID: number }).processID,
        begun: begun.promise,
        flight: async (statements) => {
          const settled = await this.#flight(client, statements, begun.resolve)
          isOutdated ||= settled.some(({ error }) => error instanceof DatabaseError && OF_OTHER_TYPES.has(error.sqlState))
          // The driver tells of a lost session to who waits for an answer, and to nobody else.
          for (const { error } of settled) if (error instanceof DatabaseError && error.isAway) broken ??= error
          return settled
        },
      })
    } finally {
      client.removeListener('error', onError)
      const isOld = (this.#parsed.get(client)?.size ?? 0) > MOST_PARSED
      // Where an end was cut short (ended from outside, refused) a transaction may be open still: it is nobody else's.
      const isIdle = (client as unknown as { getTransactionStatus(): string | null }).getTransactionStatus() === 'I'
      client.release(broken ?? (isOld || isOutdated || !isIdle))
    }
  }

  async #flight(client: pg.PoolClient, statements: readonly Statement[], began: (well: boolean) => void): Promise<readonly Settled[]> {
    const parsed = this.#parsed.get(client) ?? new Set<string>()
    this.#parsed.set(client, parsed)
    const sent = statements.map(({ text, values }) => {
      const name = this.#nameOf(text)
      if (name !== null) parsed.add(name)
      return client.query({ ...(name === null ? {} : { name }), text, values: [...values] })
    })
    void sent[0]?.then(
      () => began(true),
      () => began(false),
    )
    return (await Promise.allSettled(sent)).map((settled) =>
      settled.status === 'fulfilled'
        ? { result: { tag: settled.value.command, rows: settled.value.rows as Record<string, unknown>[] }, error: null }
        : { result: null, error: asDatabaseError(settled.reason) },
    )
  }

  #nameOf(text: string): string | null {
    if (text.length > LONGEST_KNOWN) return null
    const known = this.#texts.get(text)
    const name = known === undefined ? null : (known ?? createHash('sha1').update(text).digest('base64url'))
    this.#texts.delete(text)
    this.#texts.set(text, name)
    if (this.#texts.size > KNOWN_TEXTS) this.#texts.delete(this.#texts.keys().next().value as string)
    return name
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
  }
}

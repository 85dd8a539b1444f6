import { createHash } from 'node:crypto'
import pg from 'pg'
import { type Connection, type Database, DatabaseError, type Row, type Sql, type Tx } from './database.ts'
import { Flight, type NamedStatement, type Parsed } from './flight.ts'

/** Quotes an identifier; the one way a name that is not ours gets into a statement. */
export const quoteIdentifier = (name: string): string => {
  if (name.includes('\0')) throw new DatabaseError('42602', 'an identifier must not hold a zero byte')
  return `"${name.replaceAll('"', '""')}"`
}
/** Quotes a text for the few statements that take no parameters (passwords of roles). */
export const quoteLiteral = (text: string): string => pg.escapeLiteral(text)

const names = new Map<string, string>()
const nameOf = (text: string): string => {
  let name = names.get(text)
  if (name === undefined) {
    name = createHash('sha1').update(text).digest('base64url')
    names.set(text, name)
  }
  return name
}

/** Of each place in our own text, so that the text is put together once. */
const texts = new WeakMap<TemplateStringsArray, { readonly name: string; readonly text: string }>()

function textOf(strings: TemplateStringsArray): { readonly name: string; readonly text: string } {
  let known = texts.get(strings)
  if (known === undefined) {
    let text = strings[0] ?? ''
    for (let i = 1; i < strings.length; i++) text += `$${i}${strings[i]}`
    known = { name: nameOf(text), text }
    texts.set(strings, known)
  }
  return known
}

function statement(strings: TemplateStringsArray, values: readonly unknown[]) {
  const { name, text } = textOf(strings)
  return { name, text, values: values.map((value) => (value instanceof Uint8Array && !Buffer.isBuffer(value) ? Buffer.from(value) : value)) }
}

/**
 * Names without a schema mean PostgreSQL's own, or nothing: who may create in a schema on the path of a session could put
 * a better fitting function or operator there, and it would run with the rights of the session.
 */
export const OWN_PATH = 'pg_catalog,pg_temp'

export interface PoolOptions {
  readonly max: number
  /** 0 for none. */
  readonly statementTimeoutMs: number
  /** For sessions without rights of ours: names are found where the role and its database say. */
  readonly usersPath?: true
  /** A session serves once: for texts of which nobody knows what they set. */
  readonly onceOnly?: true
}

/** A pool of connections to one database. Lost connections are replaced; a statement in flight on one fails with 08006. */
export class PostgresDatabase implements Database {
  readonly #pool: pg.Pool
  /** What its sessions have parsed for flights. */
  readonly #parsed = new WeakMap<pg.PoolClient, Parsed>()
  readonly sql: Sql

  constructor(connection: Connection, options: PoolOptions) {
    this.#pool = new pg.Pool({
      ...connection,
      max: options.max,
      idleTimeoutMillis: 30_000,
      connectionTimeoutMillis: 10_000,
      statement_timeout: options.statementTimeoutMs,
      application_name: 'mayfly',
      ...(options.usersPath ? {} : { options: `-c search_path=${OWN_PATH}` }),
      ...(options.onceOnly ? { maxUses: 1 } : {}),
      allowExitOnIdle: true,
    })
    this.#pool.on('error', () => {}) // an idle connection that broke is replaced at its next use
    this.sql = async <R extends object = Row>(strings: TemplateStringsArray, ...values: readonly unknown[]) => {
      try {
        return (await this.#pool.query(statement(strings, values))).rows as R[]
      } catch (error) {
        throw asDatabaseError(error)
      }
    }
  }

  async transaction<T>(work: (tx: Tx) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted()
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw asDatabaseError(error)
    })
    let broken: Error | undefined
    const onError = (error: Error) => {
      broken = error
    }
    client.on('error', onError)
    const run = async <R extends object = Row>(strings: TemplateStringsArray, ...values: readonly unknown[]) => {
      signal?.throwIfAborted()
      try {
        return (await client.query(statement(strings, values))).rows as R[]
      } catch (error) {
        throw asDatabaseError(error)
      }
    }
    const tx: Tx = Object.assign(run, { inTransaction: true as const })
    try {
      await client.query('begin')
      const result = await work(tx)
      const committed = await client.query('commit')
      // After an error that `work` swallowed, COMMIT answers with the tag ROLLBACK and no error.
      if (committed.command !== 'COMMIT') throw new DatabaseError('25P02', 'the transaction was rolled back')
      return result
    } catch (error) {
      await client.query('rollback').catch((failure: Error) => {
        broken ??= failure
      })
      throw asDatabaseError(error)
    } finally {
      client.removeListener('error', onError)
      client.release(broken)
    }
  }

  async flight<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    const statements: NamedStatement[] = []
    const landed = Promise.withResolvers<readonly (readonly Row[])[]>()
    let hasLeft = false
    const ask = <R extends object = Row>(strings: TemplateStringsArray, ...values: readonly unknown[]): Promise<R[]> => {
      if (hasLeft) return Promise.reject(new Error('the flight that this statement is of has left'))
      const place = statements.length
      const { name, ...of } = statement(strings, values)
      // The driver parses by itself what it is asked by itself.
      statements.push({ name: `f${name}`, ...of })
      const rows = landed.promise.then((all) => all[place] as R[])
      rows.catch(() => {}) // whoever waits for another of the flight hears of it
      return rows
    }
    let failed: { readonly error: unknown } | null = null
    const made = work(Object.assign(ask, { inTransaction: true as const }))
    made.catch((error: unknown) => {
      failed = { error }
    })
    hasLeft = true
    try {
      await new Promise((turn) => setImmediate(turn))
      // What fails before anything was answered does nothing.
      if (failed === null) landed.resolve(await this.#fly(statements))
    } catch (error) {
      landed.reject(error)
      throw error
    }
    return await made
  }

  async #fly(statements: readonly NamedStatement[]): Promise<readonly (readonly Row[])[]> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw asDatabaseError(error)
    })
    let broken: Error | undefined
    const onError = (error: Error) => {
      broken = error
    }
    client.on('error', onError)
    try {
      const parsed: Parsed = this.#parsed.get(client) ?? new Map()
      this.#parsed.set(client, parsed)
      const { results, error } = await client.query(new Flight(statements, parsed)).landed
      if (error === null) return results.map(({ rows }) => rows)
      // Its session is anybody's when it has passed over the rest, which an empty query waits for.
      await client.query('').catch((failure: Error) => {
        broken ??= failure
      })
      throw asDatabaseError(error)
    } finally {
      client.removeListener('error', onError)
      client.release(broken)
    }
  }

  async script(text: string): Promise<void> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw asDatabaseError(error)
    })
    let broken: Error | undefined
    try {
      await client.query(text)
    } catch (error) {
      // The text may have begun a transaction of its own.
      await client.query('rollback').catch((failure: Error) => {
        broken = failure
      })
      throw asDatabaseError(error)
    } finally {
      client.release(broken)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
  }
}

/**
 * A database as the owner of a project, whose password may be another one than ours.
 * @param renew  sets it again
 */
export async function openAsOwner(connection: Connection, renew: () => Promise<void>): Promise<Database> {
  await using opening = new AsyncDisposableStack()
  const database = opening.use(new PostgresDatabase(connection, { max: 2, statementTimeoutMs: 0, usersPath: true, onceOnly: true }))
  try {
    await database.sql`select 1`
  } catch (error) {
    if (!(error instanceof DatabaseError && error.sqlState === WRONG_PASSWORD)) throw error
    await renew()
    await database.sql`select 1`
  }
  opening.move()
  return database
}

export const WRONG_PASSWORD = '28P01'

/** The driver's error as ours, with its SQLSTATE; others as they are. */
export function asDatabaseError(error: unknown): unknown {
  if (error instanceof pg.DatabaseError)
    return new DatabaseError(error.code ?? 'XX000', error.message, error.constraint ?? null, {
      cause: error,
      ...(error.detail === undefined ? {} : { detail: error.detail }),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    })
  if (error instanceof Error && !(error instanceof DatabaseError)) {
    const { code } = error as NodeJS.ErrnoException
    const lost =
      (code !== undefined && LOST.has(code)) ||
      /connection terminated|after calling end on the pool|timeout exceeded when trying to connect|is not queryable/i.test(error.message)
    if (lost) return new DatabaseError('08006', `the connection to PostgreSQL was lost: ${error.message}`, null, { cause: error })
  }
  return error
}

const LOST = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENOTFOUND'])

import pg from 'pg'
import { type Connection, DatabaseError, type Row } from './database.ts'
import { asDatabaseError, OWN_PATH } from './postgres.ts'

export interface SqlAnswer {
  /** The command tag, such as `COMMIT`. */
  readonly tag: string
  readonly rows: readonly Row[]
}

/** One session, in which texts run that people wrote: one statement at a time, which PostgreSQL holds to being one. */
export class SqlSession implements AsyncDisposable {
  readonly #client: pg.Client
  /** What it said meanwhile, such as `raise notice`. */
  readonly notices: string[] = []

  private constructor(client: pg.Client) {
    this.#client = client
  }

  /**
   * @param path  `own`: names without a schema are PostgreSQL's own; `users`: they are found where the role says
   * @throws DatabaseError
   */
  static async open(connection: Connection, path: 'own' | 'users'): Promise<SqlSession> {
    const own = path === 'own' ? { options: `-c search_path=${OWN_PATH}` } : {}
    const client = new pg.Client({ ...connection, ...own, application_name: 'mayfly', connectionTimeoutMillis: 10_000 })
    const session = new SqlSession(client)
    // A connection that breaks fails the statement that is in it, or the next.
    client.on('error', () => {})
    client.on('notice', ({ severity, message }) => {
      if (session.notices.length < MOST_NOTICES) session.notices.push(`${severity ?? 'NOTICE'}: ${(message ?? '').slice(0, LONGEST_NOTICE)}`)
    })
    try {
      await client.connect()
    } catch (error) {
      throw asDatabaseError(error)
    }
    return session
  }

  /** @throws DatabaseError: whose `position` is the character of the text, from 1, where PostgreSQL tells one */
  async run(text: string, values: readonly unknown[] = []): Promise<SqlAnswer> {
    try {
      // The extended protocol takes one statement and refuses several.
      const query: pg.QueryConfig & { queryMode: 'extended' } = { text, values: [...values], queryMode: 'extended' }
      const { command, rows } = await this.#client.query<Row>(query)
      return { tag: command, rows }
    } catch (error) {
      const ours = asDatabaseError(error)
      if (ours instanceof DatabaseError && error instanceof pg.DatabaseError && error.position !== undefined) ours.position = Number(error.position)
      throw ours
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end().catch(() => {})
  }
}

const MOST_NOTICES = 50
const LONGEST_NOTICE = 500

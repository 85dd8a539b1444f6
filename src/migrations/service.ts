import { createHash } from 'node:crypto'
import { type Difference, difference } from '../backends/database/compare.ts'
import { DatabaseError, type Databases, SHADOW } from '../backends/database/database.ts'
import { quoteIdentifier } from '../backends/database/postgres.ts'
import { SqlSession } from '../backends/database/sql-session.ts'
import { MayflyError } from '../core/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { RULES } from './lint/store.ts'
import { lineAt, NO_TRANSACTION, parseScript, type Script, ScriptError, type Statement } from './script.ts'
import {
  type AppliedRow,
  beOwner,
  begin,
  commit,
  drop,
  dropPolicy,
  forgetApplied,
  lockMigrations,
  makePublic,
  noteApplied,
  ownedBy,
  ownPolicies,
  selectApplied,
} from './store.ts'

/** What lies in them is the node's, but for policies that the owner makes on buckets, objects and private channels. */
const NODE_SCHEMAS = ['auth', 'storage', 'realtime', 'mayfly']

/** active_sql_transaction: what PostgreSQL does outside of transactions only. */
const NOT_IN_TRANSACTION = '25001'

/** A file of a project's migrations; null for a text that is not needed, as it ran. */
export interface WantedMigration {
  readonly name: string
  readonly checksum: string
  readonly sql: string | null
}

/**
 * - `missing`: ran here, but there is no such file.
 * - `changed`: ran here, and says something else now.
 * - `unfinished`: has no transaction, and broke off in the middle.
 */
export type MigrationState = 'applied' | 'pending' | 'changed' | 'missing' | 'unfinished'
export interface MigrationStatus {
  readonly name: string
  readonly state: MigrationState
  readonly appliedAt: Date | null
  /** It has yet to run, though one behind it did. */
  readonly isLate: boolean
}
export interface RanMigration {
  readonly name: string
  readonly ms: number
  readonly notices: readonly string[]
}

/** What is unsafe or slow in a database, and what to do. */
export interface LintFinding {
  readonly rule: string
  readonly level: 'error' | 'warning'
  readonly object: string
  readonly why: string
  readonly mend: string
}

export interface MigrationsDeps {
  readonly databases: Databases
  readonly clock: Clock
  /** Schemas of a project that the data API serves. */
  readonly served: (ref: string) => Promise<readonly string[]>
  /** Told when the tables of a project may be others. */
  readonly changed: (ref: string) => Promise<void>
  /** How long a run waits for another one. */
  readonly waitMs?: number
}

const LOCK_WAIT_MS = 30_000
const TABLE_WAIT_MS = 30_000
const WRONG_PASSWORD = '28P01'
const LOCK_NOT_AVAILABLE = '55P03'

/** Tables as code: files of SQL that run once each, in order, as the owner of a project's database. */
export class Migrations {
  readonly #deps: MigrationsDeps

  constructor(deps: MigrationsDeps) {
    this.#deps = deps
  }

  async status(ref: string, wanted: readonly WantedMigration[]): Promise<MigrationStatus[]> {
    return statusOf(wanted, await selectApplied((await this.#deps.databases.openProject(ref)).sql))
  }

  /**
   * What has yet to run, in order.
   * @throws MayflyError migration_changed, migration_out_of_order: nothing may run then
   */
  async pending(ref: string, wanted: readonly WantedMigration[], includeAll: boolean): Promise<readonly WantedMigration[]> {
    const waiting = new Set(refuseWrong(await this.status(ref, wanted), includeAll).map(({ name }) => name))
    return wanted.filter(({ name }) => waiting.has(name))
  }

  /**
   * Runs what has yet to run, up to the first file whose text was not brought. Each file is one transaction, with the row
   * that says so: what failed has left nothing. Another run is waited for.
   * @throws MayflyError migration_changed, migration_out_of_order, migrations_running; migration_failed with file, line and SQLSTATE
   */
  async up(ref: string, wanted: readonly WantedMigration[], includeAll: boolean): Promise<RanMigration[]> {
    return await this.#alone(ref, async () => {
      const ran: RanMigration[] = []
      for (const file of await this.pending(ref, wanted, includeAll)) {
        if (file.sql === null) break
        const started = this.#deps.clock.monotonic()
        const notices = await this.#ran(ref, file.name, file.sql, file.checksum)
        ran.push({ name: file.name, ms: this.#deps.clock.monotonic() - started, notices })
      }
      return ran
    })
  }

  /** Runs a file that is no migration, such as rows to begin with, in one transaction. @throws MayflyError migration_failed */
  async seed(ref: string, name: string, sql: string): Promise<readonly string[]> {
    return await this.#alone(ref, () => this.#ran(ref, name, sql, null))
  }

  /** Drops all that the project's owner has made in its database, and forgets what ran. Users, files and functions stay. */
  async reset(ref: string): Promise<void> {
    await this.#alone(ref, async () => {
      await using session = await this.#session(ref)
      await begin(session)
      for (const { name, schema, table } of (await ownPolicies(session)).rows)
        await dropPolicy(session, quoteIdentifier(String(name)), quoteIdentifier(String(schema)), quoteIdentifier(String(table)))
      for (const { kind, name } of (await ownedBy(session)).rows) await drop(session, String(kind), quoteIdentifier(String(name)))
      await makePublic(session)
      await forgetApplied(session)
      await mustCommit(session)
      await this.#deps.changed(ref)
    })
  }

  async lint(ref: string): Promise<LintFinding[]> {
    const { databases, served } = this.#deps
    const schemas = await served(ref)
    const { sql } = await databases.openProject(ref)
    const findings: LintFinding[] = []
    for (const { name, level, why, mend, find } of RULES)
      for (const { object } of await find(sql, schemas)) findings.push({ rule: name, level, object, why, mend })
    return findings
  }

  /**
   * What makes of a database that these files have made the one that is there: SQL for the next file.
   * @throws MayflyError migration_failed when a file does not run in an empty database
   */
  async diff(ref: string, wanted: readonly WantedMigration[]): Promise<Difference> {
    return await this.#besides(ref, async (shadow) => {
      for (const { name, sql, checksum } of wanted) await this.#run(shadow, name, sql ?? '', checksum)
    })
  }

  /** The tables, functions and rights of a database as SQL for an empty one. No rows. */
  async dump(ref: string): Promise<Difference> {
    return await this.#besides(ref, async () => {})
  }

  /** Takes away what a life that was ended left of a comparison. */
  async dropProject(ref: string): Promise<void> {
    if (this.#canCompare) await this.#deps.databases.dropProject(shadowOf(ref))
  }

  get #canCompare(): boolean {
    return this.#deps.databases.kind.startsWith('embedded')
  }

  /** Compares with a database that is made for this alone and goes with it. */
  async #besides(ref: string, make: (shadow: string) => Promise<void>): Promise<Difference> {
    const { databases } = this.#deps
    // On a server that projects share, each has roles of its own, in whose names all differs.
    if (!this.#canCompare)
      throw new MayflyError('bad_request', 'databases are compared where PostgreSQL is embedded; this node has an external one: use pg_dump with it')
    const shadow = shadowOf(ref)
    return await this.#alone(ref, async () => {
      await databases.dropProject(shadow)
      try {
        await databases.ensureProject(shadow)
        await make(shadow)
        return await difference(await databases.ownerConnection(shadow), await databases.ownerConnection(ref), NODE_SCHEMAS)
      } finally {
        await databases.dropProject(shadow)
      }
    })
  }

  /** What failed may have changed something too, where its file is no transaction. */
  async #ran(ref: string, name: string, sql: string, checksum: string | null): Promise<readonly string[]> {
    try {
      return await this.#run(ref, name, sql, checksum)
    } finally {
      await this.#deps.changed(ref)
    }
  }

  async #run(ref: string, name: string, sql: string, checksum: string | null): Promise<readonly string[]> {
    const script = scriptOf(name, sql)
    await using session = await this.#session(ref)
    if (script.inTransaction) await begin(session)
    // First: so another that runs the same file waits here, and what the file makes of its session is no matter.
    if (checksum !== null) await noteApplied(session, name, checksum, script.inTransaction)
    for (const statement of script.statements) await this.#statement(session, name, script, statement)
    if (script.inTransaction) await endWell(name, script, session)
    else if (checksum !== null) {
      await using after = await this.#session(ref)
      await noteApplied(after, name, checksum, true)
    }
    return session.notices
  }

  async #statement(session: SqlSession, name: string, script: Script, statement: Statement): Promise<void> {
    try {
      await session.run(statement.text)
    } catch (error) {
      throw told(error, name, script, statement)
    }
  }

  async #session(ref: string): Promise<SqlSession> {
    const { databases } = this.#deps
    const connection = await databases.ownerConnection(ref)
    const session = await SqlSession.open(connection, 'users').catch(async (error: unknown) => {
      if (!(error instanceof DatabaseError && error.sqlState === WRONG_PASSWORD)) throw error
      await databases.renewOwner(ref)
      return await SqlSession.open(connection, 'users')
    })
    await beOwner(session, TABLE_WAIT_MS)
    return session
  }

  async #alone<T>(ref: string, work: () => Promise<T>): Promise<T> {
    const { waitMs = LOCK_WAIT_MS } = this.#deps
    await using lock = await SqlSession.open(await this.#deps.databases.projectConnection(ref), 'own')
    try {
      await lockMigrations(lock, waitMs)
    } catch (error) {
      if (!(error instanceof DatabaseError && error.sqlState === LOCK_NOT_AVAILABLE)) throw error
      throw new MayflyError('migrations_running', `migrations of ${ref} are being run by somebody else for more than ${waitMs / 1000} s`)
    }
    return await work()
  }
}

/** A name that no project can have, and short: a socket's path ends soon. */
const shadowOf = (ref: string) => `${SHADOW}${createHash('sha256').update(ref).digest('hex').slice(0, 8)}`

export function statusOf(wanted: readonly WantedMigration[], rows: readonly AppliedRow[]): MigrationStatus[] {
  const applied = new Map(rows.map((row) => [row.name, row]))
  const lastApplied = wanted.findLastIndex(({ name }) => applied.has(name))
  const files = wanted.map(({ name, checksum }, at): MigrationStatus => {
    const row = applied.get(name)
    if (!row) return { name, state: 'pending', appliedAt: null, isLate: at < lastApplied }
    if (!row.finished) return { name, state: 'unfinished', appliedAt: row.appliedAt, isLate: false }
    return { name, state: row.checksum === checksum ? 'applied' : 'changed', appliedAt: row.appliedAt, isLate: false }
  })
  const known = new Set(wanted.map(({ name }) => name))
  const missing = rows.filter(({ name }) => !known.has(name)).map(({ name, appliedAt }) => ({ name, state: 'missing' as const, appliedAt, isLate: false }))
  return [...files, ...missing]
}

/** @returns those that have yet to run @throws MayflyError migration_changed, migration_out_of_order */
export function refuseWrong(status: readonly MigrationStatus[], includeAll: boolean): readonly MigrationStatus[] {
  const changed = status.filter(({ state }) => state === 'changed')
  if (changed.length > 0)
    throw new MayflyError(
      'migration_changed',
      `${names(changed)} ran in this database as something else than ${changed.length === 1 ? 'it says' : 'they say'} now`,
    )
  const late = status.filter(({ isLate }) => isLate)
  if (late.length > 0 && !includeAll)
    throw new MayflyError('migration_out_of_order', `${names(late)} ${late.length === 1 ? 'has' : 'have'} yet to run, but one behind ran already`)
  return status.filter(({ state }) => state === 'pending' || state === 'unfinished')
}

const names = (list: readonly { readonly name: string }[]) => {
  const told = list.slice(0, 5).map(({ name }) => name)
  return list.length > told.length ? `${told.join(', ')} and ${list.length - told.length} more` : told.join(', ')
}

/** @throws MayflyError migration_failed */
export function scriptOf(name: string, sql: string): Script {
  try {
    return parseScript(sql)
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error
    throw new MayflyError('migration_failed', `${name}, line ${error.line}: ${error.message}. Nothing of the file ran.`)
  }
}

async function mustCommit(session: SqlSession): Promise<void> {
  const { tag } = await commit(session)
  if (tag !== 'COMMIT') throw new DatabaseError('25P02', 'the transaction was rolled back')
}

/** Constraints that wait for the end may fail there. */
async function endWell(name: string, script: Script, session: SqlSession): Promise<void> {
  try {
    await mustCommit(session)
  } catch (error) {
    throw told(error, name, script, script.statements.at(-1) ?? { text: '', line: 1, words: [] }, 'when all of it had run')
  }
}

function told(error: unknown, name: string, script: Script, statement: Statement, when: string | null = null): unknown {
  if (!(error instanceof DatabaseError) || error.isAway) return error
  const alone =
    error.sqlState === NOT_IN_TRANSACTION && script.inTransaction ? `With the line \`${NO_TRANSACTION}\` before its first statement a file has none` : null
  const more = [error.detail, error.hint, alone].filter((text) => text !== null && text !== '')
  const left = script.inTransaction ? 'Nothing of the file stays.' : 'The file has no transaction: what ran before this line stays.'
  const place = when ?? `line ${lineAt(statement, error.position)}`
  return new MayflyError(
    'migration_failed',
    [`${name}, ${place}: ${error.message} (SQLSTATE ${error.sqlState})`, ...more, left].join('. ').replaceAll('..', '.'),
    { cause: error },
  )
}

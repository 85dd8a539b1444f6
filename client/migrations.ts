import type { Client } from './client.ts'
import type { MigrationFile } from './migration-folder.ts'

export interface MigrationInfo {
  readonly name: string
  readonly state: 'applied' | 'pending' | 'changed' | 'missing' | 'unfinished'
  readonly appliedAt: string | null
  /** It has yet to run, though one behind it did. */
  readonly isLate: boolean
}
export interface RanMigration {
  readonly name: string
  readonly ms: number
  readonly notices: readonly string[]
}

const JSON_BODY = { 'content-type': 'application/json' }
const post = async <T>(client: Client, project: string, path: string, body: object): Promise<T> =>
  (await (await client.request('POST', `/api/v1/projects/${encodeURIComponent(project)}/migrations${path}`, JSON.stringify(body), JSON_BODY)).json()) as T

const headOf = ({ name, checksum }: MigrationFile) => ({ name, checksum })

/** What has run of these files, what has yet to, and what ran and is no file. @throws ApiError */
export async function migrationStatus(client: Client, project: string, files: readonly MigrationFile[]): Promise<readonly MigrationInfo[]> {
  return (await post<{ migrations: MigrationInfo[] }>(client, project, '', { files: files.map(headOf) })).migrations
}

/**
 * Runs what has yet to run, a file a request: so each is told of as it is done, and a folder may be as large as it likes.
 * @throws ApiError of the file that failed; those before it stay
 */
export async function runMigrations(
  client: Client,
  project: string,
  files: readonly MigrationFile[],
  includeAll: boolean,
  told: (ran: RanMigration) => void,
): Promise<void> {
  // The first look refuses what may not run before anything does.
  for (;;) {
    const { migrations } = await post<{ migrations: MigrationInfo[] }>(client, project, '', { files: files.map(headOf), run: true, includeAll })
    const next = migrations.find(({ state }) => state === 'pending' || state === 'unfinished')
    if (!next) return
    const body = { files: files.map((file) => (file.name === next.name ? file : headOf(file))), run: true, includeAll }
    for (const ran of (await post<{ ran: RanMigration[] }>(client, project, '', body)).ran) told(ran)
  }
}

export const seedDatabase = (client: Client, project: string, name: string, sql: string): Promise<{ readonly notices: readonly string[] }> =>
  post(client, project, '/seed', { name, sql })

/** Drops all that the owner has made in the database. @throws ApiError */
export const resetDatabase = (client: Client, project: string): Promise<object> => post(client, project, '/reset', { project })

export interface SchemaDifference {
  readonly statements: readonly { readonly sql: string; readonly losesRows: boolean; readonly inTransaction: boolean }[]
  /** What was seen and is not compared. */
  readonly notCompared: readonly string[]
}
export interface LintFinding {
  readonly rule: string
  readonly level: 'error' | 'warning'
  readonly object: string
  readonly why: string
  readonly mend: string
}

/** What makes of a database that these files have made the one that is there. @throws ApiError of a file that does not run */
export const diffDatabase = (client: Client, project: string, files: readonly MigrationFile[]): Promise<SchemaDifference> =>
  post(client, project, '/diff', { files })
/** The database's schema as SQL. */
export const dumpSchema = (client: Client, project: string): Promise<SchemaDifference> => post(client, project, '/dump', {})
export const lintDatabase = async (client: Client, project: string): Promise<readonly LintFinding[]> =>
  ((await (await client.request('GET', `/api/v1/projects/${encodeURIComponent(project)}/migrations/lint`)).json()) as { findings: LintFinding[] }).findings

/** As a file of SQL; empty where nothing differs. What takes rows away says so. */
export function sqlOf({ statements }: SchemaDifference): string {
  const isSetting = (sql: string) => /^set /i.test(sql)
  if (statements.every(({ sql }) => isSetting(sql))) return ''
  const head = statements.every(({ inTransaction }) => inTransaction) ? '' : '-- mayfly: no transaction\n'
  return head + statements.map(({ sql, losesRows }) => `${losesRows ? '-- This takes rows away.\n' : ''}${sql.trim().replace(/[;\s]+$/, '')};\n`).join('')
}

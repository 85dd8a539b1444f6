import type { SqlSession } from '../backends/database/sql-session.ts'
import type { Sql, Tx } from '../backends/database/database.ts'

export interface AppliedRow {
  readonly name: string
  readonly checksum: string
  readonly appliedAt: Date
  readonly finished: boolean
}

export const selectApplied = (sql: Sql | Tx) => sql<AppliedRow>`
  select name, checksum, applied_at as "appliedAt", finished from mayfly.user_migration order by applied_at, name`

const LOCK = 'mayfly: migrations'
/**
 * Waits so long for whoever runs migrations of this database now; ours until the session ends. Of a session, for an open
 * transaction would hold up `create index concurrently`.
 * @throws DatabaseError 55P03
 */
export const lockMigrations = async (session: SqlSession, waitMs: number): Promise<void> => {
  await session.run(`set lock_timeout = ${Math.floor(waitMs)}`)
  await session.run('select pg_advisory_lock(hashtextextended($1, 0))', [LOCK])
}

/** A statement that waits longer for a table fails, in place of holding up all who want it after that. */
export const beOwner = (session: SqlSession, lockWaitMs: number) => session.run(`set lock_timeout = ${Math.floor(lockWaitMs)}`)
export const begin = (session: SqlSession) => session.run('begin')
export const commit = (session: SqlSession) => session.run('commit')

export const noteApplied = (session: SqlSession, name: string, checksum: string, finished: boolean) =>
  session.run(
    `insert into mayfly.user_migration as noted (name, checksum, finished) values ($1, $2, $3)
     on conflict (name) do update set checksum = excluded.checksum, finished = excluded.finished, applied_at = clock_timestamp() where not noted.finished`,
    [name, checksum, finished],
  )

/** What is the owner's in the database: its extensions, schemas and publications, but for the one that every project has. */
export const ownedBy = (session: SqlSession) =>
  session.run(`
    select 'extension' as kind, extname as name from pg_catalog.pg_extension where extowner = current_user::pg_catalog.regrole
    union all select 'publication', pubname from pg_catalog.pg_publication where pubowner = current_user::pg_catalog.regrole and pubname <> 'supabase_realtime'
    union all select 'schema', nspname from pg_catalog.pg_namespace
               where nspowner = current_user::pg_catalog.regrole and nspname !~ '^pg_(toast_)?temp_'
    order by 1, 2`)
/** Policies on the tables of buckets, objects and private channels that the owner has made; the node's own bear its name. */
export const ownPolicies = (session: SqlSession) =>
  session.run(`
    select polname as name, nspname as schema, relname as table
      from pg_catalog.pg_policy join pg_catalog.pg_class as c on c.oid = polrelid join pg_catalog.pg_namespace as n on n.oid = relnamespace
     where nspname in ('storage', 'realtime') and polname !~ '^mayfly: ' and pg_catalog.pg_has_role(relowner, 'usage')
     order by 1, 2`)
export const dropPolicy = (session: SqlSession, quotedName: string, quotedSchema: string, quotedTable: string) =>
  session.run(`drop policy if exists ${quotedName} on ${quotedSchema}.${quotedTable}`)
export const drop = (session: SqlSession, kind: string, quotedName: string) => session.run(`drop ${kind} if exists ${quotedName} cascade`)

/** The schema `public` as a new project has it. */
export const makePublic = async (session: SqlSession): Promise<void> => {
  await session.run('create schema public')
  await session.run("comment on schema public is 'standard public schema'")
  await session.run('grant usage on schema public to public, anon, authenticated, service_role')
  for (const what of ['tables', 'routines', 'sequences'])
    await session.run(`alter default privileges in schema public grant all on ${what} to anon, authenticated, service_role`)
}
export const forgetApplied = (session: SqlSession) => session.run('delete from mayfly.user_migration')

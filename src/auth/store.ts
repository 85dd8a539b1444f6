import type { Sql, Tx } from '../backends/database/database.ts'
import type { ProjectRef } from '../core/project.ts'

type Ask = Sql | Tx
export type KeyKind = 'publishable' | 'secret'
export interface ApiKeyRow {
  readonly id: string
  readonly projectId: string
  readonly ref: ProjectRef
  readonly kind: KeyKind
  readonly value: Buffer
  readonly createdAt: Date
  readonly endsAt: Date | null
}
export interface AccessKeyRow {
  readonly id: string
  readonly projectId: string
  readonly ref: ProjectRef
  readonly secret: Buffer
}

export const insertApiKey = (tx: Tx, key: { id: string; projectId: string; kind: KeyKind; hash: Buffer; value: Buffer }) => tx`
  insert into mayfly.api_key (id, project_id, kind, hash, value) values (${key.id}, ${key.projectId}, ${key.kind}, ${key.hash}, ${key.value})`

export const insertAccessKey = (tx: Tx, key: { id: string; projectId: string; secret: Buffer }) => tx`
  insert into mayfly.access_key (id, project_id, secret) values (${key.id}, ${key.projectId}, ${key.secret})`

// index: api_key_hash_key
export const selectApiKeyByHash = (sql: Ask, hash: Buffer) => sql<ApiKeyRow & { readonly leftMs: number | null }>`
  select key.id, key.project_id as "projectId", project.ref, key.kind, key.value, key.created_at as "createdAt", key.ends_at as "endsAt",
         extract(epoch from key.ends_at - clock_timestamp())::float8 * 1000 as "leftMs"
    from mayfly.api_key as key join mayfly.project as project on project.id = key.project_id
   where key.hash = ${hash} and project.state = 'active' and (key.ends_at is null or key.ends_at > clock_timestamp())`

/** Those that have not ended, the oldest first. */
export const selectApiKeys = (sql: Ask, projectId: string) => sql<ApiKeyRow>`
  select key.id, key.project_id as "projectId", project.ref, key.kind, key.value, key.created_at as "createdAt", key.ends_at as "endsAt"
    from mayfly.api_key as key join mayfly.project as project on project.id = key.project_id
   where key.project_id = ${projectId} and (key.ends_at is null or key.ends_at > clock_timestamp()) order by key.created_at, key.id`

/** Changes of one project's keys come one after the other; what has ended goes. */
export const lockProjectOfKeys = async (tx: Tx, projectId: string): Promise<void> => {
  await tx`select from mayfly.project where id = ${projectId} for update`
  await tx`delete from mayfly.api_key where project_id = ${projectId} and ends_at <= clock_timestamp()`
}

export const endApiKeys = (tx: Tx, projectId: string, kind: KeyKind, overlapMs: number) => tx`
  update mayfly.api_key set ends_at = least(ends_at, clock_timestamp() + ${overlapMs} * interval '1 millisecond')
   where project_id = ${projectId} and kind = ${kind}`

export const deleteApiKey = (tx: Tx, projectId: string, id: string) => tx`delete from mayfly.api_key where project_id = ${projectId} and id::text = ${id}`

/**
 * Of a copy of another project's database: who is signed in there is not signed in here. In a session of the login, as
 * triggers of the project's own run with it; one that keeps rows from going keeps the copy from being opened.
 */
export const END_SESSIONS = `
  begin;
  set local role supabase_auth_admin;
  delete from auth.refresh_tokens;
  delete from auth.sessions;
  do $$ begin
    if exists (select from auth.sessions) or exists (select from auth.refresh_tokens) then
      raise exception 'a trigger of the project keeps its sessions from being ended' using errcode = 'triggered_action_exception';
    end if;
  end $$;
  commit`

export const selectAccessKey = (sql: Ask, id: string) => sql<AccessKeyRow>`
  select key.id, key.project_id as "projectId", project.ref, key.secret
    from mayfly.access_key as key join mayfly.project as project on project.id = key.project_id
   where key.id = ${id} and project.state = 'active'`

export const selectAccessKeys = (sql: Ask, projectId: string) => sql<AccessKeyRow>`
  select key.id, key.project_id as "projectId", project.ref, key.secret
    from mayfly.access_key as key join mayfly.project as project on project.id = key.project_id
   where key.project_id = ${projectId} order by key.created_at`

export const insertLoginCode = (tx: Tx, hash: Buffer, lastsMs: number) => tx`
  insert into mayfly.login_code (hash, expires_at) values (${hash}, clock_timestamp() + ${lastsMs} * interval '1 millisecond')`

/** Expired ones, and all but the youngest `count`. */
export const deleteLoginCodesPast = (tx: Tx, count: number) => tx`
  delete from mayfly.login_code
   where expires_at <= clock_timestamp()
      or hash not in (select hash from mayfly.login_code order by created_at desc, hash limit ${count})`

export const takeLoginCode = (tx: Tx, hash: Buffer) => tx`
  delete from mayfly.login_code where hash = ${hash} and expires_at > clock_timestamp() returning hash`

export const insertConsoleSession = (tx: Tx, session: { id: string; hash: Buffer; lastsMs: number }) => tx`
  insert into mayfly.console_session (id, hash, expires_at)
  values (${session.id}, ${session.hash}, clock_timestamp() + ${session.lastsMs} * interval '1 millisecond')`

/** Those that ended by themselves, and all but the `count` used last. */
export const deleteSessionsPast = (tx: Tx, count: number, idleMs: number) => tx`
  delete from mayfly.console_session
   where expires_at <= clock_timestamp()
      or last_used_at <= clock_timestamp() - ${idleMs} * interval '1 millisecond'
      or id not in (select id from mayfly.console_session order by last_used_at desc, id limit ${count})`

// index: console_session_hash_key
export const selectConsoleSession = (sql: Ask, hash: Buffer, idleMs: number) => sql<{ id: string; leftMs: number; unusedMs: number }>`
  select id,
         extract(epoch from least(expires_at, clock_timestamp() + ${idleMs} * interval '1 millisecond') - clock_timestamp())::float8 * 1000 as "leftMs",
         extract(epoch from clock_timestamp() - last_used_at)::float8 * 1000 as "unusedMs"
    from mayfly.console_session
   where hash = ${hash} and expires_at > clock_timestamp()
     and last_used_at > clock_timestamp() - ${idleMs} * interval '1 millisecond'`

export const touchConsoleSession = (sql: Ask, id: string) => sql`
  update mayfly.console_session set last_used_at = clock_timestamp() where id = ${id}`

export const deleteConsoleSession = (sql: Ask, id: string) => sql`delete from mayfly.console_session where id = ${id}`

export const deleteAllLogins = (tx: Tx) => tx<{ id: string }>`
  with codes as (delete from mayfly.login_code)
  delete from mayfly.console_session returning id`

export interface DeployTokenRow {
  readonly id: string
  readonly name: string
  readonly createdAt: Date
  readonly expiresAt: Date
  readonly lastUsedAt: Date | null
  readonly hasEnded: boolean
}

export const insertDeployToken = (tx: Tx, token: { id: string; projectId: string; name: string; hash: Buffer; lastsMs: number }) => tx<DeployTokenRow>`
  insert into mayfly.deploy_token (id, project_id, name, hash, expires_at)
  values (${token.id}, ${token.projectId}, ${token.name}, ${token.hash}, clock_timestamp() + ${token.lastsMs} * interval '1 millisecond')
  returning id, name, created_at as "createdAt", expires_at as "expiresAt", last_used_at as "lastUsedAt", false as "hasEnded"`

/** One at a time makes tokens of a project. */
export const lockProjectOfTokens = (tx: Tx, projectId: string) => tx`select id from mayfly.project where id = ${projectId} for no key update`

export const countDeployTokens = (tx: Tx, projectId: string) => tx<{ count: number }>`
  select count(*)::int as count from mayfly.deploy_token where project_id = ${projectId}`

export const deleteEndedTokens = (tx: Tx, projectId: string) => tx`
  delete from mayfly.deploy_token where project_id = ${projectId} and expires_at <= clock_timestamp()`

// index: deploy_token_hash_key
export const selectDeployToken = (sql: Ask, hash: Buffer) => sql<{ id: string; ref: ProjectRef; hasEnded: boolean; unusedMs: number | null }>`
  select token.id, project.ref, token.expires_at <= clock_timestamp() as "hasEnded",
         extract(epoch from clock_timestamp() - token.last_used_at)::float8 * 1000 as "unusedMs"
    from mayfly.deploy_token as token join mayfly.project as project on project.id = token.project_id
   where token.hash = ${hash} and project.state = 'active'`

export const touchDeployToken = (sql: Ask, id: string) => sql`
  update mayfly.deploy_token set last_used_at = clock_timestamp() where id = ${id}`

export const selectDeployTokens = (sql: Ask, projectId: string) => sql<DeployTokenRow>`
  select id, name, created_at as "createdAt", expires_at as "expiresAt", last_used_at as "lastUsedAt", expires_at <= clock_timestamp() as "hasEnded"
    from mayfly.deploy_token where project_id = ${projectId} order by created_at desc, id`

export const deleteDeployToken = (sql: Ask, projectId: string, name: string) => sql<{ id: string }>`
  delete from mayfly.deploy_token where project_id = ${projectId} and name = ${name} returning id`

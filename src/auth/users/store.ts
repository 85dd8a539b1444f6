import type { Sql, Tx } from '../../backends/database/database.ts'
import { setRole } from '../../core/store.ts'

type Ask = Sql | Tx

export interface IdentityRow {
  readonly id: string
  readonly provider_id: string
  readonly user_id: string
  readonly identity_data: Readonly<Record<string, unknown>>
  readonly provider: string
  readonly last_sign_in_at: string | null
  readonly created_at: string
  readonly updated_at: string
  readonly email: string | null
}
export interface UserRow {
  readonly id: string
  readonly aud: string
  readonly role: string
  readonly email: string | null
  readonly phone: string | null
  readonly encrypted_password: string | null
  readonly email_confirmed_at: Date | null
  readonly phone_confirmed_at: Date | null
  readonly invited_at: Date | null
  readonly confirmed_at: Date | null
  readonly last_sign_in_at: Date | null
  readonly raw_app_meta_data: Readonly<Record<string, unknown>> | null
  readonly raw_user_meta_data: Readonly<Record<string, unknown>> | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly banned_until: Date | null
  readonly deleted_at: Date | null
  readonly is_anonymous: boolean
  readonly is_banned: boolean
  readonly identities: readonly IdentityRow[]
}
export interface NewUser {
  readonly id: string
  readonly role: string
  readonly email: string | null
  readonly phone: string | null
  readonly passwordHash: string | null
  readonly isEmailConfirmed: boolean
  readonly isPhoneConfirmed: boolean
  readonly appMetadata: string
  readonly userMetadata: string
  readonly isAnonymous: boolean
}

/** What users wrote on these tables runs in this role, whose sessions are the login role's. */
export const becomeAuthAdmin = (tx: Tx) => setRole(tx, 'supabase_auth_admin', '')

export const waitAtMost = (tx: Tx, ms: number) => tx`select set_config('lock_timeout', ${String(ms)}, true)`

export const selectSettings = (sql: Ask) => sql<{ name: string; value: string }>`select name, value from mayfly.auth_setting`

const USER = (sql: Ask) => sql<UserRow>
const shownById = (sql: Ask, id: string) => USER(sql)`
  select u.*, coalesce(u.banned_until > clock_timestamp(), false) as is_banned,
         (select coalesce(json_agg(i order by i.created_at, i.id), '[]') from auth.identities as i where i.user_id = u.id) as identities
    from auth.users as u where u.id = ${id} and u.deleted_at is null`

// index: users_pkey
export const selectUser = async (sql: Ask, id: string): Promise<UserRow | null> => (await shownById(sql, id))[0] ?? null

// index: users_email_partial_key
export const selectUserByEmail = async (sql: Ask, email: string): Promise<UserRow | null> => {
  const [row] = await USER(sql)`
    select u.*, coalesce(u.banned_until > clock_timestamp(), false) as is_banned,
           (select coalesce(json_agg(i order by i.created_at, i.id), '[]') from auth.identities as i where i.user_id = u.id) as identities
      from auth.users as u where u.email = ${email} and not u.is_sso_user and u.deleted_at is null`
  return row ?? null
}

// index: users_phone_key
export const selectUserByPhone = async (sql: Ask, phone: string): Promise<UserRow | null> => {
  const [row] = await USER(sql)`
    select u.*, coalesce(u.banned_until > clock_timestamp(), false) as is_banned,
           (select coalesce(json_agg(i order by i.created_at, i.id), '[]') from auth.identities as i where i.user_id = u.id) as identities
      from auth.users as u where u.phone = ${phone} and u.deleted_at is null`
  return row ?? null
}

/** One page, the oldest first, with how many there are of all. */
// index: users_created_at
export const selectUsers = (sql: Ask, page: { readonly limit: number; readonly offset: number; readonly like: string | null }) => sql<
  UserRow & { total: string }
>`
  select u.*, coalesce(u.banned_until > clock_timestamp(), false) as is_banned,
         (select coalesce(json_agg(i order by i.created_at, i.id), '[]') from auth.identities as i where i.user_id = u.id) as identities
    from auth.users as u
   where u.deleted_at is null and (${page.like}::text is null or u.email like ${page.like} or u.raw_user_meta_data ->> 'full_name' ilike ${page.like})
   order by u.created_at desc, u.id desc limit ${page.limit} offset ${page.offset}`

export const countUsers = async (sql: Ask, like: string | null): Promise<number> => {
  const [row] = await sql<{ total: string }>`
    select count(*) as total from auth.users as u
     where u.deleted_at is null and (${like}::text is null or u.email like ${like} or u.raw_user_meta_data ->> 'full_name' ilike ${like})`
  return Number(row?.total ?? 0)
}

export const insertUser = (tx: Tx, user: NewUser) => tx`
  insert into auth.users (instance_id, id, aud, role, email, phone, encrypted_password, email_confirmed_at, phone_confirmed_at, raw_app_meta_data,
                          raw_user_meta_data, is_anonymous, created_at, updated_at)
  values ('00000000-0000-0000-0000-000000000000', ${user.id}, 'authenticated', ${user.role}, ${user.email}, ${user.phone}, ${user.passwordHash},
          case when ${user.isEmailConfirmed} then clock_timestamp() end, case when ${user.isPhoneConfirmed} then clock_timestamp() end,
          ${user.appMetadata}::jsonb, ${user.userMetadata}::jsonb, ${user.isAnonymous}, clock_timestamp(), clock_timestamp())`

/** The identity of an address; another address takes its place. */
export const upsertIdentity = (tx: Tx, userId: string, provider: 'email' | 'phone', data: string) => tx`
  insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
  values (${userId}::uuid::text, ${userId}, ${data}::jsonb, ${provider}, clock_timestamp(), clock_timestamp(), clock_timestamp())
  on conflict (provider_id, provider) do update set identity_data = auth.identities.identity_data || excluded.identity_data, updated_at = clock_timestamp()`

/** Null leaves a column as it is. */
export interface UserChange {
  readonly email?: string | null
  readonly phone?: string | null
  readonly passwordHash?: string | null
  readonly role?: string | null
  readonly appMetadata?: string | null
  readonly userMetadata?: string | null
  readonly isEmailConfirmed?: boolean
  readonly isPhoneConfirmed?: boolean
  readonly banSeconds?: number | null
}
export const updateUser = (tx: Tx, id: string, change: UserChange) => tx`
  update auth.users
     set email = coalesce(${change.email ?? null}, email), phone = coalesce(${change.phone ?? null}, phone),
         encrypted_password = coalesce(${change.passwordHash ?? null}, encrypted_password), role = coalesce(${change.role ?? null}, role),
         raw_app_meta_data = coalesce(${change.appMetadata ?? null}::jsonb, raw_app_meta_data),
         raw_user_meta_data = coalesce(${change.userMetadata ?? null}::jsonb, raw_user_meta_data),
         email_confirmed_at = case when ${change.isEmailConfirmed ?? false} then coalesce(email_confirmed_at, clock_timestamp()) else email_confirmed_at end,
         phone_confirmed_at = case when ${change.isPhoneConfirmed ?? false} then coalesce(phone_confirmed_at, clock_timestamp()) else phone_confirmed_at end,
         is_anonymous = is_anonymous and ${change.email ?? null}::text is null and ${change.phone ?? null}::text is null,
         banned_until = case when ${change.banSeconds ?? null}::float8 is null then banned_until
                             when ${change.banSeconds ?? null}::float8 > 0 then clock_timestamp() + ${change.banSeconds ?? null}::float8 * interval '1 second' end,
         updated_at = clock_timestamp()
   where id = ${id}`

/** By one that was made of the same password; another that was set meanwhile stands. */
export const replacePassword = (tx: Tx, id: string, { before, after }: { readonly before: string; readonly after: string }) => tx`
  update auth.users set encrypted_password = ${after} where id = ${id} and encrypted_password = ${before}`

// index: sessions_user_id_idx
export const selectSessionAt = (sql: Ask, of: { readonly email: string; readonly phone: string; readonly address: string }) => sql<{ id: string }>`
  select s.id from auth.sessions as s join auth.users as u on u.id = s.user_id
   where ((u.email = nullif(${of.email}, '') and not u.is_sso_user) or u.phone = nullif(${of.phone}, '')) and u.deleted_at is null
     and s.ip = ${of.address}::inet limit 1`

export const lockUser = (tx: Tx, id: string) => tx<{ id: string }>`select id from auth.users where id = ${id} and deleted_at is null for no key update`

export const deleteUser = (tx: Tx, id: string) => tx<{ id: string }>`delete from auth.users where id = ${id} returning id`

/** His name stays for what refers to him; what he is known by goes. */
export const softDeleteUser = (tx: Tx, id: string) => tx<{ id: string }>`
  with gone as (delete from auth.identities where user_id = ${id}), over as (delete from auth.sessions where user_id = ${id})
  update auth.users
     set email = null, phone = null, encrypted_password = '', raw_user_meta_data = '{}', raw_app_meta_data = '{}', deleted_at = clock_timestamp(),
         updated_at = clock_timestamp()
   where id = ${id} and deleted_at is null returning id`

export interface NewSession {
  readonly id: string
  readonly userId: string
  readonly method: string
  readonly tokenHash: string
  readonly userAgent: string | null
  readonly address: string | null
}
export const insertSession = (tx: Tx, session: NewSession) => tx`
  with session as (
    insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
    values (${session.id}, ${session.userId}, clock_timestamp(), clock_timestamp(), 'aal1', ${session.userAgent}, ${session.address}::inet)),
  claim as (
    insert into auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method)
    values (${session.id}, clock_timestamp(), clock_timestamp(), ${session.method})),
  token as (
    insert into auth.refresh_tokens (token, user_id, session_id, created_at, updated_at)
    values (${session.tokenHash}, ${session.userId}::uuid::text, ${session.id}, clock_timestamp(), clock_timestamp()))
  update auth.users set last_sign_in_at = clock_timestamp() where id = ${session.userId}`

/** The oldest of a user past `most`. */
export const deleteSessionsPast = (tx: Tx, userId: string, most: number) => tx`
  delete from auth.sessions where id in (
    select id from auth.sessions where user_id = ${userId} order by coalesce(refreshed_at at time zone 'utc', created_at) desc offset ${most})`

export interface SessionRow {
  readonly id: string
  readonly user_id: string
  readonly aal: string
  readonly is_over: boolean
  readonly amr: readonly { readonly method: string; readonly timestamp: number }[]
}
const selectSession = (sql: Ask, id: string) => sql<SessionRow>`
  select s.id, s.user_id, s.aal, coalesce(s.not_after <= clock_timestamp(), false) as is_over,
         (select coalesce(json_agg(json_build_object('method', c.authentication_method, 'timestamp', extract(epoch from c.created_at)::bigint) order by c.created_at desc), '[]')
            from auth.mfa_amr_claims as c where c.session_id = s.id) as amr
    from auth.sessions as s where s.id = ${id}`
// index: sessions_pkey
export const readSession = async (sql: Ask, id: string): Promise<SessionRow | null> => (await selectSession(sql, id))[0] ?? null

// index: refresh_tokens_token_key
export const selectSessionOfToken = (sql: Ask, hash: string) => sql<{ sessionId: string | null }>`
  select session_id as "sessionId" from auth.refresh_tokens where token = ${hash}`

/** Whoever refreshes a session at the same time waits. */
export const lockSession = (tx: Tx, id: string) => tx<{ id: string }>`select id from auth.sessions where id = ${id} for update`

export interface RefreshRow {
  readonly hash: string
  readonly revoked: boolean
  readonly parent: string | null
  readonly revokedMs: number
}
/** The one that is shown, and the one that is good. */
export const selectRefreshTokens = (tx: Tx, sessionId: string, hash: string) => tx<RefreshRow>`
  select token as hash, revoked, parent, extract(epoch from clock_timestamp() - updated_at)::float8 * 1000 as "revokedMs"
    from auth.refresh_tokens where session_id = ${sessionId} and (token = ${hash} or not revoked)`

export const revokeToken = (tx: Tx, hash: string) => tx`
  update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp() where token = ${hash}`

export const insertChild = (tx: Tx, child: { readonly hash: string; readonly parent: string; readonly sessionId: string; readonly userId: string }) => tx`
  with refreshed as (
    update auth.sessions set refreshed_at = clock_timestamp() at time zone 'utc', updated_at = clock_timestamp() where id = ${child.sessionId})
  insert into auth.refresh_tokens (token, user_id, session_id, parent, created_at, updated_at)
  values (${child.hash}, ${child.userId}::uuid::text, ${child.sessionId}, ${child.parent}, clock_timestamp(), clock_timestamp())`

/** Those that nobody may show any more but as reused: only the youngest of a chain are kept. */
export const deleteOldTokens = (tx: Tx, sessionId: string, keep: number) => tx`
  delete from auth.refresh_tokens where id in (
    select id from auth.refresh_tokens where session_id = ${sessionId} and revoked order by id desc offset ${keep})`

export const endSession = (tx: Tx, id: string) => tx`
  with tokens as (update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp() where session_id = ${id} and not revoked)
  update auth.sessions set not_after = clock_timestamp(), updated_at = clock_timestamp() where id = ${id}`

export const deleteSession = (tx: Tx, id: string) => tx`delete from auth.sessions where id = ${id}`
export const deleteSessionsOf = (tx: Tx, userId: string, except: string | null) => tx`
  delete from auth.sessions where user_id = ${userId} and id is distinct from ${except}::uuid`

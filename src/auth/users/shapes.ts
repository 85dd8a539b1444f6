import type { IdentityRow, UserRow } from './store.ts'

/** A session as its client reads it. */
export interface SessionBody {
  readonly access_token: string
  readonly token_type: 'bearer'
  readonly expires_in: number
  readonly expires_at: number
  readonly refresh_token: string
  readonly user: Readonly<Record<string, unknown>>
  readonly weak_password?: { readonly message: string; readonly reasons: readonly string[] }
}

const time = (value: Date | string | null): string | undefined => (value === null ? undefined : new Date(value).toISOString())

const identityBody = (identity: IdentityRow) => ({
  identity_id: identity.id,
  id: identity.provider_id,
  user_id: identity.user_id,
  identity_data: identity.identity_data,
  provider: identity.provider,
  last_sign_in_at: time(identity.last_sign_in_at),
  created_at: time(identity.created_at),
  updated_at: time(identity.updated_at),
  ...(identity.email === null ? {} : { email: identity.email }),
})

/** A user as clients read him: what is not there is left out, but for names, which are empty. */
export const userBody = (user: UserRow): Readonly<Record<string, unknown>> => ({
  id: user.id,
  aud: user.aud,
  role: user.role,
  email: user.email ?? '',
  email_confirmed_at: time(user.email_confirmed_at),
  invited_at: time(user.invited_at),
  phone: user.phone ?? '',
  phone_confirmed_at: time(user.phone_confirmed_at),
  confirmed_at: time(user.confirmed_at),
  last_sign_in_at: time(user.last_sign_in_at),
  app_metadata: user.raw_app_meta_data ?? {},
  user_metadata: user.raw_user_meta_data ?? {},
  identities: user.identities.map(identityBody),
  created_at: time(user.created_at),
  updated_at: time(user.updated_at),
  banned_until: time(user.banned_until),
  deleted_at: time(user.deleted_at),
  is_anonymous: user.is_anonymous,
})

/** What a token says of its user, but for times, issuer and audience. */
export const claimsOf = (user: UserRow, session: { readonly id: string; readonly aal: string; readonly amr: readonly object[] }) => ({
  sub: user.id,
  email: user.email ?? '',
  phone: user.phone ?? '',
  app_metadata: user.raw_app_meta_data ?? {},
  user_metadata: user.raw_user_meta_data ?? {},
  role: user.role,
  aal: session.aal,
  amr: session.amr,
  session_id: session.id,
  is_anonymous: user.is_anonymous,
})

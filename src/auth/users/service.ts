import { isIP } from 'node:net'
import { DatabaseError, type Databases, type Sql, type Tx } from '../../backends/database/database.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project } from '../../core/project.ts'
import type { Clock } from '../../lib/clock.ts'
import { randomToken } from '../../lib/ids.ts'
import type { Tokens } from '../tokens/service.ts'
import { type Changes, checkPassword, isLong, merged, readEmail } from './bodies.ts'
import { isBcrypt } from './bcrypt.ts'
import { AuthError } from './errors.ts'
import type { Passwords } from './passwords.ts'
import { hashOf, judgeRefresh, nextToken } from './refresh.ts'
import { claimsOf, type SessionBody, userBody } from './shapes.ts'
import {
  becomeAuthAdmin,
  deleteOldTokens,
  deleteSession,
  deleteSessionsOf,
  deleteSessionsPast,
  endSession,
  insertChild,
  insertSession,
  insertUser,
  lockSession,
  lockUser,
  type NewUser,
  readSession,
  replacePassword,
  revokeToken,
  selectRefreshTokens,
  selectSessionAt,
  selectSessionOfToken,
  selectSettings,
  selectUser,
  selectUserByEmail,
  selectUserByPhone,
  updateUser,
  upsertIdentity,
  type UserRow,
  waitAtMost,
} from './store.ts'

export interface UsersDeps {
  readonly databases: Databases
  readonly tokens: Tokens
  readonly passwords: Passwords
  /** What refresh tokens follow from; never stored. */
  readonly refreshSecret: Uint8Array
  readonly newId: () => string
  readonly clock: Clock
}

/** Where a session was begun. */
export interface From {
  readonly userAgent: string | null
  readonly address: string | null
}

export interface Settings {
  readonly isSignUpOpen: boolean
  readonly guests: boolean
  readonly passwordLength: number
}

export type Scope = 'global' | 'local' | 'others'

const LIFETIME_S = 3_600
const PASSWORD_LENGTH = 8
const LOCK_MS = 5_000
const TOKEN_BYTES = 24
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** The users of projects: they sign up and in, stay signed in, and change what is known of them. */
export class Users {
  readonly #deps: UsersDeps

  constructor(deps: UsersDeps) {
    this.#deps = deps
  }

  async settings(project: Project): Promise<Settings> {
    const set = new Map((await selectSettings(await this.#reader(project))).map(({ name, value }) => [name, value]))
    return {
      isSignUpOpen: set.get('disable_signup') !== 'true',
      guests: set.get('anonymous_users') !== 'false',
      passwordLength: Number(set.get('password_min_length') ?? PASSWORD_LENGTH),
    }
  }

  /** @throws AuthError signup_disabled, weak_password, user_already_exists */
  async signUp(
    project: Project,
    given: { readonly email: string; readonly password: string; readonly data: Readonly<Record<string, unknown>> },
    from: From,
  ): Promise<SessionBody> {
    const settings = await this.settings(project)
    if (!settings.isSignUpOpen) throw new AuthError('signup_disabled', 'Signups not allowed for this instance')
    const email = readEmail(given.email)
    checkPassword(given.password, settings.passwordLength)
    const userMetadata = merged(null, given.data)
    const passwordHash = await this.#deps.passwords.hash(given.password)
    const user: NewUser = {
      id: this.#deps.newId(),
      role: 'authenticated',
      email,
      phone: null,
      passwordHash,
      // Nobody could send the mail that would ask for it.
      isEmailConfirmed: true,
      isPhoneConfirmed: false,
      appMetadata: JSON.stringify({ provider: 'email', providers: ['email'] }),
      userMetadata,
      isAnonymous: false,
    }
    try {
      return await this.#begin(project, user, 'password', from)
    } catch (error) {
      if (error instanceof AuthError && error.code === 'email_exists') throw new AuthError('user_already_exists', 'User already registered', { cause: error })
      throw error
    }
  }

  /** A user without a name, who may get one later. @throws AuthError anonymous_provider_disabled, signup_disabled */
  async signUpAsGuest(project: Project, data: Readonly<Record<string, unknown>>, from: From): Promise<SessionBody> {
    const settings = await this.settings(project)
    if (!settings.isSignUpOpen) throw new AuthError('signup_disabled', 'Signups not allowed for this instance')
    if (!settings.guests) throw new AuthError('anonymous_provider_disabled', 'Anonymous sign-ins are disabled')
    const user: NewUser = {
      id: this.#deps.newId(),
      role: 'authenticated',
      email: null,
      phone: null,
      passwordHash: null,
      isEmailConfirmed: false,
      isPhoneConfirmed: false,
      appMetadata: '{}',
      userMetadata: merged(null, data),
      isAnonymous: true,
    }
    return await this.#begin(project, user, 'anonymous', from)
  }

  /** Whatever does not fit, it takes as long and says the same. @throws AuthError invalid_credentials, user_banned */
  async signIn(project: Project, name: { readonly email: string } | { readonly phone: string }, password: string, from: From): Promise<SessionBody> {
    const { passwords } = this.#deps
    const sql = await this.#reader(project)
    const found =
      'email' in name
        ? await selectUserByEmail(sql, looked(name.email.trim().toLowerCase()))
        : await selectUserByPhone(sql, looked(name.phone.trim().replace(/^\+/, '')))
    const fits = await passwords.fits(password, found?.encrypted_password ?? null)
    if (!found || !fits) throw new AuthError('invalid_credentials', 'Invalid login credentials')
    if (found.is_banned) throw new AuthError('user_banned', 'User is banned')
    if ('email' in name && found.email_confirmed_at === null) throw new AuthError('email_not_confirmed', 'Email not confirmed')
    const before = found.encrypted_password
    const renewed = isBcrypt(before) ? await passwords.hash(password) : null
    const session = await this.#write(project, async (tx) => {
      if (renewed !== null) await replacePassword(tx, found.id, { before: before as string, after: renewed })
      return await this.#open(tx, project, found.id, 'password', from, renewed ?? before)
    })
    const { passwordLength } = await this.settings(project)
    if (isLong(password, passwordLength)) return session
    return { ...session, weak_password: { message: `Password should be at least ${passwordLength} characters.`, reasons: ['length'] } }
  }

  /** Whether somebody is signed in to this account from this address: too many guesses of others do not keep him out. */
  async isKnownAt(project: Project, name: { readonly email: string } | { readonly phone: string }, address: string): Promise<boolean> {
    if (isIP(address) === 0) return false
    const sql = await this.#reader(project)
    const { email, phone } = { email: '', phone: '', ...name }
    return (await selectSessionAt(sql, { email: looked(email.trim().toLowerCase()), phone: looked(phone.trim().replace(/^\+/, '')), address })).length > 0
  }

  /** @throws AuthError refresh_token_not_found, refresh_token_already_used, session_expired, user_banned, conflict */
  async refresh(project: Project, shown: string): Promise<SessionBody> {
    const hash = hashOf(shown)
    const outcome = await this.#write(project, async (tx) => {
      const [of] = await selectSessionOfToken(tx, hash)
      if (!of?.sessionId) throw unknownToken()
      await waitAtMost(tx, LOCK_MS)
      if ((await lockSession(tx, of.sessionId)).length === 0) throw unknownToken()
      const session = await readSession(tx, of.sessionId)
      const tokens = await selectRefreshTokens(tx, of.sessionId, hash)
      const token = tokens.find((one) => one.hash === hash)
      if (!session || !token) throw unknownToken()
      const user = await selectUser(tx, session.user_id)
      if (!user) throw unknownToken()
      const verdict = judgeRefresh(token, tokens.find((one) => !one.revoked) ?? null, token.revokedMs)
      if (verdict.kind === 'reused') {
        // Committed although the request fails.
        await endSession(tx, session.id)
        return null
      }
      if (session.is_over) throw new AuthError('session_expired', 'Invalid Refresh Token: Session Expired')
      if (user.is_banned) throw new AuthError('user_banned', 'Invalid Refresh Token: User Banned')
      const parent = verdict.kind === 'again' ? verdict.parent : hash
      const next = nextToken(this.#deps.refreshSecret, `${project.id}/${session.id}`, parent)
      if (verdict.kind === 'rotate') {
        await revokeToken(tx, hash)
        await insertChild(tx, { hash: hashOf(next), parent: hash, sessionId: session.id, userId: user.id })
        await deleteOldTokens(tx, session.id, LIMITS.sessionTokens.value)
      }
      return { user, session, refreshToken: next }
    })
    if (outcome === null) throw new AuthError('refresh_token_already_used', 'Invalid Refresh Token: Already Used')
    return await this.#body(project, outcome.user, outcome.session, outcome.refreshToken)
  }

  /** The user whom a token speaks for, if he and his session are still there. @throws AuthError user_not_found, session_not_found */
  async current(project: Project, userId: string, sessionId: unknown): Promise<UserRow> {
    const sql = await this.#reader(project)
    const [user, session] = await Promise.all([
      UUID.test(userId) ? selectUser(sql, userId) : null,
      typeof sessionId === 'string' && UUID.test(sessionId) ? readSession(sql, sessionId) : null,
    ])
    if (!user) throw new AuthError('user_not_found', 'User from sub claim in JWT does not exist', { status: 403 })
    if (!session || session.is_over || session.user_id !== user.id)
      throw new AuthError('session_not_found', 'Session from session_id claim in JWT does not exist')
    return user
  }

  async signOut(project: Project, userId: string, sessionId: string | null, scope: Scope): Promise<void> {
    await this.#write(project, async (tx) => {
      if (scope === 'global') await deleteSessionsOf(tx, userId, null)
      else if (sessionId !== null) await (scope === 'local' ? deleteSession(tx, sessionId) : deleteSessionsOf(tx, userId, sessionId))
    })
  }

  /** What a user changes of himself. A new password ends his other sessions. @throws AuthError */
  async update(project: Project, user: UserRow, sessionId: string, given: Changes): Promise<Readonly<Record<string, unknown>>> {
    const email = given.email ? readEmail(given.email) : null
    if (given.phone) throw new AuthError('phone_provider_disabled', 'Phone numbers cannot be confirmed on this node: `phone` is set by an admin')
    const password = given.password || null
    let passwordHash: string | null = null
    if (password !== null) {
      checkPassword(password, (await this.settings(project)).passwordLength)
      if (user.is_anonymous && email === null)
        throw new AuthError('validation_failed', 'Updating password of an anonymous user without an email or phone is not allowed', { status: 422 })
      passwordHash = await this.#newPassword(user, password, given.current_password ?? null)
    }
    return await this.#write(project, async (tx) => {
      // What is merged is what stands there when nobody else writes.
      await lockUser(tx, user.id)
      const before = await selectUser(tx, user.id)
      if (!before) throw new AuthError('user_not_found', 'User from sub claim in JWT does not exist', { status: 403 })
      if (passwordHash !== null && before.encrypted_password !== user.encrypted_password)
        throw new AuthError('conflict', 'the password was changed at the same time')
      const isNewEmail = email !== null && email !== before.email
      const providers = before.is_anonymous && isNewEmail ? merged(before.raw_app_meta_data, { provider: 'email', providers: ['email'] }) : null
      await updateUser(tx, user.id, {
        email: isNewEmail ? email : null,
        isEmailConfirmed: isNewEmail,
        passwordHash,
        appMetadata: providers,
        userMetadata: given.data ? merged(before.raw_user_meta_data, given.data) : null,
      })
      if (isNewEmail) await upsertIdentity(tx, user.id, 'email', emailIdentity(user.id, email))
      if (passwordHash !== null) await deleteSessionsOf(tx, user.id, sessionId)
      return userBody((await selectUser(tx, user.id)) as UserRow)
    })
  }

  async #newPassword(user: UserRow, password: string, current: string | null): Promise<string> {
    const { passwords } = this.#deps
    if (current !== null && !(await passwords.fits(current, user.encrypted_password)))
      throw new AuthError('current_password_invalid', 'Current password is invalid')
    if (await passwords.fits(password, user.encrypted_password)) throw new AuthError('same_password', 'New password should be different from the old password.')
    return await passwords.hash(password)
  }

  /** One transaction as who keeps these tables. @throws AuthError for what PostgreSQL refuses */
  async #write<T>(project: Project, work: (tx: Tx) => Promise<T>): Promise<T> {
    return await writing(this.#deps.databases, project, work)
  }

  async #reader(project: Project): Promise<Sql> {
    return (await this.#deps.databases.openLogin(project.ref)).sql
  }

  async #begin(project: Project, user: NewUser, method: string, from: From): Promise<SessionBody> {
    return await this.#write(project, async (tx) => {
      await insertUser(tx, user)
      if (user.email !== null) await upsertIdentity(tx, user.id, 'email', emailIdentity(user.id, user.email))
      return await this.#open(tx, project, user.id, method, from, user.passwordHash)
    })
  }

  /** @param passwordHash  by which he was let in: a password that was changed meanwhile lets nobody in */
  async #open(tx: Tx, project: Project, userId: string, method: string, from: From, passwordHash: string | null): Promise<SessionBody> {
    const session = { id: this.#deps.newId(), userId, method, refreshToken: randomToken(TOKEN_BYTES) }
    await lockUser(tx, userId)
    const address = from.address !== null && isIP(from.address) !== 0 ? from.address : null
    await insertSession(tx, { id: session.id, userId, method, tokenHash: hashOf(session.refreshToken), userAgent: from.userAgent, address })
    await deleteSessionsPast(tx, userId, LIMITS.userSessions.value)
    const user = await selectUser(tx, userId)
    if (!user || user.encrypted_password !== passwordHash) throw new AuthError('invalid_credentials', 'Invalid login credentials')
    const now = Math.floor(this.#deps.clock.now() / 1_000)
    return await this.#body(project, user, { id: session.id, aal: 'aal1', amr: [{ method, timestamp: now }] }, session.refreshToken)
  }

  async #body(
    project: Project,
    user: UserRow,
    session: { readonly id: string; readonly aal: string; readonly amr: readonly object[] },
    refreshToken: string,
  ): Promise<SessionBody> {
    const issuedAt = Math.floor(this.#deps.clock.now() / 1_000)
    const expiresAt = issuedAt + LIFETIME_S
    return {
      access_token: await this.#deps.tokens.signing.sign(project.ref, claimsOf(user, session), { issuedAt, expiresAt }),
      token_type: 'bearer',
      expires_in: LIFETIME_S,
      expires_at: expiresAt,
      refresh_token: refreshToken,
      user: userBody(user),
    }
  }
}

const unknownToken = () => new AuthError('refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')
/** What PostgreSQL keeps as text: a name with anything else is nobody's. */
const looked = (name: string) => (name.isWellFormed() && !name.includes('\0') ? name : '')
export const emailIdentity = (userId: string, email: string) => JSON.stringify({ sub: userId, email, email_verified: true, phone_verified: false })

/** One transaction as who keeps the tables of users. @throws AuthError for what PostgreSQL refuses */
export async function writing<T>(databases: Databases, { ref }: Project, work: (tx: Tx) => Promise<T>): Promise<T> {
  const login = await databases.openLogin(ref)
  try {
    return await login.transaction(async (tx) => {
      await becomeAuthAdmin(tx)
      return await work(tx)
    })
  } catch (error) {
    throw asAuthError(error)
  }
}

function asAuthError(error: unknown): unknown {
  if (!(error instanceof DatabaseError) || error.isAway) return error
  if (error.constraint === 'users_email_partial_key')
    return new AuthError('email_exists', 'A user with this email address has already been registered', { cause: error })
  if (error.constraint === 'users_phone_key')
    return new AuthError('phone_exists', 'A user with this phone number has already been registered', { cause: error })
  if (error.sqlState === '55P03' || error.sqlState === '40P01') return new AuthError('conflict', 'Too many requests for this session at once', { cause: error })
  // A trigger of the project's own, most likely: its words are for who wrote it.
  return new AuthError('unexpected_failure', 'Database error saving new user', { cause: error })
}

import { ERRORS, MayflyError } from '../../core/errors.ts'
import { json } from '../../core/json-reply.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Principal } from '../../core/principal.ts'
import type { Project } from '../../core/project.ts'
import type { FailContext, Reply, RequestContext, Route } from '../../core/route.ts'
import { identityOf } from '../../core/session.ts'
import type { Clock } from '../../lib/clock.ts'
import type { AuthConfig } from '../config.ts'
import { ABSENT, absence } from './absent.ts'
import type { UserAdmin } from './admin.ts'
import { administered, changes, credentials, deleting, readBody, refreshing } from './bodies.ts'
import { AuthError, errorReply } from './errors.ts'
import { AddressRate } from './rates.ts'
import { hashOf } from './refresh.ts'
import type { From, Scope, Users } from './service.ts'
import { userBody } from './shapes.ts'
import type { UserRow } from './store.ts'

export interface UserRoutesDeps {
  readonly users: Users
  readonly admin: UserAdmin
  readonly config: Pick<AuthConfig, 'tokenRate' | 'signUpRate' | 'guestRate'>
  readonly version: string
  readonly clock: Clock
  readonly audit: (what: string, project: string) => void
}

const FIVE_MINUTES_MS = 300_000
const HOUR_MS = 3_600_000
const MOST_PER_PAGE = 1_000

/** The login of a project, as its clients call it. */
export function userRoutes({ users, admin, config, version, clock, audit }: UserRoutesDeps): Route[] {
  const rates = {
    token: new AddressRate(clock, { count: config.tokenRate, overMs: FIVE_MINUTES_MS }),
    signUp: new AddressRate(clock, { count: config.signUpRate, overMs: FIVE_MINUTES_MS }),
    guest: new AddressRate(clock, { count: config.guestRate, overMs: HOUR_MS }),
    // Wrong passwords of one account, from wherever they come.
    account: new AddressRate(clock, { count: config.tokenRate, overMs: FIVE_MINUTES_MS }),
  }
  const spend = (rate: Exclude<keyof typeof rates, 'account'>, context: RequestContext) => {
    // A server of the project's own asks for many.
    if (context.principal.kind === 'service' || context.principal.kind === 'function') return
    if (!rates[rate].take(`${projectOf(context).ref} ${context.remoteAddress}`)) throw new AuthError('over_request_rate_limit', 'Request rate limit reached')
  }
  const guessing = async <T>(context: RequestContext, name: { readonly email: string } | { readonly phone: string }, signIn: () => Promise<T>): Promise<T> => {
    const project = projectOf(context)
    const account = hashOf(`${project.ref} ${('email' in name ? name.email : name.phone).trim().toLowerCase()}`)
    const isOwn = context.principal.kind === 'service' || context.principal.kind === 'function'
    if (!isOwn && !rates.account.take(account) && !(await users.isKnownAt(project, name, context.remoteAddress)))
      throw new AuthError('over_request_rate_limit', 'Request rate limit reached')
    const session = await signIn()
    if (!isOwn) rates.account.giveBack(account)
    return session
  }
  const row = (method: string, path: string, doc: string, handle: (context: RequestContext) => Promise<Reply>, adds?: 'data'): Route => ({
    method,
    path: `/auth/v1${path}`,
    access: 'project',
    plane: 'data-plane',
    judgesKeys: true,
    doc,
    ...(adds ? { adds } : {}),
    fail,
    handle: async (context) => {
      checkKey(context)
      const reply = await handle(context)
      return { ...reply, headers: { 'cache-control': 'no-store', ...reply.headers } }
    },
  })
  const administering = (context: RequestContext): Project => {
    if (bearerOf(context) === null && context.headers.apikey === undefined)
      throw new AuthError('no_authorization', 'This endpoint requires a valid Bearer token')
    if (context.keyFault) throw badToken(context.keyFault)
    if (identityOf(context.principal).role !== 'service_role') throw new AuthError('not_admin', 'User not allowed')
    return projectOf(context)
  }
  const audited = (context: RequestContext, what: string) => audit(`${what} by ${nameOf(context.principal)}`, projectOf(context).ref)
  const idOf = (context: RequestContext) => context.params.id ?? ''

  return [
    row(
      'POST',
      '/signup',
      'Signs a user up with `email` and `password`, or without either as an anonymous one; the answer is his session.',
      async (context) => {
        const given = readBody(credentials, await context.body(LIMITS.authBody.value))
        const data = given.data ?? {}
        if (given.phone) throw new AuthError('phone_provider_disabled', 'Phone signups are disabled')
        if (!given.email && !given.password) {
          spend('guest', context)
          return json(200, await users.signUpAsGuest(projectOf(context), data, fromOf(context)))
        }
        spend('signUp', context)
        if (!given.email) throw new AuthError('validation_failed', 'To signup, please provide your email')
        if (!given.password) throw new AuthError('validation_failed', 'Signup requires a valid password')
        return json(200, await users.signUp(projectOf(context), { email: given.email, password: given.password, data }, fromOf(context)))
      },
      'data',
    ),
    row(
      'POST',
      '/token',
      'Gives a session: for a password (`grant_type=password`), or for the refresh token of the one before (`refresh_token`).',
      async (context) => {
        const grant = context.query.get('grant_type')
        const body = await context.body(LIMITS.authBody.value)
        if (grant === 'refresh_token') {
          spend('token', context)
          const { refresh_token: token } = readBody(refreshing, body)
          if (!token) return json(400, { error: 'invalid_request', error_description: 'refresh_token required' })
          return json(200, await users.refresh(projectOf(context), token))
        }
        if (grant !== 'password') return json(400, { error: 'unsupported_grant_type', error_description: 'grant_type: one of password, refresh_token' })
        spend('token', context)
        const given = readBody(credentials, body)
        const name = given.email ? { email: given.email } : given.phone ? { phone: given.phone } : null
        if (name === null) throw new AuthError('validation_failed', 'missing email or phone')
        return json(200, await guessing(context, name, () => users.signIn(projectOf(context), name, given.password ?? '', fromOf(context))))
      },
    ),
    row('POST', '/logout', 'Ends sessions of the user: all (`scope=global`), this one (`local`) or all but this one (`others`).', async (context) => {
      const { user, sessionId } = await signedIn(users, context)
      await users.signOut(projectOf(context), user.id, sessionId, scopeOf(context.query.get('scope')))
      return { status: 204 }
    }),
    row('GET', '/user', 'The user whose token it is, as he is now.', async (context) => json(200, userBody((await signedIn(users, context)).user))),
    row('PUT', '/user', 'Changes address, password or metadata (`data`) of the user; a new password ends his other sessions.', async (context) => {
      const { user, sessionId } = await signedIn(users, context)
      spend('token', context)
      const given = readBody(changes, await context.body(LIMITS.authBody.value))
      return json(200, await users.update(projectOf(context), user, sessionId, given))
    }),
    row('GET', '/settings', 'Which ways to sign in there are.', async (context) => {
      const { isSignUpOpen, guests } = await users.settings(projectOf(context))
      return json(200, {
        external: { email: true, phone: false, anonymous_users: guests },
        disable_signup: !isSignUpOpen,
        // Without a mail server no address can be asked for its consent.
        mailer_autoconfirm: true,
        phone_autoconfirm: false,
        sms_provider: '',
        saml_enabled: false,
        passkeys_enabled: false,
      })
    }),
    row('GET', '/health', 'Says that the login is there.', async () =>
      json(200, { version, name: 'GoTrue', description: 'Mayfly speaks the words of GoTrue.' }),
    ),

    row('GET', '/admin/users', "The project's users, the newest first, by pages (`page`, `per_page`); asks for the secret key.", async (context) => {
      const project = administering(context)
      const page = wholeOf(context.query.get('page'), 1, Number.MAX_SAFE_INTEGER / MOST_PER_PAGE)
      const perPage = wholeOf(context.query.get('per_page'), 50, MOST_PER_PAGE)
      const { users: found, total } = await admin.list(project, { page, perPage, filter: context.query.get('filter') || null })
      const reply = json(200, { users: found, aud: 'authenticated' })
      return { ...reply, headers: { ...reply.headers, 'x-total-count': String(total), link: linksOf({ page, perPage, total }) } }
    }),
    row(
      'POST',
      '/admin/users',
      'Makes a user; asks for the secret key.',
      async (context) => {
        const project = administering(context)
        const made = await admin.create(project, readBody(administered, await context.body(LIMITS.authBody.value)))
        audited(context, `the user ${made.id} was made`)
        return json(200, made)
      },
      'data',
    ),
    row('GET', '/admin/users/:id', 'One user; asks for the secret key.', async (context) => json(200, await admin.get(administering(context), idOf(context)))),
    row(
      'PUT',
      '/admin/users/:id',
      'Changes a user, or bans him (`ban_duration`); a new password ends his sessions. Asks for the secret key.',
      async (context) => {
        const project = administering(context)
        const changed = await admin.update(project, { ...readBody(administered, await context.body(LIMITS.authBody.value)), userId: idOf(context) })
        audited(context, `the user ${changed.id} was changed`)
        return json(200, changed)
      },
    ),
    row(
      'DELETE',
      '/admin/users/:id',
      'Removes a user with all that refers to him, or all that he is known by (`should_soft_delete`); asks for the secret key.',
      async (context) => {
        const project = administering(context)
        const { should_soft_delete: isSoft } = readBody(deleting, await context.body(LIMITS.authBody.value))
        await admin.delete(project, idOf(context), isSoft === true)
        audited(context, `the user ${idOf(context)} was deleted`)
        return json(200, {})
      },
    ),
    // Browsers come to some of them without a key: nobody learns anything by them.
    ...ABSENT.map(
      (absent): Route => ({
        ...row(absent.method, absent.path, `Not there yet: answers \`${absent.code}\`.`, () => Promise.reject(absence(absent))),
        handle: () => Promise.reject(absence(absent)),
      }),
    ),
  ]
}

const projectOf = (context: RequestContext): Project => context.project as Project
const nameOf = (principal: Principal) =>
  'keyId' in principal ? `key ${principal.keyId}` : principal.kind === 'function' ? `function ${principal.functionName}` : principal.kind
const bearerOf = ({ headers }: RequestContext): string | null => /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? null
const fromOf = ({ headers, remoteAddress }: RequestContext): From => ({
  userAgent: headers['user-agent']?.slice(0, 500).toWellFormed() ?? null,
  address: remoteAddress,
})
const badToken = (fault: MayflyError) => new AuthError('bad_jwt', `invalid JWT: unable to parse or verify signature, ${fault.message}`, { cause: fault })

/** A key of the project, or a token of its own, has to be there. A token beside it that has ended is for who asks of its user to judge. */
function checkKey({ principal, keyFault }: RequestContext): void {
  if (keyFault?.code === 'key_invalid') throw keyFault
  if (principal.kind === 'nobody' && !keyFault) throw new MayflyError('key_missing', 'No API key found in request')
}

/** @throws AuthError no_authorization, bad_jwt, user_not_found, session_not_found */
async function signedIn(users: Users, context: RequestContext): Promise<{ user: UserRow; sessionId: string }> {
  const { principal, keyFault } = context
  if (bearerOf(context) === null) throw new AuthError('no_authorization', 'This endpoint requires a valid Bearer token')
  if (keyFault) throw badToken(keyFault)
  if (principal.kind !== 'user' || principal.userId === null) throw new AuthError('bad_jwt', 'invalid claim: missing sub claim')
  const sessionId = principal.claims.session_id
  const user = await users.current(projectOf(context), principal.userId, sessionId)
  return { user, sessionId: sessionId as string }
}

function scopeOf(given: string | null): Scope {
  if (given === null || given === '') return 'global'
  if (given === 'global' || given === 'local' || given === 'others') return given
  throw new AuthError('validation_failed', 'Unsupported logout scope')
}

/** @throws AuthError validation_failed */
function wholeOf(given: string | null, usual: number, most: number): number {
  if (given === null || given === '') return usual
  if (!/^\d{1,9}$/.test(given) || Number(given) < 1) throw new AuthError('validation_failed', 'Bad Pagination Parameters: a page begins at 1')
  return Math.min(Number(given), most)
}

function linksOf({ page, perPage, total }: { readonly page: number; readonly perPage: number; readonly total: number }): string {
  const last = Math.max(1, Math.ceil(total / perPage))
  const link = (to: number, rel: string) => `</admin/users?page=${to}&per_page=${perPage}>; rel="${rel}"`
  return [...(page < last ? [link(page + 1, 'next')] : []), link(last, 'last')].join(', ')
}

/** In the words of the login; what failed before it (a key, a full disk) by the catalogue's code and status. */
export function fail(error: unknown, { id, headers }: FailContext): Reply {
  const version = headers['x-supabase-api-version']
  if (error instanceof AuthError) return errorReply(error, version, id)
  const known = error instanceof MayflyError ? error : new MayflyError('internal', 'the request failed by a fault of this node')
  const message = known.code === 'key_invalid' ? 'Invalid API key' : known.message
  const reply = errorReply(
    { status: ERRORS[known.code].status, code: known.code === 'internal' ? 'unexpected_failure' : known.code, message, reasons: null },
    version,
    id,
  )
  const isKey = known.code === 'key_invalid' || known.code === 'key_missing'
  return isKey ? { ...reply, body: JSON.stringify({ ...JSON.parse(reply.body as string), message, hint: known.hint }) } : reply
}

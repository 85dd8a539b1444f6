import type { Databases, Sql, Tx } from '../../backends/database/database.ts'
import type { Project } from '../../core/project.ts'
import { type Administered, checkPassword, merged, readBan, readEmail, readPhone } from './bodies.ts'
import { isBcrypt } from './bcrypt.ts'
import { AuthError } from './errors.ts'
import { type Passwords, readHash } from './passwords.ts'
import { emailIdentity, type Users, writing } from './service.ts'
import { userBody } from './shapes.ts'
import {
  countUsers,
  deleteSessionsOf,
  deleteUser,
  insertUser,
  lockUser,
  selectUser,
  selectUsers,
  softDeleteUser,
  updateUser,
  upsertIdentity,
  type UserRow,
} from './store.ts'

export interface AdminDeps {
  readonly databases: Databases
  readonly users: Users
  readonly passwords: Passwords
  readonly newId: () => string
}

type Body = Readonly<Record<string, unknown>>
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const ROLES: readonly string[] = ['authenticated', 'anon']

/** What a project's own servers do with its users. */
export class UserAdmin {
  readonly #deps: AdminDeps

  constructor(deps: AdminDeps) {
    this.#deps = deps
  }

  async list(
    project: Project,
    page: { readonly page: number; readonly perPage: number; readonly filter: string | null },
  ): Promise<{ users: Body[]; total: number }> {
    const sql = await this.#reader(project)
    const like = page.filter === null ? null : `%${page.filter.replace(/[\\%_]/g, '\\$&')}%`
    const [rows, total] = await Promise.all([selectUsers(sql, { limit: page.perPage, offset: (page.page - 1) * page.perPage, like }), countUsers(sql, like)])
    return { users: rows.map(userBody), total }
  }

  /** @throws AuthError user_not_found; validation_failed for what is no id */
  async get(project: Project, id: string): Promise<Body> {
    const user = await selectUser(await this.#reader(project), checkId(id))
    if (!user) throw notFound()
    return userBody(user)
  }

  async create(project: Project, given: Administered): Promise<Body> {
    const email = given.email ? readEmail(given.email) : null
    const phone = given.phone ? readPhone(given.phone) : null
    if (email === null && phone === null) throw new AuthError('validation_failed', 'Cannot create a user without either an email or phone')
    const id = given.id ? checkId(given.id) : this.#deps.newId()
    const passwordHash = await this.#hash(project, given)
    const providers = [...(email === null ? [] : ['email']), ...(phone === null ? [] : ['phone'])]
    return await writing(this.#deps.databases, project, async (tx) => {
      await insertUser(tx, {
        id,
        role: readRole(given.role) ?? 'authenticated',
        email,
        phone,
        passwordHash,
        isEmailConfirmed: given.email_confirm === true,
        isPhoneConfirmed: given.phone_confirm === true,
        appMetadata: merged({ provider: providers[0], providers }, given.app_metadata ?? {}),
        userMetadata: merged(null, given.user_metadata ?? {}),
        isAnonymous: false,
      })
      await identities(tx, id, { email, phone })
      if (given.ban_duration) await updateUser(tx, id, { banSeconds: readBan(given.ban_duration) })
      return userBody((await selectUser(tx, id)) as UserRow)
    })
  }

  async update(project: Project, given: Administered & { readonly userId: string }): Promise<Body> {
    const id = checkId(given.userId)
    const email = given.email ? readEmail(given.email) : null
    const phone = given.phone ? readPhone(given.phone) : null
    const passwordHash = await this.#hash(project, given)
    return await writing(this.#deps.databases, project, async (tx) => {
      if ((await lockUser(tx, id)).length === 0) throw notFound()
      const before = (await selectUser(tx, id)) as UserRow
      await updateUser(tx, id, {
        email,
        phone,
        passwordHash,
        role: readRole(given.role),
        isEmailConfirmed: given.email_confirm === true,
        isPhoneConfirmed: given.phone_confirm === true,
        appMetadata: given.app_metadata ? merged(before.raw_app_meta_data, given.app_metadata) : null,
        userMetadata: given.user_metadata ? merged(before.raw_user_meta_data, given.user_metadata) : null,
        banSeconds: given.ban_duration ? readBan(given.ban_duration) : null,
      })
      await identities(tx, id, { email, phone })
      if (passwordHash !== null) await deleteSessionsOf(tx, id, null)
      return userBody((await selectUser(tx, id)) as UserRow)
    })
  }

  async delete(project: Project, id: string, isSoft: boolean): Promise<void> {
    const gone = await writing(this.#deps.databases, project, (tx) => (isSoft ? softDeleteUser(tx, checkId(id)) : deleteUser(tx, checkId(id))))
    if (gone.length === 0) throw notFound()
  }

  async #hash(project: Project, given: Administered): Promise<string | null> {
    if (given.password_hash) {
      if (readHash(given.password_hash) === null && !isBcrypt(given.password_hash))
        throw new AuthError('validation_failed', 'password_hash: a hash of argon2id in PHC form is taken, or one of bcrypt whose cost is at most 12')
      return given.password_hash
    }
    if (!given.password) return null
    checkPassword(given.password, (await this.#deps.users.settings(project)).passwordLength)
    return await this.#deps.passwords.hash(given.password)
  }

  async #reader(project: Project): Promise<Sql> {
    return (await this.#deps.databases.openLogin(project.ref)).sql
  }
}

async function identities(tx: Tx, id: string, { email, phone }: { readonly email: string | null; readonly phone: string | null }): Promise<void> {
  if (email !== null) await upsertIdentity(tx, id, 'email', emailIdentity(id, email))
  if (phone !== null) await upsertIdentity(tx, id, 'phone', JSON.stringify({ sub: id, phone, email_verified: false, phone_verified: true }))
}

const notFound = () => new AuthError('user_not_found', 'User not found')

function checkId(id: string): string {
  if (!UUID.test(id)) throw new AuthError('validation_failed', 'user_id must be an UUID', { status: 404 })
  return id.toLowerCase()
}

/** Nobody becomes a service by signing in. */
function readRole(role: string | null | undefined): string | null {
  if (!role) return null
  if (!ROLES.includes(role)) throw new AuthError('validation_failed', `role: one of ${ROLES.join(', ')}`)
  return role
}

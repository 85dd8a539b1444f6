import type { Database, Tx } from '../backends/database/database.ts'
import { MayflyError } from './errors.ts'
import type { Principal, SqlRole } from './principal.ts'
import { setRole } from './store.ts'

/** Whom PostgreSQL sees: row-level security decides by role and claims. */
export interface SqlIdentity {
  readonly role: SqlRole
  /** What `auth.jwt()` gives; `role` is in it. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** @throws MayflyError key_missing when there is nobody to act as; not_allowed for a function without a role */
export function identityOf(principal: Principal): SqlIdentity {
  const role = roleOf(principal)
  return { role, claims: principal.kind === 'user' ? principal.claims : { role } }
}

function roleOf(principal: Principal): SqlRole {
  switch (principal.kind) {
    case 'operator':
    case 'service':
    case 'access-key':
      return 'service_role'
    case 'anon':
      return 'anon'
    case 'user':
      return principal.role
    case 'function':
      if (principal.role === 'none') throw new MayflyError('not_allowed', `the function "${principal.functionName}" has no role in its project`)
      return principal.role
    case 'deployer':
      throw new MayflyError('not_allowed', 'a deploy token deploys, and has no role in its project')
    case 'nobody':
      throw new MayflyError('key_missing', 'No API key found in request')
  }
}

/** For the rest of the transaction; its session must be one of `Databases.openRoles`. */
export const takeRole = (tx: Tx, role: SqlRole, claims: SqlIdentity['claims']): Promise<unknown> => setRole(tx, role, JSON.stringify(claims))

/** One transaction in somebody's role: what they may not see is not there, what they may not do fails with 42501. */
export const asIdentity = <T>(roles: Database, identity: SqlIdentity, work: (tx: Tx) => Promise<T>, signal?: AbortSignal): Promise<T> =>
  roles.transaction(async (tx) => {
    await takeRole(tx, identity.role, identity.claims)
    return await work(tx)
  }, signal)

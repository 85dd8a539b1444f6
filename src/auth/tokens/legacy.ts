import { randomBytes } from 'node:crypto'
import { errors, jwtVerify, type JWTPayload, SignJWT } from 'jose'
import type { Database, Tx } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { Sealer } from '../../core/seal.ts'
import { bumpProjectVersion } from '../../core/store.ts'
import type { Clock } from '../../lib/clock.ts'
import { Believed } from '../believed.ts'
import { deleteLegacySecret, insertLegacySecret, type LegacyRow, selectLegacySecret, selectLegacySecretOf } from './store.ts'
import type { TrustedKey } from './trusted.ts'

/** As the keys of other makers last. */
const LASTS_S = 10 * 365 * 86_400
/** Of a role that is named in an answer. */
const ROLE_CHARS = 63
const SECRET = /^[\x21-\x7e]+$/

export interface GivenSecret {
  readonly secret: string
  readonly anonKey: string | null
  readonly serviceRoleKey: string | null
}

export interface LegacyKeys {
  readonly jwtSecret: string
  readonly anonKey: string
  readonly serviceRoleKey: string
}

export interface LegacyDeps {
  readonly database: Database
  readonly sealer: Sealer
  readonly clock: Clock
  readonly believable: () => boolean
  /** What was learnt of tokens is to be forgotten. */
  readonly changed: () => void
}

/** Secrets of the older form: a project that has one believes tokens that are signed with it (HS256), its own old keys among them. */
export class LegacySecrets {
  readonly #deps: LegacyDeps
  readonly #keys: Believed<TrustedKey>

  constructor(deps: LegacyDeps) {
    this.#deps = deps
    this.#keys = new Believed(LIMITS.believedKeys.value, deps.believable)
  }

  async trusted(project: ProjectRef): Promise<readonly TrustedKey[]> {
    const key = await this.#keys.get(project, async () => {
      const [row] = await selectLegacySecret(this.#deps.database.sql, project)
      if (!row) return null
      return { kid: null, algorithm: 'HS256', key: this.#open(row, 'secret', row.secret), issuers: null, audience: null, kind: 'legacy' }
    })
    return key ? [key] : []
  }

  /** What a project brings along, in the transaction that makes it. @throws MayflyError bad_request */
  async bring(tx: Tx, project: Project, given: GivenSecret): Promise<void> {
    const { secret } = given
    const bytes = Buffer.byteLength(secret)
    if (!SECRET.test(secret) || bytes < LIMITS.jwtSecretBytes.least || bytes > LIMITS.jwtSecretBytes.value)
      throw new MayflyError('bad_request', `jwtSecret: ${LIMITS.jwtSecretBytes.least} to ${LIMITS.jwtSecretBytes.value} printable characters without blanks`)
    await this.#check('anonKey', given.anonKey, secret, 'anon')
    await this.#check('serviceRoleKey', given.serviceRoleKey, secret, 'service_role')
    await this.#insert(tx, project, given)
  }

  /** The secret with its two keys, made when the project has none. @throws MayflyError project_not_found */
  async ensure(project: Project): Promise<LegacyKeys> {
    for (;;) {
      const found = await this.reveal(project)
      if (found) return found
      await this.#deps.database.transaction(async (tx) => {
        await this.#insert(tx, project, { secret: randomBytes(48).toString('base64url'), anonKey: null, serviceRoleKey: null })
        await bumpProjectVersion(tx, project.ref)
      })
      this.forget()
      this.#deps.changed()
    }
  }

  /** In clear: an act of the operator. Null where the project has none. */
  async reveal(project: Project): Promise<LegacyKeys | null> {
    const [row] = await selectLegacySecretOf(this.#deps.database.sql, project.id)
    if (!row) return null
    const secret = this.#open(row, 'secret', row.secret)
    const issued = Number(row.issuedAt)
    const key = async (role: string) =>
      await new SignJWT({ iss: 'supabase', ref: project.ref, role, iat: issued, exp: issued + LASTS_S })
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .sign(secret)
    return {
      jwtSecret: secret.toString(),
      anonKey: row.anonKey ? this.#open(row, 'anon_key', row.anonKey).toString() : await key('anon'),
      serviceRoleKey: row.serviceKey ? this.#open(row, 'service_key', row.serviceKey).toString() : await key('service_role'),
    }
  }

  /** Tokens of the secret open nothing from now on. @throws MayflyError key_not_found */
  async revoke(project: Project): Promise<void> {
    await this.#deps.database.transaction(async (tx) => {
      if ((await deleteLegacySecret(tx, project.id)).length === 0) throw new MayflyError('key_not_found', 'the project has no legacy keys')
      await bumpProjectVersion(tx, project.ref)
    })
    this.forget()
    this.#deps.changed()
  }

  forget(): void {
    this.#keys.clear()
  }

  async #check(name: string, key: string | null, secret: string, role: string): Promise<void> {
    if (key === null) return
    const options = { algorithms: ['HS256'], requiredClaims: ['exp'], currentDate: new Date(this.#deps.clock.now()) }
    const fault = await jwtVerify(key, Buffer.from(secret), options).then(({ payload }) => roleFault(payload, role), tokenFault)
    if (fault !== null) throw new MayflyError('bad_request', `${name}: ${fault}`)
  }

  async #insert(tx: Tx, project: Project, given: GivenSecret): Promise<void> {
    const seal = (column: string, text: string) =>
      this.#deps.sealer.seal({ project: project.id, table: 'legacy_secret', column, row: project.id }, Buffer.from(text))
    await insertLegacySecret(tx, {
      projectId: project.id,
      secret: seal('secret', given.secret),
      issuedAt: Math.floor(this.#deps.clock.now() / 1_000),
      anonKey: given.anonKey === null ? null : seal('anon_key', given.anonKey),
      serviceKey: given.serviceRoleKey === null ? null : seal('service_key', given.serviceRoleKey),
    })
  }

  #open(row: LegacyRow, column: string, sealed: Buffer): Buffer {
    return this.#deps.sealer.open({ project: row.projectId, table: 'legacy_secret', column, row: row.projectId }, sealed)
  }
}

/** Why a token that the secret has signed is not the key of a role. */
function roleFault({ role, sub }: JWTPayload, wanted: string): string | null {
  if (typeof sub === 'string') return 'it is the token of a user, and no key'
  if (role === wanted) return null
  return `it is a key of the role ${typeof role === 'string' ? JSON.stringify(role.slice(0, ROLE_CHARS)) : 'none'}, not of ${wanted}`
}

/** Why it is no token that the secret has signed, or none any more. Nothing of it is told before its signature is known. */
function tokenFault(error: unknown): string {
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'it is signed by another secret than jwtSecret'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'it is not signed with HS256, as keys by a secret are'
  if (error instanceof errors.JWTExpired) return `it ended at ${new Date(Number(error.payload.exp) * 1_000).toISOString()}`
  if (error instanceof errors.JWTClaimValidationFailed)
    return error.claim === 'exp' ? 'it says no time at which it ends (exp)' : `it does not hold now (${error.claim})`
  return 'it is no JWT'
}

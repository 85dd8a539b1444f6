import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { type CryptoKey, exportJWK, importJWK, type JWK, SignJWT } from 'jose'
import type { Database } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { Sealer } from '../../core/seal.ts'
import { bumpProjectVersion } from '../../core/store.ts'
import type { Clock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { Believed } from '../believed.ts'
import { insertSigningKey, selectProjectId, selectSigningKeys } from './store.ts'
import type { TrustedKey } from './trusted.ts'

export const OWN_AUDIENCE = 'authenticated'

export interface SigningDeps {
  readonly database: Database
  readonly sealer: Sealer
  readonly clock: Clock
  readonly believable: () => boolean
  /** Who issues the tokens of a project: `<project.url>/auth/v1`. */
  readonly issuerOf: (project: ProjectRef) => string
}

interface OwnKey {
  readonly kid: string
  readonly publicJwk: JWK
  readonly publicKey: CryptoKey
  /** Null for one that signs no more. */
  readonly privateKey: CryptoKey | null
}

/** The keys that projects sign their users' tokens with: one each, made when it is first needed, sealed where it lies. */
export class SigningKeys {
  readonly #deps: SigningDeps
  readonly #keys: Believed<readonly OwnKey[]>

  constructor(deps: SigningDeps) {
    this.#deps = deps
    this.#keys = new Believed(LIMITS.believedKeys.value, deps.believable)
  }

  /** What signs now, and what has signed tokens that still hold. */
  async trusted(project: ProjectRef): Promise<readonly TrustedKey[]> {
    const issuers = [this.#deps.issuerOf(project)]
    return (await this.#of(project)).map(({ kid, publicKey }) => ({
      kid,
      algorithm: 'ES256' as const,
      key: publicKey,
      issuers,
      audience: OWN_AUDIENCE,
      kind: 'own' as const,
    }))
  }

  /** The public halves, as clients read them (RFC 7517). */
  async jwks(project: ProjectRef): Promise<readonly JWK[]> {
    await this.#signer(project)
    return (await this.#of(project)).map(({ kid, publicJwk }) => ({ ...publicJwk, kid, alg: 'ES256', use: 'sig', key_ops: ['verify'], ext: true }))
  }

  /** @param claims  all but who issues it, for whom, and when */
  async sign(
    project: ProjectRef,
    claims: Readonly<Record<string, unknown>>,
    { issuedAt, expiresAt }: { issuedAt: number; expiresAt: number },
  ): Promise<string> {
    const { kid, privateKey } = await this.#signer(project)
    return await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', kid, typ: 'JWT' })
      .setIssuer(this.#deps.issuerOf(project))
      .setAudience(OWN_AUDIENCE)
      .setIssuedAt(issuedAt)
      .setExpirationTime(expiresAt)
      .sign(privateKey)
  }

  forget(): void {
    this.#keys.clear()
  }

  async #signer(project: ProjectRef): Promise<OwnKey & { readonly privateKey: CryptoKey }> {
    for (;;) {
      const key = (await this.#of(project)).find(({ privateKey }) => privateKey !== null)
      if (key) return key as OwnKey & { readonly privateKey: CryptoKey }
      await this.#make(project)
    }
  }

  async #of(project: ProjectRef): Promise<readonly OwnKey[]> {
    const keys = await this.#keys.get(project, async () => {
      const rows = await selectSigningKeys(this.#deps.database.sql, project)
      return await Promise.all(
        rows.map(async (row): Promise<OwnKey> => {
          const publicKey = (await importJWK(row.publicJwk, 'ES256')) as CryptoKey
          const place = { project: row.projectId, table: 'signing_key', column: 'private', row: row.id }
          const signs = row.state === 'current'
          return { kid: row.id, publicJwk: row.publicJwk, publicKey, privateKey: signs ? await readPrivate(this.#deps.sealer.open(place, row.private)) : null }
        }),
      )
    })
    return keys ?? []
  }

  async #make(ref: ProjectRef): Promise<void> {
    const { database, sealer, clock } = this.#deps
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const id = uuidv7(clock.now())
    const { kty, crv, x, y } = await exportJWK(publicKey)
    await database.transaction(async (tx) => {
      const [project] = await selectProjectId(tx, ref)
      if (!project) throw new MayflyError('project_not_found', `there is no project ${ref}`)
      const sealed = sealer.seal({ project: project.id, table: 'signing_key', column: 'private', row: id }, privateKey.export({ format: 'der', type: 'pkcs8' }))
      const made = await insertSigningKey(tx, { id, projectId: project.id, publicJwk: JSON.stringify({ kty, crv, x, y }), sealed })
      if (made.length > 0) await bumpProjectVersion(tx, ref)
    })
    this.#keys.forget(ref)
  }
}

async function readPrivate(pkcs8: Buffer): Promise<CryptoKey> {
  const jwk = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ format: 'jwk' })
  return (await importJWK(jwk as JWK, 'ES256')) as CryptoKey
}

import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Principal, SqlRole } from '../../core/principal.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { Clock } from '../../lib/clock.ts'
import { Believed } from '../believed.ts'
import type { TrustedKey, TrustedKeySource } from './trusted.ts'

export interface VerifierDeps {
  /** Where a project's keys come from, in this order. */
  readonly sources: readonly TrustedKeySource[]
  readonly clock: Clock
  readonly believable: () => boolean
}

interface Verified {
  readonly principal: Principal
  readonly expiresAtMs: number
}

/** Clocks of those who issue and of those who read differ by so much. */
const SKEW_S = 30

/**
 * Tokens, and whom they speak for. A token is good in the one project that believes its key, by the algorithm that the
 * key is for, from its issuer, for its audience: what its header says of itself only finds the key among those.
 */
export class TokenVerifier {
  readonly #deps: VerifierDeps
  readonly #believed: Believed<Verified>

  constructor(deps: VerifierDeps) {
    this.#deps = deps
    this.#believed = new Believed(LIMITS.believedTokens.value, deps.believable)
  }

  /** @throws MayflyError token_invalid, token_expired, token_refused or token_role_unknown */
  async verify(project: ProjectRef, token: string): Promise<Principal> {
    if (token.length > LIMITS.tokenBytes.value) throw new MayflyError('token_invalid', `a token may have ${LIMITS.tokenBytes.value} bytes`)
    const verified = await this.#believed.get(`${project} ${token}`, () => this.#read(project, token))
    const { principal, expiresAtMs } = verified as Verified
    if (this.#deps.clock.now() >= expiresAtMs + SKEW_S * 1_000) throw new MayflyError('token_expired', 'JWT expired')
    return principal
  }

  forget(): void {
    this.#believed.clear()
  }

  async #read(project: ProjectRef, token: string): Promise<Verified> {
    const parts = token.split('.').length
    if (parts !== 3) throw new MayflyError('token_invalid', `Expected 3 parts in JWT; got ${parts}`)
    const candidates = await this.#candidates(project, token)
    let refusal = new MayflyError('token_invalid', 'No suitable key or wrong key type')
    for (const key of candidates) {
      try {
        const { payload } = await jwtVerify(token, key.key, {
          algorithms: [key.algorithm],
          ...(key.issuers === null ? {} : { issuer: [...key.issuers] }),
          ...(key.audience === null ? {} : { audience: key.audience }),
          requiredClaims: ['exp'],
          clockTolerance: SKEW_S,
          currentDate: new Date(this.#deps.clock.now()),
        })
        return { principal: principalOf(project, key, payload), expiresAtMs: (payload.exp as number) * 1_000 }
      } catch (error) {
        // Another key of the same name may have signed it.
        if (error instanceof errors.JWSSignatureVerificationFailed) continue
        refusal = refusalOf(error)
      }
    }
    throw refusal
  }

  async #candidates(project: ProjectRef, token: string): Promise<readonly TrustedKey[]> {
    let header: { alg?: unknown; kid?: unknown }
    try {
      header = decodeProtectedHeader(token)
    } catch (error) {
      throw new MayflyError('token_invalid', 'JWT cryptographic operation failed', { cause: error })
    }
    const named = { kid: typeof header.kid === 'string' ? header.kid : null, issuer: issuerIn(token) }
    const fitting: TrustedKey[] = []
    for (const source of this.#deps.sources)
      for (const key of await source(project, named)) if (key.algorithm === header.alg && (key.kid === null || key.kid === header.kid)) fitting.push(key)
    return fitting
  }
}

/** Null where it names none. */
function issuerIn(token: string): string | null {
  try {
    const { iss } = decodeJwt(token)
    return typeof iss === 'string' ? iss : null
  } catch {
    return null
  }
}

function refusalOf(error: unknown): MayflyError {
  if (error instanceof MayflyError) return error
  if (error instanceof errors.JWTExpired) return new MayflyError('token_expired', 'JWT expired', { cause: error })
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason } = error
    const said: Record<string, string> = { nbf: 'JWT not yet valid', iat: 'JWT issued at future', aud: 'JWT not in audience', iss: 'JWT of another issuer' }
    return new MayflyError('token_refused', reason === 'missing' ? `The JWT lacks the claim '${claim}'` : (said[claim] ?? 'Parsing claims failed'), {
      cause: error,
    })
  }
  if (error instanceof errors.JOSEError) return new MayflyError('token_invalid', 'JWT cryptographic operation failed', { cause: error })
  throw error
}

const ROLES: readonly string[] = ['anon', 'authenticated', 'service_role'] satisfies SqlRole[]

/** As long as PostgreSQL's names are. */
const MOST_ROLE = 63

/** @throws MayflyError token_role_unknown, and token_refused for a role that the key may not give */
function principalOf(project: ProjectRef, key: TrustedKey, claims: JWTPayload): Principal {
  const role = claims.role
  if (typeof role !== 'string' || role === '') throw new MayflyError('token_refused', 'the token says no role')
  // Of roles that the database has for itself it is said, too: who signs tokens learns nothing of them, and takes none.
  if (!ROLES.includes(role)) throw new MayflyError('token_role_unknown', `role "${role.slice(0, MOST_ROLE)}" does not exist`)
  const sub = typeof claims.sub === 'string' && claims.sub !== '' ? claims.sub : null
  if (key.kind === 'legacy' && sub === null) {
    const keyId = key.kid ?? 'legacy'
    if (role === 'service_role') return { kind: 'service', project, keyId }
    if (role === 'anon') return { kind: 'anon', project, keyId }
  }
  // No login makes anybody a service: only who has the secret of a project says so.
  if (role === 'service_role' && key.kind !== 'legacy') throw new MayflyError('token_refused', 'a token of a user may not act as service_role')
  return { kind: 'user', project, role: role as SqlRole, userId: sub, claims, expiresAtMs: (claims.exp as number) * 1_000 }
}

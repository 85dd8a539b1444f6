import type { CryptoKey } from 'jose'
import type { ProjectRef } from '../../core/project.ts'

/** What a project believes tokens by. Everything that a token says of itself is compared with it. */
export interface TrustedKey {
  /** Which key a token names; null for one that also fits tokens that name none. */
  readonly kid: string | null
  readonly algorithm: 'ES256' | 'RS256' | 'EdDSA' | 'HS256'
  /** Bytes for HS256, else a public key. */
  readonly key: CryptoKey | Uint8Array
  /** Who must have issued it, one of them; null where the key alone says it. */
  readonly issuers: readonly string[] | null
  readonly audience: string | null
  /**
   * - `own`: tokens of this project's login; always of an end user.
   * - `legacy`: the secret that a project brought along; its tokens are of users, and its keys are tokens too.
   * - `external`: another issuer's users.
   */
  readonly kind: 'own' | 'legacy' | 'external'
}

/** What a token says of itself, before anything of it is believed. */
export interface Named {
  readonly kid: string | null
  readonly issuer: string | null
}

/** Some of the keys that a project believes. @param named  to look for the key by; it proves nothing. @throws DatabaseError */
export type TrustedKeySource = (project: ProjectRef, named: Named) => Promise<readonly TrustedKey[]>

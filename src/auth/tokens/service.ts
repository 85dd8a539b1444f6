import type { Principal } from '../../core/principal.ts'
import type { ProjectRef } from '../../core/project.ts'
import { Issuers, type IssuersDeps } from './issuers.ts'
import { LegacySecrets } from './legacy.ts'
import { type SigningDeps, SigningKeys } from './signing.ts'
import type { TrustedKeySource } from './trusted.ts'
import { TokenVerifier } from './verifier.ts'

/** The tokens of end users: what a project signs, and what it believes. */
export class Tokens {
  readonly signing: SigningKeys
  /** The secrets that projects brought along. */
  readonly legacy: LegacySecrets
  /** Others whose users projects take for their own. */
  readonly issuers: Issuers
  readonly #verifier: TokenVerifier

  /** @param others  keys that a project believes beside its own */
  constructor(deps: SigningDeps & Pick<IssuersDeps, 'fetch' | 'log'>, others: readonly TrustedKeySource[] = []) {
    this.signing = new SigningKeys(deps)
    const changed = () => this.forget()
    this.legacy = new LegacySecrets({ ...deps, changed })
    this.issuers = new Issuers({ ...deps, changed })
    this.#verifier = new TokenVerifier({
      sources: [
        (project) => this.signing.trusted(project),
        (project) => this.legacy.trusted(project),
        (project, named) => this.issuers.trusted(project, named),
        ...others,
      ],
      clock: deps.clock,
      believable: deps.believable,
    })
  }

  /** Whom a token speaks for in a project. @throws MayflyError token_invalid, token_expired or token_refused */
  verify(project: ProjectRef, token: string): Promise<Principal> {
    return this.#verifier.verify(project, token)
  }

  /** A project's keys changed, or it is gone: nothing is believed any more. */
  forget(): void {
    this.signing.forget()
    this.legacy.forget()
    this.issuers.forget()
    this.#verifier.forget()
  }
}

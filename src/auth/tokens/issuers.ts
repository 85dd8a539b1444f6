import { type CryptoKey, importJWK, type JWK } from 'jose'
import type { Database } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Log } from '../../core/log.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { Asked } from '../../core/public-fetch.ts'
import { bumpProjectVersion } from '../../core/store.ts'
import type { Clock } from '../../lib/clock.ts'
import { Believed } from '../believed.ts'
import { deleteIssuer, type IssuerRow, selectIssuers, upsertIssuer } from './store.ts'
import type { Named, TrustedKey } from './trusted.ts'

export type Issuer = IssuerRow

const FRESH_MS = 600_000
/** Keys of an issuer that cannot be asked hold for so long. */
const STALE_MS = 3_600_000
/** Whatever kid a token names, and however often: an issuer is asked no more often than this. */
const AGAIN_MS = 30_000
const SOON_MS = 1_000
const MOST_SETS = 1_000
const MOST_KEYS = 50
const MOST_TEXT = 512

export interface IssuersDeps {
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  readonly believable: () => boolean
  /** Asks a host that a project named, and nobody that only the node can reach. */
  readonly fetch: (url: string, asked: Asked) => Promise<Response>
  /** What was learnt of tokens is to be forgotten. */
  readonly changed: () => void
}

interface KeySet {
  keys: readonly { readonly kid: string | null; readonly algorithm: TrustedKey['algorithm']; readonly key: CryptoKey }[]
  readAt: number
  askedAt: number
  asking: Promise<void> | null
  /** Why they could not be read when they were last asked for. */
  failure: string | null
}

/** Others whose users a project takes for its own: each with the one issuer and audience that its tokens must name, and where its keys are. */
export class Issuers {
  readonly #deps: IssuersDeps
  readonly #rows: Believed<readonly IssuerRow[]>
  readonly #sets = new Map<string, KeySet>()

  constructor(deps: IssuersDeps) {
    this.#deps = deps
    this.#rows = new Believed(LIMITS.believedKeys.value, deps.believable)
  }

  async trusted(project: ProjectRef, { kid, issuer }: Named): Promise<readonly TrustedKey[]> {
    if (issuer === null) return []
    const rows = await this.#rows.get(project, async () => await selectIssuers(this.#deps.database.sql, project))
    const row = rows?.find((one) => one.issuer === issuer)
    if (!row) return []
    const { keys } = await this.#setOf(row.jwksUrl, kid)
    return keys.map((one) => ({ ...one, issuers: [row.issuer], audience: row.audience, kind: 'external' as const }))
  }

  async list(project: Project): Promise<readonly Issuer[]> {
    return await selectIssuers(this.#deps.database.sql, project.ref)
  }

  /** @throws MayflyError bad_request */
  async put(project: Project, wish: { readonly issuer: string; readonly audience: string; readonly jwksUrl: string }): Promise<void> {
    for (const name of ['issuer', 'audience'] as const)
      if (wish[name] === '' || wish[name].length > MOST_TEXT)
        throw new MayflyError('bad_request', `${name}: 1 to ${MOST_TEXT} characters, as the tokens say it`)
    const url = URL.canParse(wish.jwksUrl) ? new URL(wish.jwksUrl) : null
    if (!url || wish.jwksUrl.length > MOST_TEXT || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
      throw new MayflyError(
        'bad_request',
        'jwksUrl: an address of https that holds no password (of http only where the operator of the node allows it by --auth-issuer-origins)',
      )
    await this.#deps.database.transaction(async (tx) => {
      await upsertIssuer(tx, project.id, wish)
      if ((await selectIssuers(tx, project.ref)).length > LIMITS.trustedIssuers.value)
        throw new MayflyError('bad_request', `a project trusts ${LIMITS.trustedIssuers.value} issuers at most`)
      await bumpProjectVersion(tx, project.ref)
    })
    this.forget()
    this.#deps.changed()
  }

  /** Why keys cannot be read there now; null when they can. For who has just named the address: tokens only tell that nobody signed them. */
  async unread(jwksUrl: string): Promise<string | null> {
    const set = await this.#setOf(jwksUrl, null)
    // What was only about to be put right is looked at again soon.
    if (set.failure !== null) set.askedAt = Math.min(set.askedAt, this.#deps.clock.monotonic() - AGAIN_MS + SOON_MS)
    return set.failure
  }

  /** @throws MayflyError issuer_not_found */
  async remove(project: Project, issuer: string): Promise<void> {
    await this.#deps.database.transaction(async (tx) => {
      if ((await deleteIssuer(tx, project.id, issuer)).length === 0) throw new MayflyError('issuer_not_found', 'the project trusts no issuer of this name')
      await bumpProjectVersion(tx, project.ref)
    })
    this.forget()
    this.#deps.changed()
  }

  /** Who is trusted; what was read of their keys stays, as it is theirs. */
  forget(): void {
    this.#rows.clear()
  }

  async #setOf(url: string, kid: string | null): Promise<KeySet> {
    const { clock } = this.#deps
    let set = this.#sets.get(url)
    if (!set) {
      set = { keys: [], readAt: Number.NEGATIVE_INFINITY, askedAt: Number.NEGATIVE_INFINITY, asking: null, failure: null }
      this.#sets.set(url, set)
      if (this.#sets.size > MOST_SETS) this.#sets.delete(this.#sets.keys().next().value as string)
    }
    const now = clock.monotonic()
    const has = set.keys.some((key) => key.kid === kid || key.kid === null)
    if ((!has || now - set.readAt >= FRESH_MS) && now - set.askedAt >= AGAIN_MS) {
      set.askedAt = now
      const asked = set
      asked.asking = this.#read(url, asked).finally(() => {
        asked.asking = null
      })
    }
    // Who knows the key already waits for nobody.
    if (set.asking && !has) await set.asking
    if (clock.monotonic() - set.readAt >= STALE_MS) set.keys = []
    return set
  }

  async #read(url: string, set: KeySet): Promise<void> {
    const { clock, log, fetch } = this.#deps
    try {
      const signal = AbortSignal.timeout(LIMITS.jwksTime.value)
      const response = await fetch(url, { method: 'GET', headers: { accept: 'application/jwk-set+json, application/json' }, signal, encrypted: true })
      if (response.status !== 200) {
        await response.body?.cancel()
        throw new Error(`it answers ${response.status}`)
      }
      set.keys = await keysOf(jsonOf(await textOf(response, LIMITS.jwksBytes.value)))
      set.readAt = clock.monotonic()
      set.failure = set.keys.length > 0 ? null : 'it answers no key that could be believed'
    } catch (error) {
      set.failure = error instanceof Error ? error.message : String(error)
      log.warn({ url: new URL(url).origin, error: set.failure }, 'the keys of a trusted issuer could not be read')
    }
  }
}

/** What else stands there is not told: it may be of somebody who did not mean it for the project. @throws Error */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Error('it answers no JSON')
  }
}

async function textOf(response: Response, mostBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > mostBytes) throw new Error(`it answers more than ${mostBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Public keys alone, of what is believed; a secret in such a set would make everybody a maker of tokens. */
async function keysOf(set: unknown): Promise<KeySet['keys']> {
  const all = (set as { keys?: unknown } | null)?.keys
  if (!Array.isArray(all)) throw new Error('it answers no set of keys')
  const found: KeySet['keys'][number][] = []
  for (const jwk of all.slice(0, MOST_KEYS) as JWK[]) {
    const algorithm = algorithmOf(jwk)
    if (algorithm === null) continue
    const kid = typeof jwk.kid === 'string' && jwk.kid !== '' ? jwk.kid : null
    // One without a name fits every token: only where it is the only one.
    if (kid === null && all.length > 1) continue
    const { kty, crv, x, y, n, e } = jwk
    const key = await importJWK({ kty, crv, x, y, n, e } as JWK, algorithm).catch(() => null)
    if (key && !(key instanceof Uint8Array)) found.push({ kid, algorithm, key })
  }
  return found
}

const LEAST_MODULUS = 342 // 2,048 bits in base64url

function algorithmOf(jwk: JWK | null): TrustedKey['algorithm'] | null {
  if (typeof jwk !== 'object' || jwk === null || (jwk.use !== undefined && jwk.use !== 'sig')) return null
  const algorithm =
    jwk.kty === 'EC' && jwk.crv === 'P-256'
      ? 'ES256'
      : jwk.kty === 'OKP' && jwk.crv === 'Ed25519'
        ? 'EdDSA'
        : jwk.kty === 'RSA' && typeof jwk.n === 'string' && jwk.n.length >= LEAST_MODULUS
          ? 'RS256'
          : null
  return jwk.alg === undefined || jwk.alg === algorithm ? algorithm : null
}

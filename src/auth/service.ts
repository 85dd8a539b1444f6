import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Database, Tx } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'
import type { FunctionRole, Principal } from '../core/principal.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Sealer } from '../core/seal.ts'
import type { Clock } from '../lib/clock.ts'
import { Believed } from './believed.ts'
import { DeployTokens, isDeployToken } from './deploy-tokens.ts'
import { ApiKeys, makeKey } from './api-keys.ts'
import { END_SESSIONS, insertAccessKey, type KeyKind, selectAccessKey, selectAccessKeys, selectApiKeyByHash } from './store.ts'

/** Whose sandbox a handle was given to. */
export interface HandleOwner {
  readonly project: string
  readonly functionName: string
  readonly version: string
  readonly role: FunctionRole
}

/** Keys of the form of real ones, for the inside of a sandbox. */
export interface Handle {
  readonly key: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface ProjectKeys {
  readonly publishableKey: string
  readonly secretKey: string
  readonly accessKey: { readonly id: string; readonly secret: string }
}

export interface AccessKey {
  readonly id: string
  readonly secret: string
  readonly project: ProjectRef
}

const OPERATOR = 'mayfly_operator_'

const sha256 = (text: string) => createHash('sha256').update(text).digest()
const base32 = (bytes: Uint8Array) => [...bytes].map((byte) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[byte % 32]).join('')
/** A key that is known, and until when; of the monotonic clock. */
interface KnownKey {
  readonly principal: Principal
  readonly until: number
}

/** Keys: who may come in, and as whom. */
export class Auth {
  readonly #database: Database
  readonly #sealer: Sealer
  readonly #clock: Clock
  readonly tokens: DeployTokens
  readonly keys: ApiKeys
  readonly #keys: Believed<KnownKey>
  readonly #accessKeys: Believed<AccessKey>
  readonly #handles = new Map<string, HandleOwner>()
  readonly #handleAccessKeys = new Map<string, { readonly secret: string; readonly owner: HandleOwner }>()
  /** What was given out here, by version. */
  readonly #issued = new Map<string, Handle>()
  /** Of handles that another process of the node gave out: their names here, the latest used last. */
  readonly #adopted = new Map<string, { readonly version: string; readonly accessKeyId: string }>()
  #operatorHash: Buffer | null = null

  /** @param believable  whether what was learnt of keys may be used without asking the database again */
  constructor(database: Database, sealer: Sealer, clock: Clock, believable: () => boolean) {
    this.#database = database
    this.#sealer = sealer
    this.#clock = clock
    this.tokens = new DeployTokens(database, clock)
    this.keys = new ApiKeys({ database, sealer, clock, changed: () => this.forget() })
    this.#keys = new Believed(LIMITS.believedKeys.value, believable)
    this.#accessKeys = new Believed(LIMITS.believedKeys.value, believable)
  }

  /** Makes a project's first keys, in the transaction that makes the project. @param given  keys that it brings along */
  async issueProjectKeys(tx: Tx, project: Project, given: Partial<Record<KeyKind, string>> = {}): Promise<void> {
    await this.keys.issueFirst(tx, project, given)
    const id = `AKIA${base32(randomBytes(16))}`
    const secret = randomBytes(30).toString('base64')
    await insertAccessKey(tx, {
      id,
      projectId: project.id,
      secret: this.#sealer.seal({ project: project.id, table: 'access_key', column: 'secret', row: id }, Buffer.from(secret)),
    })
  }

  /** The keys in clear: an act of the operator. */
  async revealProjectKeys(project: Project): Promise<ProjectKeys> {
    const [access] = await selectAccessKeys(this.#database.sql, project.id)
    return {
      publishableKey: await this.keys.current(project, 'publishable'),
      secretKey: await this.keys.current(project, 'secret'),
      accessKey: {
        id: access?.id ?? '',
        secret: access ? this.#sealer.open({ project: project.id, table: 'access_key', column: 'secret', row: access.id }, access.secret).toString() : '',
      },
    }
  }

  /** A fresh operator token for this life of the node; only its hash is kept here. */
  issueOperatorToken(): string {
    const token = `${OPERATOR}${randomBytes(32).toString('base64url')}`
    this.#operatorHash = sha256(token)
    return token
  }

  /** By what another process of this node knows the operator's token. */
  get operatorHash(): Uint8Array | null {
    return this.#operatorHash
  }

  /** The main process has issued a token. */
  believeOperator(hash: Uint8Array): void {
    this.#operatorHash = Buffer.from(hash)
  }

  /** Who a key from outside speaks for; null when it is none. A handle is none. @throws MayflyError key_invalid for a deploy token that has ended */
  async verifyKey(key: string): Promise<Principal | null> {
    if (key.length > 200) return null
    if (isDeployToken(key)) return await this.tokens.verify(key)
    if (key.startsWith(OPERATOR))
      return this.#operatorHash !== null && timingSafeEqual(sha256(key), this.#operatorHash) ? { kind: 'operator', id: 'local' } : null
    if (!key.startsWith('sb_')) return null
    const known = await this.#keys.get(key, async () => {
      const askedAt = this.#clock.monotonic()
      // Found by the hash of the whole: how long it takes says nothing about the key.
      const [row] = await selectApiKeyByHash(this.#database.sql, sha256(key))
      if (!row) return null
      const principal: Principal = { kind: row.kind === 'secret' ? 'service' : 'anon', project: row.ref, keyId: row.id }
      return { principal, until: row.leftMs === null ? Number.POSITIVE_INFINITY : askedAt + row.leftMs }
    })
    return known && this.#clock.monotonic() < known.until ? known.principal : null
  }

  /** A project's database was made as a copy: nobody is signed in to it. @param login  of `Databases.openLogin` */
  async endSessions(login: Database): Promise<void> {
    await login.script(END_SESSIONS)
  }

  /** The secret of an access key, for checking a signature. */
  async accessKey(id: string): Promise<AccessKey | null> {
    if (!/^AKIA[A-Z2-7]{16}$/.test(id)) return null
    return await this.#accessKeys.get(id, async () => {
      const [row] = await selectAccessKey(this.#database.sql, id)
      if (!row) return null
      return {
        id,
        project: row.ref,
        secret: this.#sealer.open({ project: row.projectId, table: 'access_key', column: 'secret', row: id }, row.secret).toString(),
      }
    })
  }

  /** Keys for a sandbox: they have the form of real ones, live in memory and are valid only on its relay. */
  issueHandle(owner: HandleOwner): Handle & { revoke(): void } {
    const key = makeKey('secret')
    const accessKeyId = `ASIA${base32(randomBytes(16))}`
    const secretAccessKey = randomBytes(30).toString('base64')
    const name = sha256(key).toString('base64')
    this.#handles.set(name, owner)
    this.#handleAccessKeys.set(accessKeyId, { secret: secretAccessKey, owner })
    const handle = { key, accessKeyId, secretAccessKey }
    this.#issued.set(owner.version, handle)
    return {
      ...handle,
      revoke: () => {
        this.#handles.delete(name)
        this.#handleAccessKeys.delete(accessKeyId)
        if (this.#issued.get(owner.version) === handle) this.#issued.delete(owner.version)
      },
    }
  }

  /** What this process gave to the sandboxes of a version; null when it is valid no more. */
  handleOf({ version }: HandleOwner): Handle | null {
    return this.#issued.get(version) ?? null
  }

  /** What another process of the node gave out holds here too; null: nothing that it gave to this version does. */
  adoptHandle(owner: HandleOwner, handle: Handle | null): void {
    if (handle === null) {
      for (const [name, { version }] of this.#adopted) if (version === owner.version) this.#disown(name)
      return
    }
    const name = sha256(handle.key).toString('base64')
    this.#adopted.delete(name)
    this.#adopted.set(name, { version: owner.version, accessKeyId: handle.accessKeyId })
    this.#handles.set(name, owner)
    this.#handleAccessKeys.set(handle.accessKeyId, { secret: handle.secretAccessKey, owner })
    if (this.#adopted.size > LIMITS.believedKeys.value) this.#disown(this.#adopted.keys().next().value as string)
  }

  #disown(name: string): void {
    const adopted = this.#adopted.get(name)
    this.#adopted.delete(name)
    this.#handles.delete(name)
    if (adopted) this.#handleAccessKeys.delete(adopted.accessKeyId)
  }

  verifyHandle(key: string): HandleOwner | null {
    return this.#handles.get(sha256(key).toString('base64')) ?? null
  }

  handleAccessKey(id: string): { readonly secret: string; readonly owner: HandleOwner } | null {
    return this.#handleAccessKeys.get(id) ?? null
  }

  /** A project's keys changed, or it is gone: nothing is believed any more. */
  forget(): void {
    this.#keys.clear()
    this.#accessKeys.clear()
  }
}

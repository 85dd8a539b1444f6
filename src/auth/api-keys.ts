import { createHash, randomBytes } from 'node:crypto'
import { type Database, DatabaseError, type Tx } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project } from '../core/project.ts'
import { bumpProjectVersion } from '../core/store.ts'
import type { Sealer } from '../core/seal.ts'
import type { Clock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { type ApiKeyRow, deleteApiKey, endApiKeys, insertApiKey, type KeyKind, lockProjectOfKeys, selectApiKeys } from './store.ts'

export const KEY_KINDS: readonly KeyKind[] = ['publishable', 'secret']
const SHOWN = 18
const HOUR_MS = 3_600_000

export interface ApiKey {
  readonly id: string
  readonly kind: KeyKind
  /** A publishable one is no secret; of a secret one, its beginning. */
  readonly shown: string
  readonly createdAt: Date
  readonly endsAt: Date | null
}

const sha256 = (text: string) => createHash('sha256').update(text).digest()
const checksum = (text: string) => createHash('sha256').update(text).digest('base64url').slice(0, 8)

/** A key of the form that clients know: a kind, 132 random bits, a checksum. */
export function makeKey(kind: KeyKind): string {
  const body = randomBytes(17).toString('base64url').slice(0, 22)
  return `sb_${kind}_${body}_${checksum(body)}`
}

export interface ApiKeysDeps {
  readonly database: Database
  readonly sealer: Sealer
  readonly clock: Clock
  /** What was learnt of keys is to be forgotten. */
  readonly changed: () => void
}

/** The publishable and secret keys of projects. A project has at least one of each kind that does not end. */
export class ApiKeys {
  readonly #deps: ApiKeysDeps

  constructor(deps: ApiKeysDeps) {
    this.#deps = deps
  }

  /** The first ones, in the transaction that makes the project; those that it brings along, where it does. */
  async issueFirst(tx: Tx, project: Project, given: Partial<Record<KeyKind, string>>): Promise<void> {
    for (const kind of KEY_KINDS) await this.#insert(tx, project, kind, given[kind] ?? makeKey(kind))
  }

  async list(project: Project): Promise<readonly ApiKey[]> {
    return (await selectApiKeys(this.#deps.database.sql, project.id)).map((row) => this.#shown(project, row))
  }

  /** In clear, by id: an act of the operator. */
  async reveal(project: Project): Promise<ReadonlyMap<string, string>> {
    return new Map((await selectApiKeys(this.#deps.database.sql, project.id)).map((row) => [row.id, this.#open(project, row)]))
  }

  /** The one of a kind that goes on, made last. */
  async current(project: Project, kind: KeyKind): Promise<string> {
    const row = (await selectApiKeys(this.#deps.database.sql, project.id)).findLast((key) => key.kind === kind && key.endsAt === null)
    return row ? this.#open(project, row) : ''
  }

  /** One more beside those that are there. @throws MayflyError keys_full */
  async make(project: Project, kind: KeyKind): Promise<{ readonly key: string; readonly id: string }> {
    return await this.#change(project, (tx) => this.#insert(tx, project, kind, makeKey(kind)))
  }

  /**
   * A new one; all others of the kind end after the overlap, or when they were to end before that.
   * @throws MayflyError bad_request, keys_full
   */
  async rotate(project: Project, kind: KeyKind, overlapHours: number): Promise<{ readonly key: string; readonly id: string }> {
    const most = LIMITS.keyOverlap.value / HOUR_MS
    if (!Number.isFinite(overlapHours) || overlapHours < 0 || overlapHours > most)
      throw new MayflyError('bad_request', `overlapHours: a number from 0 to ${most}`)
    return await this.#change(project, async (tx) => {
      await endApiKeys(tx, project.id, kind, overlapHours * HOUR_MS)
      return await this.#insert(tx, project, kind, makeKey(kind))
    })
  }

  /** It opens nothing from now on. @throws MayflyError key_not_found, key_last */
  async revoke(project: Project, id: string): Promise<ApiKey> {
    return await this.#change(project, async (tx) => {
      const keys = await selectApiKeys(tx, project.id)
      const key = keys.find((one) => one.id === id)
      if (!key) throw new MayflyError('key_not_found', 'the project has no key of this id')
      if (key.endsAt === null && !keys.some((one) => one.id !== id && one.kind === key.kind && one.endsAt === null))
        throw new MayflyError('key_last', `it is the last ${key.kind} key of the project that does not end`)
      await deleteApiKey(tx, project.id, id)
      return this.#shown(project, key)
    })
  }

  async #change<T>(project: Project, work: (tx: Tx) => Promise<T>): Promise<T> {
    try {
      return await this.#deps.database.transaction(async (tx) => {
        await lockProjectOfKeys(tx, project.id)
        const made = await work(tx)
        await bumpProjectVersion(tx, project.ref)
        return made
      })
    } finally {
      this.#deps.changed()
    }
  }

  async #insert(tx: Tx, project: Project, kind: KeyKind, key: string): Promise<{ key: string; id: string }> {
    if ((await selectApiKeys(tx, project.id)).length >= LIMITS.projectKeys.value)
      throw new MayflyError('keys_full', `the project has ${LIMITS.projectKeys.value} keys`)
    const id = uuidv7(this.#deps.clock.now())
    const value = this.#deps.sealer.seal({ project: project.id, table: 'api_key', column: 'value', row: id }, Buffer.from(key))
    try {
      await insertApiKey(tx, { id, projectId: project.id, kind, hash: sha256(key), value })
    } catch (error) {
      if (error instanceof DatabaseError && error.constraint === 'api_key_hash_key') throw new MayflyError('key_taken', `the ${kind} key is in use already`)
      throw error
    }
    return { key, id }
  }

  #open(project: Project, row: ApiKeyRow): string {
    return this.#deps.sealer.open({ project: project.id, table: 'api_key', column: 'value', row: row.id }, row.value).toString()
  }

  #shown(project: Project, row: ApiKeyRow): ApiKey {
    const { id, kind, createdAt, endsAt } = row
    const key = this.#open(project, row)
    return { id, kind, createdAt, endsAt, shown: kind === 'secret' ? `${key.slice(0, SHOWN)}…` : key }
  }
}

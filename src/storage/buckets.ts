import type { ProjectRef } from '../core/project.ts'
import { noSuchBucket, StorageError, tooLarge } from './errors.ts'
import type { Garbage } from './garbage.ts'
import { checkBucketName, checkMediaRanges } from './names.ts'
import type { Caller, Sessions } from './sessions.ts'
import {
  allowOnBucket,
  type BucketRow,
  deleteBucket,
  deleteSomeObjects,
  insertBucket,
  readAllowed,
  selectBucket,
  selectBuckets,
  updateBucket,
} from './store.ts'

export interface BucketsDeps {
  readonly sessions: Sessions
  readonly garbage: Garbage
  readonly maxObjectBytes: number
  readonly wake: (ref: ProjectRef) => void
}

export interface BucketSettings {
  readonly public: boolean
  /** Bytes; null for the limit of the node. */
  readonly fileSizeLimit: number | null
  /** `image/png`, `image/*`; null for all. */
  readonly allowedMimeTypes: readonly string[] | null
}
export interface BucketsPage {
  readonly search: string
  readonly limit: number
  readonly offset: number
  readonly sortColumn: string
  readonly descending: boolean
}

/** What a role may do with the objects of a bucket, by role (`anon`, `authenticated`): `select`, `insert`, `update`, `delete`. */
export type Allow = Readonly<Record<string, readonly string[]>>

const EMPTIED_AT_ONCE = 1_000

export class Buckets {
  readonly #deps: BucketsDeps

  constructor(deps: BucketsDeps) {
    this.#deps = deps
  }

  /** @throws StorageError BucketAlreadyExists, InvalidBucketName, AccessDenied… */
  async create(caller: Caller, name: string, settings: BucketSettings): Promise<void> {
    checkBucketName(name)
    this.#check(settings)
    try {
      await this.#deps.sessions.as(caller, 'storage.bucket.create', async (tx) => await insertBucket(tx, { id: name, ...settings }))
    } catch (error) {
      if (error instanceof StorageError && error.code === 'KeyAlreadyExists') throw new StorageError('BucketAlreadyExists', error.message, { cause: error })
      throw error
    }
  }

  /** @throws StorageError NoSuchBucket, also when the caller may not see it */
  async get(caller: Caller, name: string): Promise<BucketRow> {
    const [bucket] = await this.#deps.sessions.as(caller, 'storage.bucket.get', async (tx) => await selectBucket(tx, name))
    if (!bucket) throw noSuchBucket()
    return bucket
  }

  async list(caller: Caller, page: BucketsPage): Promise<BucketRow[]> {
    return await this.#deps.sessions.as(caller, 'storage.bucket.list', async (tx) => await selectBuckets(tx, page))
  }

  /** What is not given stays. @throws StorageError NoSuchBucket… */
  async update(caller: Caller, name: string, change: Partial<BucketSettings>): Promise<void> {
    this.#check(change)
    const [changed] = await this.#deps.sessions.as(
      caller,
      'storage.bucket.update',
      async (tx) =>
        await updateBucket(tx, name, {
          public: change.public ?? null,
          fileSizeLimit: change.fileSizeLimit ?? null,
          setsFileSizeLimit: change.fileSizeLimit !== undefined,
          allowedMimeTypes: change.allowedMimeTypes ?? null,
          setsAllowedMimeTypes: change.allowedMimeTypes !== undefined,
        }),
    )
    if (!changed) throw noSuchBucket()
  }

  /** Piece by piece, each committed with its events: a large bucket holds up nobody. */
  async empty(caller: Caller, name: string): Promise<void> {
    const { sessions, garbage, wake } = this.#deps
    await this.get(caller, name)
    for (;;) {
      const gone = await sessions.as(caller, 'storage.bucket.empty', async (tx) => await deleteSomeObjects(tx, name, EMPTIED_AT_ONCE))
      if (gone.length === 0) return
      wake(caller.project.ref)
      garbage.soon(caller.project)
    }
  }

  /** @throws StorageError NoSuchBucket, ResourceNotEmpty */
  async delete(caller: Caller, name: string): Promise<void> {
    try {
      await this.get(caller, name)
      const [gone] = await this.#deps.sessions.as(caller, 'storage.bucket.delete', async (tx) => await deleteBucket(tx, name))
      if (!gone) throw noSuchBucket()
    } catch (error) {
      // The one thing that refers to a bucket: its objects.
      if (error instanceof StorageError && error.code === 'NoSuchBucket' && error.cause !== undefined)
        throw new StorageError('ResourceNotEmpty', 'The bucket you tried to delete is not empty', { cause: error })
      throw error
    }
  }

  /** Makes the policies of its objects say this and no more. */
  async allow(ref: ProjectRef, name: string, allow: Allow): Promise<void> {
    await allowOnBucket((await this.#deps.sessions.own(ref)).sql, name, allow)
  }

  async allowed(ref: ProjectRef, name: string): Promise<Allow> {
    const [row] = await readAllowed((await this.#deps.sessions.own(ref)).sql, name)
    return row?.allow ?? {}
  }

  #check({ fileSizeLimit, allowedMimeTypes }: Partial<BucketSettings>): void {
    if (typeof fileSizeLimit === 'number' && fileSizeLimit > this.#deps.maxObjectBytes) throw tooLarge()
    if (allowedMimeTypes) checkMediaRanges(allowedMimeTypes)
  }
}

import type { Blobs, OpenBlob } from '../backends/blobs/blobs.ts'
import type { ProjectRef } from '../core/project.ts'
import { noSuchBucket, noSuchKey, tooLarge } from './errors.ts'
import type { Garbage } from './garbage.ts'
import { admitMediaType, checkKey } from './names.ts'
import type { Caller, Sessions } from './sessions.ts'
import {
  type BlobRow,
  deleteObjects,
  leaveRole,
  type ListedRow,
  listFolder,
  moveObject,
  type ObjectRow,
  readBlob,
  readBucket,
  readPublicObject,
  selectObject,
} from './store.ts'
import { limitOf } from './uploads.ts'

export interface ObjectsDeps {
  readonly sessions: Sessions
  readonly blobs: Blobs
  readonly garbage: Garbage
  readonly maxObjectBytes: number
  readonly wake: (ref: ProjectRef) => void
}

/** An object and its bytes' own facts, which no user can write. */
export interface Found {
  readonly object: ObjectRow
  readonly blob: BlobRow
}
export interface Place {
  readonly bucket: string
  readonly key: string
}
export interface ListRequest {
  readonly bucket: string
  readonly prefix: string
  readonly search: string
  readonly sortBy: 'name' | 'updated_at' | 'created_at' | 'last_accessed_at'
  readonly descending: boolean
  readonly limit: number
  readonly offset: number
}

/** Objects that are there: found, listed, moved, removed; by the rights of who asks. */
export class Objects {
  readonly #deps: ObjectsDeps

  constructor(deps: ObjectsDeps) {
    this.#deps = deps
  }

  /** What may not be seen is as if it were not there. @throws StorageError NoSuchKey */
  async find(caller: Caller, { bucket, key }: Place, operation: string): Promise<Found> {
    return await this.#deps.sessions.as(caller, operation, async (tx) => {
      const [object] = await selectObject(tx, bucket, key)
      if (!object) throw noSuchKey()
      await leaveRole(tx)
      const [blob] = await readBlob(tx, object.id)
      if (!blob) throw noSuchKey()
      return { object, blob }
    })
  }

  /** For anyone. @throws StorageError NoSuchBucket when it is not public, NoSuchKey */
  async findPublic(ref: ProjectRef, { bucket, key }: Place): Promise<Found> {
    return await this.#deps.sessions.asNobody(ref, async (tx) => {
      const [object] = await readPublicObject(tx, bucket, key)
      if (!object) {
        const [known] = await readBucket(tx, bucket)
        throw known?.public ? noSuchKey() : noSuchBucket()
      }
      const [blob] = await readBlob(tx, object.id)
      if (!blob) throw noSuchKey()
      return { object, blob }
    })
  }

  /** Null when they were deleted since they were found. */
  async open(project: Caller['project'], found: Found): Promise<OpenBlob | null> {
    return await this.#deps.blobs.open(project.id, found.blob.blob)
  }

  async list(caller: Caller, ask: ListRequest): Promise<ListedRow[]> {
    const prefix = ask.prefix === '' || ask.prefix.endsWith('/') ? ask.prefix : `${ask.prefix}/`
    return await this.#deps.sessions.as(
      caller,
      'storage.object.list',
      async (tx) => await listFolder(tx, { ...ask, prefix, column: ask.sortBy, descending: ask.descending }),
    )
  }

  /** @throws StorageError NoSuchKey, KeyAlreadyExists, AccessDenied, and what the other bucket does not take */
  async move(caller: Caller, from: Place, to: Place): Promise<{ id: string }> {
    const { sessions, wake, maxObjectBytes } = this.#deps
    checkKey(to.key)
    const moved = await sessions.as(caller, 'storage.object.move', async (tx) => {
      const [object] = await selectObject(tx, from.bucket, from.key)
      if (!object) throw noSuchKey()
      const [changed] = await moveObject(tx, object.id, to.bucket, to.key)
      // Seen, but not his to change.
      if (!changed) throw noSuchKey()
      if (to.bucket === from.bucket) return changed
      await leaveRole(tx)
      const [bucket] = await readBucket(tx, to.bucket)
      const [blob] = await readBlob(tx, object.id)
      if (!bucket) throw noSuchBucket()
      if (blob && Number(blob.bytes) > limitOf(bucket, maxObjectBytes)) throw tooLarge()
      if (blob) admitMediaType(blob.contentType, bucket.allowed_mime_types)
      return changed
    })
    wake(caller.project.ref)
    return moved
  }

  /** Those that are there and that the caller may delete; of the others nothing is said. */
  async remove(caller: Caller, bucket: string, keys: readonly string[], operation = 'storage.object.delete_many'): Promise<ObjectRow[]> {
    const gone = await this.#deps.sessions.as(caller, operation, async (tx) => await deleteObjects(tx, bucket, keys))
    if (gone.length > 0) {
      this.#deps.wake(caller.project.ref)
      this.#deps.garbage.soon(caller.project)
    }
    return gone
  }
}

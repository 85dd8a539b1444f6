import type { Blobs } from '../backends/blobs/blobs.ts'
import { DatabaseError } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Stays } from '../core/stays.ts'
import type { Clock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { untilAborted } from '../lib/or-aborted.ts'
import { noSuchBucket, noSuchKey, tooLarge } from './errors.ts'
import type { Garbage } from './garbage.ts'
import { admitMediaType, checkKey, checkMediaType } from './names.ts'
import type { Caller, Sessions } from './sessions.ts'
import { attachBlob, type BucketRow, insertObject, leaveRole, type NewObject, readBlob, readBucket, selectObject, upsertObject } from './store.ts'

export interface UploadsDeps {
  readonly sessions: Sessions
  readonly blobs: Blobs
  readonly garbage: Garbage
  readonly stays: Stays
  /** The most that one object may have, whatever its bucket says. */
  readonly maxObjectBytes: number
  /** Tells the relay that the outbox of a project may hold something: a hint. */
  readonly wake: (ref: ProjectRef) => void
  readonly crash: Crash
  readonly clock: Clock
}

/** Where an object goes, and what is kept beside its bytes. */
export interface Target {
  readonly bucket: string
  readonly key: string
  readonly upsert: boolean
  readonly contentType: string
  readonly cacheControl: string
  readonly contentEncoding: string | null
  readonly userMetadata: Readonly<Record<string, unknown>> | null
}
export interface Upload extends Target {
  /** What policies see as `storage.operation()`: PUT is another one than POST. */
  readonly operation: 'storage.object.upload' | 'storage.object.upload_update'
  /** What the client says that it will send; null when it does not know. */
  readonly declaredBytes: number | null
  readonly bytes: AsyncIterable<Uint8Array>
}
export interface CopyRequest {
  readonly source: { readonly bucket: string; readonly key: string }
  readonly target: { readonly bucket: string; readonly key: string; readonly upsert: boolean }
  /** Null: as the source has it. */
  readonly changed: { readonly contentType?: string; readonly cacheControl?: string; readonly userMetadata: Target['userMetadata'] } | null
}
export interface Written {
  readonly id: string
  readonly bucket: string
  readonly key: string
}

/** Objects that come to be: bytes first, durable under a name that no row has; then, in one transaction, row and event. */
export class Uploads {
  readonly #deps: UploadsDeps

  constructor(deps: UploadsDeps) {
    this.#deps = deps
  }

  /** @throws StorageError; MayflyError project_not_found when the project is deleted meanwhile */
  async upload(caller: Caller, upload: Upload): Promise<Written> {
    const { blobs, crash, stays } = this.#deps
    const { operation } = upload
    using stay = stays.enter(caller.project.id)
    const version = this.#freshVersion()
    const limit = await this.#admit(caller, operation, upload, version, upload.declaredBytes)
    const stored = await blobs.put(caller.project.id, bounded(untilAborted(upload.bytes, stay.signal), limit))
    crash('afterBytesFsync')
    return await this.#commit(caller, operation, upload, version, stored)
  }

  /** @throws StorageError; MayflyError project_not_found */
  async copy(caller: Caller, { source, target, changed }: CopyRequest): Promise<Written> {
    const { blobs, sessions, stays } = this.#deps
    const operation = 'storage.object.copy'
    using _stay = stays.enter(caller.project.id)
    const from = await sessions.as(caller, operation, async (tx) => {
      const [object] = await selectObject(tx, source.bucket, checkKey(source.key))
      if (!object) throw noSuchKey()
      await leaveRole(tx)
      const [blob] = await readBlob(tx, object.id)
      if (!blob) throw noSuchKey()
      return { object, blob }
    })
    const whole: Target = {
      ...target,
      contentType: changed?.contentType ?? from.blob.contentType,
      cacheControl: changed?.cacheControl ?? from.blob.cacheControl,
      contentEncoding: from.blob.contentEncoding,
      userMetadata: changed ? changed.userMetadata : from.object.user_metadata,
    }
    const version = this.#freshVersion()
    await this.#admit(caller, operation, whole, version, Number(from.blob.bytes))
    const name = await blobs.copy(caller.project.id, from.blob.blob)
    if (name === null) throw noSuchKey()
    return await this.#commit(caller, operation, whole, version, { name, bytes: Number(from.blob.bytes), md5: from.blob.etag })
  }

  /** Asks PostgreSQL, before any byte is read, whether the caller may write this row. @returns the most bytes it may have */
  async #admit(caller: Caller, operation: string, target: Target, version: string, bytes: number | null): Promise<number> {
    checkKey(target.key)
    checkMediaType(target.contentType)
    const declared = { mimetype: target.contentType, cacheControl: target.cacheControl, ...(bytes === null ? {} : { size: bytes, contentLength: bytes }) }
    const bucket = await this.#deps.sessions.dryRun(caller, operation, async (tx) => {
      await (target.upsert ? upsertObject : insertObject)(tx, row(target, version, declared))
      await leaveRole(tx)
      const [found] = await readBucket(tx, target.bucket)
      return found
    })
    if (!bucket) throw noSuchBucket()
    const limit = limitOf(bucket, this.#deps.maxObjectBytes)
    if (bytes !== null && bytes > limit) throw tooLarge()
    admitMediaType(target.contentType, bucket.allowed_mime_types)
    return limit
  }

  async #commit(caller: Caller, operation: string, target: Target, version: string, stored: { name: string; bytes: number; md5: string }): Promise<Written> {
    const { blobs, sessions, garbage, crash, wake, clock } = this.#deps
    const object = row(target, version, {
      eTag: `"${stored.md5}"`,
      size: stored.bytes,
      mimetype: target.contentType,
      cacheControl: target.cacheControl,
      lastModified: new Date(clock.now()).toISOString(),
      contentLength: stored.bytes,
      httpStatusCode: 200,
      ...(target.contentEncoding === null ? {} : { contentEncoding: target.contentEncoding }),
    })
    let id: string
    try {
      id = await sessions.as(caller, operation, async (tx) => {
        await (target.upsert ? upsertObject : insertObject)(tx, object)
        await leaveRole(tx)
        const [attached] = await attachBlob(tx, object, {
          blob: stored.name,
          bytes: stored.bytes,
          etag: stored.md5,
          contentType: target.contentType,
          cacheControl: target.cacheControl,
          contentEncoding: target.contentEncoding,
        })
        return (attached as { id: string }).id
      })
    } catch (error) {
      // A connection that broke may have broken behind the commit: then the bytes are left to the sweeper, who asks the rows.
      const unsure = error instanceof DatabaseError && error.isAway
      if (!unsure) await blobs.delete(caller.project.id, [stored.name]).catch(() => {})
      throw error
    }
    crash(caller.principal.kind === 'function' ? 'afterThumbnailCommit' : 'afterObjectCommit')
    wake(caller.project.ref)
    if (target.upsert) garbage.soon(caller.project)
    return { id, bucket: target.bucket, key: target.key }
  }

  #freshVersion(): string {
    return uuidv7(this.#deps.clock.now())
  }
}

const row = (target: Target, version: string, metadata: NewObject['metadata']): NewObject => ({
  bucket: target.bucket,
  key: target.key,
  version,
  metadata,
  userMetadata: target.userMetadata,
})

export const limitOf = (bucket: BucketRow, most: number): number => (bucket.file_size_limit === null ? most : Math.min(most, Number(bucket.file_size_limit)))

/** @throws StorageError EntityTooLarge with the first byte past the limit */
async function* bounded(bytes: AsyncIterable<Uint8Array>, limit: number): AsyncGenerator<Uint8Array> {
  let seen = 0
  for await (const chunk of bytes) {
    seen += chunk.length
    if (seen > limit) throw tooLarge()
    yield chunk
  }
}

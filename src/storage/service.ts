import { isDeepStrictEqual } from 'node:util'
import type { Blobs } from '../backends/blobs/blobs.ts'
import type { Databases } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import { MayflyError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Stays } from '../core/stays.ts'
import type { Clock } from '../lib/clock.ts'
import { type Allow, Buckets, type BucketSettings } from './buckets.ts'
import { StorageError } from './errors.ts'
import { Garbage } from './garbage.ts'
import { Objects, type Place as ObjectPlace } from './objects.ts'
import { type Caller, Sessions } from './sessions.ts'
import type { BucketRow } from './store.ts'
import { Sweeper } from './sweeper.ts'
import { Uploads } from './uploads.ts'
import { warmUp } from './warm-up.ts'

export interface StorageDeps {
  readonly databases: Databases
  readonly blobs: Blobs
  readonly projects: () => readonly Project[]
  /** Absent where none ever rests. */
  readonly rests?: (project: Project) => boolean
  readonly stays: Stays
  readonly maxObjectBytes: number
  /** Told after each commit that may have written to the project's outbox: a hint. */
  readonly wake: (ref: ProjectRef) => void
  readonly crash: Crash
  readonly clock: Clock
  readonly log: Log
}

type Place = Caller['project']
const READS = 3

/** A bucket as a project file wishes it. */
export interface BucketWish {
  readonly name: string
  readonly public: boolean
  /** Bytes; null for the limit of the node. */
  readonly fileSizeLimit: number | null
  readonly allowedMimeTypes: readonly string[] | null
  /** What each role may do with its objects; service keys may do all. */
  readonly allow: Allow
}

/** The objects of all projects. Each noun has its own class; here they are put together. */
export class Storage implements AsyncDisposable {
  readonly buckets: Buckets
  readonly objects: Objects
  readonly uploads: Uploads
  readonly maxObjectBytes: number
  readonly #blobs: Blobs
  readonly #garbage: Garbage
  readonly #sweeper: Sweeper
  readonly #projects: StorageDeps['projects']
  readonly #rests: NonNullable<StorageDeps['rests']>
  readonly #log: Log

  constructor({ databases, blobs, projects, rests, stays, maxObjectBytes, wake, crash, clock, log }: StorageDeps) {
    const sessions = new Sessions(databases)
    const garbage = new Garbage({ sessions, blobs, log })
    this.maxObjectBytes = maxObjectBytes
    this.#blobs = blobs
    this.#garbage = garbage
    this.#projects = projects
    this.#rests = rests ?? (() => false)
    this.#log = log
    this.#sweeper = new Sweeper({ sessions, blobs, garbage, projects, rests: this.#rests, clock, log })
    this.buckets = new Buckets({ sessions, garbage, maxObjectBytes, wake })
    this.objects = new Objects({ sessions, blobs, garbage, maxObjectBytes, wake })
    this.uploads = new Uploads({ sessions, blobs, garbage, stays, maxObjectBytes, wake, crash, clock })
  }

  /** Begins to look for bytes that nobody has, now and every hour. */
  start(): void {
    this.#sweeper.start()
  }

  /** Has its code run before somebody waits for it, in a project that is awake. Never throws. */
  async warm(signal: AbortSignal): Promise<void> {
    const project = this.#projects().find((one) => one.state === 'active' && !this.#rests(one))
    if (!project) return
    await warmUp({ objects: this.objects, blobs: this.#blobs }, ourselves(project), signal).catch((error: Error) =>
      this.#log.debug({ error: error.message }, 'the way of objects could not be gone ahead'),
    )
  }

  /** One such look. */
  async sweep(): Promise<void> {
    await this.#sweeper.sweep()
  }

  /**
   * Makes a bucket, and what roles may do with its objects, equal to the wish; the same again changes nothing.
   * @throws MayflyError bad_request
   */
  async ensureBucket(project: Place, { name, allow, ...settings }: BucketWish): Promise<void> {
    const caller = ourselves(project)
    try {
      const there = await this.#find(caller, name)
      if (!there) {
        await this.buckets.create(caller, name, settings).catch((error: unknown) => {
          if (!(error instanceof StorageError && error.code === 'BucketAlreadyExists')) throw error
          return this.buckets.update(caller, name, settings)
        })
      } else if (!isDeepStrictEqual(settingsOf(there), settings)) await this.buckets.update(caller, name, settings)
      await this.buckets.allow(project.ref, name, allow)
    } catch (error) {
      if (error instanceof StorageError) throw new MayflyError('bad_request', `bucket ${JSON.stringify(name)}: ${error.message}`, { cause: error })
      throw error
    }
  }

  /** Null when there is none. */
  async getBucket(project: Place, name: string): Promise<BucketWish | null> {
    const there = await this.#find(ourselves(project), name)
    if (!there) return null
    return { name, ...settingsOf(there), allow: await this.buckets.allowed(project.ref, name) }
  }

  async listBuckets(project: Place): Promise<readonly BucketRow[]> {
    return await this.buckets.list(ourselves(project), { search: '', limit: 1_000_000, offset: 0, sortColumn: 'name', descending: false })
  }

  /** The bytes of an object, with the rights of the project itself; or why they cannot be had. */
  async readObject(project: Place, place: ObjectPlace, limitBytes: number): Promise<Buffer | 'NoSuchBucket' | 'NoSuchKey' | 'EntityTooLarge'> {
    // No text of PostgreSQL can hold it.
    if (place.key.includes('\0') || !place.key.isWellFormed()) return 'NoSuchKey'
    const caller = ourselves(project)
    if (!(await this.#find(caller, place.bucket))) return 'NoSuchBucket'
    for (let tries = 1; ; tries++) {
      const found = await this.objects.find(caller, place, 'storage.object.get_authenticated').catch((error: unknown) => {
        if (error instanceof StorageError && error.code === 'NoSuchKey') return null
        throw error
      })
      if (!found) return 'NoSuchKey'
      if (Number(found.blob.bytes) > limitBytes) return 'EntityTooLarge'
      const blob = await this.objects.open(project, found)
      if (blob) return Buffer.concat(await Array.fromAsync(blob.read()))
      // Written over since it was found: the next look finds the new bytes.
      if (tries === READS) throw new MayflyError('internal', 'the bytes of the object are not where they were stored')
    }
  }

  /** No byte of a project is deleted until this is disposed of, whatever its rows say. */
  holdBytes(project: Place): Disposable {
    return this.#garbage.hold(project)
  }

  /** Gives a project the bytes that another has. */
  async cloneProject(source: Place, project: Place): Promise<void> {
    await this.#blobs.clone(source.id, project.id)
  }

  /** Removes the bytes of a project, in which nobody stays any more; its rows go with its database. */
  async dropProject(project: Place): Promise<void> {
    await this.#blobs.drop(project.id)
  }

  /** When the bytes of what was deleted so far are gone. */
  async settled(): Promise<void> {
    await this.#garbage.settled()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sweeper[Symbol.asyncDispose]()
    await this.#garbage.settled()
  }

  async #find(caller: Caller, name: string): Promise<BucketRow | null> {
    return await this.buckets.get(caller, name).catch((error: unknown) => {
      if (error instanceof StorageError && error.code === 'NoSuchBucket') return null
      throw error
    })
  }
}

const ourselves = (project: Place): Caller => ({ project, principal: { kind: 'operator', id: 'local' }, depth: 0, address: null })

const settingsOf = (bucket: BucketRow): BucketSettings => ({
  public: bucket.public,
  fileSizeLimit: bucket.file_size_limit === null ? null : Number(bucket.file_size_limit),
  allowedMimeTypes: bucket.allowed_mime_types,
})

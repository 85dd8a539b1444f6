import { readdirSync } from 'node:fs'
import path from 'node:path'
import { DiskBlobs } from '../backends/blobs/disk.ts'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import type { CrashPoint } from '../core/crash.ts'
import { silentLog } from '../core/log.ts'
import type { Principal } from '../core/principal.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { Stays } from '../core/stays.ts'
import { MiB } from '../lib/bytes.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import type { Allow } from './buckets.ts'
import { Storage } from './service.ts'
import type { Caller } from './sessions.ts'
import type { Upload } from './uploads.ts'

export const DEMO: Project = { id: '0190a000-0000-7000-8000-000000000001', ref: 'demo' as ProjectRef, name: 'demo', state: 'active' }

const PRINCIPALS = {
  service: { kind: 'service', project: DEMO.ref, keyId: 'k' },
  anon: { kind: 'anon', project: DEMO.ref, keyId: 'k' },
  function: { kind: 'function', project: DEMO.ref, functionName: 'f', version: 'v', role: 'service_role' },
  authenticated: { kind: 'function', project: DEMO.ref, functionName: 'f', version: 'v', role: 'authenticated' },
  roleless: { kind: 'function', project: DEMO.ref, functionName: 'f', version: 'v', role: 'none' },
  nobody: { kind: 'nobody' },
} as const satisfies Record<string, Principal>
export type Who = keyof typeof PRINCIPALS

export const as = (who: Who, depth = 0, address: string | null = null): Caller => ({ project: DEMO, principal: PRINCIPALS[who], depth, address })

export async function* chunked(...parts: readonly (string | Uint8Array | Error | Promise<unknown>)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part
    if (part instanceof Promise) await part
    else yield typeof part === 'string' ? Buffer.from(part) : part
  }
}

/** An upload of a text, in its plainest form. */
export const textUpload = (bucket: string, key: string, body: string | AsyncIterable<Uint8Array>, more: Partial<Upload> = {}): Upload => ({
  bucket,
  key,
  operation: 'storage.object.upload',
  upsert: false,
  contentType: 'text/plain',
  cacheControl: 'no-cache',
  contentEncoding: null,
  userMetadata: null,
  declaredBytes: null,
  bytes: typeof body === 'string' ? chunked(body) : body,
  ...more,
})

export interface OpenedStorage {
  readonly storage: Storage
  readonly databases: EmbeddedDatabases
  readonly blobs: DiskBlobs
  readonly stays: Stays
  readonly woken: string[]
  readonly points: CrashPoint[]
  /** Makes a bucket of this name, with what roles may do. */
  bucket(name: string, allow?: Allow, more?: { public?: boolean; fileSizeLimit?: number; allowedMimeTypes?: string[] }): Promise<void>
  /** The bytes of an object, as a caller reads them. */
  read(caller: Caller, bucket: string, key: string): Promise<string>
  /** What lies on the disk, whole or not. */
  files(): string[]
  fileOf(blob: string): string
  /** What waits in the outbox, once and no more. */
  events(): Promise<{ source: string; event: string; depth: number; data: Record<string, unknown> }[]>
  close(): Promise<void>
}

/** The room on a real PostgreSQL and a real disk, with project `demo`. */
export async function openTestStorage(more: { maxObjectBytes?: number; clock?: Clock } = {}): Promise<OpenedStorage> {
  const opened = await openTestDatabases()
  const { databases, folder } = opened
  const root = path.join(folder, 'blobs')
  const clock = more.clock ?? systemClock
  const blobs = await DiskBlobs.open({ root, clock })
  const woken: string[] = []
  const points: CrashPoint[] = []
  const stays = new Stays()
  await databases.ensureProject('demo')
  const storage = new Storage({
    databases,
    blobs,
    projects: () => [DEMO],
    stays,
    maxObjectBytes: more.maxObjectBytes ?? 50 * MiB,
    wake: (ref) => void woken.push(ref),
    crash: (point) => void points.push(point),
    clock,
    log: silentLog,
  })
  const project = await databases.openProject('demo')
  await project.script(
    "insert into mayfly.subscription (trigger_id, kind, source, events) values (gen_random_uuid(), 'object', 'watched', '{created,removed}')",
  )
  return {
    storage,
    databases,
    blobs,
    stays,
    woken,
    points,
    bucket: async (name, allow = {}, { public: isPublic = false, fileSizeLimit = null, allowedMimeTypes = null }: Record<string, unknown> = {}) =>
      await storage.ensureBucket(DEMO, {
        name,
        allow,
        public: isPublic as boolean,
        fileSizeLimit: fileSizeLimit as number | null,
        allowedMimeTypes: allowedMimeTypes as string[] | null,
      }),
    read: async (caller, bucket, key) => {
      const found = await storage.objects.find(caller, { bucket, key }, 'storage.object.get_authenticated')
      const blob = await storage.objects.open(DEMO, found)
      const chunks: Uint8Array[] = []
      for await (const chunk of blob?.read() ?? []) chunks.push(chunk)
      return Buffer.concat(chunks).toString()
    },
    files: () => {
      try {
        return readdirSync(path.join(root, DEMO.id))
      } catch {
        return []
      }
    },
    fileOf: (blob) => path.join(root, DEMO.id, blob),
    events: async () =>
      await project.sql`/* each once */ with gone as (delete from mayfly.outbox returning *) select source, event, depth, data from gone order by seq`,
    close: async () => {
      await storage[Symbol.asyncDispose]()
      await blobs[Symbol.asyncDispose]()
      await opened.close()
    },
  }
}

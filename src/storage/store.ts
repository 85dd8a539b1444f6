import type { Sql, Tx } from '../backends/database/database.ts'

type Ask = Sql | Tx

export interface BucketRow {
  readonly id: string
  readonly name: string
  readonly owner: string
  readonly public: boolean
  readonly type: string
  readonly file_size_limit: string | null
  readonly allowed_mime_types: string[] | null
  readonly created_at: Date
  readonly updated_at: Date
}
export interface ObjectRow {
  readonly id: string
  readonly bucket_id: string
  readonly name: string
  readonly owner: string
  readonly owner_id: string | null
  readonly version: string | null
  readonly metadata: Record<string, unknown> | null
  readonly user_metadata: Record<string, unknown> | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly last_accessed_at: Date
}
export interface BlobRow {
  readonly blob: string
  readonly version: string
  readonly bytes: string
  readonly etag: string
  readonly contentType: string
  readonly cacheControl: string
  readonly contentEncoding: string | null
  readonly storedAt: Date
}
export interface ListedRow {
  readonly name: string
  readonly id: string | null
  readonly updated_at: Date | null
  readonly created_at: Date | null
  readonly last_accessed_at: Date | null
  readonly metadata: Record<string, unknown> | null
}

/** For the rest of the transaction: what runs, what stands behind it, and that deletes come by this API. */
export const setOperation = (tx: Tx, { operation, depth, address }: { operation: string; depth: number; address: string | null }) => tx`
  select set_config('storage.operation', ${operation}, true), set_config('storage.allow_delete_query', 'true', true),
         set_config('mayfly' || '.depth', ${String(depth)}, true), set_config('mayfly' || '.source_address', ${address ?? ''}, true)`

/** Gives the role back: what only `authenticator` may do comes after it. */
export const leaveRole = (tx: Tx) => tx`select set_config('role', 'none', true)`

// Buckets. Row-level security decides, unless it says otherwise.

export const insertBucket = (tx: Tx, bucket: { id: string; public: boolean; fileSizeLimit: number | null; allowedMimeTypes: readonly string[] | null }) => tx`
  insert into storage.buckets (id, name, owner_id, public, file_size_limit, allowed_mime_types)
  values (${bucket.id}, ${bucket.id}, auth.jwt() ->> 'sub', ${bucket.public}, ${bucket.fileSizeLimit}::bigint, ${bucket.allowedMimeTypes}::text[])`

export const selectBucket = (tx: Tx, id: string) => tx<BucketRow>`
  select id, name, coalesce(owner_id, '') as owner, public, type, file_size_limit, allowed_mime_types, created_at, updated_at
    from storage.buckets where id = ${id}`

export const selectBuckets = (tx: Tx, page: { search: string; limit: number; offset: number; sortColumn: string; descending: boolean }) => tx<BucketRow>`
  select id, name, coalesce(owner_id, '') as owner, public, type, file_size_limit, allowed_mime_types, created_at, updated_at
    from storage.buckets
   where ${page.search} = '' or position(lower(${page.search}) in lower(name)) > 0
   order by case when not ${page.descending} then case ${page.sortColumn}::text when 'created_at' then created_at when 'updated_at' then updated_at end end,
            case when ${page.descending} then case ${page.sortColumn}::text when 'created_at' then created_at when 'updated_at' then updated_at end end desc,
            case when ${page.descending} then name collate "C" end desc, name collate "C"
   limit ${page.limit} offset ${page.offset}`

/** What is not given stays as it is. */
export const updateBucket = (
  tx: Tx,
  id: string,
  change: {
    public: boolean | null
    fileSizeLimit: number | null
    setsFileSizeLimit: boolean
    allowedMimeTypes: readonly string[] | null
    setsAllowedMimeTypes: boolean
  },
) => tx`
  update storage.buckets
     set public = coalesce(${change.public}::boolean, public), updated_at = now(),
         file_size_limit = case when ${change.setsFileSizeLimit} then ${change.fileSizeLimit}::bigint else file_size_limit end,
         allowed_mime_types = case when ${change.setsAllowedMimeTypes} then ${change.allowedMimeTypes}::text[] else allowed_mime_types end
   where id = ${id} returning id`

export const deleteBucket = (tx: Tx, id: string) => tx`delete from storage.buckets where id = ${id} returning id`

/** A bucket's limits hold for everybody, also for who may not see it. As `authenticator`. */
export const readBucket = (tx: Tx, id: string) => tx<BucketRow>`
  select id, name, coalesce(owner_id, '') as owner, public, type, file_size_limit, allowed_mime_types, created_at, updated_at
    from mayfly.storage_bucket(${id})`

/** In a session of our own: it changes the policies of a table. */
export const allowOnBucket = (sql: Ask, id: string, allow: Readonly<Record<string, readonly string[]>>) => sql`
  select mayfly.storage_allow(${id}, ${JSON.stringify(allow)}::jsonb)`

export const readAllowed = (sql: Ask, id: string) => sql<{ allow: Record<string, readonly string[]> }>`
  select mayfly.storage_allowed(${id}) as allow`

// Objects.

export interface NewObject {
  readonly bucket: string
  readonly key: string
  readonly version: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly userMetadata: Readonly<Record<string, unknown>> | null
}

export const insertObject = (tx: Tx, object: NewObject) => tx`
  insert into storage.objects (bucket_id, name, owner_id, version, metadata, user_metadata)
  values (${object.bucket}, ${object.key}, auth.jwt() ->> 'sub', ${object.version}, ${JSON.stringify(object.metadata)}::jsonb,
          ${object.userMetadata === null ? null : JSON.stringify(object.userMetadata)}::jsonb)`

/** Asks for the rights to insert, to update and to see. */
export const upsertObject = (tx: Tx, object: NewObject) => tx`
  insert into storage.objects (bucket_id, name, owner_id, version, metadata, user_metadata)
  values (${object.bucket}, ${object.key}, auth.jwt() ->> 'sub', ${object.version}, ${JSON.stringify(object.metadata)}::jsonb,
          ${object.userMetadata === null ? null : JSON.stringify(object.userMetadata)}::jsonb)
  on conflict (bucket_id, name) do update
    set version = excluded.version, metadata = excluded.metadata, user_metadata = excluded.user_metadata, owner_id = excluded.owner_id,
        updated_at = now(), last_accessed_at = now()`

/** As `authenticator`: the object that this transaction has written gets its bytes, and the event is told. */
export const attachBlob = (tx: Tx, object: NewObject, blob: Omit<BlobRow, 'version' | 'storedAt' | 'bytes'> & { readonly bytes: number }) => tx<{ id: string }>`
  select mayfly.storage_attach(${object.bucket}, ${object.key}, ${object.version}, ${blob.blob}, ${blob.bytes}::bigint, ${blob.etag},
    ${blob.contentType}, ${blob.cacheControl}, ${blob.contentEncoding}) as id`

export const selectObject = (tx: Tx, bucket: string, key: string) => tx<ObjectRow>`
  select id, bucket_id, name, coalesce(owner_id, '') as owner, owner_id, version, metadata, user_metadata, created_at, updated_at, last_accessed_at
    from storage.objects where bucket_id = ${bucket} and name = ${key}`

/** As `authenticator`: an object of a public bucket, whoever asks. */
export const readPublicObject = (tx: Tx, bucket: string, key: string) => tx<ObjectRow>`
  select id, bucket_id, name, coalesce(owner_id, '') as owner, owner_id, version, metadata, user_metadata, created_at, updated_at, last_accessed_at
    from mayfly.storage_public_object(${bucket}, ${key})`

/** As `authenticator`, for an object that may be seen. */
export const readBlob = (tx: Tx, objectId: string) => tx<BlobRow>`
  select blob, version, bytes, etag, content_type as "contentType", cache_control as "cacheControl", content_encoding as "contentEncoding",
         stored_at as "storedAt"
    from mayfly.storage_blob_of(${objectId})`

export const moveObject = (tx: Tx, id: string, bucket: string, key: string) => tx<{ id: string }>`
  update storage.objects set bucket_id = ${bucket}, name = ${key}, updated_at = now() where id = ${id} returning id`

export const deleteObjects = (tx: Tx, bucket: string, keys: readonly string[]) => tx<ObjectRow>`
  delete from storage.objects where bucket_id = ${bucket} and name = any (${keys}::text[])
  returning id, bucket_id, name, coalesce(owner_id, '') as owner, owner_id, version, metadata, user_metadata, created_at, updated_at, last_accessed_at`

/** Some of a bucket's objects, to empty it piece by piece. */
export const deleteSomeObjects = (tx: Tx, bucket: string, atMost: number) => tx<{ id: string }>`
  delete from storage.objects where id in (select id from storage.objects where bucket_id = ${bucket} limit ${atMost}) returning id`

/**
 * One folder: what lies in it, and the folders in it, each once. By name, folders stand among the objects; by a time,
 * which they have not, before them.
 */
export const listFolder = (
  tx: Tx,
  ask: { bucket: string; prefix: string; search: string; column: string; descending: boolean; limit: number; offset: number },
) => tx<ListedRow>`
  with below as (   -- index: objects_by_name
    select substr(name, length(${ask.prefix}::text) + 1) as rest, id, updated_at, created_at, last_accessed_at, metadata
      from storage.objects
     where bucket_id = ${ask.bucket} and name collate "C" >= ${ask.prefix} and name collate "C" < ${ask.prefix} || chr(1114111)
       and starts_with(lower(substr(name, length(${ask.prefix}::text) + 1)), lower(${ask.search}))),
  entry as (
    select rest as name, id, updated_at, created_at, last_accessed_at, metadata from below where position('/' in rest) = 0
    union all
    select distinct split_part(rest, '/', 1), null::uuid, null::timestamptz, null::timestamptz, null::timestamptz, null::jsonb
      from below where position('/' in rest) > 0),
  timed as (
    select entry.*, case ${ask.column}::text when 'updated_at' then updated_at when 'created_at' then created_at
                                             when 'last_accessed_at' then last_accessed_at end as at from entry)
  select name, id, updated_at, created_at, last_accessed_at, metadata from timed
   order by case when not ${ask.descending}::boolean then at end nulls first, case when ${ask.descending}::boolean then at end desc nulls first,
            case when ${ask.descending}::boolean and ${ask.column} = 'name' then name collate "C" end desc, name collate "C", id nulls first
   limit ${ask.limit} offset ${ask.offset}`

// Bytes that are not needed any more, in a session of our own.

export const selectGarbage = (sql: Ask, atMost: number) => sql<{ blob: string }>`
  select blob from mayfly.storage_garbage order by since limit ${atMost}`

export const deleteGarbage = (sql: Ask, blobs: readonly string[]) => sql`
  delete from mayfly.storage_garbage where blob = any (${blobs}::text[])`

/** Those of the given names that no object has. */
export const selectUnnamed = (sql: Ask, blobs: readonly string[]) => sql<{ blob: string }>`
  select given.blob from unnest(${blobs}::text[]) as given (blob)
   where not exists (select from mayfly.storage_blob as kept where kept.blob = given.blob)`

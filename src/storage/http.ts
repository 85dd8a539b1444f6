import { json } from '../core/json-reply.ts'
import { isIP } from 'node:net'
import { z } from 'zod'
import { ERRORS, MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import type { BucketSettings } from './buckets.ts'
import { downloadReply } from './download.ts'
import { asStorageError, noSuchKey, STORAGE_ERRORS, StorageError } from './errors.ts'
import { boundaryOf, readForm } from './multipart.ts'
import { keyOfPath, parseBytes } from './names.ts'
import type { Place } from './objects.ts'
import type { Storage } from './service.ts'
import type { Caller } from './sessions.ts'
import type { BucketRow, ObjectRow } from './store.ts'
import type { Upload, Written } from './uploads.ts'

type Handle = (context: RequestContext, caller: Caller) => Promise<Reply>

/** The storage API, as its clients call it. Who may do what, PostgreSQL says, by policies on `storage.objects` and `storage.buckets`. */
export function routes(storage: Storage): Route[] {
  const row = (method: string, path: string, doc: string, handle: Handle, adds?: 'data'): Route => ({
    method,
    path: `/storage/v1${path}`,
    access: 'project',
    plane: 'data-plane',
    doc,
    ...(adds ? { adds } : {}),
    fail: failure,
    handle: async (context) => await handle(context, callerOf(context)),
  })
  const download: Handle = async (context, caller) => {
    const place = placeOf(context)
    const operation = 'storage.object.get_authenticated'
    return await downloadReply(context, {
      find: async () => await storage.objects.find(caller, place, operation),
      open: async (found) => await storage.objects.open(caller.project, found),
      isPublic: false,
    })
  }
  const downloadPublic: Handle = async (context, { project }) => {
    const place = placeOf(context)
    return await downloadReply(context, {
      find: async () => await storage.objects.findPublic(project.ref, place),
      open: async (found) => await storage.objects.open(project, found),
      isPublic: true,
    })
  }
  const upload =
    (operation: Upload['operation']): Handle =>
    async (context, caller) =>
      await receive(context, storage.maxObjectBytes, operation, async (one) => ok(written(await storage.uploads.upload(caller, one))))
  const info: Handle = async (context, caller) => {
    const { object, blob } = await storage.objects.find(caller, placeOf(context), 'storage.object.info_authenticated')
    return ok({
      id: object.id,
      name: object.name,
      version: blob.version,
      bucket_id: object.bucket_id,
      size: Number(blob.bytes),
      content_type: blob.contentType,
      cache_control: blob.cacheControl,
      ...(blob.contentEncoding === null ? {} : { content_encoding: blob.contentEncoding }),
      etag: `"${blob.etag}"`,
      metadata: object.user_metadata,
      last_modified: blob.storedAt,
      created_at: object.created_at,
    })
  }

  // biome-ignore format: a table
  return [
    row('POST', '/bucket', 'Makes a bucket.', async (context, caller) => {
      const asked = await read(context, newBucket)
      const name = asked.id ?? asked.name ?? ''
      await storage.buckets.create(caller, name, { public: asked.public ?? false, fileSizeLimit: sizeOf(asked) ?? null, allowedMimeTypes: asked.allowed_mime_types ?? null })
      return ok({ name })
    }, 'data'),
    row('GET', '/bucket', 'Lists the buckets that the caller may see.', async ({ query }, caller) => {
      const page = parsed(bucketsPage, Object.fromEntries(query))
      return ok((await storage.buckets.list(caller, { ...page, descending: page.sortOrder === 'desc' })).map(shownBucket))
    }),
    row('GET', '/bucket/:id', 'Shows a bucket.', async ({ params }, caller) => ok(shownBucket(await storage.buckets.get(caller, params.id ?? '')))),
    row('PUT', '/bucket/:id', 'Changes a bucket; what is not named stays.', async (context, caller) => {
      const asked = await read(context, bucketChange)
      await storage.buckets.update(caller, context.params.id ?? '', changeOf(asked))
      return ok({ message: 'Successfully updated' })
    }),
    row('DELETE', '/bucket/:id', 'Deletes an empty bucket.', async (context, caller) => {
      await drain(context)
      await storage.buckets.delete(caller, context.params.id ?? '')
      return ok({ message: 'Successfully deleted' })
    }),
    row('POST', '/bucket/:id/empty', 'Deletes all objects of a bucket.', async (context, caller) => {
      await drain(context)
      await storage.buckets.empty(caller, context.params.id ?? '')
      return ok({ message: 'Successfully emptied' })
    }),

    row('POST', '/object/:bucket/*', 'Stores an object: a form with one file, or the bytes themselves; `x-upsert: true` writes over one that is there.', upload('storage.object.upload'), 'data'),
    row('PUT', '/object/:bucket/*', 'Stores an object, over the one that is there.', upload('storage.object.upload_update'), 'data'),
    row('GET', '/object/:bucket/*', 'Downloads an object that the caller may see; `Range`, `If-None-Match`, `?download`.', download),
    row('HEAD', '/object/:bucket/*', 'The same without its bytes.', download),
    row('GET', '/object/authenticated/:bucket/*', 'Downloads an object that the caller may see.', download),
    row('HEAD', '/object/authenticated/:bucket/*', 'The same without its bytes.', download),
    row('GET', '/object/public/:bucket/*', 'Downloads an object of a public bucket, without any key.', downloadPublic),
    row('HEAD', '/object/public/:bucket/*', 'The same without its bytes.', downloadPublic),
    row('GET', '/object/info/:bucket/*', 'Tells what is known of an object.', info),
    row('GET', '/object/info/authenticated/:bucket/*', 'The same.', info),
    row('DELETE', '/object/:bucket/*', 'Deletes an object.', async (context, caller) => {
      await drain(context)
      const { bucket, key } = placeOf(context)
      const gone = await storage.objects.remove(caller, bucket, [key], 'storage.object.delete')
      if (gone.length === 0) throw noSuchKey()
      return ok({ message: 'Successfully deleted' })
    }),
    row('DELETE', '/object/:bucket', 'Deletes the objects that the body names; tells which were there and could be.', async (context, caller) => {
      const { prefixes } = await read(context, removal)
      const keys = prefixes.map((one) => (typeof one === 'string' ? one : one.path))
      return ok((await storage.objects.remove(caller, context.params.bucket ?? '', keys)).map(shownObject))
    }),
    row('POST', '/object/list/:bucket', 'Lists a folder: what lies in it, and the folders in it with `id: null`.', async (context, caller) => {
      const { sortBy, ...ask } = await read(context, listing)
      return ok(await storage.objects.list(caller, { ...ask, bucket: context.params.bucket ?? '', sortBy: sortBy?.column ?? 'name', descending: sortBy?.order === 'desc' }))
    }),
    row('POST', '/object/move', 'Gives an object another name, or another bucket.', async (context, caller) => {
      const ask = await read(context, transfer)
      const to = { bucket: ask.destinationBucket ?? ask.bucketId, key: ask.destinationKey }
      const { id } = await storage.objects.move(caller, { bucket: ask.bucketId, key: ask.sourceKey }, to)
      return ok({ message: 'Successfully moved', Id: id, Key: `${to.bucket}/${to.key}` })
    }),
    row('POST', '/object/copy', 'Stores the bytes of an object under another name as well.', async (context, caller) => {
      const ask = await read(context, transfer)
      const done = await storage.uploads.copy(caller, {
        source: { bucket: ask.bucketId, key: ask.sourceKey },
        target: { bucket: ask.destinationBucket ?? ask.bucketId, key: ask.destinationKey, upsert: context.headers['x-upsert'] === 'true' },
        changed: ask.copyMetadata === false
          ? { ...(ask.metadata?.mimetype ? { contentType: ask.metadata.mimetype } : {}), ...(ask.metadata?.cacheControl ? { cacheControl: headerText(ask.metadata.cacheControl) } : {}), userMetadata: userMetadataOf(context.headers['x-metadata'], 'base64') }
          : null,
      })
      return ok({ ...written(done), id: done.id, bucket_id: done.bucket, name: done.key })
    }, 'data'),
  ]
}

const ok = (value: unknown): Reply => json(200, value)
const written = ({ id, bucket, key }: Written) => ({ Id: id, Key: `${bucket}/${key}` })
const callerOf = ({ project, principal, depth, remoteAddress }: RequestContext): Caller => {
  // What a proxy forwards may be any text, and a function has no address.
  const address = remoteAddress.replace(/^::ffff:(?=\d+\.)/i, '')
  return { project: project as Project, principal, depth, address: isIP(address) === 0 ? null : address }
}
const placeOf = ({ params }: RequestContext): Place => ({ bucket: params.bucket ?? '', key: keyOfPath(params['*'] ?? '') })

const shownBucket = ({ file_size_limit, ...bucket }: BucketRow) => ({ ...bucket, file_size_limit: file_size_limit === null ? null : Number(file_size_limit) })
const shownObject = (object: ObjectRow) => ({ ...object, buckets: undefined })

/** The error in the words of the storage API; of a refusal before it (a key, a full disk), the catalogue's code and status. */
export function failure(raw: unknown): Reply {
  const error = asStorageError(raw)
  const told = (status: number, statusCode: number, word: string, code: string, message: string): Reply => ({
    status,
    headers: { 'content-type': 'application/json', ...(status === 503 || status === 507 ? { 'retry-after': '1' } : {}) },
    body: JSON.stringify({ statusCode: String(statusCode), error: word, message, code }),
  })
  if (error instanceof StorageError) {
    const { statusCode, error: word } = STORAGE_ERRORS[error.code]
    return told(400, statusCode, word, error.code, error.message)
  }
  const known = error instanceof MayflyError ? error : new MayflyError('internal', 'the request failed by a fault of this node')
  if (known.code === 'bad_request' || known.code === 'body_not_json' || known.code === 'uri_invalid')
    return told(400, 400, 'InvalidRequest', 'InvalidRequest', known.message)
  const { status } = ERRORS[known.code]
  return told(status, status, known.code, known.code, known.message)
}

// Bodies. What they do not know is left aside: newer clients send more.

const sizeLimit = z.union([z.number().int().min(0), z.string().max(40)]).nullish()
const bucketFields = {
  public: z.boolean().nullish(),
  file_size_limit: sizeLimit,
  allowed_mime_types: z.array(z.string().max(300)).max(100).nullish(),
}
const newBucket = z.object({ id: z.string().nullish(), name: z.string().nullish(), ...bucketFields })
const bucketChange = z.object(bucketFields)
const page = (limit: number) => ({
  limit: z.coerce.number().int().min(1).max(LIMITS.listedObjects.value).default(limit),
  offset: z.coerce.number().int().min(0).max(1_000_000_000).default(0),
})
const bucketsPage = z.object({
  ...page(LIMITS.listedObjects.value),
  search: z.string().max(200).default(''),
  sortColumn: z.enum(['id', 'name', 'created_at', 'updated_at']).default('name'),
  sortOrder: z.enum(['asc', 'desc']).default('asc'),
})
const listing = z.object({
  ...page(100),
  prefix: z.string().max(LIMITS.objectKey.value).default(''),
  search: z
    .string()
    .max(LIMITS.objectKey.value)
    .nullish()
    .transform((text) => text ?? ''),
  sortBy: z
    .object({ column: z.enum(['name', 'updated_at', 'created_at', 'last_accessed_at']).default('name'), order: z.enum(['asc', 'desc']).default('asc') })
    .nullish(),
})
const key = z.string().max(LIMITS.objectKey.value)
const removal = z.object({
  prefixes: z
    .array(z.union([key, z.object({ path: key })]))
    .min(1)
    .max(LIMITS.removedObjects.value),
})
const transfer = z.object({
  bucketId: z.string(),
  sourceKey: key,
  destinationBucket: z.string().nullish(),
  destinationKey: z.string(),
  copyMetadata: z.boolean().nullish(),
  metadata: z.object({ cacheControl: z.string().max(200).nullish(), mimetype: z.string().max(300).nullish() }).nullish(),
})

const sizeOf = ({ file_size_limit: given }: { file_size_limit?: number | string | null | undefined }): number | null | undefined => {
  if (given === undefined || given === null) return given
  const bytes = parseBytes(given)
  if (bytes === null) throw new StorageError('InvalidRequest', 'file_size_limit must be a number of bytes, or such as "50MB"')
  return bytes
}
function changeOf(asked: z.infer<typeof bucketChange>): Partial<BucketSettings> {
  const fileSizeLimit = sizeOf(asked)
  return {
    ...(typeof asked.public === 'boolean' ? { public: asked.public } : {}),
    ...(fileSizeLimit === undefined ? {} : { fileSizeLimit }),
    ...(asked.allowed_mime_types === undefined ? {} : { allowedMimeTypes: asked.allowed_mime_types }),
  }
}

/** PostgreSQL holds no zero byte and no half of a character, wherever in a body it stands. */
const isStorable = (text: string) => text.isWellFormed() && !text.includes('\0')

async function read<T extends z.ZodType>(context: RequestContext, schema: T): Promise<z.infer<T>> {
  const text = (await context.body(LIMITS.managementBody.value)).toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text, (_, inner: unknown) => {
      if (typeof inner === 'string' && !isStorable(inner)) throw new RangeError('a text holds a zero byte or half of a character')
      return inner
    })
  } catch (error) {
    throw new MayflyError('body_not_json', `the body is not JSON: ${(error as Error).message.slice(0, 200)}`)
  }
  return parsed(schema, value)
}

function parsed<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new StorageError('InvalidRequest', `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'is not what it should be'}`)
}

/** A body that says nothing is read, so that the connection can be used again. */
const drain = async (context: RequestContext) => void (await context.body(LIMITS.managementBody.value))

// Uploads.

const DEFAULT_TYPE = 'application/octet-stream'
const FORM_OVERHEAD = LIMITS.formFieldBytes.value * 2

async function receive(context: RequestContext, maxBytes: number, operation: Upload['operation'], store: (upload: Upload) => Promise<Reply>): Promise<Reply> {
  const { headers, signal } = context
  const place = placeOf(context)
  const boundary = boundaryOf(headers['content-type'])
  const upsert = operation === 'storage.object.upload_update' || headers['x-upsert'] === 'true'
  try {
    if (boundary === null) {
      return await store({
        ...place,
        operation,
        upsert,
        contentType: headers['content-type'] ?? DEFAULT_TYPE,
        cacheControl: headers['cache-control'] ? headerText(headers['cache-control']) : 'no-cache',
        contentEncoding: encodingOf(headers['content-encoding']),
        userMetadata: userMetadataOf(headers['x-metadata'], 'base64'),
        declaredBytes: headers['content-length'] === undefined ? null : Number(headers['content-length']),
        bytes: context.stream(maxBytes),
      })
    }
    await using form = await readForm(context.stream(maxBytes + FORM_OVERHEAD), boundary)
    const seconds = form.fields.get('cacheControl')
    return await store({
      ...place,
      operation,
      upsert,
      contentType: form.fields.get('contentType') ?? form.contentType ?? DEFAULT_TYPE,
      cacheControl: seconds && /^\d{1,10}$/.test(seconds) ? `max-age=${seconds}` : 'no-cache',
      contentEncoding: encodingOf(form.fields.get('contentEncoding')),
      userMetadata: userMetadataOf(form.fields.get('metadata'), 'utf8'),
      declaredBytes: null,
      bytes: form.bytes,
    })
  } catch (error) {
    // That the stream broke off is no fault when its sender went.
    signal.throwIfAborted()
    throw error
  }
}

/** A text that is sent as a header again. @throws StorageError InvalidRequest */
function headerText(text: string): string {
  if (!/^[\x20-\x7e]{1,200}$/.test(text)) throw new StorageError('InvalidRequest', 'cache-control must be 1 to 200 printable ASCII characters')
  return text
}

function encodingOf(text: string | undefined): string | null {
  if (text === undefined || text === '' || text === 'identity') return null
  if (!/^[\w.+-]{1,40}(?:, ?[\w.+-]{1,40}){0,4}$/.test(text)) throw new StorageError('InvalidRequest', 'content-encoding is not well-formed')
  return text
}

/** @throws StorageError InvalidRequest; MayflyError payload_too_large */
function userMetadataOf(given: string | string[] | undefined, encoding: 'base64' | 'utf8'): Record<string, unknown> | null {
  if (given === undefined || given === '') return null
  const text = Buffer.from(String(given), encoding).toString('utf8')
  if (Buffer.byteLength(text) > LIMITS.userMetadata.value)
    throw new MayflyError('payload_too_large', `user metadata may have ${LIMITS.userMetadata.value} bytes`)
  let value: unknown
  try {
    value = JSON.parse(text, (name, inner: unknown) => {
      if (!isStorable(name) || (typeof inner === 'string' && !isStorable(inner))) throw new RangeError('a text holds a zero byte or half of a character')
      return inner
    })
  } catch (error) {
    throw new StorageError('InvalidRequest', `the metadata is not JSON: ${(error as Error).message.slice(0, 200)}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new StorageError('InvalidRequest', 'the metadata must be a JSON object')
  return value as Record<string, unknown>
}

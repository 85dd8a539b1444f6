// The storage of the function's own project, by the API that every client uses; the key is valid in here alone.
const { MAYFLY_URL, MAYFLY_KEY } = process.env
const headers = { apikey: MAYFLY_KEY ?? '', authorization: `Bearer ${MAYFLY_KEY}` }
const addressOf = (bucket: string, key: string) => `${MAYFLY_URL}/storage/v1/object/${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`

export interface StoredObject {
  readonly bytes: Buffer
  /** Changes with every upload to the same key. */
  readonly etag: string
}

const isAbsent = async (response: Response) => response.status === 404 || ((await response.clone().json()) as { code?: string }).code === 'NoSuchKey'

async function demand(response: Response, what: string): Promise<Response> {
  if (!response.ok) throw new Error(`${what}: ${response.status} ${await response.text()}`)
  return response
}

/** Null when there is no such object. */
export async function read(bucket: string, key: string): Promise<StoredObject | null> {
  const response = await fetch(addressOf(bucket, key), { headers })
  if (!response.ok && (await isAbsent(response))) return null
  const { headers: told } = await demand(response, `${bucket}/${key} cannot be read`)
  return { bytes: Buffer.from(await response.arrayBuffer()), etag: told.get('etag') ?? '' }
}

/** What its bytes are known by; null when there is no such object. */
export async function etagOf(bucket: string, key: string): Promise<string | null> {
  const response = await fetch(addressOf(bucket, key), { method: 'HEAD', headers })
  await response.body?.cancel()
  return response.ok ? response.headers.get('etag') : null
}

export async function write(bucket: string, key: string, bytes: Uint8Array, contentType: string): Promise<void> {
  const response = await fetch(addressOf(bucket, key), {
    method: 'POST',
    headers: { ...headers, 'content-type': contentType, 'cache-control': 'max-age=3600', 'x-upsert': 'true' },
    body: new Uint8Array(bytes),
  })
  await (await demand(response, `${bucket}/${key} cannot be written`)).arrayBuffer()
}

export async function remove(bucket: string, keys: readonly string[]): Promise<void> {
  const response = await fetch(`${MAYFLY_URL}/storage/v1/object/${bucket}`, {
    method: 'DELETE',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ prefixes: keys }),
  })
  await (await demand(response, `${keys.join(', ')} cannot be removed from ${bucket}`)).arrayBuffer()
}

import { createHash } from 'node:crypto'

/** Longer ones are told apart by their hash: what stands in an index has a bound. */
const MOST_BYTES = 256

export function storableKey(key: string): string {
  return Buffer.byteLength(key) <= MOST_BYTES && !key.includes('\0') ? key : `sha256:${createHash('sha256').update(key).digest('hex')}`
}

/**
 * What an event has at a path such as `detail.customer` or `Records.0.s3.object.key`: a text, number or truth value; null
 * where it has none, or is no JSON. Such an event stands behind no other.
 */
export function orderKeyOf(payload: Uint8Array, path: string): string | null {
  let at: unknown
  try {
    at = JSON.parse(Buffer.from(payload).toString('utf8'))
  } catch {
    return null
  }
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.prototype.propertyIsEnumerable.call(at, name)) return null
    at = (at as Record<string, unknown>)[name]
  }
  return typeof at === 'string' || typeof at === 'number' || typeof at === 'boolean' ? storableKey(String(at)) : null
}

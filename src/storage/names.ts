import { LIMITS } from '../core/limits.ts'
import { StorageError } from './errors.ts'

const BUCKET = /^[A-Za-z0-9_!.*'() &$=@;:+,?-]+$/
// Below `/object/` these are routes (some of them of later versions): a bucket of that name could not be reached.
const TAKEN = new Set(['authenticated', 'copy', 'info', 'list', 'list-v2', 'move', 'public', 'sign', 'upload'])

/** @throws StorageError InvalidBucketName */
export function checkBucketName(name: string): void {
  const fits = BUCKET.test(name) && name.length <= LIMITS.bucketName.value && name.trim() === name && name !== '.' && name !== '..' && !TAKEN.has(name)
  if (!fits) throw new StorageError('InvalidBucketName', 'Bucket name invalid')
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

/**
 * A key is any text, in whatever script, but nothing that a path could be made to misread.
 * @throws StorageError InvalidKey
 */
export function checkKey(key: string): string {
  const fits =
    key !== '' &&
    Buffer.byteLength(key) <= LIMITS.objectKey.value &&
    key.isWellFormed() &&
    !CONTROL.test(key) &&
    !key.includes('\\') &&
    !key.split('/').some((segment) => segment === '.' || segment === '..')
  if (!fits) throw new StorageError('InvalidKey', `Invalid key: ${key.slice(0, 200).toWellFormed()}`)
  return key
}

/** The key in the rest of a path: percent-decoded once. @throws StorageError InvalidKey */
export function keyOfPath(rest: string): string {
  let key: string
  try {
    key = decodeURIComponent(rest)
  } catch (error) {
    throw new StorageError('InvalidKey', `Invalid key: ${rest.slice(0, 200)}`, { cause: error })
  }
  return checkKey(key)
}

const MEDIA_TYPE = /^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}(?:\s*;[\x20-\x7e]{0,200})?$/
const MEDIA_RANGE = /^(?:\*\/\*|[\w!#$&^.+-]{1,127}\/(?:\*|[\w!#$&^.+-]{1,127}))$/

const invalidType = (type: string) => new StorageError('InvalidMimeType', `mime type ${type.slice(0, 200)} is not supported`)

/** The media type as it will be sent again. @throws StorageError InvalidMimeType */
export function checkMediaType(type: string): string {
  if (!MEDIA_TYPE.test(type)) throw invalidType(type)
  return type
}

/** @throws StorageError InvalidMimeType */
export function checkMediaRanges(ranges: readonly string[]): void {
  for (const range of ranges) if (!MEDIA_RANGE.test(range)) throw invalidType(range)
}

/** Does a bucket take this type? Parameters do not count. @throws StorageError InvalidMimeType */
export function admitMediaType(type: string, ranges: readonly string[] | null): void {
  if (ranges === null || ranges.length === 0) return
  const plain = (type.split(';')[0] as string).trim().toLowerCase()
  const fits = (range: string) => range === '*/*' || (range.endsWith('/*') ? plain.startsWith(range.slice(0, -1)) : plain === range)
  if (!ranges.some((range) => fits(range.toLowerCase()))) throw invalidType(type)
}

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 }

/** `52428800`, `"50MB"` (50,000,000) or `"50MiB"`; null for something else. */
export function parseBytes(given: number | string): number | null {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s*([a-z]*)$/i.exec(String(given).trim())
  const unit = match ? UNITS[(match[2] as string).toLowerCase()] : undefined
  const bytes = match && unit !== undefined ? Number(match[1]) * unit : Number.NaN
  return Number.isSafeInteger(Math.floor(bytes)) ? Math.floor(bytes) : null
}

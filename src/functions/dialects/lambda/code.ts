import { LIMITS } from '../../../core/limits.ts'
import type { ObjectPlace } from '../../stored-archives.ts'
import { invalidParameter, validation } from './errors.ts'
import type { Call } from './operation.ts'
import { type Json, textOf, zipOf } from './request.ts'

/** What operations take that bring an archive: it in base64, and all else. */
export const CODE_BODY_BYTES = 70_167_211

/** Where an archive is to be had: in the request, or as an object in a bucket of the project. */
export type CodeSource = { readonly zip: Buffer } | ObjectPlace

const FAULTS = {
  NoSuchBucket: 'The specified bucket does not exist',
  NoSuchKey: 'The specified key does not exist.',
}

/** @throws LambdaError when there is none, or more than one */
export function codeSource(code: Json): CodeSource {
  const bucket = textOf(code, 'S3Bucket')
  const key = textOf(code, 'S3Key')
  if (bucket === null && key === null) return { zip: zipOf(code) }
  if (textOf(code, 'ZipFile') !== null) throw invalidParameter('Please do not provide other FunctionCode parameters when providing a ZipFile.')
  if (textOf(code, 'S3ObjectVersion') !== null)
    throw invalidParameter('S3ObjectVersion is not supported by this version of Mayfly: a bucket has one version of each object. Leave it out.')
  if (bucket === null || key === null) throw invalidParameter('Please provide both S3Bucket and S3Key.')
  const violations: string[] = []
  if (!/^[0-9A-Za-z._-]{3,63}$/.test(bucket) || bucket.endsWith('.'))
    violations.push(
      `Value '${bucket.slice(0, 100)}' at 's3Bucket' failed to satisfy constraint: Member must satisfy regular expression pattern: [0-9A-Za-z\\.\\-_]*(?<!\\.)`,
    )
  if (key.length < 1 || key.length > 1024)
    violations.push(`Value '${key.slice(0, 100)}' at 's3Key' failed to satisfy constraint: Member must have length less than or equal to 1024`)
  if (violations.length > 0) throw validation(violations)
  return { bucket, key }
}

/**
 * Has an archive used: `limitBytes` is what it may have, as it need not fit into a request when it comes from a bucket.
 * @throws LambdaError when the object cannot be had, and what `use` throws
 */
export async function withArchive<T>(call: Call, source: CodeSource, use: (zip: Buffer, limitBytes: number) => Promise<T>): Promise<T> {
  if ('zip' in source) return await use(source.zip, LIMITS.zippedCode.value)
  const limitBytes = LIMITS.unzippedCode.value
  const taken = await call.archives.take(call.project, source, limitBytes, async (zip) => ({ value: await use(zip, limitBytes) }))
  if (typeof taken === 'object') return taken.value
  if (taken === 'EntityTooLarge') throw invalidParameter(`Unzipped size must be smaller than ${limitBytes} bytes`)
  throw invalidParameter(`Error occurred while GetObject. S3 Error Code: ${taken}. S3 Error Message: ${FAULTS[taken]}`)
}

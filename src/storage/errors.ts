import { DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'

/**
 * What clients of the storage API know: by `code`, the status and the short word that stand in the body. The status of
 * the answer itself is 400 for all of them.
 */
export const STORAGE_ERRORS = {
  AccessDenied: { statusCode: 403, error: 'Unauthorized' },
  BucketAlreadyExists: { statusCode: 409, error: 'Duplicate' },
  DatabaseTimeout: { statusCode: 544, error: 'DatabaseTimeout' },
  EntityTooLarge: { statusCode: 413, error: 'Payload too large' },
  InvalidBucketName: { statusCode: 400, error: 'Invalid Input' },
  InvalidKey: { statusCode: 400, error: 'InvalidKey' },
  InvalidMimeType: { statusCode: 415, error: 'invalid_mime_type' },
  InvalidRange: { statusCode: 400, error: 'invalid_range' },
  InvalidRequest: { statusCode: 400, error: 'InvalidRequest' },
  KeyAlreadyExists: { statusCode: 409, error: 'Duplicate' },
  NoSuchBucket: { statusCode: 404, error: 'Bucket not found' },
  NoSuchKey: { statusCode: 404, error: 'not_found' },
  ResourceNotEmpty: { statusCode: 409, error: 'ResourceNotEmpty' },
} as const satisfies Record<string, { statusCode: number; error: string }>
export type StorageErrorCode = keyof typeof STORAGE_ERRORS

/** A refusal in the words of the storage API. */
export class StorageError extends Error {
  readonly code: StorageErrorCode
  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StorageError'
    this.code = code
  }
}

export const noSuchBucket = (cause?: unknown) => new StorageError('NoSuchBucket', 'Bucket not found', { cause })
export const noSuchKey = () => new StorageError('NoSuchKey', 'Object not found')
export const duplicate = (cause?: unknown) => new StorageError('KeyAlreadyExists', 'The resource already exists', { cause })
export const tooLarge = () => new StorageError('EntityTooLarge', 'The object exceeded the maximum allowed size')

/** What PostgreSQL refused, in the words of the storage API; everything else as it is. */
export function asStorageError(error: unknown): unknown {
  if (error instanceof MayflyError && error.code === 'payload_too_large') return tooLarge()
  if (!(error instanceof DatabaseError)) return error
  if (error.constraint === 'objects_bucket_id_fkey') return noSuchBucket(error)
  if (error.constraint !== null && /^(objects_bucket_id_name_key|buckets_pkey|buckets_name_key)$/.test(error.constraint)) return duplicate(error)
  switch (error.sqlState) {
    case '42501':
      return new StorageError('AccessDenied', 'new row violates row-level security policy', { cause: error })
    case '57014':
      return new StorageError('DatabaseTimeout', 'The connection to the database timed out', { cause: error })
    default:
      // What a trigger or a policy of the project's own raised, whose author wrote the message for whoever reads it; and what is too deep or too large to be stored.
      return /^(P0|22|23|54)/.test(error.sqlState) ? new StorageError('InvalidRequest', error.message, { cause: error }) : error
  }
}

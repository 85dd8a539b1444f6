import { type ErrorCode, MayflyError } from '../../../core/errors.ts'

/** An error in the words of SQS: `type` as the JSON protocol names it, `code` as the older one does. */
export class SqsError extends Error {
  readonly type: string
  readonly code: string
  readonly status: number
  constructor(type: string, code: string, status: number, message: string) {
    super(message)
    this.name = 'SqsError'
    this.type = type
    this.code = code
    this.status = status
  }
}

const SIMPLE = 'AWS.SimpleQueueService.'
export const sqs = (type: string, message: string, status = 400) => new SqsError(type, `${SIMPLE}${type}`, status, message)
export const named = (type: string, message: string, status = 400) => new SqsError(type, type, status, message)
export const invalidValue = (message: string) => new SqsError('InvalidParameterValueException', 'InvalidParameterValue', 400, message)
export const missing = (name: string) =>
  new SqsError('MissingRequiredParameterException', 'MissingParameter', 400, `The request must contain the parameter ${name}.`)
export const noQueue = () => new SqsError('QueueDoesNotExist', `${SIMPLE}NonExistentQueue`, 400, 'The specified queue does not exist.')
export const unsupported = (message: string) => sqs('UnsupportedOperation', message)

const KNOWN: Partial<Record<ErrorCode, (message: string) => SqsError>> = {
  queue_not_found: noQueue,
  queue_exists: (message) => new SqsError('QueueNameExists', 'QueueAlreadyExists', 400, message),
  queues_full: (message) => named('OverLimit', message, 403),
  queue_storage_full: (message) => named('RequestThrottled', message, 429),
  storage_full: (message) => named('RequestThrottled', message, 503),
  receipt_invalid: (message) => named('ReceiptHandleIsInvalid', message),
  message_not_in_flight: (message) => sqs('MessageNotInflight', message),
  move_running: (message) => unsupported(message),
  move_not_found: (message) => new SqsError('ResourceNotFoundException', 'ResourceNotFoundException', 404, message),
  bad_request: invalidValue,
  not_allowed: (message) => new SqsError('AccessDeniedException', 'AccessDenied', 403, message),
  project_not_found: noQueue,
  payload_too_large: (message) => named('InvalidParameterValueException', message),
  shutting_down: (message) => new SqsError('ServiceUnavailable', 'ServiceUnavailable', 503, message),
  database_unavailable: (message) => new SqsError('ServiceUnavailable', 'ServiceUnavailable', 503, message),
  node_busy: (message) => new SqsError('ServiceUnavailable', 'ServiceUnavailable', 503, message),
}

/** What is not known is a fault of ours and says nothing about itself. */
export function asSqsError(error: unknown): SqsError {
  if (error instanceof SqsError) return error
  const known = error instanceof MayflyError ? KNOWN[error.code]?.(error.message) : undefined
  if (known) return known
  if (error instanceof MayflyError && error.status < 500)
    return new SqsError('InvalidParameterValueException', 'InvalidParameterValue', error.status, error.message)
  return new SqsError('InternalFailure', 'InternalError', 500, 'The request failed by a fault of this node.')
}

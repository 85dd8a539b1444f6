import { type ErrorCode, MayflyError } from '../../../core/errors.ts'
import type { Reply } from '../../../core/route.ts'

export const ACCOUNT_ID = '000000000000'

/** An error in the words of the Lambda API. */
export class LambdaError extends Error {
  readonly code: string
  readonly status: number
  readonly extra: Readonly<Record<string, string>>
  constructor(code: string, status: number, message: string, extra: Readonly<Record<string, string>> = {}) {
    super(message)
    this.name = 'LambdaError'
    this.code = code
    this.status = status
    this.extra = extra
  }
}

export const invalidParameter = (message: string) => new LambdaError('InvalidParameterValueException', 400, message)
export const notFound = (message: string) => new LambdaError('ResourceNotFoundException', 404, message)
export const validation = (violations: readonly string[]) =>
  new LambdaError('ValidationException', 400, `${violations.length} validation error${violations.length === 1 ? '' : 's'} detected: ${violations.join('; ')}`)

/** Errors whose shape declares `Message` with a capital; all others have `message`. */
const CAPITAL = new Set([
  'CodeSigningConfigNotFoundException',
  'CodeVerificationFailedException',
  'EC2AccessDeniedException',
  'InvalidCodeSignatureException',
  'InvalidRuntimeException',
  'InvalidZipFileException',
  'PublicPolicyException',
  'RecursiveInvocationException',
  'ResourceInUseException',
  'ResourceNotFoundException',
  'ServiceException',
])
/** Outside the service description: sent without `Type`. */
const UNTYPED = new Set([
  'ValidationException',
  'AccessDeniedException',
  'UnrecognizedClientException',
  'InvalidSignatureException',
  'MissingAuthenticationTokenException',
  'IncompleteSignatureException',
  'ExpiredTokenException',
  'UnknownOperationException',
])

const CODES: Partial<Record<ErrorCode, readonly [code: string, status: number]>> = {
  body_not_json: ['InvalidRequestContentException', 400],
  alias_exists: ['ResourceConflictException', 409],
  alias_not_found: ['ResourceNotFoundException', 404],
  bad_request: ['InvalidParameterValueException', 400],
  code_mismatch: ['InvalidParameterValueException', 400],
  function_changing: ['ResourceConflictException', 409],
  function_concurrency_reached: ['TooManyRequestsException', 429],
  function_exists: ['ResourceConflictException', 409],
  function_not_found: ['ResourceNotFoundException', 404],
  function_not_ready: ['ResourceConflictException', 409],
  key_invalid: ['UnrecognizedClientException', 403],
  key_missing: ['MissingAuthenticationTokenException', 403],
  layer_missing: ['InvalidParameterValueException', 400],
  layer_not_found: ['ResourceNotFoundException', 404],
  method_not_allowed: ['UnknownOperationException', 404],
  node_busy: ['ServiceException', 503],
  not_allowed: ['AccessDeniedException', 403],
  not_found: ['ResourceNotFoundException', 404],
  payload_too_large: ['RequestEntityTooLargeException', 413],
  profile_exceeded: ['InvalidParameterValueException', 400],
  project_not_found: ['ResourceNotFoundException', 404],
  recursion_too_deep: ['RecursiveInvocationException', 400],
  request_timeout: ['RequestTimeoutException', 408],
  revision_mismatch: ['PreconditionFailedException', 412],
  storage_full: ['CodeStorageExceededException', 400],
  queue_full: ['TooManyRequestsException', 429],
  too_many_aliases: ['AliasLimitExceededException', 400],
  too_many_bytes: ['TooManyRequestsException', 429],
  too_many_invocations: ['TooManyRequestsException', 429],
  uri_invalid: ['ValidationException', 400],
  version_in_use: ['ResourceConflictException', 409],
  version_not_found: ['ResourceNotFoundException', 404],
  zip_invalid: ['InvalidParameterValueException', 400],
}

const MESSAGES: Partial<Record<ErrorCode, string>> = {
  function_changing: 'The operation cannot be performed at this time. An update is in progress for resource',
  function_not_ready: 'The operation cannot be performed at this time. The function is currently in the following state: Pending',
  revision_mismatch: 'The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id',
}

/** Why a call was refused that would be taken a moment later. */
const THROTTLES: Partial<Record<ErrorCode, string>> = {
  too_many_invocations: 'ConcurrentInvocationLimitExceeded',
  function_concurrency_reached: 'ReservedFunctionConcurrentInvocationLimitExceeded',
}

/** Renders any error as the Lambda API does. What is not known is a fault of ours and says nothing about itself. */
export function lambdaFail(error: unknown, { id }: { readonly id: string }): Reply {
  const known = asLambdaError(error)
  const body = {
    ...(UNTYPED.has(known.code) ? {} : { Type: known.status >= 500 ? 'Service' : 'User' }),
    ...known.extra,
    [CAPITAL.has(known.code) ? 'Message' : 'message']: known.message,
  }
  return {
    status: known.status,
    headers: {
      'content-type': 'application/json',
      'x-amzn-requestid': id,
      'x-amzn-errortype': known.code,
      ...(known.status === 429 ? { 'retry-after': '1' } : {}),
    },
    body: JSON.stringify(body),
  }
}

/** The same in the words of one operation, where the text names it. */
export const lambdaFailOf =
  (operation: string, bodyBytes: number) =>
  (error: unknown, context: { readonly id: string }): Reply => {
    if (error instanceof MayflyError && error.code === 'payload_too_large' && !error.message.startsWith('Zipped size')) {
      return lambdaFail(
        new LambdaError('RequestEntityTooLargeException', 413, `Request must be smaller than ${bodyBytes} bytes for the ${operation} operation`),
        context,
      )
    }
    return lambdaFail(error, context)
  }

function asLambdaError(error: unknown): LambdaError {
  if (error instanceof LambdaError) return error
  if (!(error instanceof MayflyError)) return new LambdaError('ServiceException', 500, 'The request failed by a fault of this node.')
  const reason = THROTTLES[error.code]
  if (reason !== undefined) return new LambdaError('TooManyRequestsException', 429, 'Rate Exceeded.', { Reason: reason })
  const [code, status] = CODES[error.code] ?? ['ServiceException', error.status]
  if (error.code === 'zip_invalid' && !error.message.startsWith('Unzipped size')) {
    return new LambdaError(code, status, `Could not unzip uploaded file. Please check your file, then try to upload again. (${error.message})`)
  }
  return new LambdaError(code, status, MESSAGES[error.code] ?? error.message)
}

import type { Reply } from '../../core/route.ts'

/** What clients of the login API know: by code, the status of the answer. */
export const AUTH_ERRORS = {
  anonymous_provider_disabled: 422,
  bad_json: 400,
  bad_jwt: 403,
  bad_oauth_callback: 400,
  conflict: 409,
  current_password_invalid: 400,
  email_address_invalid: 400,
  email_exists: 422,
  email_not_confirmed: 400,
  feature_disabled: 422,
  invalid_credentials: 400,
  manual_linking_disabled: 404,
  mfa_factor_not_found: 404,
  mfa_totp_enroll_not_enabled: 422,
  no_authorization: 401,
  not_admin: 403,
  otp_expired: 403,
  over_request_rate_limit: 429,
  passkey_disabled: 404,
  phone_exists: 422,
  phone_provider_disabled: 400,
  refresh_token_already_used: 400,
  refresh_token_not_found: 400,
  request_timeout: 504,
  same_password: 422,
  saml_provider_disabled: 404,
  session_expired: 400,
  session_not_found: 403,
  signup_disabled: 422,
  unexpected_failure: 500,
  user_already_exists: 422,
  user_banned: 400,
  user_not_found: 404,
  validation_failed: 400,
  weak_password: 422,
} as const satisfies Record<string, number>
export type AuthErrorCode = keyof typeof AUTH_ERRORS

/** A refusal in the words of the login API. */
export class AuthError extends Error {
  readonly code: AuthErrorCode
  readonly status: number
  /** Why a password is weak. */
  readonly reasons: readonly string[] | null
  constructor(code: AuthErrorCode, message: string, more: { readonly status?: number; readonly reasons?: readonly string[]; readonly cause?: unknown } = {}) {
    super(message, { cause: more.cause })
    this.name = 'AuthError'
    this.code = code
    this.status = more.status ?? AUTH_ERRORS[code]
    this.reasons = more.reasons ?? null
  }
}

const VERSION = '2024-01-01'
/** The client says which form of an error it reads. */
export function errorReply(
  { status, code, message, reasons }: Pick<AuthError, 'status' | 'message' | 'reasons'> & { readonly code: string },
  version: unknown,
  id: string,
): Reply {
  const isNew = typeof version === 'string' && version >= VERSION
  const body = {
    ...(isNew ? { code, message } : { code: status, error_code: code, msg: message, error_id: id }),
    ...(reasons === null ? {} : { weak_password: { reasons } }),
  }
  const headers = {
    'content-type': 'application/json',
    'x-sb-error-code': code,
    ...(isNew ? { 'x-supabase-api-version': VERSION } : {}),
    ...(status === 429 || status === 503 ? { 'retry-after': '1' } : {}),
  }
  return { status, headers, body: JSON.stringify(body) }
}

import { AuthError, type AuthErrorCode } from './errors.ts'

/** A way to sign in that clients know and that is not there: they hear so in their own words. */
export interface Absent {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly code: AuthErrorCode
  readonly message: string
}

const NO_MAIL = 'This node sends no mail yet: users sign in with their password, and an admin sets a forgotten one by PUT /admin/users/<id>'
const NO_PROVIDER = 'Unsupported provider: provider is not enabled'
const NO_FACTORS = 'MFA enroll is disabled for TOTP: second factors are not there yet'
const NO_PASSKEYS = 'Passkeys are disabled: they are not there yet'
const NO_TOKEN = 'Token has expired or is invalid'
const NO_LINKS = 'Manual linking is disabled: there are no other providers yet'

export const ABSENT: readonly Absent[] = [
  ...['/otp', '/magiclink', '/recover', '/resend', '/invite', '/admin/generate_link'].map(
    (path) => ({ method: 'POST', path, code: 'feature_disabled', message: NO_MAIL }) as const,
  ),
  { method: 'GET', path: '/reauthenticate', code: 'feature_disabled', message: NO_MAIL },
  // No token was ever sent: whatever is shown is none.
  { method: 'POST', path: '/verify', code: 'otp_expired', message: NO_TOKEN },
  { method: 'GET', path: '/verify', code: 'otp_expired', message: NO_TOKEN },
  { method: 'GET', path: '/authorize', code: 'validation_failed', message: NO_PROVIDER },
  { method: 'GET', path: '/callback', code: 'bad_oauth_callback', message: 'OAuth callback without a sign-in that was begun here' },
  { method: 'POST', path: '/sso', code: 'saml_provider_disabled', message: 'SAML 2.0 is disabled: it is not there yet' },
  { method: 'POST', path: '/factors', code: 'mfa_totp_enroll_not_enabled', message: NO_FACTORS },
  { method: 'POST', path: '/factors/:id/challenge', code: 'mfa_factor_not_found', message: 'Factor not found: second factors are not there yet' },
  { method: 'POST', path: '/factors/:id/verify', code: 'mfa_factor_not_found', message: 'Factor not found: second factors are not there yet' },
  { method: 'DELETE', path: '/factors/:id', code: 'mfa_factor_not_found', message: 'Factor not found: second factors are not there yet' },
  { method: 'GET', path: '/user/identities/authorize', code: 'manual_linking_disabled', message: NO_LINKS },
  { method: 'DELETE', path: '/user/identities/:id', code: 'manual_linking_disabled', message: NO_LINKS },
  { method: 'GET', path: '/passkeys', code: 'passkey_disabled', message: NO_PASSKEYS },
]

export const absence = ({ code, message }: Absent) => new AuthError(code, message)

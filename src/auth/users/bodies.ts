import { z } from 'zod'
import { LIMITS } from '../../core/limits.ts'
import { AuthError } from './errors.ts'

/** Clients send keys that nobody here knows; what is known must have its form. */
const metadata = z.record(z.string(), z.unknown())
const text = z.string().nullish()

export const credentials = z.object({ email: text, phone: text, password: text, data: metadata.nullish() })
export const refreshing = z.object({ refresh_token: text })
export const changes = z.object({ email: text, phone: text, password: text, current_password: text, data: metadata.nullish() })
export const administered = z.object({
  id: text,
  email: text,
  phone: text,
  password: text,
  password_hash: text,
  email_confirm: z.boolean().nullish(),
  phone_confirm: z.boolean().nullish(),
  user_metadata: metadata.nullish(),
  app_metadata: metadata.nullish(),
  ban_duration: text,
  role: text,
})
export const deleting = z.object({ should_soft_delete: z.boolean().nullish() })
export type Administered = z.infer<typeof administered>
export type Changes = z.infer<typeof changes>

/** @throws AuthError bad_json, validation_failed */
export function readBody<T>(schema: z.ZodType<T>, bytes: Buffer): T {
  let value: unknown
  try {
    value = bytes.length === 0 ? {} : JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new AuthError('bad_json', 'Could not parse request body as JSON', { cause: error })
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new AuthError('validation_failed', `${issue?.path.join('.') || 'the body'}: ${issue?.message ?? 'not understood'}`)
}

const EMAIL = /^[^\s@"(),:;<>[\\\]]+@[^\s@"(),:;<>[\\\]]+\.[^\s@.]+$/
/** The one form that an address is stored and looked up in. @throws AuthError validation_failed */
export function readEmail(given: string): string {
  const email = given.trim().toLowerCase()
  if (email.length > 255 || !email.isWellFormed() || !EMAIL.test(email))
    throw new AuthError('validation_failed', 'Unable to validate email address: invalid format')
  return email
}

/** @throws AuthError validation_failed */
export function readPhone(given: string): string {
  const phone = given.trim().replace(/^\+/, '')
  if (!/^[1-9]\d{6,14}$/.test(phone)) throw new AuthError('validation_failed', 'Invalid phone number format (E.164 required)')
  return phone
}

/** @throws AuthError weak_password, validation_failed */
export function checkPassword(password: string, least: number): void {
  if (Buffer.byteLength(password) > LIMITS.passwordBytes.value)
    throw new AuthError('validation_failed', `Password cannot be longer than ${LIMITS.passwordBytes.value} characters`)
  if (!isLong(password, least)) throw new AuthError('weak_password', `Password should be at least ${least} characters.`, { reasons: ['length'] })
}
export const isLong = (password: string, least: number): boolean => [...password].length >= least

/** What somebody says of himself over what was said before: null takes a key away. @throws AuthError validation_failed */
export function merged(before: Readonly<Record<string, unknown>> | null, change: Readonly<Record<string, unknown>>): string {
  const all = new Map(Object.entries(before ?? {}))
  for (const [key, value] of Object.entries(change)) {
    if (value === null) all.delete(key)
    else all.set(key, value)
  }
  let told: string
  try {
    told = JSON.stringify(Object.fromEntries(all))
  } catch (error) {
    throw new AuthError('validation_failed', 'the metadata is nested too deep', { cause: error })
  }
  if (Buffer.byteLength(told) > LIMITS.accountMetadata.value)
    throw new AuthError('validation_failed', `the metadata may have ${LIMITS.accountMetadata.value} bytes`)
  // PostgreSQL keeps no NUL, and no half of a character.
  if (told.includes('\\u0000') || !told.isWellFormed()) throw new AuthError('validation_failed', 'the metadata holds characters that cannot be kept')
  return told
}

const UNIT_S: Readonly<Record<string, number>> = { ns: 1e-9, us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3_600 }
const MOST_BAN_S = 200 * 365 * 86_400
/** `1h30m`, or `none`. @returns seconds, 0 to let in again @throws AuthError validation_failed */
export function readBan(duration: string): number {
  if (duration === 'none') return 0
  const parts = [...duration.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)]
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== duration)
    throw new AuthError('validation_failed', `invalid format for ban duration: ${duration.slice(0, 100)}`)
  return Math.min(
    MOST_BAN_S,
    parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNIT_S[unit as string] as number), 0),
  )
}

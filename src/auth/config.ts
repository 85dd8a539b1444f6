import { count, type Infer, list } from '../core/settings.ts'

/** The settings of signing in. */
export const authSettings = {
  consoleSessionHours: count({
    default: 168,
    min: 1,
    max: 500,
    of: 'hours',
    doc: 'How long one login to the console lasts at most.',
  }),
  issuerOrigins: list({
    doc: 'Origins such as `https://login.lan:8443` that keys of trusted issuers may be read from though they are no public addresses.',
    takes: 'origins separated by commas',
    each: (origin) => URL.canParse(origin) && new URL(origin).origin === origin,
  }),
  consoleIdleHours: count({
    default: 12,
    min: 1,
    max: 500,
    of: 'hours',
    doc: 'How long a login to the console lasts when nothing is asked with it.',
  }),
  tokenRate: count({
    default: 150,
    min: 1,
    max: 100_000_000,
    doc: 'How many sign-ins and refreshes of sessions one address may ask of a project in five minutes.',
  }),
  signUpRate: count({ default: 30, min: 1, max: 100_000_000, doc: 'How many sign-ups one address may ask of a project in five minutes.' }),
  guestRate: count({ default: 30, min: 1, max: 100_000_000, doc: 'How many anonymous users one address may make in a project in an hour.' }),
}
export type AuthConfig = Infer<typeof authSettings>

import { count, type Infer } from '../core/settings.ts'

/** The settings of signing in. */
export const authSettings = {
  consoleSessionHours: count({
    default: 168,
    min: 1,
    max: 500,
    of: 'hours',
    doc: 'How long one login to the console lasts at most.',
  }),
  consoleIdleHours: count({
    default: 12,
    min: 1,
    max: 500,
    of: 'hours',
    doc: 'How long a login to the console lasts when nothing is asked with it.',
  }),
}
export type AuthConfig = Infer<typeof authSettings>

import { count, type Infer } from '../core/settings.ts'

export const observeSettings = {
  retentionDays: count({ default: 14, min: 1, max: 3650, of: 'days', doc: 'How long the lines of functions are kept.' }),
}
export type ObserveConfig = Infer<typeof observeSettings>

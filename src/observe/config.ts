import { LIMITS } from '../core/limits.ts'
import { MiB } from '../lib/bytes.ts'
import { count, type Infer, megabytes } from '../core/settings.ts'

export const observeSettings = {
  retentionDays: count({ default: 14, min: 1, max: 3650, of: 'days', doc: 'How long the lines of functions are kept.' }),
  projectLogMb: megabytes({
    default: LIMITS.projectLog.value / MiB,
    min: 1,
    max: 1_000_000,
    doc: 'How much of the lines of one project is kept; past it the oldest go.',
  }),
}
export type ObserveConfig = Infer<typeof observeSettings>

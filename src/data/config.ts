import { LIMITS } from '../core/limits.ts'
import { count, type Infer, milliseconds } from '../core/settings.ts'

export const dataSettings = {
  connections: count({ default: LIMITS.dataConnections.value, min: 1, max: 10, doc: 'How many sessions of its database the data API of one project uses.' }),
  sharedSessions: count({
    default: LIMITS.dataSharedSessions.value,
    min: 0,
    max: 4,
    doc: 'How many further ones quick reads of many share; quick writes share as many again as --data-connections says; 0 has each request wait for a session of its own.',
  }),
  waitMs: milliseconds({ default: LIMITS.dataWait.value, min: 100, max: 60_000, doc: 'How long a request of the data API waits for a session.' }),
  maxRows: count({
    default: LIMITS.dataRows.value,
    min: 1,
    max: 1_000_000,
    doc: 'How many rows an answer has at most where the project does not say it (`pgrst.db_max_rows`).',
  }),
}
export type DataConfig = Infer<typeof dataSettings>

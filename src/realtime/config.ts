import { LIMITS } from '../core/limits.ts'
import { count, type Infer } from '../core/settings.ts'

export const realtimeSettings = {
  sockets: count({ default: LIMITS.realtimeSockets.value, min: 1, max: 100_000, doc: 'How many sockets one project may have open at once.' }),
  joins: count({ default: LIMITS.realtimeJoins.value, min: 1, max: 100_000, doc: 'How many channels the clients of one project may join in a second.' }),
  messages: count({
    default: LIMITS.realtimeMessages.value,
    min: 1,
    max: 1_000_000,
    doc: 'How many broadcasts and presence calls the clients of one project may send in a second, and how many SQL may say.',
  }),
}
export type RealtimeConfig = Infer<typeof realtimeSettings>

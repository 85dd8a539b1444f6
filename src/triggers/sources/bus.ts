import { LIMITS } from '../../core/limits.ts'
import { deleteOldEventKeys } from '../bus/store.ts'
import type { EventSource } from '../event-source.ts'

const SWEEP_MS = 3_600_000

/** Events that users send to a bus: `EventBus` brings them to the queue as they come, and what is done here is to forget them. */
export const busSource: EventSource<'bus'> = {
  kind: 'bus',
  open: ({ control }) => ({
    pass: async () => {
      await deleteOldEventKeys(control.sql, LIMITS.busEventWindow.value)
      return SWEEP_MS
    },
    [Symbol.asyncDispose]: async () => {},
  }),
}

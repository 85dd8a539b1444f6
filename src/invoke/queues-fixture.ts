import { randomUUID } from 'node:crypto'
import type { Database } from '../backends/database/database.ts'
import { noCrash } from '../core/crash.ts'
import { MayflyError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import { systemClock } from '../lib/clock.ts'
import type { QueuesOf } from './destinations.ts'
import { Queue } from './queue.ts'

/** Of a project without any. */
export const NO_QUEUES: QueuesOf = {
  find: () => null,
  get: (_project, name) => {
    throw new MayflyError('queue_not_found', `there is no queue ${name}`)
  },
  sendIn: () => Promise.reject(new Error('there is no queue')),
}

/** It takes entries and runs none. */
export const makeQueue = (control: Database, newId: () => string = randomUUID): Queue =>
  new Queue({
    database: control,
    invoke: () => Promise.reject(new Error('nothing runs here')),
    admitSpace: () => {},
    recorded: async () => {},
    destinationsOf: async () => null,
    queues: NO_QUEUES,
    webhooks: { fetch: () => Promise.reject(new Error('nobody is told here')), secretOf: async () => null, now: () => 0 },
    triesOf: async () => ({ maxAttempts: null, maxAgeSeconds: null }),
    newId,
    crash: noCrash,
    holder: randomUUID(),
    concurrency: 1,
    maxAttempts: 3,
    maxAgeMs: 3_600_000,
    deadLetterDays: 14,
    clock: systemClock,
    random: () => 0,
    log: silentLog,
  })

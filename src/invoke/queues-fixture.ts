import { MayflyError } from '../core/errors.ts'
import type { QueuesOf } from './destinations.ts'

/** Of a project without any. */
export const NO_QUEUES: QueuesOf = {
  find: () => null,
  get: (_project, name) => {
    throw new MayflyError('queue_not_found', `there is no queue ${name}`)
  },
  sendIn: () => Promise.reject(new Error('there is no queue')),
}

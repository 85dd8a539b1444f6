import { MayflyError } from '../../core/errors.ts'
import { jsonOf } from '../../core/json-body.ts'
import { json } from '../../core/json-reply.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { Route } from '../../core/route.ts'
import type { Concurrency } from './concurrency.ts'

const MOST_CALLS = 100_000
const MOST_WEIGHT = 100

/** What a project has of the node beside others: the operator says. */
export const projectConcurrencyRoutes = (concurrency: Pick<Concurrency, 'shareOf' | 'setShare'>): Route[] => [
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/concurrency',
    access: 'manage',
    plane: 'management',
    doc: 'How many calls of a project may run at once (`concurrency`; null: as the node is set) and how much of a full node it has beside others (`weight`).',
    handle: async (context) => json(200, await concurrency.shareOf(context.params.ref as ProjectRef)),
  },
  {
    method: 'PUT',
    path: '/api/v1/projects/:ref/concurrency',
    access: 'operator',
    plane: 'management',
    adds: 'data',
    doc: 'Sets them: `concurrency` (null, or 0 to 100000) and `weight` (1 to 100). In force with the answer.',
    handle: async (context) => {
      const ref = context.params.ref as ProjectRef
      const { concurrency: most = null, weight = 1 } = bodyOf(await context.body(LIMITS.managementBody.value))
      if (most !== null && !isWhole(most, 0, MOST_CALLS)) throw new MayflyError('bad_request', `concurrency: null, or a whole number from 0 to ${MOST_CALLS}`)
      if (!isWhole(weight, 1, MOST_WEIGHT)) throw new MayflyError('bad_request', `weight: a whole number from 1 to ${MOST_WEIGHT}`)
      await concurrency.setShare(ref, { concurrency: most, weight })
      return json(200, await concurrency.shareOf(ref))
    },
  },
]

const isWhole = (value: unknown, least: number, most: number): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most

function bodyOf(bytes: Buffer): Record<string, unknown> {
  const value = jsonOf(bytes)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MayflyError('bad_request', 'the body must be one JSON object')
  return value as Record<string, unknown>
}

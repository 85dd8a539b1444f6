import { MayflyError } from '../core/errors.ts'
import type { Project } from '../core/project.ts'
import type { Route } from '../core/route.ts'
import type { Usage } from './service.ts'

export const routes = (usage: Usage): Route[] => [
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/usage',
    access: 'manage',
    plane: 'management',
    doc: 'Executions, errors and GB-seconds per function and day (`days`, 31 by default).',
    handle: async (context) => {
      const text = context.query.get('days') ?? '31'
      const days = Number(text)
      if (!/^\d{1,4}$/.test(text) || days < 1 || days > 3650) throw new MayflyError('bad_request', 'days: a whole number from 1 to 3650')
      return {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ usage: await usage.read((context.project as Project).ref, days) }),
      }
    },
  },
]

import { json } from '../core/json-reply.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { timeOf } from '../core/query-time.ts'
import type { Project } from '../core/project.ts'
import type { Reply, Route } from '../core/route.ts'
import type { GroupBy } from './bill.ts'
import type { Usage } from './service.ts'
import { ENDS, type EndsAs, type InvocationsOf, type StoredInvocation } from './store.ts'

const GROUPS: ReadonlyMap<string, GroupBy> = new Map([
  ['day,function', 'day,function'],
  ['day', 'day'],
  ['function', 'function'],
])
const ok = (body: object): Reply => json(200, body)

export const routes = (usage: Usage): Route[] => [
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/usage',
    access: 'manage',
    plane: 'management',
    doc: 'Executions, errors, cold starts, GB-seconds, bytes and cost of the last `days` days (UTC; 31 by default), by `by=day,function` (default), `day` or `function`; with the total and the price list.',
    handle: async (context) => {
      const days = whole(context.query.get('days') ?? '31', 'days', 3650)
      const by = GROUPS.get(context.query.get('by') ?? 'day,function')
      if (!by) throw new MayflyError('bad_request', 'by: day,function or day or function')
      return ok(await usage.read((context.project as Project).ref, days, by))
    },
  },
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/functions/:name/invocations',
    access: 'manage',
    plane: 'management',
    doc: 'The last executions of a function, the newest first (`limit`, 100 by default); `before` takes the `next` of a page and goes on behind it. `outcome` is null while one runs. Where its time went: `queueMs` from when the queue took its event to the start of this attempt (null where nothing was queued), `waitMs` for a sandbox, `initMs` loading, `runMs` until its answer, `responseMs` until the last byte and the end of `waitUntil` (null where it was not measured); `durationMs` is run and response; `cold` says why no sandbox was ready, and is null where one was.',
    handle: async (context) => {
      const page = pageOf(context.query)
      const functionName = (context.params.name ?? '').replaceAll('\0', '')
      return shownPage(page, await usage.invocations({ project: (context.project as Project).ref, functionName, before: page.before, limit: page.limit + 1 }))
    },
  },
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/invocations',
    access: 'manage',
    plane: 'management',
    doc: 'The last executions of all functions of a project, or of one (`function`), the newest first, as those of a function are told: by `state` (`succeeded`; `failed`: by an error, its time or its process; `cut`; `running`), begun from `from` on and before `to` (RFC 3339). What waits is in `/queue`, what was given up in `/dead-letters`.',
    handle: async (context) => {
      const { query } = context
      const state = query.get('state')
      if (state !== null && !ENDS.some((one) => one === state)) throw new MayflyError('bad_request', `state: ${ENDS.join(', ')}`)
      const page = pageOf(query)
      const rows = await usage.executions({
        project: (context.project as Project).ref,
        functionName: query.get('function')?.replaceAll('\0', '') ?? null,
        state: state as EndsAs | null,
        from: timeOf(query, 'from'),
        to: timeOf(query, 'to'),
        before: page.before,
        limit: page.limit + 1,
      })
      return shownPage(page, rows)
    },
  },
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/cold-starts',
    access: 'manage',
    plane: 'management',
    doc: 'Why calls were cold in the last `hours` (24 by default, 168 at most), of all functions or of one (`function`): how many by reason, for each 5 minutes of up to 3 hours and else for each hour; those without a cold call are left out.',
    handle: async (context) => {
      const hours = whole(context.query.get('hours') ?? '24', 'hours', LIMITS.coldStartHours.value)
      const name = context.query.get('function')?.replaceAll('\0', '') ?? null
      return ok(await usage.coldStarts((context.project as Project).ref, name, hours))
    },
  },
  {
    method: 'GET',
    path: '/api/v1/prices',
    access: 'operator',
    plane: 'management',
    doc: 'The price list that usage is priced by.',
    handle: async () => ok({ prices: usage.prices }),
  },
]

interface Page {
  readonly limit: number
  readonly before: InvocationsOf['before']
}

function pageOf(query: URLSearchParams): Page {
  const limit = whole(query.get('limit') ?? '100', 'limit', LIMITS.invocationPage.value)
  const given = query.get('before')
  const [, startedUs, id, attempt] = /^(\d{1,17})_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_(\d{1,9})$/.exec(given ?? '') ?? []
  if (given !== null && startedUs === undefined) throw new MayflyError('bad_request', 'before: the `next` of a page')
  return { limit, before: startedUs === undefined ? null : { startedUs, id: id as string, attempt: Number(attempt) } }
}

function shownPage({ limit }: Page, rows: readonly StoredInvocation[]): Reply {
  const page = rows.slice(0, limit)
  return ok({ invocations: page.map(({ startedUs: _, ...shown }) => shown), next: rows.length > limit ? nextOf(page.at(-1) as StoredInvocation) : null })
}

const nextOf = (last: StoredInvocation) => `${last.startedUs}_${last.id}_${last.attempt}`

function whole(text: string, name: string, most: number): number {
  const value = Number(text)
  if (!/^\d{1,6}$/.test(text) || value < 1 || value > most) throw new MayflyError('bad_request', `${name}: a whole number from 1 to ${most}`)
  return value
}

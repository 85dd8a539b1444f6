import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import type { Principal } from '../../core/principal.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { Reply, RequestContext } from '../../core/route.ts'
import { silentLog } from '../../core/log.ts'
import { systemClock } from '../../lib/clock.ts'
import { DataError } from '../errors.ts'
import { serve } from '../pipeline.ts'
import { Data } from '../service.ts'
import { makeRequest } from './arbitrary-fixture.ts'
import { type Level, queryOf } from './ask-fixture.ts'
import { type Answer, interpret } from './interpreter-fixture.ts'
import { fillWorld, type Json, WORLD, WORLD_SQL } from './world-fixture.ts'

const CASES = 10_000
const AT_ONCE = 4
const REF = 'demo' as ProjectRef

describe('any request that the grammar allows', () => {
  let data: Data | undefined
  let close = async () => {}
  before(async () => {
    const opened = await openTestDatabases()
    await opened.databases.ensureProject(REF)
    close = async () => {
      await data?.[Symbol.asyncDispose]()
      await opened.close()
    }
    await using owner = await opened.databases.openOwner(REF)
    await owner.script(`${WORLD_SQL}; ${fillWorld()}`)
    data = new Data({ databases: opened.databases, config: { connections: AT_ONCE, waitMs: 60_000, maxRows: 1000 }, clock: systemClock, log: silentLog })
  })
  after(async () => await close())

  const anon: Principal = { kind: 'anon', project: REF, keyId: 'property' }
  const ask = async (method: string, table: string, rawQuery: string, more: { headers?: Record<string, string>; body?: string } = {}): Promise<Reply> =>
    await serve(
      data as Data,
      {
        method,
        params: { '*': table },
        rawQuery,
        headers: more.headers ?? {},
        principal: anon,
        project: { id: REF, ref: REF, name: REF, state: 'active' } satisfies Project,
        origin: 'http://127.0.0.1',
        signal: new AbortController().signal,
        body: async () => Buffer.from(more.body ?? ''),
      } as unknown as RequestContext,
    )

  it('gives the rows that a slow and plain reader of it gives', { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        const level = makeRequest(g)
        const query = queryOf(level)
        const wanted = interpret(WORLD, level)
        const isOverEnd = level.offset > wanted.counted
        let reply: Reply
        try {
          reply = await ask('GET', level.table, query, { headers: { prefer: 'count=exact' } })
        } catch (error) {
          assert.ok(isOverEnd && error instanceof DataError && error.code === 'PGRST103', `${level.table}?${decodeURIComponent(query)}: ${error}`)
          return
        }
        const got = JSON.parse(String(reply.body)) as Json[]
        const isOrdered = !hasGroups(level)
        assert.deepEqual(alike(got, isOrdered), alike(wanted.rows, isOrdered), `${level.table}?${decodeURIComponent(query)}`)
        assert.equal(reply.headers?.['content-range'], rangeOf(level, wanted))
      }),
      { numRuns: CASES },
    )
  })
})

/** Groups come in any order. */
const hasGroups = ({ items, embeds }: Level): boolean => items.some(({ kind }) => kind === 'aggregate') || embeds.some(({ level }) => hasGroups(level))

/** Numbers to twelve places, keys in the order of their names, and lists in an order of their own where they have none. */
function alike(value: Json, isOrdered: boolean): Json {
  if (typeof value === 'number') return Number(value.toPrecision(12))
  if (Array.isArray(value)) {
    const all = (value as readonly Json[]).map((each) => alike(each, isOrdered))
    return isOrdered ? all : all.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  }
  if (typeof value !== 'object' || value === null) return value
  const pairs = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(pairs.map(([key, each]) => [key, alike(each, isOrdered)]))
}

function rangeOf({ offset }: Level, { rows, counted }: Answer): string {
  return `${rows.length === 0 ? '*' : `${offset}-${offset + rows.length - 1}`}/${counted}`
}

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import type { Database, Databases } from '../../backends/database/database.ts'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import type { Principal } from '../../core/principal.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../core/route.ts'
import { silentLog } from '../../core/log.ts'
import { systemClock } from '../../lib/clock.ts'
import { failure, routes } from '../http.ts'
import { Data } from '../service.ts'
import { makeRequest } from './arbitrary-fixture.ts'
import { type Level, queryOf } from './ask-fixture.ts'
import { type Answer, interpret } from './interpreter-fixture.ts'
import { drawCall } from './calls-fixture.ts'
import { drawChanged } from './changed-fixture.ts'
import { fillWorld, type Json, type Row, WORLD, WORLD_SQL } from './world-fixture.ts'
import { askedOf, drawWrite, FILL_SQL, FIRST, wantedOf, WRITES_SQL } from './writes-fixture.ts'

/** In all ten thousand. */
const READS = 5_000
const WRITES = 2_500
const CALLS = 1_000
const CHANGED = 1_500
/** So many cases of one run are asked at once: they wait for each other's answers. */
const AT_ONCE = 4
/** So many writes follow each other before the rows are looked at. */
const IN_ROW = 10
const REF = 'demo' as ProjectRef

describe('the data API', () => {
  let data: Data | undefined
  let databases: Databases
  let owner: Database
  let close = async () => {}
  before(async () => {
    const opened = await openTestDatabases()
    databases = opened.databases
    await databases.ensureProject(REF)
    close = async () => {
      await data?.[Symbol.asyncDispose]()
      await owner?.[Symbol.asyncDispose]()
      await opened.close()
    }
    owner = await databases.openOwner(REF)
    await owner.script(`${WORLD_SQL}; ${fillWorld()}; ${WRITES_SQL}; ${FILL_SQL}`)
    data = new Data({
      databases,
      config: { connections: AT_ONCE, sharedSessions: 2, waitMs: 60_000, maxRows: 1000 },
      clock: systemClock,
      log: silentLog,
    })
  })
  after(async () => await close())

  const anon: Principal = { kind: 'anon', project: REF, keyId: 'property' }
  /** As the route answers, refusals too. */
  const ask = async (
    path: string,
    { method = 'GET', query, headers = {}, body = '' }: { method?: string; query: string; headers?: Record<string, string>; body?: string },
    { of = route, principal = anon }: { of?: Route; principal?: Principal } = {},
  ) => {
    const context = {
      method,
      params: { '*': path },
      rawQuery: query,
      headers,
      principal,
      project: { id: REF, ref: REF, name: REF, state: 'active' } satisfies Project,
      origin: 'http://127.0.0.1',
      signal: new AbortController().signal,
      body: async () => Buffer.from(body),
    } as unknown as RequestContext
    const reply: Reply = await of.handle(context).catch((error: unknown) => failure(error))
    const text = typeof reply.body === 'string' ? reply.body : ''
    const said = reply.status >= 300 && text !== '' ? ((JSON.parse(text) as { code?: string }).code ?? null) : null
    return { status: reply.status, headers: reply.headers ?? {}, text, code: said }
  }
  let route: Route
  before(() => {
    route = routes(data as Data)[0] as Route
  })

  it('gives the rows that a slow and plain reader of a request gives', { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        const levels = Array.from({ length: AT_ONCE }, () => makeRequest(g))
        await Promise.all(
          levels.map(async (level) => {
            const query = queryOf(level)
            const told = `${level.table}?${decodeURIComponent(query)}`
            const wanted = interpret(WORLD, level)
            const { status, code, text, headers } = await ask(level.table, { query, headers: { prefer: 'count=exact' } })
            if (level.offset > wanted.counted) assert.equal(code, 'PGRST103', told)
            else {
              assert.ok(status === 200 || status === 206, `${told}: ${text}`)
              const isOrdered = !hasGroups(level)
              assert.deepEqual(alike(JSON.parse(text) as Json[], isOrdered), alike(wanted.rows, isOrdered), told)
              assert.equal(headers['content-range'], rangeOf(level, wanted))
            }
          }),
        )
      }),
      { numRuns: READS / AT_ONCE },
    )
  })
  it('answers who finds no session in time with 504 and when to come again, and goes on when there is one', async () => {
    await using busy = new Data({ databases, config: { connections: 1, sharedSessions: 0, waitMs: 200, maxRows: 1000 }, clock: systemClock, log: silentLog })
    const of = routes(busy)[0] as Route
    const service: Principal = { kind: 'service', project: REF, keyId: 'property' }
    const read = (table: string) => ask(table, { query: 'select=id&limit=1' }, { of, principal: service })
    assert.equal((await read('notes')).status, 200)
    let held = Promise.resolve({ status: 0 })
    await owner.transaction(async (tx) => {
      await tx`lock table notes in access exclusive mode`
      held = read('notes')
      const waits = async () => (await tx`select from pg_locks where relation = 'notes'::regclass and not granted`).length > 0
      while (!(await waits())) await systemClock.sleep(10)
      const late = await Promise.all(Array.from({ length: 3 }, () => read('books')))
      assert.deepEqual(
        late.map(({ status, code, headers }) => [status, code, headers['retry-after']]),
        Array.from({ length: 3 }, () => [504, 'PGRST003', '1']),
      )
    })
    assert.deepEqual([(await held).status, (await read('books')).status], [200, 200])
  })
  it('counts in the parent what is counted in a row that is spread into it', async () => {
    const books = WORLD.books?.rows.filter(({ secret }) => secret !== true) ?? []
    const authorOf = (book: Row) => WORLD.authors?.rows.find(({ id }) => id === book.author_id)
    const groups = new Map<Json, Row[]>()
    for (const book of books) groups.set(book.lent as Json, [...(groups.get(book.lent as Json) ?? []), book])
    const wanted = [...groups].map(([lent, of]) => {
      const years = of.flatMap((book) => (typeof authorOf(book)?.authors === 'number' ? [authorOf(book)?.authors as number] : []))
      return {
        lent,
        pages: of.reduce((sum, { pages }) => sum + Number(pages), 0),
        born: Math.max(...years),
        written: of.filter((book) => authorOf(book)).length,
        n: String(years.length),
      }
    })
    const query = 'select=lent,pages:pages.sum(),...authors(born:authors.max(),written:count(),n:authors.count()::text)'
    assert.deepEqual(alike(JSON.parse((await ask('books', { query })).text) as Json[], false), alike(wanted, false))
    // Through two of them; and a list of rows has none.
    const through = await ask('reviews', { query: 'select=...books(...authors(born:authors.max()))' })
    assert.deepEqual(JSON.parse(through.text), [{ born: 1971 }])
    const spread = await ask('authors', { query: 'select=...books(pages.sum())' })
    assert.deepEqual([spread.status, spread.code], [400, 'PGRST127'])
    assert.equal((await ask('shelves', { query: 'select=...books(...authors(authors.max()))' })).code, 'PGRST127')
  })
  it('writes the rows that a slow and plain writer writes, and tells them', { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        await owner.script(FILL_SQL)
        let rows: readonly Row[] = FIRST
        for (let count = 0; count < IN_ROW; count++) {
          const write = drawWrite(g)
          const asked = askedOf(write)
          const wanted = wantedOf(write, rows)
          const { status, code, text, headers } = await ask('notes', asked)
          const told = `${asked.method} ${decodeURIComponent(asked.query)} ${asked.headers.prefer} ${asked.body} on ${JSON.stringify(rows)}: ${text}`
          assert.deepEqual([status, code], [wanted.status, wanted.code], told)
          if (code === null) {
            assert.deepEqual([headers['content-range'] ?? null, headers.location ?? null], [wanted.range, wanted.location], told)
            const got = text === '' ? null : (JSON.parse(text) as Row[])
            const sorted = write.isReversed || got === null ? got : got.toSorted((a, b) => (a.id as number) - (b.id as number))
            assert.deepEqual(sorted, wanted.body, told)
          }
          rows = wanted.rows
        }
        const kept = await owner.sql<Row>`select id, code, name, n, tags, meta, hidden from notes order by id`
        assert.deepEqual(
          kept,
          rows.toSorted((a, b) => (a.id as number) - (b.id as number)),
        )
      }),
      { numRuns: WRITES / IN_ROW },
    )
  })
  it('calls the function that is meant, with what it is given', { timeout: 600_000 }, async () => {
    await owner.script(FILL_SQL)
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        const calls = Array.from({ length: AT_ONCE }, () => drawCall(g))
        await Promise.all(
          calls.map(async ({ name, asked, code, value, range }) => {
            const answer = await ask(`rpc/${name}`, asked)
            const told = `${asked.method} ${name}?${decodeURIComponent(asked.query)} ${asked.body}: ${answer.text}`
            assert.equal(answer.code, code, told)
            if (code !== null) return
            assert.deepEqual(answer.text === '' ? undefined : JSON.parse(answer.text), value, told)
            if (range !== null) assert.equal(answer.headers['content-range'], range, told)
          }),
        )
      }),
      { numRuns: CALLS / AT_ONCE },
    )
  })
  it('answers what is outside of the grammar with a 4xx and its code, and lives', { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        const all = Array.from({ length: AT_ONCE }, () => drawChanged(g))
        await Promise.all(
          all.map(async ({ path, asked }) => {
            const { status, code, text } = await ask(path, asked)
            const told = `${asked.method} ${path}?${asked.query} ${JSON.stringify(asked.headers)} ${asked.body}: ${status} ${text}`
            // A row that is written twice by one upsert is 500 by the law of the API.
            assert.ok(status < 500 || code === '21000', told)
            if (status >= 400) assert.match(code ?? '', /^(PGRST\d{3}|[0-9A-Z]{5}|[a-z_]+)$/, told)
          }),
        )
      }),
      { numRuns: CHANGED / AT_ONCE },
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

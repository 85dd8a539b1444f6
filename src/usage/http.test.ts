import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { InvocationCounters } from '../core/counters.ts'
import { MayflyError } from '../core/errors.ts'
import { Journal } from '../core/journal.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import type { RequestContext } from '../core/route.ts'
import type { Bill } from '../../client/usage.ts'
import { systemClock } from '../lib/clock.ts'
import { routes } from './http.ts'
import { parsePriceList } from './prices.ts'
import { type MeterEntry, Usage } from './service.ts'

const PRICES = '{"name":"mine","currency":"EUR","perMillionExecutions":"1","perGbSecond":"0.5","perGbIn":"0","perGbOut":"0","free":{"executions":3}}'

interface Shown {
  readonly id: string
  readonly outcome: string | null
  readonly startedAt: string
  readonly cost: string
  readonly queueMs: number | null
  readonly runMs: number
  readonly responseMs: number | null
}

/** What this room answers and what clients read are one shape: a difference does not compile. */
type Same<A, B> = [A, B] extends [B, A] ? A : never
const asClientsRead = (bill: Same<Awaited<ReturnType<Usage['read']>>, Bill>): Bill => bill

describe('reading what was executed', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let journal: Journal<MeterEntry>
  let usage: Usage
  const at = Date.UTC(2026, 6, 1)
  const ids: string[] = []
  before(async () => {
    opened = await openTestDatabases()
    journal = await Journal.open<MeterEntry>(path.join(opened.folder, 'journal'), silentLog)
    const prices = parsePriceList(PRICES, 'prices.json')
    const rest = { clock: systemClock, log: silentLog, counters: new InvocationCounters(), prices, detailDays: 3_650, totalDays: 3_650 }
    usage = new Usage({ journal, database: opened.databases.control, ...rest })
    await usage.start()
    for (let n = 0; n < 25; n++) {
      const id = randomUUID()
      ids.unshift(id)
      // Some began in the same instant.
      const start = { invocationId: id, attempt: 1, project: 'demo', functionName: 'f', version: '1', memoryMb: 1_024, startedAt: at + Math.floor(n / 3) }
      usage.started(start)
      if (n < 24) {
        const numbers = {
          durationMs: 1_900.5,
          billedMs: 2_000,
          maxMemoryMb: 90,
          queueMs: n === 1 ? null : 7.5,
          waitMs: 1,
          initMs: 2,
          responseMs: 400.25,
          bytesIn: 3,
          bytesOut: 4,
        }
        usage.ended({ ...start, ...numbers, outcome: n === 23 ? 'cut' : 'ok', cold: n === 0 ? 'first-call' : null })
      }
    }
  })
  after(async () => {
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
    await opened.close()
  })
  const get = async (route: string, query = '', ref = 'demo', name = 'f') => {
    const found = routes(usage).find((one) => one.path.endsWith(route)) as ReturnType<typeof routes>[number]
    const context = { query: new URLSearchParams(query), params: { ref, name }, project: { id: '', ref: ref as ProjectRef, name: ref, state: 'active' } }
    return JSON.parse((await found.handle(context as unknown as RequestContext)).body as string) as {
      invocations: Shown[]
      next: string | null
      usage: { cost: string }[]
      total: { executions: number; cost: string }
      prices: { currency: string }
    }
  }
  const refused = async (route: string, query: string) =>
    await assert.rejects(get(route, query), (error: MayflyError) => error instanceof MayflyError && error.code === 'bad_request', query)

  it('lists the executions of all functions by how they ended and when they began', async () => {
    const of = async (query: string) =>
      (await get('/:ref/invocations', query)).invocations as (Shown & { readonly function: string; readonly outcome: string })[]
    const all = await of('limit=1000')
    assert.deepEqual(new Set(all.map(({ outcome }) => outcome)), new Set(['ok', 'cut', null]))
    assert.ok(all.every((one) => one.function === 'f'))
    for (const [state, outcome] of [
      ['succeeded', 'ok'],
      ['cut', 'cut'],
      ['running', null],
      ['failed', 'error'],
    ]) {
      const expected = all.filter((one) => one.outcome === outcome).map(({ id }) => id)
      assert.deepEqual(
        (await of(`state=${state}&function=f`)).map(({ id }) => id),
        expected,
        String(state),
      )
    }
    assert.deepEqual(await of('function=g'), [])
    const [newest, second] = all
    const { startedAt: from = '' } = second ?? {}
    assert.ok((await of(`from=${from}`)).some(({ id }) => id === newest?.id))
    assert.ok((await of(`to=${from}`)).every(({ startedAt }) => startedAt < from))
    const first = await get('/:ref/invocations', 'limit=2&state=succeeded')
    const next = await of(`limit=1&state=succeeded&before=${first.next}`)
    assert.equal(next[0]?.id, (await of('limit=3&state=succeeded'))[2]?.id)
    for (const query of ['state=none', 'from=yesterday', 'to=1', 'limit=0', 'before=x']) await refused('/:ref/invocations', query)
  })

  it('lists those of several functions in one order, page by page', async () => {
    const begun = Array.from({ length: 9 }, (_, n) => ({ invocationId: randomUUID(), functionName: ['b', 'a', 'c', 'a'][n % 4] as string, startedAt: at + n }))
    for (const one of begun) usage.started({ ...one, attempt: 1, project: 'several', version: '1', memoryMb: 128 })
    const seen: string[] = []
    let next: string | null = ''
    while (next !== null) {
      const page = await get('/:ref/invocations', next === '' ? 'limit=4' : `limit=4&before=${next}`, 'several')
      seen.push(...page.invocations.map(({ id }) => id))
      ;({ next } = page)
    }
    assert.deepEqual(seen, begun.map(({ invocationId }) => invocationId).toReversed())
    const of = async (query: string) => (await get('/:ref/invocations', query, 'several')).invocations.length
    assert.deepEqual([await of('function=a'), await of('function=c'), await of('function=none')], [4, 2, 0])
    assert.deepEqual((await get('/:ref/invocations', '', 'nobody')).invocations, [])
  })

  it('pages through the executions of a function, the newest first, none twice and none left out', async () => {
    for (const size of [1, 4, 24, 25, 26]) {
      const seen: Shown[] = []
      let next: string | null = ''
      for (let page = 0; next !== null && page < 30; page++) {
        const reply: { invocations: Shown[]; next: string | null } = await get('/invocations', `limit=${size}${next === '' ? '' : `&before=${next}`}`)
        seen.push(...reply.invocations)
        next = reply.next
      }
      assert.deepEqual(new Set(seen.map((one) => one.id)), new Set(ids), `pages of ${size}`)
      assert.equal(seen.length, ids.length)
      const times = seen.map((one) => one.startedAt)
      assert.deepEqual(times, [...times].sort().reverse())
    }
  })
  it('shows of each what it took and what it costs by itself', async () => {
    const { invocations } = await get('/invocations', 'limit=1000')
    const of = (n: number) => invocations.find((one) => one.id === ids[24 - n])
    assert.deepEqual(of(0), {
      ...{ id: ids[24], attempt: 1, version: '1', startedAt: '2026-07-01T00:00:00.000Z', outcome: 'ok', durationMs: 1_900.5, billedMs: 2_000 },
      ...{
        queueMs: 7.5,
        waitMs: 1,
        initMs: 2,
        runMs: 1_500.25,
        responseMs: 400.25,
        cold: 'first-call',
        memoryMb: 1_024,
        maxMemoryMb: 90,
        bytesIn: 3,
        bytesOut: 4,
        cost: '1.000001000',
      },
    })
    assert.deepEqual([of(23)?.outcome, of(23)?.cost], ['cut', '0.000000000'])
    assert.deepEqual([of(24)?.outcome, of(24)?.cost], [null, '0.000000000'])
    assert.deepEqual([of(1)?.queueMs, of(24)?.queueMs, of(24)?.responseMs, of(24)?.runMs], [null, null, null, 0], 'nothing was queued; it runs')
  })
  it('shows nothing of another project or function', async () => {
    assert.deepEqual(await get('/invocations', '', 'other'), { invocations: [], next: null })
    assert.deepEqual(await get('/invocations', '', 'demo', 'g'), { invocations: [], next: null })
    assert.deepEqual(await get('/invocations', '', 'demo', 'f\0'), await get('/invocations', '', 'demo', 'f'))
  })
  it('prices a window, its month counted from the first', async () => {
    const { usage: days, total, prices } = await get('/usage', 'days=3650')
    assert.deepEqual(asClientsRead(await usage.read('demo', 3650)), { usage: days, total, prices })
    assert.equal(days.length, 1)
    // 23 ran, 3 of them for nothing; 46 GB-seconds.
    assert.deepEqual([total.executions, total.cost, prices.currency], [23, '23.000020000', 'EUR'])
    assert.deepEqual((await get('/prices')).prices, prices)
  })
  it('counts why calls were cold by spans of time, of a project or of one function, over at most coldStartHours', async () => {
    const began = (minutesAgo: number) => Date.now() - minutesAgo * 60_000
    const cold = (functionName: string, why: string, startedAt: number) => {
      const start = { invocationId: randomUUID(), attempt: 1, project: 'chilly', functionName, version: '1', memoryMb: 128, startedAt }
      usage.started(start)
      const numbers = { durationMs: 1, billedMs: 1, maxMemoryMb: null, queueMs: null, waitMs: 0, initMs: 1, responseMs: 0, bytesIn: 0, bytesOut: 0 }
      usage.ended({ ...start, ...numbers, outcome: 'ok', cold: why === '' ? null : why })
    }
    for (const [why, minutes] of [
      ['first-call', 150],
      ['scale-out', 1],
      ['scale-out', 1],
      ['', 1],
      ['idle-drop', 30 * 60],
      ['idle-drop', 200 * 60],
    ] as const)
      cold('f', why, began(minutes))
    cold('g', 'reuse-never', began(150))
    interface Told {
      stepS: number
      spans: { at: string; reasons: Record<string, number> }[]
    }
    const told = async (query: string, ref = 'chilly') => (await get('/cold-starts', query, ref)) as unknown as Told
    const sums = ({ spans }: Told) =>
      spans.reduce<Record<string, number>>((sum, { reasons }) => {
        for (const [why, count] of Object.entries(reasons)) sum[why] = (sum[why] ?? 0) + count
        return sum
      }, {})
    const day = await told('')
    assert.deepEqual([day.stepS, sums(day)], [3600, { 'first-call': 1, 'scale-out': 2, 'reuse-never': 1 }])
    const fine = await told('hours=3')
    assert.equal(fine.stepS, 300)
    for (const { at } of fine.spans) assert.equal(Date.parse(at) % 300_000, 0)
    assert.ok(fine.spans.length >= 2 && fine.spans.every(({ at }, place) => place === 0 || at > (fine.spans[place - 1]?.at ?? '')))
    assert.deepEqual(sums(await told('hours=3&function=g')), { 'reuse-never': 1 })
    assert.deepEqual(sums(await told('function=f\0')), sums(await told('function=f')))
    assert.deepEqual(sums(await told(`hours=${LIMITS.coldStartHours.value}`)), { 'first-call': 1, 'scale-out': 2, 'idle-drop': 1, 'reuse-never': 1 })
    assert.deepEqual((await told('', 'other')).spans, [])
    for (const hours of ['0', '', 'x', '1.5', String(LIMITS.coldStartHours.value + 1)]) await refused('/cold-starts', `hours=${hours}`)
  })
  it('takes what has its form, up to invocationPage, and refuses the rest', async () => {
    const most = LIMITS.invocationPage.value
    await get('/invocations', `limit=${most}`)
    for (const limit of ['0', '-1', '1.5', 'x', '', String(most + 1)]) await refused('/invocations', `limit=${limit}`)
    for (const before of ['x', '1', `1_${'0'.repeat(36)}_1`, `1_${randomUUID()}`, `${'9'.repeat(18)}_${randomUUID()}_1`])
      await refused('/invocations', `before=${before}`)
    assert.deepEqual((await get('/invocations', `before=0_${randomUUID()}_1`)).invocations, [])
    assert.equal((await get('/invocations', `before=${'9'.repeat(17)}_${randomUUID()}_${'9'.repeat(9)}`)).invocations.length, 25)
    for (const days of ['0', 'x', '3651']) await refused('/usage', `days=${days}`)
    for (const by of ['', 'version', 'day,']) await refused('/usage', `by=${by}`)
  })
})

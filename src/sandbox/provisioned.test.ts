import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import { systemClock } from '../lib/clock.ts'
import { never, PoolFixture, silent, until } from './pool-fixture.ts'
import { Provisioned } from './provisioned.ts'
import { LoadError, type LogSink, type SandboxSpec } from './types.ts'

const spec = (key: string, memoryMb = 100, project = 'demo') => ({ key, memoryMb, timeoutMs: 1_000, identity: { project } }) as SandboxSpec
const settle = () => new Promise((resolve) => setImmediate(resolve))

/** With a clock whose timers the test fires, and loads that it lets succeed or fail. */
function standing(budgetMb = 1_000, projects = 1) {
  const timers: { ms: number; fire: () => void }[] = []
  let now = 0
  const loads: { key: string; spec: SandboxSpec; limitMs: number; done: () => object; failed: (error: Error) => void }[] = []
  const provisioned = new Provisioned<object>({
    load: (wanted, limitMs, made) =>
      new Promise((resolve, reject) => {
        loads.push({
          key: wanted.key,
          spec: wanted,
          limitMs,
          done: () => {
            const sandbox = {}
            made(sandbox)
            resolve()
            return sandbox
          },
          failed: reject,
        })
      }),
    budgetMb: () => budgetMb,
    projects: () => projects,
    atOnce: 2,
    clock: {
      ...systemClock,
      monotonic: () => now,
      timer: (ms, fire) => {
        const timer = { ms, fire }
        timers.push(timer)
        return { [Symbol.dispose]: () => void timers.splice(timers.indexOf(timer) >>> 0, 1) }
      },
    },
    log: silentLog,
  })
  const fire = async () => {
    timers.shift()?.fire()
    await settle()
  }
  return { provisioned, loads, timers, fire, pass: (ms: number) => (now += ms) }
}

describe('Provisioned', () => {
  test('makes as many as are wanted, two at once, each with 130 s to load (provisionedLoadTime)', async () => {
    const { provisioned, loads } = standing()
    provisioned.set(spec('a'), 3)
    assert.deepEqual([loads.length, loads[0]?.limitMs], [2, 130_000])
    assert.deepEqual(provisioned.state('a'), { requested: 3, available: 0, status: 'IN_PROGRESS', reason: null })
    loads[0]?.done()
    await settle()
    assert.equal(loads.length, 3)
    for (const load of loads.slice(1)) load.done()
    await settle()
    assert.deepEqual(provisioned.state('a'), { requested: 3, available: 3, status: 'READY', reason: null })
    provisioned.set(spec('a'), 3)
    assert.equal(loads.length, 3, 'the same again makes nothing')
  })

  test('gives each project its equal share of what provisioned sandboxes may have, whoever came first', async () => {
    const { provisioned, loads } = standing(1_000, 3)
    provisioned.set(spec('first', 100, 'greedy'), 3)
    assert.match(provisioned.state('first')?.reason ?? '', /3 sandboxes of 100 MB do not fit: of the 250 MB that provisioned sandboxes of one project/)
    provisioned.set(spec('first', 100, 'greedy'), 2)
    provisioned.set(spec('more', 100, 'greedy'), 1)
    provisioned.set(spec('other', 100, 'late'), 2)
    assert.deepEqual([provisioned.state('first')?.reason, provisioned.state('other')?.reason], [null, null])
    assert.match(provisioned.state('more')?.reason ?? '', /200 MB are taken/)
    for (const load of loads) load.done()
    await settle()
    for (const load of loads.slice(2)) load.done()
    await settle()
    assert.deepEqual([provisioned.state('first')?.status, provisioned.state('more')?.status, provisioned.state('other')?.status], ['READY', 'FAILED', 'READY'])
  })

  test('replaces one that is gone, after a while', async () => {
    const { provisioned, loads, timers, fire } = standing()
    provisioned.set(spec('a'), 1)
    const first = loads[0]?.done() as object
    await settle()
    assert.ok(provisioned.holds(first))
    provisioned.gone(first)
    assert.deepEqual([loads.length, timers[0]?.ms, provisioned.holds(first)], [1, 250, false])
    assert.equal(provisioned.state('a')?.status, 'READY', 'that is no news')
    await fire()
    loads[1]?.done()
    await settle()
    assert.equal(provisioned.state('a')?.available, 1)
  })

  test('lets code that ends whenever it is loaded wait longer and longer, and forgets that once one has lasted', async () => {
    const { provisioned, loads, timers, fire, pass } = standing()
    provisioned.set(spec('a'), 1)
    const lose = async (lastedMs: number): Promise<number | undefined> => {
      const sandbox = loads.at(-1)?.done() as object
      await settle()
      pass(lastedMs)
      provisioned.gone(sandbox)
      const ms = timers[0]?.ms
      await fire()
      return ms
    }
    assert.deepEqual([await lose(10), await lose(10), await lose(10)], [250, 500, 1_000])
    for (let i = 0; i < 10; i++) await lose(10)
    assert.equal(await lose(59_999), 60_000)
    assert.deepEqual([await lose(60_000), await lose(10)], [250, 500])
  })

  test('gives each project its turn, however much and however slow is what another wants', async () => {
    const { provisioned, loads } = standing()
    provisioned.set(spec('slow', 1, 'greedy'), 100)
    provisioned.set(spec('slower', 1, 'greedy'), 100)
    provisioned.set(spec('b', 1, 'other'), 2)
    assert.deepEqual(
      loads.map(({ key }) => key),
      ['slow', 'slow'],
    )
    for (let i = 0; i < 4; i++) {
      loads[i]?.done()
      await settle()
    }
    assert.equal(loads.slice(0, 6).filter(({ key }) => key === 'b').length, 2)
  })

  test('tells no more of why the code does not load than a person reads', async () => {
    const { provisioned, loads } = standing()
    provisioned.set(spec('a'), 1)
    loads.at(-1)?.failed(new LoadError('Error', Buffer.from(JSON.stringify({ errorMessage: 'no '.repeat(20_000) }))))
    await settle()
    const state = provisioned.state('a')
    assert.ok(state?.status === 'FAILED' && state.detail?.startsWith('no no no') && state.detail.length <= 1_000)
  })

  test('says that the code does not load, and tries again with growing pauses', async () => {
    const { provisioned, loads, timers, fire } = standing()
    provisioned.set(spec('a'), 1)
    for (const pause of [1_000, 2_000, 4_000]) {
      loads.at(-1)?.failed(new LoadError('Error', Buffer.from('{"errorMessage":"no"}')))
      await settle()
      assert.deepEqual(provisioned.state('a'), { requested: 1, available: 0, status: 'FAILED', reason: 'FUNCTION_ERROR_INIT_FAILURE', detail: 'no' })
      assert.equal(timers[0]?.ms, pause)
      await fire()
    }
    loads.at(-1)?.done()
    await settle()
    assert.equal(provisioned.state('a')?.status, 'READY')
  })

  test('takes a share of the memory and no more (provisionedMemory); who came first has it', async () => {
    const { provisioned, loads } = standing(1_000)
    const most = (1_000 * LIMITS.provisionedMemory.value) / 100
    provisioned.set(spec('a', most - 100), 1)
    provisioned.set(spec('b', 100), 1)
    assert.equal(loads.length, 2, 'to the edge')
    provisioned.set(spec('c', 1), 1)
    assert.equal(loads.length, 2)
    assert.deepEqual(provisioned.state('c')?.status, 'FAILED')
    assert.match(provisioned.state('c')?.reason ?? '', /1 sandboxes of 1 MB do not fit: of the 750 MB .* 750 MB are taken/)
    for (const load of loads) load.done()
    await settle()
    provisioned.drop('a')
    assert.equal(loads.at(-1)?.key, 'c', 'what did not fit is made when there is room')
    assert.equal(provisioned.state('a'), null)
  })

  test('makes those of another spec of its version, when the former ones have ended', async () => {
    const { provisioned, loads, fire } = standing()
    const [former, now] = [spec('a'), spec('a')]
    provisioned.set(former, 1)
    const old = loads[0]?.done() as object
    await settle()
    provisioned.set(now, 1)
    assert.equal(provisioned.state('a')?.available, 1)
    provisioned.gone(old)
    await fire()
    assert.equal(loads[1]?.spec, now)
  })

  test('lets go of what is too many', async () => {
    const { provisioned, loads } = standing()
    provisioned.set(spec('a'), 2)
    const made = loads.map((load) => load.done())
    await settle()
    provisioned.set(spec('a'), 1)
    assert.deepEqual(
      made.map((one) => provisioned.holds(one)),
      [true, false],
    )
    provisioned.drop('a')
    assert.deepEqual([provisioned.keys(), provisioned.holds(made[0] as object)], [[], false])
  })
})

describe('provisioned sandboxes of a pool', { timeout: 60_000 }, () => {
  const fixture = new PoolFixture('process', {
    counts: `console.log('loading'); let n = 0; exports.handler = async () => ++n`,
    dies: `exports.handler = async () => process.exit(3)`,
    broken: `throw new Error('does not load')`,
  })
  before(() => fixture.openFirst())
  after(() => fixture[Symbol.asyncDispose]())
  const ready = (key: string, from = fixture.pool) => until(() => from.provisioned(key)?.status === 'READY')

  test('take calls warm, the first ones too, and tell the first what was printed', async () => {
    const spec = fixture.specOf('counts')
    fixture.pool.provision(spec, 2)
    await ready(spec.key)
    const printed: string[] = []
    const log: LogSink = { write: (_stream, bytes) => void printed.push(Buffer.from(bytes).toString()), lost: () => {} }
    using one = await fixture.pool.acquire(spec, log, never)
    using two = await fixture.pool.acquire(spec, log, never)
    assert.deepEqual([one.cold, one.initMs, two.cold], [null, 0, null])
    assert.equal(printed.filter((text) => text.includes('loading')).length, 2)
    {
      using third = await fixture.pool.acquire(spec, silent, never)
      assert.equal(third.cold, 'scale-out')
    }
    one[Symbol.dispose]()
    using next = await fixture.pool.acquire(spec, silent, never)
    assert.equal(next.sandboxId, one.sandboxId, 'what is provisioned comes before what was used last')
  })

  test('stay when they stand idle, and when others want their memory', async () => {
    await using small = await fixture.open({ poolSize: 0, idleMs: 1_000, memoryMb: 400 })
    const spec = fixture.specOf('counts')
    small.provision(spec, 2)
    await ready(spec.key, small)
    await systemClock.sleep(2_500)
    assert.equal(small.provisioned(spec.key)?.available, 2)
    await assert.rejects(small.acquire(fixture.specOf('counts', { key: 'other', memoryMb: 200 }), silent, never), { code: 'too_many_invocations' })
    small.unprovision(spec.key)
    using _ = await small.acquire(fixture.specOf('counts', { key: 'other', memoryMb: 200 }), silent, never)
  })

  test('are replaced when they are lost, and end when their version is retired', async () => {
    const spec = fixture.specOf('dies')
    fixture.pool.provision(spec, 1)
    await ready(spec.key)
    const { id } = await fixture.call(spec)
    await until(() => fixture.pool.provisioned(spec.key)?.available === 1)
    const now = fixture.pool.status().sandboxes.filter(({ key }) => key === spec.key)
    assert.deepEqual([now.length, now[0]?.id === id], [1, false])
    fixture.pool.retire(spec.key)
    await until(() => !fixture.pool.status().sandboxes.some(({ key }) => key === spec.key))
    assert.equal(fixture.pool.provisioned(spec.key), null)
  })

  test('of code that does not load are none, and that is said', async () => {
    const spec = fixture.specOf('broken')
    fixture.pool.provision(spec, 1)
    await until(() => fixture.pool.provisioned(spec.key)?.status === 'FAILED')
    assert.equal(fixture.pool.provisioned(spec.key)?.reason, 'FUNCTION_ERROR_INIT_FAILURE')
    fixture.pool.unprovision(spec.key)
    assert.equal(fixture.pool.provisioned(spec.key), null)
  })
})

test('what is loaded when fewer are wanted, or none any more, is held by nobody', async () => {
  const { provisioned, loads } = standing()
  provisioned.set(spec('a'), 2)
  assert.equal(loads.length, 2)
  provisioned.set(spec('a'), 1)
  const [first, second] = loads.map((load) => load.done())
  await settle()
  assert.deepEqual([provisioned.holds(first as object), provisioned.holds(second as object)], [true, false])
  assert.equal(provisioned.state('a')?.available, 1)
  provisioned.set(spec('b'), 1)
  provisioned.drop('b')
  const late = loads[2]?.done() as object
  await settle()
  assert.equal(provisioned.holds(late), false)
  provisioned.set(spec('b'), 1)
  assert.equal(provisioned.state('b')?.available, 0)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { Spares } from './spares.ts'
import type { SandboxSpec } from './types.ts'

interface Standing {
  readonly spec: SandboxSpec
  readonly calls: number
}
const specOf = (key: string, reuse: SandboxSpec['reuse'] = 'function') => ({ key, reuse }) as SandboxSpec

/** Spares of fake sandboxes: what is asked for stands idle when `take` has not taken it. */
function standing(most = 8) {
  const clock = new VirtualClock()
  const idle: { sandbox: Standing; sinceMs: number }[] = []
  const made: Record<string, number> = {}
  const dropped: string[] = []
  let coming = 0
  const of = (key: string) => idle.filter(({ sandbox }) => sandbox.spec.key === key)
  const spares: Spares<Standing> = new Spares<Standing>({
    most,
    clock,
    startMs: () => 100,
    idle: (key) => of(key).length,
    coming: () => coming,
    make: (spec, count) => {
      made[spec.key] = (made[spec.key] ?? 0) + count
      for (let n = 0; n < count; n++) {
        const sandbox = { spec, calls: 0 }
        idle.push({ sandbox, sinceMs: clock.monotonic() })
        spares.made(sandbox, spec, 50)
      }
    },
    drop: (sandbox) => {
      dropped.push(sandbox.spec.key)
      idle.splice(
        idle.findIndex((one) => one.sandbox === sandbox),
        1,
      )
    },
  })
  const take = (key: string) => {
    const [one] = of(key)
    if (one) idle.splice(idle.indexOf(one), 1)
  }
  const comes = (count: number) => {
    coming = count
  }
  return { clock, spares, idle, made, dropped, of, take, comes }
}

test('a version that is called seldom has none; one whose calls find all busy again and again has some', async () => {
  const { clock, spares, made } = standing()
  const spec = specOf('seldom')
  for (let n = 0; n < 5; n++) {
    spares.served(spec)
    await clock.pass(60_000)
  }
  assert.deepEqual([made, spares.wanted(spec)], [{}, 0])
  const busy = specOf('busy')
  for (let n = 0; n < 3; n++) spares.served(busy)
  assert.deepEqual([made, spares.wanted(busy)], [{ busy: 1 }, 1])
})

test('the more often calls come, the more are ready, up to the most', async () => {
  const { clock, spares, of, take } = standing()
  const spec = specOf('once', 'never')
  spares.served(spec)
  assert.equal(of('once').length, 1)
  const after = async (perSecond: number) => {
    for (let n = 0; n < perSecond * 40; n++) {
      take('once')
      spares.served(spec)
      await clock.pass(1_000 / perSecond)
    }
    return of('once').length
  }
  const [slow, fast, faster] = [await after(1), await after(10), await after(100)]
  assert.ok(slow >= 1 && fast > slow && faster === 8, `${slow}, ${fast}, ${faster}`)
})

test('what no call has used goes when calls do not come any more; of what serves one call each the last one stays', async () => {
  const { clock, spares, idle, of, dropped } = standing()
  const [once, busy] = [specOf('once', 'never'), specOf('busy')]
  for (let n = 0; n < 200; n++) {
    spares.served(once)
    spares.served(busy)
  }
  idle.push({ sandbox: { spec: busy, calls: 3 }, sinceMs: 0 }, { sandbox: { spec: busy, calls: 0 }, sinceMs: 0 })
  const before = [of('once').length, of('busy').length] as const
  assert.ok(before[0] > 2 && before[1] > 2)
  spares.sweep([...idle])
  assert.deepEqual(dropped, [], 'they are young')
  await clock.pass(100_000)
  spares.sweep([...idle])
  // One that has served calls, and one that a deploy has loaded, are no spares.
  assert.deepEqual([of('once').length, of('busy').length], [1, 2])
})

test('none are kept where the most is 0, but for what serves one call each', () => {
  const { spares } = standing(0)
  const [once, busy] = [specOf('once', 'never'), specOf('busy')]
  for (let n = 0; n < 50; n++) {
    spares.served(once)
    spares.served(busy)
  }
  assert.deepEqual([spares.wanted(once), spares.wanted(busy)], [1, 0])
})

test('of those that wait for their start only what is still wanted is made, when calls do not come any more', async () => {
  const { clock, spares, comes, take } = standing()
  const [once, busy] = [specOf('once', 'never'), specOf('busy')]
  comes(8)
  for (let n = 0; n < 200; n++) {
    spares.served(once)
    spares.served(busy)
  }
  assert.deepEqual(
    [once, busy].map((spec) => spares.isWanted(spec)),
    [true, true],
    'eight are wanted, and it is one of them',
  )
  await clock.pass(60_000)
  assert.deepEqual(
    [once, busy].map((spec) => spares.isWanted(spec)),
    [false, false],
  )
  // The last of them is one that is wanted in any case.
  comes(1)
  assert.deepEqual(
    [once, busy].map((spec) => spares.isWanted(spec)),
    [true, false],
  )
  comes(0)
  spares.served(once)
  assert.equal(spares.isWanted(once), false, 'it stands')
  take('once')
  assert.equal(spares.isWanted(once), true)
})

test('what a call has used is kept as any other is, however long nobody wants it', async () => {
  const { clock, spares, idle, dropped } = standing()
  const spec = specOf('seldom')
  for (const calls of [1, 0]) {
    const sandbox = { spec, calls }
    idle.push({ sandbox, sinceMs: clock.monotonic() })
    spares.made(sandbox, spec, 50)
  }
  await clock.pass(60_000)
  spares.sweep(idle)
  assert.deepEqual([dropped, idle.map(({ sandbox }) => sandbox.calls)], [['seldom'], [1]])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { StartQueue } from './start-queue.ts'

const never = new AbortController().signal
const BOOT_MS = 100

interface Arrival {
  readonly project: string
  readonly atMs: number
  readonly kind: string
}

/** How long each call of `project` waits, when so many are started at once and each start takes the same. */
async function waits(starts: number, project: string, arrivals: readonly Arrival[]): Promise<number[]> {
  const clock = new VirtualClock()
  const queue = new StartQueue<string, string>({ starts, clock, start: async (kind) => clock.sleep(BOOT_MS).then(() => kind), surplus: () => {} })
  const waited: number[] = []
  const calls = arrivals.map(async (arrival, n) => {
    await clock.sleep(arrival.atMs)
    const from = clock.monotonic()
    await queue.wait({ project: arrival.project, key: `${arrival.project}${n % 3}`, kind: arrival.kind }, never)
    if (arrival.project === project) waited.push(clock.monotonic() - from)
  })
  await clock.pass(29_000)
  await Promise.all(calls)
  return waited
}
const burst = (count: number, kind = '512'): Arrival[] => Array.from({ length: count }, () => ({ project: 'loud', atMs: 0, kind }))

const times = fc.array(fc.integer({ min: 0, max: 1_500 }), { minLength: 1, maxLength: 12 })
const quiet = (atMs: number): Arrival => ({ project: 'quiet', atMs, kind: '512' })

test('the burst of one project at most doubles how long the cold calls of another wait', { timeout: 60_000 }, async () => {
  const [at, count, loud] = [fc.integer({ min: 0, max: 1_500 }), fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 200 })]
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 8 }), loud, at, count, async (starts, burstOf, atMs, calls) => {
      const own = Array.from({ length: calls }, () => quiet(atMs))
      const alone = Math.max(...(await waits(starts, 'quiet', own)))
      const beside = Math.max(...(await waits(starts, 'quiet', [...burst(burstOf), ...own])))
      assert.ok(beside <= 2 * alone, `${beside} ms beside a burst of ${burstOf}, ${alone} ms alone; ${starts} starts at once`)
    }),
    { numRuns: 60 },
  )
})

test('beside a burst a project has half of the starts, whenever its calls come', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), times, async (half, arrivals) => {
      const own = arrivals.map(quiet)
      const alone = Math.max(...(await waits(half, 'quiet', own)))
      const beside = Math.max(...(await waits(2 * half, 'quiet', [...burst(200), ...own])))
      // Nobody is served in the middle of a start.
      assert.ok(beside <= alone + BOOT_MS, `${beside} ms beside a burst, ${alone} ms alone with half of the starts`)
    }),
    { numRuns: 60 },
  )
})

test('what the burst has started already is the only thing that another kind waits for besides', async () => {
  const own = [0, 1, 2, 3].map((n): Arrival => ({ project: 'quiet', atMs: 250 + n, kind: 'python3.x 512' }))
  const alone = Math.max(...(await waits(4, 'quiet', own)))
  const beside = Math.max(...(await waits(4, 'quiet', [...burst(200), ...own])))
  assert.ok(beside <= 2 * alone + BOOT_MS, `${beside} ms, ${alone} ms alone`)
})

test('the calls of one version are served in the order they came, all of them', async () => {
  const clock = new VirtualClock()
  const queue = new StartQueue<number, string>({ starts: 2, clock, start: async () => clock.sleep(BOOT_MS).then(() => 1), surplus: () => {} })
  const served: number[] = []
  for (let n = 0; n < 40; n++) void queue.wait({ project: 'p', key: 'k', kind: 'x' }, never).then(() => served.push(n))
  await clock.pass(20 * BOOT_MS)
  assert.deepEqual(
    served,
    Array.from({ length: 40 }, (_, n) => n),
  )
})

test('while others have calls a project has no more starts under way than it may, and all of its calls are served', async () => {
  const clock = new VirtualClock()
  const state = { most: 2, under: 0, highest: 0 }
  const queue = new StartQueue<number, string>({
    starts: 4,
    most: (project) => (project === 'loud' ? state.most : 4),
    clock,
    start: async (_kind, project) => {
      if (project === 'loud') state.highest = Math.max(state.highest, ++state.under)
      await clock.sleep(BOOT_MS)
      if (project === 'loud') state.under--
      return 1
    },
    surplus: () => {},
  })
  let served = 0
  for (let n = 0; n < 20; n++) void queue.wait({ project: 'loud', key: 'k', kind: 'x' }, never).then(() => served++)
  await clock.pass(2 * BOOT_MS)
  assert.deepEqual([state.highest, served], [2, 4])
  // Another's is begun at once, however many wait.
  const asked = clock.monotonic()
  const own = queue.wait({ project: 'quiet', key: 'own', kind: 'y' }, never).then(() => clock.monotonic() - asked)
  await clock.pass(BOOT_MS)
  assert.equal(await own, BOOT_MS)
  state.most = 4
  await clock.pass(4 * BOOT_MS)
  assert.deepEqual([state.highest, served], [4, 20])
})

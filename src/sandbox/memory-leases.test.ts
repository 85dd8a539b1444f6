import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { openInProcessBus } from '../backends/bus/in-process.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { MemoryBudget } from './memory-budget.ts'
import { leasedMemory, MemoryLender, type MemorySource } from './memory-leases.ts'
import { type Server, Serving } from './serving.ts'

/** What a process has of sandboxes: those that run, and those that stand idle. */
function processOf(source: MemorySource, clock: VirtualClock) {
  const serving = new Serving<Server>({ wants: () => false, holds: () => false, first: () => null })
  const dropped: Server[] = []
  const budget = new MemoryBudget<Server>({
    totalMb: 0,
    source,
    serving,
    shares: { projects: () => 1, weightOf: () => 1 },
    clock,
    waiting: { mb: () => 0, drop: () => false },
    drop: (sandbox) => {
      dropped.push(sandbox)
      serving.remove(sandbox)
    },
  })
  let made = 0
  return {
    budget,
    dropped,
    /** As a call that finds no sandbox. @returns whether it got one */
    async run(memoryMb: number): Promise<Server | null> {
      const wanted = { key: `k${made++}`, memoryMb, identity: { project: 'p' } }
      for (let grown = 0; budget.lacks(wanted) && (await budget.grow(wanted, grown)); ) grown++
      try {
        budget.makeRoom(wanted)
      } catch {
        return null
      }
      const sandbox: Server = { state: { state: 'busy', calls: 1 }, spec: { ...wanted, concurrency: 1, reuse: 'function' } }
      serving.add(sandbox)
      return sandbox
    },
    rests(sandbox: Server): void {
      serving.remove(sandbox)
      serving.add(Object.assign(sandbox, { state: { state: 'ready', sinceMs: clock.monotonic() } }))
    },
    ends: (sandbox: Server) => serving.remove(sandbox),
  }
}

function node(totalMb: number) {
  const [clock, bus] = [new VirtualClock(), openInProcessBus()]
  const lender = new MemoryLender(bus, totalMb, 3)
  const processes = [lender.own, ...[1, 2].map((worker) => leasedMemory(bus, worker, lender.firstOf(worker)))].map((source) => processOf(source, clock))
  const all = () => processes.reduce((sum, { budget }) => sum + budget.totalMb, 0)
  return { lender, processes: processes as [ReturnType<typeof processOf>, ReturnType<typeof processOf>, ReturnType<typeof processOf>], all }
}

test('a process that needs more than its part gets what the others do not use, and half of a part stays with each', async () => {
  const { lender, processes, all } = node(900)
  const [main, home, other] = processes
  assert.deepEqual([home.budget.totalMb, lender.mostMb], [300, 600])
  const ran = [await home.run(500), await home.run(100), await home.run(1)]
  assert.deepEqual(
    ran.map((one) => one !== null),
    [true, true, false],
  )
  assert.ok(all() <= 900)
  assert.ok((await main.run(150)) && (await other.run(150)))
  assert.equal(await other.run(1), null, 'all of it runs')
})

test('who has less than its part gets it back of idle sandboxes elsewhere; who has its part gets no more than stands unused', async () => {
  const { processes } = node(900)
  const [, home, other] = processes
  const many = []
  for (let i = 0; i < 6; i++) many.push((await home.run(100)) as Server)
  for (const one of many) home.rests(one)
  assert.ok(await other.run(300))
  assert.equal(home.dropped.length, 2, 'the oldest two, for the 150 MB it had less, of 100 each')
  assert.deepEqual(home.dropped, many.slice(0, 2))
  assert.equal(await other.run(200), null)
  assert.equal(home.dropped.length, 2)
})

test('a worker that died begins with no more than its part, and what it had of others is free', async () => {
  const { lender, processes } = node(900)
  const [main, home] = processes
  await home.run(600)
  assert.equal(lender.firstOf(1), 300)
  lender.join(1)
  assert.ok(await main.run(400))
})

test('many at once ask once, and nobody is refused while memory stands unused', async () => {
  const { processes, all } = node(3_000)
  const ran = await Promise.all(Array.from({ length: 20 }, () => processes[1].run(100)))
  assert.ok(ran.every((one) => one !== null))
  assert.ok(all() <= 3_000)
})

test('there is never more than all of it, in whatever order it is asked for and given back', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 300 }), fc.boolean()), { maxLength: 60 }), async (steps) => {
      const { processes, all } = node(900)
      const running: { at: number; sandbox: Server }[] = []
      await Promise.all(
        steps.map(async ([at, mb, isEnd]) => {
          const process = processes[at] as ReturnType<typeof processOf>
          const done = isEnd ? running.shift() : undefined
          if (done) return void processes[done.at]?.ends(done.sandbox)
          const sandbox = await process.run(mb)
          if (sandbox) running.push({ at, sandbox })
          assert.ok(all() <= 900)
        }),
      )
      for (const { budget } of processes) assert.ok(budget.usedMb <= budget.totalMb)
    }),
  )
})

test('idle sandboxes go for who has less than an even part, and only down to an even part of who has more', async () => {
  const bus = openInProcessBus()
  using lender = new MemoryLender(bus, 900, 3)
  const asked: [number, boolean][] = []
  const { own } = lender
  const [first, second] = [1, 2].map((worker) => leasedMemory(bus, worker, lender.firstOf(worker)))
  assert.ok(first && second)
  for (const worker of [first, second]) worker.lends(({ leastMb }) => leastMb)
  let has = 300
  own.lends(({ leastMb, evict }) => {
    asked.push([leastMb, evict])
    if (evict) has = leastMb
    return has
  })
  has = await own.more(200)
  assert.equal(has, 500)
  assert.equal(await first.more(150), 300)
  assert.deepEqual(asked, [
    [150, false],
    [300, true],
  ])
})

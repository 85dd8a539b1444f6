import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { detectHierarchies } from '../lib/cgroup.ts'
import { systemClock } from '../lib/clock.ts'
import { runcVersion } from './drivers/oci-runtimes.ts'
import { eventOf, never, PoolFixture, silent } from './pool-fixture.ts'
import type { Sandboxes, SandboxSpec } from './types.ts'

const isolated = process.getuid?.() === 0 && (await runcVersion()) !== null
const CODE = {
  plain: `exports.handler = async (event) => { if (event.exit) process.exit(3); await new Promise((done) => setTimeout(done, event.ms ?? 0)); return 'fine' }`,
  broken: `throw new Error('does not load')`,
  never: `exports.handler = () => new Promise(() => setInterval(() => {}, 1000))`,
}
const OPERATIONS = 200
const AT_ONCE = 6

const fixture = new PoolFixture(isolated ? 'runc' : 'process', CODE)
after(() => fixture[Symbol.asyncDispose]())
const { all: TREES } = await detectHierarchies()

/** Something that comes to a pool; whatever it comes to, it ends. */
type Operation = (pool: Sandboxes, turn: number) => Promise<unknown>
const call = async (pool: Sandboxes, spec: SandboxSpec, event: object, signal = never) => {
  using lease = await pool.acquire(spec, silent, signal)
  await lease.run(eventOf(event), silent, signal)
  await lease.finished
}
const spec = (code: keyof typeof CODE, changes: Partial<SandboxSpec> = {}) => fixture.specOf(code, { memoryMb: 64, ...changes })
const plain = [spec('plain'), spec('plain', { key: 'shared', concurrency: 3 }), spec('plain', { key: 'once', reuse: 'never' })]
const of = (turn: number) => plain[turn % plain.length] as SandboxSpec
const OPERATIONS_BY_NAME: Record<string, Operation> = {
  call: (pool, turn) => call(pool, of(turn), { ms: turn % 20 }),
  again: (pool, turn) => call(pool, of(turn), {}),
  exit: (pool, turn) => call(pool, of(turn), { exit: true }),
  leave: (pool, turn) => call(pool, of(turn), { ms: 100 }, AbortSignal.timeout(turn % 60)),
  broken: (pool) => call(pool, spec('broken'), {}),
  late: (pool) => call(pool, spec('never', { timeoutMs: 100 }), {}),
  retire: async (pool, turn) => pool.retire(of(turn).key),
  restart: async (pool, turn) => {
    const former = of(turn)
    plain[turn % plain.length] = { ...former, environment: { TURN: String(turn) } }
    pool.restart(former)
  },
  provision: async (pool, turn) => {
    pool.provision(of(turn), 1)
    await systemClock.sleep(turn % 150)
    pool.unprovision(of(turn).key)
  },
  build: (pool, turn) => pool.build(of(turn)),
  start: (pool, turn) => pool.start(of(turn)),
  rest: (_pool, turn) => systemClock.sleep(turn % 80),
  kill: async () => {
    const [pid] = guests()
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
  },
}

const groups = (): string[] => TREES.map((tree) => path.join(tree, `mayfly-${fixture.driverName}`))
const names = (folder: string): string[] => {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
const guests = (): number[] => {
  const [first = ''] = groups()
  return names(first).flatMap((id) => {
    try {
      return readFileSync(path.join(first, id, 'cgroup.procs'), 'utf8')
        .split('\n')
        .filter(Boolean)
        .map(Number)
    } catch {
      return []
    }
  })
}
/** What this process and the machine hold of sandboxes. */
const held = () => ({
  descriptors: names('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) !== ''
    } catch {
      return false // that of the look itself
    }
  }).length,
  mounts: readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(fixture.data) || line.includes(fixture.driverName)),
  groups: groups().flatMap(names),
  processes: names('/proc').filter((pid) => /^\d+$/.test(pid) && parentOf(pid) === String(process.pid)),
  bundles: names('/run').filter((name) => name.includes(fixture.driverName)),
  slots: names(path.join(fixture.folder, 'sandboxes', 'slots')),
  timers: process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length,
})
const parentOf = (pid: string): string | undefined => {
  try {
    return /\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

test(`${OPERATIONS} operations in any order on real sandboxes leave no process, control group, mount, descriptor, folder or timer`, {
  timeout: 180_000,
}, async () => {
  const [order] = fc.sample(
    fc.array(fc.tuple(fc.constantFrom(...Object.keys(OPERATIONS_BY_NAME)), fc.nat({ max: 999 })), {
      minLength: OPERATIONS,
      maxLength: OPERATIONS,
      size: 'max',
    }),
    1,
  )
  /** The first round opens what stays open of this process. */
  const round = async (operations: readonly (readonly [string, number])[]) => {
    const pool = await fixture.open({ poolSize: 1, memoryMb: 512, idleMs: 1_000 })
    let next = 0
    const work = async () => {
      for (let one = operations[next++]; one; one = operations[next++]) await OPERATIONS_BY_NAME[one[0]]?.(pool, one[1]).catch(() => {})
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    assert.ok(pool.status().memory.usedMb <= 512)
    await pool[Symbol.asyncDispose]()
    return held()
  }
  const before = await round([
    ['call', 1],
    ['build', 0],
    ['exit', 2],
  ])
  const behind = await round(order ?? [])
  assert.deepEqual(behind, before)
  assert.deepEqual([behind.mounts, behind.groups, behind.bundles, behind.slots], [[], [], [], []])
})

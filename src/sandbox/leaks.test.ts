import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { detectHierarchies } from '../lib/cgroup.ts'
import { systemClock } from '../lib/clock.ts'
import { runcVersion } from './drivers/oci-runtimes.ts'
import { tagOf } from './egress/networks.ts'
import { TABLE } from './egress/rules.ts'
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
/** So many networks may stand ready for sandboxes to come, where several were wanted at once. */
const MOST_SPARE = 24
const MOST_HULLS = 2

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
const plain = [
  spec('plain', { egress: { mode: 'internet' } }),
  spec('plain', { key: 'shared', concurrency: 3, egress: { mode: 'hosts', hosts: ['9.9.9.9'] } }),
  spec('plain', { key: 'once', reuse: 'never' }),
]
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
/** What the networks of sandboxes are named by. */
const tag = () => tagOf(fixture.driverName)
const isOurs = (text: string) => [fixture.data, fixture.driverName, tag()].some((name) => text.includes(name))
const read = (file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
const target = (link: string): string => {
  try {
    return readlinkSync(link)
  } catch {
    return ''
  }
}
const pids = () => names('/proc').filter((name) => /^\d+$/.test(name))
const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts']
/** Of the kernel's lists, what has our names. */
const nft = (where: readonly string[], what: readonly string[]): { elem?: unknown[]; name?: string }[] => {
  const [program = '', ...args] = [...where, 'nft', '-j', 'list', ...what]
  const { stdout, status } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) return []
  return (JSON.parse(stdout) as { nftables: Record<string, { elem?: unknown[]; name?: string }>[] }).nftables.flatMap((one) => Object.values(one))
}
const networks = (): string[] => names('/run/netns').filter((name) => name.includes(tag()))

/** What this process and the machine hold of sandboxes. */
const held = () => {
  // Whoever lives in a sandbox sees its mounts, whoever its parent is by now.
  const guests = pids().filter((pid) => target(`/proc/${pid}/ns/user`) !== target('/proc/self/ns/user') && isOurs(read(`/proc/${pid}/mountinfo`)))
  const processes = pids().filter((pid) => parentOf(pid) === String(process.pid))
  const descriptors = names('/proc/self/fd').flatMap((fd) => target(`/proc/self/fd/${fd}`).replace(/:?\[?\d+\]?$/, '') || [])
  const namespaces = new Set([...guests, ...processes].flatMap((pid) => NAMESPACES.map((name) => target(`/proc/${pid}/ns/${name}`))))
  for (const name of NAMESPACES) namespaces.delete(target(`/proc/self/ns/${name}`))
  namespaces.delete('')
  return {
    descriptors: Object.entries(Object.groupBy(descriptors, (kind) => (kind.startsWith('/') ? 'file' : kind)))
      .map(([kind, all]) => `${kind} ${all?.length}`)
      .toSorted(),
    mounts: read('/proc/self/mountinfo').split('\n').filter(isOurs),
    groups: groups().flatMap(names),
    processes,
    guests,
    namespaces: [...namespaces],
    networks: networks(),
    links: names('/sys/class/net').filter((name) => name.includes(tag())),
    tables: nft([], ['tables']).flatMap(({ name }) => (name?.includes(tag()) ? name : [])),
    sockets: read('/proc/net/unix').split('\n').filter(isOurs),
    folders: ['/run', tmpdir()].flatMap((folder) => names(folder).filter((name) => isOurs(name) && !fixture.data.endsWith(name))),
    slots: names(path.join(fixture.folder, 'sandboxes', 'slots')),
    timers: process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length,
  }
}
const parentOf = (pid: string): string | undefined => {
  return /\) \S (\d+)/.exec(read(`/proc/${pid}/stat`))?.[1]
}

/** Resolves when no version has a sandbox, and there is nothing beside those that wait for one. @throws what is left after 20 s */
async function atRest(pool: Sandboxes): Promise<void> {
  const isNetworked = networks().length > 0
  for (const end = systemClock.monotonic() + 20_000; ; ) {
    const { sandboxes, generic } = pool.status()
    const all = groups()
      .slice(0, 1)
      .flatMap((group) => names(group).flatMap((name) => (name.startsWith('s-') ? path.join(group, name) : [])))
    const slots = names(path.join(fixture.folder, 'sandboxes', 'slots')).length
    // What each is described by, and what its runtime keeps of it.
    const [bundles = 0, states = 0] = ['b', 'state'].map((part) => names(path.join('/run', `mayfly-sandboxes-${fixture.driverName}`, part)).length)
    // The router's own, those of sandboxes, and a few that stand ready.
    const spare = networks().length - 1 - all.length
    const granted = isNetworked
      ? ['listed', 'anyport'].flatMap((set) => nft(['ip', 'netns', 'exec', `mayfly-${tag()}`], ['set', 'ip', TABLE, set])).flatMap(({ elem }) => elem ?? [])
      : []
    // Some stand ready without a program, for a call that finds none that is booted.
    const left = {
      sandboxes: sandboxes.length,
      hulls: all.length - generic,
      slots: slots - all.length,
      bundles: bundles - all.length,
      states: states - all.length,
      spare,
      granted,
    }
    const isRest =
      left.sandboxes === 0 && left.hulls >= 0 && left.hulls <= MOST_HULLS && left.slots === 0 && left.bundles === 0 && left.states === 0 && granted.length === 0
    if (isRest && (!isNetworked || (spare >= 0 && spare <= MOST_SPARE))) return
    if (systemClock.monotonic() > end) assert.fail(JSON.stringify(left))
    await systemClock.sleep(50)
  }
}

test(`${OPERATIONS} operations in any order on real sandboxes leave no process, control group, mount, namespace, network, socket, descriptor, folder or timer`, {
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
    {
      await using pool = await fixture.open({ poolSize: 1, memoryMb: 512, idleMs: 1_000 })
      let next = 0
      const work = async () => {
        for (let one = operations[next++]; one; one = operations[next++]) await OPERATIONS_BY_NAME[one[0]]?.(pool, one[1]).catch(() => {})
      }
      await Promise.all(Array.from({ length: AT_ONCE }, work))
      assert.ok(pool.status().memory.usedMb <= 512)
      // What is never there is not looked for in vain alone.
      if (isolated) {
        const { guests, namespaces, networks, links, tables, folders } = held()
        assert.ok(guests.length > 0 && namespaces.length >= NAMESPACES.length && folders.length > 0, JSON.stringify({ guests, namespaces, folders }))
        if (networks.length > 0) assert.deepEqual([links.length, tables.length], [1, 1])
      }
      // The end of a pool would sweep together what it had forgotten: so while it still runs.
      for (const { key } of plain) pool.retire(key)
      if (isolated) await atRest(pool)
    }
    return held()
  }
  const before = await round([
    ['call', 1],
    ['build', 0],
    ['exit', 2],
  ])
  let behind = await round(order ?? [])
  // The kernel closes a moment later what a program had that was ended.
  for (let tries = 0; tries < 50 && !isDeepStrictEqual(behind, before); tries++) {
    await systemClock.sleep(100)
    behind = held()
  }
  assert.deepEqual(behind, before)
  const { descriptors: _, processes: _others, timers: _timers, ...ours } = behind
  for (const [what, left] of Object.entries(ours)) assert.deepEqual(left, [], what)
})

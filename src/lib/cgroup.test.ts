import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Cgroup, type Hierarchies, weighGroup } from './cgroup.ts'
import { systemClock } from './clock.ts'

// Plain folders stand for the kernel's: what is written where is seen on any host.
describe('a control group for memory', () => {
  let tree = ''
  beforeEach(() => {
    tree = mkdtempSync(path.join(tmpdir(), 'mayfly-cgroup-'))
  })
  afterEach(() => rmSync(tree, { recursive: true }))
  const of = (version: 1 | 2): Hierarchies => ({
    unified: null,
    memory: { path: tree, version },
    pids: null,
    cpu: null,
    freezerV1: null,
    devicesV1: null,
    all: [tree],
  })
  const read = (...file: string[]) => readFileSync(path.join(tree, ...file), 'utf8')

  it('of the second version is handed down from group to group, and bounds swap too', () => {
    assert.equal(Cgroup.makeMemory(of(2), 'ours/one'), path.join(tree, 'ours', 'one', 'cgroup.procs'))
    assert.deepEqual([read('cgroup.subtree_control'), read('ours', 'cgroup.subtree_control')], ['+memory', '+memory'])
    new Cgroup(of(2), 'ours/one').limitMemory(3)
    assert.deepEqual([read('ours', 'one', 'memory.max'), read('ours', 'one', 'memory.swap.max')], [String(3 * 1024 * 1024), '0'])
  })
  it('of the first version bounds memory, and with swap where the kernel counts it', () => {
    Cgroup.makeMemory(of(1), 'ours/one')
    Cgroup.makeMemory(of(1), 'ours/one')
    new Cgroup(of(1), 'ours/one').limitMemory(3)
    assert.equal(read('ours', 'one', 'memory.limit_in_bytes'), String(3 * 1024 * 1024))
    const counting: Hierarchies = { ...of(1), memory: { path: path.join(tree, 'counting'), version: 1 } }
    mkdirSync(path.join(tree, 'counting', 'swap'), { recursive: true })
    writeFileSync(path.join(tree, 'counting', 'memory.memsw.limit_in_bytes'), '')
    // Whoever made it has limited it; raised and lowered from there.
    const group = new Cgroup(counting, 'swap', 5)
    for (const mb of [8, 4]) {
      group.limitMemory(mb)
      for (const file of ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes']) assert.equal(read('counting', 'swap', file), String(mb * 1024 * 1024))
    }
  })
  it('tells what it holds and held at most, by what was seen where the kernel keeps no peak', async () => {
    mkdirSync(path.join(tree, 'one'))
    const at = (file: string) => path.join(tree, 'one', file)
    const mb = (count: number) => `${count * 1024 * 1024}\n`
    for (const keepsPeak of [false, true]) {
      if (keepsPeak) writeFileSync(at('memory.peak'), mb(9))
      const group = new Cgroup(of(2), 'one')
      const told = [5, 7, 3].map((current) => {
        writeFileSync(at('memory.current'), mb(current))
        return group.memory()
      })
      const peaks = keepsPeak ? [9, 9, 9] : [5, 7, 7]
      assert.deepEqual(
        told,
        [5, 7, 3].map((currentMb, i) => ({ currentMb, peakMb: peaks[i] })),
      )
    }
    rmSync(at('memory.current'))
    assert.equal(new Cgroup(of(2), 'one').memory(), null)
  })
  it('is not written again where it stands, unless that came to nothing', () => {
    Cgroup.makeMemory(of(2), 'ours/two')
    const group = new Cgroup(of(2), 'ours/two')
    const file = path.join(tree, 'ours', 'two', 'memory.max')
    const writes = [3, 3, 4, 3].map((mb) => {
      writeFileSync(file, 'nothing')
      group.limitMemory(mb)
      return readFileSync(file, 'utf8') !== 'nothing'
    })
    assert.deepEqual(writes, [true, false, true, true])
    const late = new Cgroup(of(2), 'ours/three')
    assert.throws(() => late.limitMemory(3), { code: 'ENOENT' })
    Cgroup.makeMemory(of(2), 'ours/three')
    late.limitMemory(3)
    assert.equal(read('ours', 'three', 'memory.max'), String(3 * 1024 * 1024))
  })
  it('is refused by a host without the controller', () => {
    const none: Hierarchies = { ...of(2), memory: null }
    assert.throws(() => Cgroup.makeMemory(none, 'ours'), /no cgroup controller for memory/)
    assert.throws(() => new Cgroup(none, 'ours').limitMemory(1), /no cgroup controller for memory/)
  })
})

describe('the weight of all that lies in a group', () => {
  it('is of the second version handed down first, and bounded', async () => {
    const tree = mkdtempSync(path.join(tmpdir(), 'mayfly-cgroup-'))
    try {
      const of = (version: 1 | 2): Hierarchies => ({
        ...{ unified: null, memory: null, pids: null, freezerV1: null, devicesV1: null, all: [tree] },
        cpu: { path: tree, version },
      })
      await weighGroup(of(1), 'first', 200)
      assert.deepEqual(readdirSync(tree), ['first'])
      assert.equal(readFileSync(path.join(tree, 'first', 'cpu.shares'), 'utf8'), '2048')
      await weighGroup(of(2), 'ours', 1_000_000)
      assert.equal(readFileSync(path.join(tree, 'cgroup.subtree_control'), 'utf8'), '+cpu')
      assert.equal(readFileSync(path.join(tree, 'ours', 'cpu.weight'), 'utf8'), '10000')
    } finally {
      rmSync(tree, { recursive: true })
    }
  })
})

describe('the freezer of a control group', () => {
  it('of the second version is one file that stays open until the group goes, and is written to from its beginning', async () => {
    const tree = mkdtempSync(path.join(tmpdir(), 'mayfly-cgroup-'))
    try {
      mkdirSync(path.join(tree, 'one'))
      const file = path.join(tree, 'one', 'cgroup.freeze')
      writeFileSync(file, '0')
      const group = new Cgroup({ unified: tree, memory: null, pids: null, cpu: null, freezerV1: null, devicesV1: null, all: [] }, 'one')
      for (const [frozen, said] of [
        [true, '1'],
        [true, '1'],
        [false, '0'],
      ] as const) {
        // In force before it is waited for: the call that follows a thaw is sent at once.
        const done = group.freeze(frozen, systemClock)
        assert.equal(readFileSync(file, 'utf8'), said)
        await done
      }
      const open = () => readdirSync('/proc/self/fd').filter((fd) => linkOf(`/proc/self/fd/${fd}`) === file).length
      assert.equal(open(), 1)
      await group.destroy(systemClock)
      assert.equal(open(), 0)
    } finally {
      rmSync(tree, { recursive: true })
    }
  })
  it('is nothing where the host has none', async () => {
    const none = new Cgroup({ unified: null, memory: null, pids: null, cpu: null, freezerV1: null, devicesV1: null, all: [] }, 'one')
    await none.freeze(true, systemClock)
  })
})

function linkOf(file: string): string {
  try {
    return readlinkSync(file)
  } catch {
    return ''
  }
}

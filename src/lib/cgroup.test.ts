import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Cgroup, type Hierarchies } from './cgroup.ts'

// Plain folders stand for the kernel's: what is written where is seen on any host.
describe('a control group for memory', () => {
  let tree = ''
  beforeEach(() => {
    tree = mkdtempSync(path.join(tmpdir(), 'mayfly-cgroup-'))
  })
  afterEach(() => rmSync(tree, { recursive: true }))
  const of = (version: 1 | 2): Hierarchies => ({ unified: null, memory: { path: tree, version }, pids: null, cpu: null, freezerV1: null, all: [tree] })
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
    mkdirSync(path.join(tree, 'swap'))
    writeFileSync(path.join(tree, 'swap', 'memory.memsw.limit_in_bytes'), '')
    new Cgroup(of(1), 'swap').limitMemory(4)
    assert.deepEqual([read('swap', 'memory.limit_in_bytes'), read('swap', 'memory.memsw.limit_in_bytes')], [String(4 * 1024 * 1024), String(4 * 1024 * 1024)])
  })
  it('is refused by a host without the controller', () => {
    const none: Hierarchies = { ...of(2), memory: null }
    assert.throws(() => Cgroup.makeMemory(none, 'ours'), /no cgroup controller for memory/)
    assert.throws(() => new Cgroup(none, 'ours').limitMemory(1), /no cgroup controller for memory/)
  })
})

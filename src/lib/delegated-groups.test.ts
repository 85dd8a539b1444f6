import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Cgroup } from './cgroup.ts'
import { delegatedGroups } from './delegated-groups.ts'
import { nodeWeight } from './own-group.ts'

// Plain folders stand for the kernel's: what is written where is seen on any host.
describe('control groups that the service manager has delegated', () => {
  let folder = ''
  const own = () => path.join(folder, 'tree', 'user.slice', 'mayfly.scope')
  const proc = () => path.join(folder, 'proc')
  const read = (...file: string[]) => readFileSync(path.join(own(), ...file), 'utf8')
  const isRoot = process.getuid?.() === 0
  /** @param group  as `/proc/self/cgroup` tells it */
  const host = (controllers: string, group = '/user.slice/mayfly.scope', root = '/') => {
    mkdirSync(own(), { recursive: true })
    writeFileSync(path.join(own(), 'cgroup.procs'), '12\n34\n')
    writeFileSync(path.join(own(), 'cgroup.subtree_control'), '')
    writeFileSync(path.join(own(), 'cgroup.controllers'), `${controllers}\n`)
    mkdirSync(path.join(proc(), 'self'), { recursive: true })
    writeFileSync(path.join(proc(), 'self', 'cgroup'), `1:name=systemd:/\n0::${group}\n`)
    writeFileSync(
      path.join(proc(), 'self', 'mountinfo'),
      `20 1 0:1 / /proc rw - proc proc rw\n21 1 0:2 ${root} ${folder}/tree rw,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n`,
    )
  }
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-delegated-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('are those below its own, from which all processes have moved', async () => {
    host('cpuset cpu io memory pids')
    const groups = await delegatedGroups(proc(), async () => true)
    assert.deepEqual(groups, {
      unified: own(),
      memory: { path: own(), version: 2 },
      pids: { path: own(), version: 2 },
      cpu: { path: own(), version: 2 },
      freezerV1: null,
      devicesV1: null,
      all: [own()],
    })
    // The kernel's file takes one after the other; a plain one keeps the last.
    assert.equal(read('mayfly-node', 'cgroup.procs'), '34')
    assert.equal(read('cgroup.subtree_control'), '+cpu')
    assert.equal(read('mayfly-node', 'cpu.weight'), String(nodeWeight()))
  })

  it('take sandboxes, with their bounds', async () => {
    host('cpu memory pids')
    const groups = await delegatedGroups(proc(), async () => true)
    assert.ok(groups)
    const files = new Cgroup(groups, 'mayfly-x/s-1').make({ memoryMb: 3, pids: 7, cpuWeight: 50 })
    assert.deepEqual(files, [path.join(own(), 'mayfly-x', 's-1', 'cgroup.procs')])
    const bounds = ['memory.max', 'memory.swap.max', 'pids.max', 'cpu.weight'].map((file) => read('mayfly-x', 's-1', file))
    assert.deepEqual(bounds, [String(3 * 1024 * 1024), '0', '7', '50'])
    assert.equal(read('mayfly-x', 'cgroup.subtree_control'), '+memory +pids +cpu')
  })

  it('are the same for who asks again, and for each process of a node', async () => {
    host('memory')
    const first = await delegatedGroups(proc(), async () => true)
    host('memory', '/user.slice/mayfly.scope/mayfly-node')
    const asked: string[] = []
    assert.deepEqual(await delegatedGroups(proc(), async (group) => asked.push(group) > 0), first)
    assert.deepEqual([asked, existsSync(path.join(own(), 'mayfly-node', 'mayfly-node'))], [[own()], false])
    assert.equal(await delegatedGroups(proc(), async () => false), null)
  })

  it('are asked for, as a user may write more than was given away', async () => {
    host('memory')
    const asked: string[] = []
    const mayUse = async (group: string) => asked.push(group) > 1
    assert.equal(await delegatedGroups(proc(), mayUse), null)
    assert.deepEqual([asked, existsSync(path.join(own(), 'mayfly-node'))], [[own()], false])
    assert.equal((await delegatedGroups(proc(), mayUse))?.unified, own())
  })

  it('bound what they were given the controllers for', async () => {
    host('pids')
    const groups = await delegatedGroups(proc(), async () => true)
    assert.deepEqual([groups?.memory, groups?.pids?.version, groups?.cpu], [null, 2, null])
    assert.equal(existsSync(path.join(own(), 'mayfly-node', 'cpu.weight')), false)
  })

  it('are found where a container shows a part of the tree', async () => {
    host('memory', '/box/user.slice/mayfly.scope', '/box')
    assert.equal((await delegatedGroups(proc(), async () => true))?.unified, own())
  })

  it('are none where the group is outside of what is shown, hands nothing down, or there is no second version', async () => {
    host('memory', '/elsewhere', '/box')
    assert.equal(await delegatedGroups(proc(), async () => true), null)
    host('')
    assert.equal(await delegatedGroups(proc(), async () => true), null)
    writeFileSync(path.join(proc(), 'self', 'mountinfo'), '')
    assert.equal(await delegatedGroups(proc(), async () => true), null)
    assert.equal(existsSync(path.join(own(), 'mayfly-node')), false)
  })

  it('are none where this user may not write', { skip: isRoot ? 'root may write anywhere' : false }, async () => {
    host('memory')
    chmodSync(path.join(own(), 'cgroup.procs'), 0o444)
    assert.equal(await delegatedGroups(proc(), async () => true), null)
  })
})

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { makeRoomInContainer, OTHERS } from './container-groups.ts'

// Plain folders stand for the kernel's: what is written where is seen on any host.
describe('the control groups of a container', { skip: process.getuid?.() === 0 ? false : 'is of root alone' }, () => {
  let folder = ''
  const tree = () => path.join(folder, 'tree')
  const moves = (all = [tree()]) => makeRoomInContainer({ unified: tree(), all }, path.join(folder, 'proc'))
  const wrote = () => [existsSync(path.join(tree(), OTHERS)), readFileSync(path.join(tree(), 'cgroup.subtree_control'), 'utf8')]
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-container-'))
    mkdirSync(tree())
    mkdirSync(path.join(folder, 'proc', 'self'), { recursive: true })
    const files = { events: 'populated 1\n', controllers: 'cpuset cpu io memory pids\n', subtree_control: '\n', procs: '1\n34\n' }
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(tree(), `cgroup.${name}`), text)
    writeFileSync(path.join(folder, 'proc', 'self', 'cgroup'), '0::/\n')
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('hand controllers down once its processes have moved', () => {
    assert.equal(moves(), true)
    // The kernel's files take one after the other; plain ones keep the last.
    assert.deepEqual(wrote(), [true, '+pids'])
    assert.equal(readFileSync(path.join(tree(), OTHERS, 'cgroup.procs'), 'utf8'), '34')
  })

  const untouched: readonly [string, () => void][] = [
    ['on the machine itself', () => rmSync(path.join(tree(), 'cgroup.events'))],
    ['where a service manager rules in it', () => writeFileSync(path.join(folder, 'proc', 'self', 'cgroup'), '0::/system.slice/mayfly.service\n')],
    ['that were handed down already', () => writeFileSync(path.join(tree(), 'cgroup.subtree_control'), 'cpu memory pids\n')],
    ['where nothing is bounded by them', () => writeFileSync(path.join(tree(), 'cgroup.controllers'), '\n')],
  ]
  for (const [name, change] of untouched)
    it(`stay as they are ${name}`, () => {
      change()
      const before = wrote()
      assert.equal(moves(), false)
      assert.deepEqual(wrote(), before)
    })
  it('stay as they are where the first version stands beside them', () => {
    assert.equal(moves([tree(), '/sys/fs/cgroup/memory']), false)
    assert.deepEqual(wrote(), [false, '\n'])
  })
})

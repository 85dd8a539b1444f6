import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { detectHierarchies } from './cgroup.ts'
import { nodeWeight, OwnGroup } from './own-group.ts'

test('a process that is in no group gets one of its own, and leaves nothing', async (t) => {
  const { cpu } = await detectHierarchies()
  const before = readFileSync('/proc/self/cgroup', 'latin1')
  const name = `mayfly-test${process.pid}-node`
  const group = await OwnGroup.enter(name)
  if (group === null || cpu === null) return t.skip('this process is in a group already, or may make none')
  const at = path.join(cpu.path, name)
  assert.match(readFileSync('/proc/self/cgroup', 'latin1'), new RegExp(`:/${name}$`, 'm'))
  assert.equal(
    Number(readFileSync(path.join(at, cpu.version === 2 ? 'cpu.weight' : 'cpu.shares'))),
    cpu.version === 2 ? nodeWeight() : (nodeWeight() * 1024) / 100,
  )
  // Who is in a group has none made: its weight is of whoever made that.
  assert.equal(await OwnGroup.enter(`${name}-2`), null)
  await group[Symbol.asyncDispose]()
  assert.deepEqual([readFileSync('/proc/self/cgroup', 'latin1'), existsSync(at)], [before, false])
})

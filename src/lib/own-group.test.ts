import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs'
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

test('what a node left that was killed goes at the next start of any, and of one that lives nothing does', async (t) => {
  const { cpu } = await detectHierarchies()
  const living = `mayfly-test${process.pid}a-node`
  await using group = await OwnGroup.enter(living)
  if (group === null || cpu === null) return t.skip('this process is in a group already, or may make none')
  const left = path.join(cpu.path, `mayfly-test${process.pid}b-node`)
  const others = path.join(cpu.path, `mayfly-test${process.pid}c`)
  for (const one of [left, others]) mkdirSync(one)
  const program = `import { OwnGroup } from './own-group.ts'
    await using group = await OwnGroup.enter('mayfly-test${process.pid}d-node')
    process.stdout.write(String(group !== null))`
  // From outside of all groups, as another node would be.
  const script = `echo $$ > ${cpu.path}/cgroup.procs && exec "$0" --input-type=module -e "$1"`
  const said = execFileSync('sh', ['-c', script, process.execPath, program], { cwd: import.meta.dirname, encoding: 'utf8' })
  assert.deepEqual([said, existsSync(left), existsSync(others), existsSync(path.join(cpu.path, living))], ['true', false, true, true])
  rmdirSync(others)
})

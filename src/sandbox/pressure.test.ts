import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import { PoolFixture, until } from './pool-fixture.ts'
import { isShort, type MachineMemory, Pressure, readMachineMemory, shareToDrop } from './pressure.ts'

const memory = (availableMb: number, stalledPercent: number | null = 0): MachineMemory => ({ totalMb: 1_000, availableMb, stalledPercent })

test('a machine is short of memory below its reserve (memoryReserve), or below four times that when programs wait (memoryStall)', () => {
  const [reserve, stall] = [LIMITS.memoryReserve.value * 10, LIMITS.memoryStall.value]
  assert.deepEqual([isShort(memory(reserve)), isShort(memory(reserve - 1)), isShort(memory(reserve - 1, null))], [false, true, true])
  assert.deepEqual(
    [isShort(memory(4 * reserve - 1, stall)), isShort(memory(4 * reserve - 1, stall - 0.1)), isShort(memory(4 * reserve, 99))],
    [true, false, false],
  )
})

test('the kernel is asked, and answers something that can be', async () => {
  const { totalMb, availableMb, stalledPercent } = await readMachineMemory()
  assert.ok(totalMb > 0 && availableMb > 0 && availableMb <= totalMb, `${availableMb} of ${totalMb} MB`)
  assert.ok(stalledPercent === null || (stalledPercent >= 0 && stalledPercent <= 100))
})

test('what it sees is told as a problem while it is one; a look that fails changes nothing', async () => {
  let now: MachineMemory | null = memory(500)
  const pressure = new Pressure(async () => now ?? Promise.reject(new Error('no such file')), silentLog)
  assert.deepEqual([pressure.isShort, pressure.problems(), pressure.seen], [false, [], null])
  assert.equal(await pressure.look(), false)
  now = memory(10, 50)
  assert.deepEqual([await pressure.look(), pressure.isShort], [true, true])
  assert.match(pressure.problems()[0]?.why ?? '', /10 of 1000 MB are available, and programs waited for memory 50 %/)
  now = null
  assert.deepEqual([await pressure.look(), pressure.isShort], [null, true])
  now = memory(500)
  assert.deepEqual([await pressure.look(), pressure.problems()], [false, []])
})

test('a tenth goes at a time, and the last one too', () => {
  assert.deepEqual([shareToDrop(0), shareToDrop(1), shareToDrop(10), shareToDrop(500)], [0, 1, 1, 50])
})

test('where the machine is short of memory idle sandboxes end, the oldest first; those that work stay, and it is told', { timeout: 60_000 }, async () => {
  let now = memory(500)
  await using fixture = new PoolFixture('process', {
    hello: `exports.handler = async ({ ms = 0 }) => { await new Promise((done) => setTimeout(done, ms)); return 'fine' }`,
  })
  await using pool = await fixture.open({ poolSize: 0 }, { machineMemory: async () => now })
  const call = (key: string, ms = 0) =>
    fixture.call(fixture.specOf('hello', { key, identity: { ...fixture.specOf(key).identity, functionName: key } }), { ms }, undefined, pool)
  for (const key of ['first', 'second', 'third']) await call(key)
  const working = call('works', 4_000)
  const keys = () => pool.status().sandboxes.map((sandbox) => sandbox.key)
  await until(() => keys().length === 4)
  now = memory(10)
  await until(() => pool.status().ended.pressure === 1)
  assert.deepEqual(keys(), ['second', 'third', 'works'])
  assert.deepEqual(pool.problems().length, 1)
  assert.equal(pool.status().memory.machine?.isShort, true)
  await until(() => pool.status().ended.pressure === 3)
  assert.equal((await working).value, 'fine')
  now = memory(500)
  await until(() => pool.problems().length === 0)
  assert.equal((await call('first')).cold, 'idle-drop')
})

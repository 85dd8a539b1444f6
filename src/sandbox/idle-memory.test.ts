import assert from 'node:assert/strict'
import { test } from 'node:test'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { findGuests } from './guests.ts'
import { PoolFixture, refusalOf, silent, until } from './pool-fixture.ts'
import type { Sandboxes, SandboxSpec } from './types.ts'

/**
 * What the second sandbox is charged once it is frozen: to the first one of a machine, what it reads of Node and of the runtime may be
 * charged too, where nobody has read it yet.
 */
async function second(fixture: PoolFixture, pool: Sandboxes, isBooted: () => boolean, changes: Partial<SandboxSpec> = {}): Promise<number> {
  await until(isBooted)
  const { id } = await fixture.call(fixture.specOf('second', changes), {}, silent, pool)
  await until(() => fixture.stateOf(id, pool) === 'frozen')
  const frozen = pool.status().sandboxes.find((one) => one.id === id)
  assert.ok(frozen)
  return frozen.memoryMb
}

/** Bare Node of 24 keeps 8 MB, `fetch` with what it is made of 6 more; the rest is the runtime and what the kernel holds for it. */
const MOST_MB = 19

test('a frozen sandbox is charged little more than Node with fetch loaded', { skip: (await refusalOf('runc')) ?? false, timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('runc', {
    hello: `exports.handler = async () => [typeof gc, typeof globalThis.gc, process.execArgv.includes('--expose-gc')]`,
    second: 'exports.handler = async () => 2',
  })
  await using pool = await fixture.open({ poolSize: 1 })
  const isBooted = () => pool.status().generic === 1
  await until(isBooted)
  const { value } = await fixture.call(fixture.specOf('hello'), {}, silent, pool)
  assert.deepEqual(value, ['undefined', 'undefined', false])
  const charged = await second(fixture, pool, isBooted)
  assert.ok(charged <= MOST_MB, `${charged} MB`)
})

/** The interpreter with `json` keeps 4.5 MB, the kernel for it 0.4; files it reads are charged to who read them first. */
const MOST_PYTHON_MB = 6
const python = (await findGuests(path.resolve(import.meta.dirname, '../..'))).of('python3.x') !== null

test('one of Python is charged its interpreter alone', { skip: (await refusalOf('runc')) ?? !python, timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('runc', { hello: '', second: '' })
  for (const name of ['hello', 'second'])
    writeFileSync(path.join(fixture.data, 'code', name, 'index.py'), 'def handler(event, context):\n    return 1\n', { mode: 0o444 })
  await using pool = await fixture.open({ poolSize: 1 })
  const spec = fixture.specOf('hello', { runtime: 'python3.x' })
  await pool.prepare(spec)
  const isBooted = () => pool.status().waiting.some(({ runtime, booted }) => runtime === 'python3.x' && booted === 1)
  await until(isBooted)
  await fixture.call(spec, {}, silent, pool)
  const charged = await second(fixture, pool, isBooted, { runtime: 'python3.x' })
  assert.ok(charged <= MOST_PYTHON_MB, `${charged} MB`)
})

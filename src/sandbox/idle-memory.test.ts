import assert from 'node:assert/strict'
import { test } from 'node:test'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { findGuests } from './guests.ts'
import { PoolFixture, refusalOf, silent, until } from './pool-fixture.ts'

/** Bare Node of 24 keeps 8 MB, `fetch` with what it is made of 6 more; the rest is the runtime and what the kernel holds for it. */
const MOST_MB = 19

test('a frozen sandbox is charged little more than Node with fetch loaded', { skip: (await refusalOf('runc')) ?? false, timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('runc', {
    hello: `exports.handler = async () => [typeof gc, typeof globalThis.gc, process.execArgv.includes('--expose-gc')]`,
  })
  await using pool = await fixture.open({ poolSize: 1 })
  await until(() => pool.status().generic === 1)
  const { id, value } = await fixture.call(fixture.specOf('hello'), {}, silent, pool)
  assert.deepEqual(value, ['undefined', 'undefined', false])
  await until(() => fixture.stateOf(id, pool) === 'frozen')
  const [frozen] = pool.status().sandboxes
  assert.ok(frozen && frozen.memoryMb <= MOST_MB, `${frozen?.memoryMb} MB`)
})

/** The interpreter with `json` keeps 4.5 MB, the kernel for it 0.4; files it reads are charged to who read them first. */
const MOST_PYTHON_MB = 6
const python = (await findGuests(path.resolve(import.meta.dirname, '../..'))).of('python3.x') !== null

test('one of Python is charged its interpreter alone', { skip: (await refusalOf('runc')) ?? !python, timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('runc', { hello: '' })
  const file = path.join(fixture.data, 'code', 'hello', 'index.py')
  writeFileSync(file, 'def handler(event, context):\n    return 1\n', { mode: 0o444 })
  await using pool = await fixture.open({ poolSize: 1 })
  const spec = fixture.specOf('hello', { runtime: 'python3.x' })
  execFileSync('/usr/bin/python3', ['-sc', 'import json, ctypes'])
  await pool.prepare(spec)
  await until(() => pool.status().waiting.some(({ runtime, booted }) => runtime === 'python3.x' && booted === 1))
  const { id } = await fixture.call(spec, {}, silent, pool)
  await until(() => fixture.stateOf(id, pool) === 'frozen')
  const [frozen] = pool.status().sandboxes
  assert.ok(frozen && frozen.memoryMb <= MOST_PYTHON_MB, `${frozen?.memoryMb} MB`)
})

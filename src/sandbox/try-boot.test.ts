import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { tryRuntimes } from './try-boot.ts'
import type { Driver } from './types.ts'

test('a runtime that does not start is told, one that is not installed is not tried, and nothing is left', async () => {
  const tried: string[] = []
  const driver = {
    runs: (runtime: string) => runtime !== 'nodejs26.x',
    start: async ({ runtime }: { runtime: string }) => {
      tried.push(runtime)
      throw new Error(`no program of ${runtime}`)
    },
  } as unknown as Driver
  const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith('mayfly-doctor-'))
  const before = left().length
  const problems = await tryRuntimes(driver, ['nodejs24.x', 'nodejs26.x', 'python3.x'], new VirtualClock())
  assert.deepEqual(tried, ['nodejs24.x', 'python3.x'])
  assert.deepEqual(
    problems.map(({ what, why }) => [what, why]),
    [
      ['runtime nodejs24.x', 'a sandbox of it does not start: no program of nodejs24.x'],
      ['runtime python3.x', 'a sandbox of it does not start: no program of python3.x'],
    ],
  )
  assert.equal(left().length, before)
})

test('nothing is begun ahead of a call that does not come: not while all is removed, and not afterwards', async () => {
  const clock = new VirtualClock()
  let starts = 0
  const driver = {
    holds: true,
    runs: () => true,
    start: async () => {
      starts++
      throw new Error('no')
    },
  } as unknown as Driver
  await tryRuntimes(driver, ['nodejs24.x'], clock)
  await clock.pass(60_000)
  assert.equal(starts, 1)
})

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { detectHierarchies } from '../../lib/cgroup.ts'
import { never, PoolFixture, silent, until } from '../pool-fixture.ts'
import type { Driver, StartOptions } from '../types.ts'
import { runcVersion } from './oci-runtimes.ts'

const isolated = process.getuid?.() === 0 && (await runcVersion()) !== null
const { cpu } = await detectHierarchies()

test('what starts is weighed like a small function, and behind no call like nothing', { skip: !isolated || cpu === null, timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('runc', { hello: `exports.handler = async () => 'fine'` })
  const weights = new Map<boolean, number>()
  const weightOf = (id: string): number => {
    const parent = path.join(cpu?.path ?? '', `mayfly-${fixture.driverName}`, id)
    return cpu?.version === 2 ? Number(readFileSync(path.join(parent, 'cpu.weight'))) : Number(readFileSync(path.join(parent, 'cpu.shares')))
  }
  const around = (driver: Driver): Partial<Driver> => ({
    start: async (options: StartOptions) => {
      const started = await driver.start(options)
      weights.set(options.background, weightOf(options.id))
      return started
    },
  })
  await using pool = await fixture.open({ poolSize: 1 }, { around })
  await until(() => pool.status().generic === 1)
  // One waits; the other is started for its call.
  const leases = await Promise.all([1, 2].map(() => pool.acquire(fixture.specOf('hello'), silent, never)))
  for (const lease of leases) lease[Symbol.dispose]()
  const [behind, started] = [weights.get(true) ?? Number.NaN, weights.get(false) ?? Number.NaN]
  assert.ok(behind <= 2, `behind all calls: ${behind}`)
  assert.ok(started > behind && started <= 72, `for a call: ${started}`)
})

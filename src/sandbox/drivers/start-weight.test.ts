import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { detectHierarchies, sharesOf } from '../../lib/cgroup.ts'
import { never, PoolFixture, silent, until } from '../pool-fixture.ts'
import type { Driver, StartOptions } from '../types.ts'
import { startingWeight } from './driver-options.ts'
import { runcVersion } from './oci-runtimes.ts'

const isolated = process.getuid?.() === 0 && (await runcVersion()) !== null
const { cpu } = await detectHierarchies()

function weightIn(driverName: string, id: string): number {
  const group = path.join(cpu?.path ?? '', `mayfly-${driverName}`, id)
  return cpu?.version === 2 ? Number(readFileSync(path.join(group, 'cpu.weight'))) : Number(readFileSync(path.join(group, 'cpu.shares')))
}

test('what starts is weighed like a small function, and behind no call like nothing', { skip: !isolated || cpu === null, timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('runc', { hello: `exports.handler = async () => 'fine'` })
  const weights = new Map<boolean, number>()
  const weightOf = (id: string) => weightIn(fixture.driverName, id)
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
  const weight = (background: boolean) => (cpu?.version === 2 ? startingWeight({ background }) : sharesOf(startingWeight({ background })))
  assert.deepEqual([weights.get(true), weights.get(false)], [weight(true), weight(false)])
})

test('many sandboxes of one project weigh together what as many as there are processors do', { skip: !isolated || cpu === null, timeout: 60_000 }, async () => {
  const processors = availableParallelism()
  await using fixture = new PoolFixture('runc', { hello: `exports.handler = async () => 'fine'` })
  await using pool = await fixture.open({ poolSize: 0, starts: 2 }, { shares: { projects: () => 2, weightOf: () => 1 } })
  const specOf = (project: string) => fixture.specOf('hello', { key: project, identity: { project, functionName: 'hello', version: '1', role: 'none' } })
  const own = await pool.acquire(specOf('quiet'), silent, never)
  const loud = await Promise.all(Array.from({ length: 2 * processors }, () => pool.acquire(specOf('loud'), silent, never)))
  const [full, weights] = [() => weightIn(fixture.driverName, own.sandboxId), () => loud.map(({ sandboxId }) => weightIn(fixture.driverName, sandboxId))]
  await until(() => weights().every((weight) => Math.abs(weight - full() / 2) <= 1))
  for (const lease of loud) lease[Symbol.dispose]()
  // Those that stand idle have theirs again when the next call comes.
  await until(() => weights().every((weight) => weight === full()))
  own[Symbol.dispose]()
})

test('those of one project that start at once weigh together what as many as there are processors do', {
  skip: !isolated || cpu === null,
  timeout: 60_000,
}, async () => {
  await using fixture = new PoolFixture('runc', { hello: `exports.handler = async () => 'fine'` })
  const starts = 8 * availableParallelism()
  const weights: { readonly share: number; readonly weight: number }[] = []
  const around = (driver: Driver): Partial<Driver> => ({
    start: async (options: StartOptions) => {
      const started = await driver.start(options)
      if (!options.background) weights.push({ share: options.share ?? 1, weight: weightIn(fixture.driverName, options.id) })
      return started
    },
  })
  await using pool = await fixture.open({ poolSize: 0, starts }, { around, shares: { projects: () => 2, weightOf: () => 1 } })
  const leases = await Promise.all(Array.from({ length: starts }, () => pool.acquire(fixture.specOf('hello'), silent, never)))
  for (const lease of leases) lease[Symbol.dispose]()
  const full = weights.find(({ share }) => share === 1)?.weight ?? Number.NaN
  const least = weights.toSorted((one, other) => one.share - other.share)[0]
  assert.equal(least?.share, 1 / 8)
  assert.ok(Math.abs((least?.weight ?? 0) - full / 8) <= 1, `${least?.weight} of ${full}`)
})

import { refusalOf } from '../pool-fixture.ts'
import type { DriverName } from '../types.ts'
import { probe, type Results, tableOf } from './escape.ts'

// `npm run test:escape`: what a function can reach under each driver of this host, as a table.
const DRIVERS: readonly DriverName[] = ['runc', 'bwrap', 'gvisor', 'process']
const results = new Map<DriverName, Results>()
for (const name of DRIVERS) {
  const why = await refusalOf(name)
  if (why === null) results.set(name, await probe(name))
  else process.stdout.write(`${name} is not tried: ${why}\n`)
}
process.stdout.write(`${tableOf(results)}\n`)

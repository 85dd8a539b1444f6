import type { DriverName } from '../types.ts'
import { probe, type Results, tableOf } from './escape.ts'

// `npm run test:escape`: what a function can reach under each driver of this host, as a table.
const names: DriverName[] = process.getuid?.() === 0 ? ['runc', 'process'] : ['process']
const results = new Map<DriverName, Results>()
for (const name of names) results.set(name, await probe(name))
process.stdout.write(`${tableOf(results)}\n`)

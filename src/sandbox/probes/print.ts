import { refusalOf } from '../pool-fixture.ts'
import type { DriverName } from '../types.ts'
import { probe, type Results, strange, tableOf } from './escape.ts'

// `npm run test:escape`: what a function can reach under each driver of this host, as a table; fails where that is more
// than is known.
const DRIVERS: readonly DriverName[] = ['crun', 'runc', 'bwrap', 'gvisor', 'process']
const results = new Map<DriverName, Results>()
const say = (line: string) => void process.stdout.write(`${line}\n`)
for (const name of DRIVERS) {
  const why = await refusalOf(name)
  if (why === null) results.set(name, await probe(name))
  else say(`${name} is not tried: ${why}`)
}
say(tableOf(results))
for (const [name, seen] of results) {
  if (name === 'process') continue
  const { open, shut } = strange(name, seen)
  say(`${name}: ${seen.size} doors tried, ${open.length} open that should not be${open.map((one) => `\n  ${one}`).join('')}`)
  if (open.length + shut.length > 0) process.exitCode = 1
}

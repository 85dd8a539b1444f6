import path from 'node:path'
import { parseArgs } from 'node:util'
import { filesOf, runTests, tellUnsteady } from '../run-tests.ts'

// Run on the host: the test files that are named, one after the other, each told as it ends. The last line is the sum.
const all = filesOf(['src/**/*.test.ts', 'test/acceptance/*.test.ts', 'runtimes/**/*.test.ts', 'tools/hosts/*.test.ts'], 900_000)
const named = (name: string) => all.filter(({ file }) => file === name || path.basename(file, '.test.ts') === name)
const { values, positionals: names } = parseArgs({ allowPositionals: true, options: { only: { type: 'string' } } })
for (const name of names) if (named(name).length === 0) throw new RangeError(`no test file: ${name}`)
let [passed, failed] = [0, 0]
for (const file of names.flatMap(named)) {
  const tally = await runTests([{ ...file, aloud: true, ...(values.only === undefined ? {} : { only: values.only }) }], 1)
  passed += tally.passed
  failed += tally.failed
  for (const { name, ms } of tally.files)
    process.stdout.write(`  ${(ms / 1000).toFixed(1).padStart(6)} s  ${name}: ${tally.passed} passed, ${tally.failed} failed\n`)
  for (const { name, why } of tally.skips) process.stdout.write(`skipped: ${name}: ${why}\n`)
  tellUnsteady(tally)
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)

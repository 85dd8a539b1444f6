import path from 'node:path'
import { filesOf, runTests, tellUnsteady } from '../run-tests.ts'

// Run on the host: the test files that are named, one after the other. The last line is the sum.
const all = filesOf(['src/**/*.test.ts', 'test/acceptance/*.test.ts', 'runtimes/**/*.test.ts'], 900_000)
const named = (name: string) => all.filter(({ file }) => file === name || path.basename(file, '.test.ts') === name)
const names = process.argv.slice(2)
for (const name of names) if (named(name).length === 0) throw new RangeError(`no test file: ${name}`)
const tally = await runTests(names.flatMap(named), 1)
for (const { name, ms } of tally.files) process.stdout.write(`  ${(ms / 1000).toFixed(1).padStart(6)} s  ${name}\n`)
for (const { name, why } of tally.skips) process.stdout.write(`skipped: ${name}: ${why}\n`)
tellUnsteady(tally)
process.stdout.write(`${tally.passed} passed, ${tally.failed} failed\n`)
process.exit(tally.failed === 0 && tally.passed > 0 ? 0 : 1)

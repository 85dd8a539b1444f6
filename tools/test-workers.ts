import path from 'node:path'
import { runTests, tellTimes, tellUnsteady } from './run-tests.ts'
import { AT_ONCE, acceptanceFiles, BESIDE, inTurn } from './test-files.ts'

// `npm run test:workers`: the acceptance suite alone against nodes with two workers, or those files of it that are named
// (`npm run test:workers -- queue storage`). `npm test -- --workers 2` is everything with them.
const names = process.argv.slice(2)
const all = acceptanceFiles(2)
const named = (name: string) => all.filter(({ file }) => path.basename(file, '.test.ts') === name)
for (const name of names) if (named(name).length === 0) throw new RangeError(`no file of the acceptance suite: ${name}`)
const tally = await runTests(inTurn(names.length === 0 ? all : names.flatMap(named)), AT_ONCE, BESIDE)
tellTimes([...tally.files, ...tally.slowest])
for (const { name, why } of tally.skips) process.stdout.write(`skipped: ${name}: ${why}\n`)
tellUnsteady(tally)
process.stdout.write(`${tally.passed} passed, ${tally.failed} failed\n`)
process.exit(tally.failed === 0 && tally.passed > 0 ? 0 : 1)

import { filesOf, runTests, tellTimes, tellUnsteady } from './run-tests.ts'

// `npm run test:workers`: the whole acceptance suite against nodes with two workers.
process.env.MAYFLY_TEST_WORKERS = '2'
const tally = await runTests(filesOf(['test/acceptance/**/*.test.ts'], 600_000), 2)
tellTimes([...tally.files.slice(0, 20), ...tally.slowest])
for (const { name, why } of tally.skips) process.stdout.write(`skipped: ${name}: ${why}\n`)
tellUnsteady(tally)
process.stdout.write(`${tally.passed} passed, ${tally.failed} failed\n`)
process.exit(tally.failed === 0 && tally.passed > 0 ? 0 : 1)

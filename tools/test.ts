import { check } from './check.ts'
import { runTests, tellUnsteady } from './run-tests.ts'
import { installTestPrograms, installTestRuntimes } from './test-programs.ts'

// `npm test`: the gate, then Mayfly from outside. The last line is the sum.
const say = (line: string) => void process.stdout.write(`${line}\n`)
installTestPrograms(say)
installTestRuntimes(say)
const unit = await check()
const from = performance.now()
// What waits more than it works runs beside others; what looks at how a node ends, to the last line it says, has the machine to itself.
const ALONE = 'test/acceptance/stop.test.ts'
// What workers have a part in runs once more on nodes with two of them; `npm run test:workers` runs everything so.
const BY_WORKERS = ['functions', 'lambda-invoke', 'lambda-streaming', 'lambda-concurrency', 'secrets']
const AT_ONCE = 3
const most = await runTests(['test/acceptance/**/!(stop).test.ts'], AT_ONCE, 400_000)
const alone = await runTests([ALONE], 1, 400_000)
process.env.MAYFLY_TEST_WORKERS = '2'
const byWorkers = await runTests(
  BY_WORKERS.map((name) => `test/acceptance/${name}.test.ts`),
  AT_ONCE,
  400_000,
)
const all = [unit.tally, most, alone, byWorkers]
process.stdout.write(`acceptance         ${((performance.now() - from) / 1000).toFixed(1)} s\n`)
for (const { name, ms } of most.slowest) process.stdout.write(`  ${(ms / 1000).toFixed(2)} s  ${name}\n`)
for (const { name, why } of [...unit.tally.skips, ...most.skips, ...alone.skips]) process.stdout.write(`skipped: ${name}: ${why}\n`)
for (const tally of all) tellUnsteady(tally)
const passed = all.reduce((sum, tally) => sum + tally.passed, 0)
// A step of the gate that is no test counts as one that failed.
const failed = all.reduce((sum, tally) => sum + tally.failed, 0) + (unit.ok || unit.tally.failed > 0 ? 0 : 1)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)

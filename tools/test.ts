import { check } from './check.ts'
import { runTests } from './run-tests.ts'
import { installTestPrograms, installTestRuntimes } from './test-programs.ts'

// `npm test`: the gate, then Mayfly from outside. The last line is the sum.
const say = (line: string) => void process.stdout.write(`${line}\n`)
installTestPrograms(say)
installTestRuntimes(say)
const unit = await check()
const from = performance.now()
// Two files at once; what looks at how a node ends, to the last line it says, has the machine to itself.
const ALONE = 'test/acceptance/stop.test.ts'
// What workers have a part in runs once more on nodes with two of them; `npm run test:workers` runs everything so.
const BY_WORKERS = ['functions', 'lambda-invoke', 'lambda-streaming', 'lambda-concurrency', 'secrets']
const parts = [await runTests(['test/acceptance/**/!(stop).test.ts'], 2, 400_000), await runTests([ALONE], 1, 400_000)]
process.env.MAYFLY_TEST_WORKERS = '2'
const byWorkers = await runTests(
  BY_WORKERS.map((name) => `test/acceptance/${name}.test.ts`),
  2,
  400_000,
)
const outside = {
  passed: parts.reduce((sum, { passed }) => sum + passed, byWorkers.passed),
  failed: parts.reduce((sum, { failed }) => sum + failed, byWorkers.failed),
  skips: parts.flatMap(({ skips }) => skips),
  slowest: parts[0]?.slowest ?? [],
}
process.stdout.write(`acceptance         ${((performance.now() - from) / 1000).toFixed(1)} s\n`)
for (const { name, ms } of outside.slowest) process.stdout.write(`  ${(ms / 1000).toFixed(2)} s  ${name}\n`)
for (const { name, why } of [...unit.tally.skips, ...outside.skips]) process.stdout.write(`skipped: ${name}: ${why}\n`)
const passed = unit.tally.passed + outside.passed
// A step of the gate that is no test counts as one that failed.
const failed = unit.tally.failed + outside.failed + (unit.ok || unit.tally.failed > 0 ? 0 : 1)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)

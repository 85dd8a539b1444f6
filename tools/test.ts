import { check } from './check.ts'
import { runTests } from './run-tests.ts'
import { installTestPrograms, installTestRuntimes } from './test-programs.ts'

// `npm test`: the gate, then Mayfly from outside. The last line is the sum.
const say = (line: string) => void process.stdout.write(`${line}\n`)
installTestPrograms(say)
installTestRuntimes(say)
const unit = await check()
const from = performance.now()
const outside = await runTests(['test/acceptance/**/*.test.ts'], 2, 400_000)
process.stdout.write(`acceptance         ${((performance.now() - from) / 1000).toFixed(1)} s\n`)
for (const { name, ms } of outside.slowest) process.stdout.write(`  ${(ms / 1000).toFixed(2)} s  ${name}\n`)
for (const { name, why } of [...unit.tally.skips, ...outside.skips]) process.stdout.write(`skipped: ${name}: ${why}\n`)
const passed = unit.tally.passed + outside.passed
// A step of the gate that is no test counts as one that failed.
const failed = unit.tally.failed + outside.failed + (unit.ok || unit.tally.failed > 0 ? 0 : 1)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)

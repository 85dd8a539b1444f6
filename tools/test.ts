import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { check, unitTests } from './check.ts'
import { runTests, tellTimes, tellUnsteady, worked } from './run-tests.ts'
import { ROOT } from './sources.ts'
import { AT_ONCE, acceptanceFiles, BESIDE, inTurn } from './test-files.ts'
import { installTestPrograms, installTestRuntimes } from './test-programs.ts'

// `npm test`: the gate, and Mayfly from outside. The last line is the sum. `npm test -- --workers 2` has the whole acceptance
// suite meet nodes with two workers, `--workers 0` such without.
const say = (line: string) => void process.stdout.write(`${line}\n`)
const from = performance.now()
const workedBefore = worked()
const { values } = parseArgs({ options: { workers: { type: 'string' } } })
if (values.workers !== undefined && !/^\d+$/.test(values.workers)) throw new RangeError('--workers takes a whole number')
// They come from afar, and are there when the first test begins.
const installed = Promise.all([installTestPrograms(say), installTestRuntimes(say)])
const files = inTurn([...acceptanceFiles(values.workers === undefined ? undefined : Number(values.workers)), ...unitTests()])
const SLOWEST = 20
const { ok, tally } = await check(async () => {
  await installed
  return await runTests(files, AT_ONCE, BESIDE)
})
const kept = path.join(ROOT, 'node_modules', '.cache', 'test-times.txt')
writeFileSync(kept, tally.files.map(({ name, ms, used = 0 }) => `${used.toFixed(1)} s of processor, ${(ms / 1000).toFixed(1)} s: ${name}\n`).join(''))
say(`what each file took: ${path.relative(ROOT, kept)}`)
say('slowest files and tests:')
tellTimes([...tally.files.slice(0, SLOWEST), ...tally.slowest])
for (const { name, why } of tally.skips) say(`skipped: ${name}: ${why}`)
tellUnsteady(tally)
// A step of the gate that is no test counts as one that failed.
const failed = tally.failed + (ok || tally.failed > 0 ? 0 : 1)
const seconds = (performance.now() - from) / 1000
say(`${seconds.toFixed(0)} s; the machine's ${availableParallelism()} processors worked ${(worked() - workedBefore).toFixed(0)} s`)
say(`${tally.passed} passed, ${failed} failed`)
process.exit(failed === 0 && tally.passed > 0 ? 0 : 1)

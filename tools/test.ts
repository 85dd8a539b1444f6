import { globSync } from 'node:fs'
import path from 'node:path'
import { check } from './check.ts'
import { runTests, type Tally, tellTimes, tellUnsteady } from './run-tests.ts'
import { ROOT } from './sources.ts'
import { installTestPrograms, installTestRuntimes } from './test-programs.ts'

// `npm test`: the gate, then Mayfly from outside. The last line is the sum.
const say = (line: string) => void process.stdout.write(`${line}\n`)
installTestPrograms(say)
installTestRuntimes(say)
const unit = await check()
const from = performance.now()
// What waits more than it works runs beside others; what looks at how a node ends, to the last line it says, has the machine to itself.
const ALONE = ['stop']
// What runs functions does so on nodes with two workers. A node of one or two cores has none, and a start with workers takes
// twice the processor time of one without: what tells of other rooms, or starts nodes most often, runs so. What most depends
// on it runs both ways. `npm run test:workers` runs everything with workers.
const IN_ONE_PROCESS = [
  ...['azure-functions', 'ci', 'console', 'console-door', 'console-pages', 'console-settings', 'deployments', 'dev', 'disk', 'egress-user'],
  ...['external-database', 'full-disk', 'google-functions', 'init', 'ordinary-user', 'origins', 'photo-crash', 'photo-page', 'sites'],
  ...['soak', 'start', 'storage', 'triggers', 'usage'],
]
const BOTH_WAYS = ['functions', 'queue', 'stop']
const WORKERS = 2
const AT_ONCE = 3
const names = globSync('test/acceptance/*.test.ts', { cwd: ROOT }).map((file) => path.basename(file, '.test.ts'))
const acceptance = async (some: readonly string[], workers: number, atOnce: number): Promise<Tally> => {
  process.env.MAYFLY_TEST_WORKERS = String(workers)
  return await runTests(
    some.map((name) => `test/acceptance/${name}.test.ts`),
    atOnce,
    400_000,
  )
}
const byWorkers = await acceptance(
  names.filter((name) => !ALONE.includes(name) && !IN_ONE_PROCESS.includes(name)),
  WORKERS,
  AT_ONCE,
)
const inOneProcess = await acceptance(
  [...IN_ONE_PROCESS, ...BOTH_WAYS].filter((name) => !ALONE.includes(name)),
  0,
  AT_ONCE,
)
const alone = [await acceptance(ALONE, WORKERS, 1), await acceptance(ALONE, 0, 1)]
const all = [unit.tally, byWorkers, inOneProcess, ...alone]
process.stdout.write(`acceptance         ${((performance.now() - from) / 1000).toFixed(1)} s\n`)
for (const { slowestFiles, slowest } of [byWorkers, inOneProcess]) tellTimes([...slowestFiles, ...slowest])
for (const { name, why } of all.flatMap(({ skips }) => skips)) process.stdout.write(`skipped: ${name}: ${why}\n`)
for (const tally of all) tellUnsteady(tally)
const passed = all.reduce((sum, tally) => sum + tally.passed, 0)
// A step of the gate that is no test counts as one that failed.
const failed = all.reduce((sum, tally) => sum + tally.failed, 0) + (unit.ok || unit.tally.failed > 0 ? 0 : 1)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)

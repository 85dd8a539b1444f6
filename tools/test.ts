import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { check, unitTests } from './check.ts'
import { filesOf, runTests, type TestFile, tellTimes, tellUnsteady, worked } from './run-tests.ts'
import { ROOT } from './sources.ts'
import { installTestPrograms, installTestRuntimes } from './test-programs.ts'

// `npm test`: the gate, and Mayfly from outside. The last line is the sum.
const say = (line: string) => void process.stdout.write(`${line}\n`)
const from = performance.now()
const workedBefore = worked()
// They come from afar, and are there when the first test begins.
const installed = Promise.all([installTestPrograms(say), installTestRuntimes(say)])
// What tells of workers, or of calls where it makes a difference in which process they land, runs on nodes with two of them.
// A node of one or two cores has none, and a start with workers takes twice the processor time of one without: all else runs
// so. What most depends on it runs both ways. `npm run test:workers` runs everything with workers.
const WITH_WORKERS = [
  ...['egress', 'fairness', 'function-urls', 'functions', 'isolation', 'lambda-concurrency', 'lambda-invoke', 'lambda-streaming', 'lambda-versions'],
  ...['metrics', 'photo-app', 'queue', 'realtime', 'resources', 'routes', 'secrets', 'shared-sandbox', 'stop', 'supabase-functions'],
  'workers',
]
const BOTH_WAYS = ['functions', 'queue', 'stop']
const WORKERS = 2
// What takes many starts, and looks at what each process has of its own, has two processes.
const ONE_WORKER = ['egress']
const AT_ONCE = 4
// What waits more than it works, for time-outs, pauses and ends, leaves the processors to others: one such file runs beside them.
const WAITS = [
  ...['soak', 'lambda-errors', 'sqs-triggers', 'faults', 'queue', 'full-disk', 'egress-user', 'functions-misbehaving', 'external-database'],
  ...['schedules', 'conformance', 'external'],
]
const BESIDE = 1
const SLOWEST = 20
// The longest begin first, so that none of them is left over when all else is done.
const LONGEST = [
  ...['photo-crash', 'google-functions', 'versions-cli', 'cli', 'console-pages', 'functions', 'deployments', 'runtimes', 'egress', 'queue-lives'],
  ...['lambda-concurrency', 'function-urls', 'function-settings', 'photo-page', 'console-settings', 'init', 'ordinary-user'],
  ...['rows', 'db', 'own-port', 'project-life', 'project-keys', 'todo-page', 'door'],
  ...['azure-functions', 'workers', 'conventions', 'stop', 'routes', 'realtime', 'secrets', 'storage', 'start'],
]
const nameOf = ({ file }: TestFile) => path.basename(file, '.test.ts')
const turnOf = (one: TestFile): number =>
  one.of !== undefined ? 0 : LONGEST.includes(nameOf(one)) ? LONGEST.indexOf(nameOf(one)) : LONGEST.length + (one.waits ? 1 : 0)
const withWorkers = (one: TestFile, workers: number): TestFile => ({
  ...one,
  environment: { MAYFLY_TEST_WORKERS: String(workers) },
  ...(BOTH_WAYS.includes(nameOf(one)) ? { how: workers === 0 ? 'in one process' : `${workers} workers` } : {}),
})
const acceptance = filesOf(['test/acceptance/*.test.ts'], 400_000).flatMap((one) => [
  ...(WITH_WORKERS.includes(nameOf(one)) ? [withWorkers(one, ONE_WORKER.includes(nameOf(one)) ? 1 : WORKERS)] : []),
  ...(!WITH_WORKERS.includes(nameOf(one)) || BOTH_WAYS.includes(nameOf(one)) ? [withWorkers(one, 0)] : []),
])
const files = [...acceptance, ...unitTests()].map((one) => ({ ...one, waits: WAITS.includes(nameOf(one)) })).toSorted((a, b) => turnOf(a) - turnOf(b))
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

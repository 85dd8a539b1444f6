import path from 'node:path'
import { filesOf, type TestFile } from './run-tests.ts'

// Which files of the acceptance suite run in which way, and the order of all.

// Each file of the acceptance suite runs in the gate, many on nodes with workers and of each area some. A node of one or two
// cores has none, and a start with workers takes about a second more of processor time. `npm test -- --workers 2` runs
// everything with two.
const WORKERS = 2
// What tells of workers, or of calls where it makes a difference in which process they land.
const WITH_WORKERS = [
  ...['fairness', 'function-urls', 'functions', 'isolation', 'lambda-concurrency', 'lambda-invoke', 'lambda-streaming', 'lambda-versions'],
  ...['metrics', 'photo-app', 'queue', 'realtime', 'resources', 'routes', 'secrets', 'shared-sandbox', 'stop', 'supabase-functions'],
  'workers',
]
// Two processes show as much of these: each request and each call may land beside the main one. They start one node, or two.
const WITH_ONE_WORKER = [
  ...['auth', 'aws-clients', 'azure-functions', 'data', 'data-media', 'inspect', 'lambda-control', 'lambda-traps', 'log-watch', 'python-fork'],
  ...['runtime-clients', 'runtimes-languages', 'sites', 'timings', 'versions-cli'],
  // It takes many starts, and looks at what each process has of its own.
  'egress',
]
// What most depends on it.
const BOTH_WAYS = ['functions', 'queue', 'stop']

// On these nodes no sandbox waits for a function: a cold call boots its own, which takes a fifth less of the processors, as none is
// warmed, and none booted for nothing. On all others one waits, as by default. A file that looks at what waits says so itself.
const WITHOUT_SPARE = [...['function-urls', 'egress', 'lambda-versions', 'triggers', 'queue', 'runtimes-languages', 'supabase-functions']]

// What waits more than it works, for time-outs, pauses and ends, leaves the processors to others: one such file runs beside them.
const WAITS = [
  ...['soak', 'lambda-errors', 'sqs-triggers', 'faults', 'queue', 'full-disk', 'egress-user', 'functions-misbehaving', 'external-database'],
  ...['schedules', 'conformance', 'external'],
]
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
const withWorkers = (one: TestFile, workers: number, how?: string): TestFile => ({
  ...one,
  environment: { MAYFLY_TEST_WORKERS: String(workers), MAYFLY_TEST_POOL: WITHOUT_SPARE.includes(nameOf(one)) ? '0' : '1' },
  ...(how === undefined ? {} : { how }),
})

/** The ways in which a file runs in the gate. */
const waysOf = (one: TestFile): TestFile[] => {
  const name = nameOf(one)
  if (BOTH_WAYS.includes(name)) return [withWorkers(one, WORKERS, `${WORKERS} workers`), withWorkers(one, 0, 'in one process')]
  return [withWorkers(one, WITH_ONE_WORKER.includes(name) ? 1 : WITH_WORKERS.includes(name) ? WORKERS : 0)]
}

/**
 * The acceptance suite.
 * @param workers  of every node; without it each file runs as it does in the gate
 */
export const acceptanceFiles = (workers?: number): TestFile[] => {
  const all = filesOf(['test/acceptance/*.test.ts'], workers === undefined ? 400_000 : 600_000)
  return workers === undefined ? all.flatMap(waysOf) : all.map((one) => withWorkers(one, workers))
}

/** The order in which they run, and which of them wait more than they work. */
export const inTurn = (files: readonly TestFile[]): TestFile[] =>
  files.map((one) => ({ ...one, waits: WAITS.includes(nameOf(one)) })).toSorted((a, b) => turnOf(a) - turnOf(b))

/** How many files run at once, and how many more of those that wait. */
export const AT_ONCE = 4
export const BESIDE = 1

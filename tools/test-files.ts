import path from 'node:path'
import { filesOf, type TestFile } from './run-tests.ts'

// Which files of the acceptance suite run in which way, and the order of all.

// Each file of the acceptance suite runs in the gate on nodes with workers, whichever starts any.
const WORKERS = 2
// And in one process, as a node of one or two cores runs by itself, where the two ways have least of their code in common: slots,
// what is handed over, which sandboxes are whose, and how all of it ends.
const IN_ONE_PROCESS_TOO = ['functions', 'inspect', 'queue', 'shared-sandbox', 'stop']

// On these nodes no sandbox waits for a function: a cold call boots its own, which takes a fifth less of the processors, as none is
// warmed, and none booted for nothing. On all others one waits, as by default. A file that looks at what waits says so itself.
const WITHOUT_SPARE = [
  ...['function-urls', 'egress', 'lambda-versions', 'triggers', 'queue', 'runtimes-languages', 'supabase-functions', 'lambda-concurrency'],
  ...['deployments', 'azure-functions', 'init', 'google-functions', 'function-settings', 'fairness', 'photo-page', 'realtime', 'events'],
  ...['origins', 'project-keys', 'own-port', 'ci', 'versions-cli', 'lambda-layers', 'dev', 'resources', 'web-triggers'],
  ...['aws-clients', 'schedules', 'todo-page', 'shared-sandbox', 'full-disk', 'disk', 'sqs-triggers', 'functions-misbehaving'],
  ...['console-door', 'lambda-tools', 'lambda-traps', 'log-watch', 'runtime-clients', 'python-fork', 'console', 'lambda-control'],
  ...['bad-input', 'inspect', 'cli', 'console-pages', 'crawler', 'lambda-errors', 'lambda-streaming', 'routes', 'secrets'],
  ...['photo-app', 'lambda-invoke'],
]

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
const waysOf = (one: TestFile): TestFile[] =>
  IN_ONE_PROCESS_TOO.includes(nameOf(one))
    ? [withWorkers(one, WORKERS, `${WORKERS} workers`), withWorkers(one, 0, 'in one process')]
    : [withWorkers(one, WORKERS)]

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

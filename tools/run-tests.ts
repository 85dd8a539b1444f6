import { execFileSync } from 'node:child_process'
import { chmodSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { run } from 'node:test'
import { keepCluster } from './cluster.ts'
import { SHORT_LIVED } from './short-lived.ts'
import { ROOT } from './sources.ts'

/** A file of tests, and how it is run. */
export interface TestFile {
  readonly file: string
  /** The files that are run in one process under that name, one after the other; without it, the file itself. */
  readonly of?: readonly string[]
  readonly timeoutMs: number
  readonly environment?: Readonly<Record<string, string>>
  /** It waits more than it works. */
  readonly waits?: boolean
  /** Told behind the file's name, where it is run in several ways. */
  readonly how?: string
  /** Its tests alone whose names, with those of their suites, match. */
  readonly only?: string
  /** Each of its tests is told as it ends well, too: on a slow machine one waits long for the file. */
  readonly aloud?: boolean
}

interface Timed {
  readonly name: string
  readonly ms: number
  /** Seconds of processor, of it and all that it waited for. */
  readonly used?: number
}

export interface Tally {
  readonly passed: number
  readonly failed: number
  /** Files that failed beside others and passed by themselves. */
  readonly unsteady: readonly string[]
  readonly skips: readonly { readonly name: string; readonly why: string }[]
  readonly slowest: readonly Timed[]
  /** The slowest first. */
  readonly files: readonly Timed[]
}

export const NOTHING: Tally = { passed: 0, failed: 0, unsteady: [], skips: [], slowest: [], files: [] }

/** More files than this that fail are no matter of a busy machine: none of them is run again. */
const SECOND_LOOKS = 4

export const filesOf = (patterns: readonly string[], timeoutMs: number): TestFile[] =>
  [...new Set(patterns.flatMap((pattern) => globSync(pattern, { cwd: ROOT, exclude: ['**/node_modules/**'] })))].toSorted().map((file) => ({ file, timeoutMs }))

/** What a test file must not hold to be run with others in one process: what reaches beyond itself, or asks what the process holds. */
const REACHES_OUT =
  /child_process|worker_threads|node:(http|net|dgram|os)\b|mock\.|process\.(env|chdir|on\(|kill|umask|memoryUsage)|globalThis|mkdtemp|pool-fixture|^(const .*\b|)await\b/m

/**
 * The files that may share a process do, by twenties: to load what they ask for takes longer than most of them take. Each is a
 * suite of its own there, so that its hooks are its own.
 */
export function batched(files: readonly TestFile[]): TestFile[] {
  const [alone, shared]: [TestFile[], TestFile[]] = [[], []]
  for (const one of files) (REACHES_OUT.test(readFileSync(path.join(ROOT, one.file), 'utf8')) ? alone : shared).push(one)
  const batches = Array.from({ length: Math.ceil(shared.length / BATCH) }, (_, n) => shared.slice(n * BATCH, (n + 1) * BATCH))
  return [
    ...alone,
    ...batches.map((some) => ({
      file: `${some[0]?.file} … ${some.at(-1)?.file}`,
      of: some.map(({ file }) => file),
      timeoutMs: 2 * Math.max(...some.map(({ timeoutMs }) => timeoutMs)),
    })),
  ]
}
const BATCH = 20

/** One module that requires each file within a suite. */
const batchOf = (files: readonly string[]): string =>
  `import { suite } from 'node:test'
import { createRequire } from 'node:module'
const require = createRequire(${JSON.stringify(path.join(ROOT, 'package.json'))})
for (const file of ${JSON.stringify(files)}) suite(file, () => require(\`./\${file}\`))
`

const nameOf = ({ file, how }: TestFile): string => (how === undefined ? file : `${file} (${how})`)

/**
 * Runs test files in their order, each in a process of its own, and prints what failed as it fails. A file that failed is
 * run once more when the machine has nothing else to do: what passes then is told as unsteady, and counts as passed.
 * @param beside  how many more run at once of those that wait more than they work
 */
export async function runTests(files: readonly TestFile[], concurrency: number, beside = 0): Promise<Tally> {
  await keepCluster()
  const temporary = temporaryFolder()
  try {
    return await runIn(temporary, files, concurrency, beside)
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

/**
 * Where the tests make their folders. To ext4 it is said that these have nothing to do with each other: it puts each into
 * another part of the disk then. In one where many files were just removed it takes ten times as long to make new ones.
 */
function temporaryFolder(): string {
  // Names of sockets are short, and some are below it.
  const folder = mkdtempSync(path.join(tmpdir(), 'mf-'))
  chmodSync(folder, 0o1777)
  try {
    execFileSync('chattr', ['+T', folder], { stdio: 'ignore' })
  } catch {
    // Another file system.
  }
  return folder
}

async function runIn(temporary: string, files: readonly TestFile[], concurrency: number, beside: number): Promise<Tally> {
  const results = await runFiles(temporary, files, concurrency, beside)
  const failed = [...results].filter(([, { failed }]) => failed > 0)
  const unsteady: string[] = []
  if (failed.length <= SECOND_LOOKS)
    for (const [file] of failed) {
      process.stdout.write(`once more, by itself: ${nameOf(file)}\n`)
      const again = await runFile(temporary, file)
      results.set(file, again)
      if (again.failed === 0 && again.passed > 0) unsteady.push(nameOf(file))
    }
  const all = [...results.values()]
  return {
    passed: all.reduce((sum, { passed }) => sum + passed, 0),
    failed: all.reduce((sum, { failed }) => sum + failed, 0),
    unsteady,
    skips: all.flatMap(({ skips }) => skips),
    slowest: longest(all.flatMap(({ times }) => times)).slice(0, 10),
    files: longest([...results].map(([file, { ms, used }]) => ({ name: nameOf(file), ms, used }))),
  }
}

const longest = (times: readonly Timed[]) => times.toSorted((a, b) => b.ms - a.ms)
export const tellTimes = (times: readonly Timed[]): void => {
  for (const { name, ms, used } of times)
    process.stdout.write(`  ${(ms / 1000).toFixed(2).padStart(6)} s${used === undefined ? '' : `, ${used.toFixed(1).padStart(5)} s of processor`}  ${name}\n`)
}

/** Seconds that the machine's processors have worked since it started, for whomever. */
export const worked = (): number => cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) / 1000

export function tellUnsteady({ unsteady }: Pick<Tally, 'unsteady'>): void {
  for (const file of unsteady) process.stdout.write(`unsteady: ${file}: failed beside others, passed by itself\n`)
}

interface FileResult {
  passed: number
  failed: number
  readonly skips: { name: string; why: string }[]
  readonly times: Timed[]
  ms: number
  used: number
}

async function runFiles(temporary: string, files: readonly TestFile[], concurrency: number, beside: number): Promise<Map<TestFile, FileResult>> {
  const results = new Map<TestFile, FileResult>()
  const left = [...files]
  const next = (only: (file: TestFile) => boolean): TestFile | undefined => {
    const at = left.findIndex(only)
    return at === -1 ? undefined : left.splice(at, 1)[0]
  }
  const oneAfterAnother = async (only: (file: TestFile) => boolean) => {
    for (let file = next(only); file !== undefined; file = next(only)) results.set(file, await runFile(temporary, file))
  }
  await Promise.all([
    ...Array.from({ length: concurrency }, () => oneAfterAnother(() => true)),
    ...Array.from({ length: beside }, () => oneAfterAnother(({ waits }) => waits === true)),
  ])
  return results
}

async function runFile(temporary: string, { file, of, timeoutMs, environment, only, aloud }: TestFile): Promise<FileResult> {
  const from = performance.now()
  const result: FileResult = { passed: 0, failed: 0, skips: [], times: [], ms: 0, used: 0 }
  const folder = mkdtempSync(path.join(temporary, 'used-'))
  const whole = of === undefined ? path.join(ROOT, file) : path.join(folder, 'batch.mjs')
  if (of !== undefined) writeFileSync(whole, batchOf(of))
  const stream = run({
    files: [whole],
    ...(only === undefined ? {} : { testNamePatterns: only }),
    timeout: timeoutMs,
    // The time above is that of each test; what a test leaves open keeps its process.
    signal: AbortSignal.timeout(timeoutMs),
    cwd: ROOT,
    env: { ...process.env, ...environment, TMPDIR: temporary, MAYFLY_TEST_USED: path.join(folder, 'seconds') },
    execArgv: [...SHORT_LIVED, ...['compiled.mjs', 'seed.mjs', 'used.mjs'].flatMap((name) => ['--import', path.join(ROOT, 'tools', name)])],
  })
  for await (const event of stream) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue
    const { data } = event
    // Suites and files are told as tests too; only what has no children is counted, and files that broke.
    const isFile = data.nesting === 0 && data.name === whole
    const name = `${path.relative(ROOT, data.file ?? whole)}: ${data.name}`
    if (data.skip !== undefined && data.skip !== false) {
      result.skips.push({ name, why: typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given' })
      continue
    }
    if (data.details.type === 'suite' && event.type === 'test:pass') continue
    if (event.type === 'test:pass') {
      if (isFile) continue
      result.passed++
      if (aloud) process.stdout.write(`✔ ${name} (${(data.details.duration_ms / 1000).toFixed(1)} s)\n`)
      result.times.push({ name, ms: data.details.duration_ms })
      continue
    }
    const error = data.details.error as Error & { cause?: unknown; failureType?: string }
    if (error.failureType === 'subtestsFailed') continue
    result.failed++
    const cause = error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : String(error.cause ?? error.message)
    process.stdout.write(
      `✖ ${name}${name.startsWith(`${file}:`) ? '' : ` (${file})`}\n${cause
        .split('\n')
        .slice(0, 30)
        .map((line) => `    ${line}`)
        .join('\n')}\n`,
    )
  }
  result.ms = performance.now() - from
  result.used = usedOf(path.join(folder, 'seconds'))
  rmSync(folder, { recursive: true, force: true })
  return result
}

/** What a file's process said at its end; one that was killed has said nothing. */
function usedOf(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8').trim().split('\n').at(-1))
  } catch {
    return 0
  }
}

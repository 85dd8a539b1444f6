import { globSync } from 'node:fs'
import path from 'node:path'
import { run } from 'node:test'
import { ROOT } from './sources.ts'

interface Timed {
  readonly name: string
  readonly ms: number
}

export interface Tally {
  readonly passed: number
  readonly failed: number
  /** Files that failed beside others and passed by themselves. */
  readonly unsteady: readonly string[]
  readonly skips: readonly { readonly name: string; readonly why: string }[]
  readonly slowest: readonly Timed[]
  readonly slowestFiles: readonly Timed[]
}

/** More files than this that fail are no matter of a busy machine: none of them is run again. */
const SECOND_LOOKS = 3

/**
 * Runs test files, each in a process of its own, and prints what failed as it fails. A file that failed is run once more
 * when the machine has nothing else to do: what passes then is told as unsteady, and counts as passed.
 */
export async function runTests(patterns: readonly string[], concurrency: number, fileTimeoutMs: number): Promise<Tally> {
  const files = [...new Set(patterns.flatMap((pattern) => globSync(pattern, { cwd: ROOT, exclude: ['**/node_modules/**'] })))].toSorted()
  const results = await runFiles(files, concurrency, fileTimeoutMs)
  const failed = [...results].filter(([, { failed }]) => failed > 0)
  const unsteady: string[] = []
  if (failed.length <= SECOND_LOOKS)
    for (const [file] of failed) {
      process.stdout.write(`once more, by itself: ${file}\n`)
      const again = (await runFiles([file], 1, fileTimeoutMs)).get(file)
      if (!again) continue
      results.set(file, again)
      if (again.failed === 0 && again.passed > 0) unsteady.push(file)
    }
  const all = [...results.values()]
  return {
    passed: all.reduce((sum, { passed }) => sum + passed, 0),
    failed: all.reduce((sum, { failed }) => sum + failed, 0),
    unsteady,
    skips: all.flatMap(({ skips }) => skips),
    slowest: longest(all.flatMap(({ times }) => times)),
    slowestFiles: longest([...results].map(([name, { ms }]) => ({ name, ms }))),
  }
}

const longest = (times: readonly Timed[]) => times.toSorted((a, b) => b.ms - a.ms).slice(0, 10)
export const tellTimes = (times: readonly Timed[]): void => {
  for (const { name, ms } of times) process.stdout.write(`  ${(ms / 1000).toFixed(2)} s  ${name}\n`)
}

export function tellUnsteady({ unsteady }: Pick<Tally, 'unsteady'>): void {
  for (const file of unsteady) process.stdout.write(`unsteady: ${file}: failed beside others, passed by itself\n`)
}

interface FileResult {
  passed: number
  failed: number
  readonly skips: { name: string; why: string }[]
  readonly times: Timed[]
  ms: number
}

async function runFiles(files: readonly string[], concurrency: number, fileTimeoutMs: number): Promise<Map<string, FileResult>> {
  const results = new Map<string, FileResult>()
  const left = [...files]
  const oneAfterAnother = async () => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) results.set(file, await runFile(file, fileTimeoutMs))
  }
  await Promise.all(Array.from({ length: concurrency }, oneAfterAnother))
  return results
}

async function runFile(file: string, timeoutMs: number): Promise<FileResult> {
  const from = performance.now()
  const result: FileResult = { passed: 0, failed: 0, skips: [], times: [], ms: 0 }
  const whole = path.join(ROOT, file)
  const stream = run({
    files: [whole],
    timeout: timeoutMs,
    // The time above is that of each test; what a test leaves open keeps its process.
    signal: AbortSignal.timeout(timeoutMs),
    cwd: ROOT,
    execArgv: ['seed.mjs', 'compiled.mjs'].flatMap((name) => ['--import', path.join(ROOT, 'tools', name)]),
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
  return result
}

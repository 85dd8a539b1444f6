import { globSync } from 'node:fs'
import path from 'node:path'
import { run } from 'node:test'
import { ROOT } from './sources.ts'

export interface Tally {
  readonly passed: number
  readonly failed: number
  readonly skips: readonly { readonly name: string; readonly why: string }[]
  readonly slowest: readonly { readonly name: string; readonly ms: number }[]
}

/** Runs test files, each in a process of its own, and prints what failed as it fails. */
export async function runTests(patterns: readonly string[], concurrency: number, fileTimeoutMs: number): Promise<Tally> {
  const files = [...new Set(patterns.flatMap((pattern) => globSync(pattern, { cwd: ROOT, exclude: ['**/node_modules/**'] })))]
    .toSorted()
    .map((file) => path.join(ROOT, file))
  let passed = 0
  let failed = 0
  const skips: { name: string; why: string }[] = []
  const times: { name: string; ms: number }[] = []
  const stream = run({
    files,
    concurrency,
    timeout: fileTimeoutMs,
    cwd: ROOT,
    execArgv: ['seed.mjs', 'compiled.mjs'].flatMap((name) => ['--import', path.join(ROOT, 'tools', name)]),
  })
  for await (const event of stream) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue
    const { data } = event
    // Suites and files are told as tests too; only what has no children is counted, and files that broke.
    const isFile = data.nesting === 0 && files.includes(data.name)
    const name = `${path.relative(ROOT, data.file ?? '')}: ${data.name}`
    if (data.skip !== undefined && data.skip !== false) {
      skips.push({ name, why: typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given' })
      continue
    }
    if (data.details.type === 'suite' && event.type === 'test:pass') continue
    if (event.type === 'test:pass') {
      if (isFile) continue
      passed++
      times.push({ name, ms: data.details.duration_ms })
      continue
    }
    const error = data.details.error as Error & { cause?: unknown; failureType?: string }
    if (error.failureType === 'subtestsFailed') continue
    failed++
    const cause = error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : String(error.cause ?? error.message)
    process.stdout.write(
      `✖ ${name}\n${cause
        .split('\n')
        .slice(0, 30)
        .map((line) => `    ${line}`)
        .join('\n')}\n`,
    )
  }
  return { passed, failed, skips, slowest: times.toSorted((a, b) => b.ms - a.ms).slice(0, 10) }
}

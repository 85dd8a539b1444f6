import { execFile } from 'node:child_process'
import path from 'node:path'
import { batched, filesOf, NOTHING, runTests, tellTimes, tellUnsteady, type Tally } from './run-tests.ts'
import { ROOT, readSources } from './sources.ts'
import { tidy } from './tidy.ts'

const UNIT = ['src/**/*.test.ts', 'runtimes/**/*.test.ts', 'client/**/*.test.ts', 'cli/**/*.test.ts', 'tools/**/*.test.ts', 'bin/**/*.test.ts']
export const unitTests = () => batched(filesOf(UNIT, 180_000))
const bin = (name: string) => path.join(ROOT, 'node_modules', '.bin', name)

/** What takes no test: format and lint, types, tidy, generated docs. Then the tests. */
export async function check(tests: () => Promise<Tally>): Promise<{ ok: boolean; tally: Tally }> {
  const times: [string, number][] = []
  let ok = true
  const step = async (name: string, work: () => boolean | Promise<boolean>) => {
    const from = performance.now()
    const passed = await work()
    times.push([name, performance.now() - from])
    if (!passed) {
      ok = false
      process.stdout.write(`✖ ${name}\n`)
    }
  }
  const run = (command: string, args: string[]) =>
    new Promise<boolean>((resolve) => {
      execFile(command, args, { cwd: ROOT, maxBuffer: 1 << 26 }, (error, out, said) => {
        if (error) process.stdout.write(`${out}${said}${typeof error.code === 'number' ? '' : error.message}\n`)
        resolve(error === null)
      })
    })
  await step('format and lint', () => run(bin('biome'), ['check', '--error-on-warnings', '.']))
  await step('tidy', () => {
    const findings = tidy(readSources())
    for (const finding of findings) process.stdout.write(`${finding.check}: ${finding.path}: ${finding.what}\n`)
    return findings.length === 0
  })
  await step('generated docs', () => run(process.execPath, ['--disable-warning=ExperimentalWarning', path.join(ROOT, 'tools', 'docs.ts'), '--check']))
  // By one thread, which takes two thirds of the work of several; the tests begin meanwhile. What was found in files that have not changed since is kept.
  const kept = (project: string) => path.join(ROOT, 'node_modules', '.cache', 'types', `${project.replaceAll('/', '-')}.tsbuildinfo`)
  const typesOf = (project: string) => run(bin('tsc'), ['--noEmit', '--singleThreaded', '--incremental', '--tsBuildInfoFile', kept(project), '-p', project])
  const types = step('types', async () => {
    for (const project of ['.', 'examples/photo-app/site', 'examples/todo/site', 'console']) if (!(await typesOf(project))) return false
    return true
  })
  let tally = NOTHING
  await step('tests', async () => {
    tally = await tests()
    return tally.failed === 0 && tally.passed > 0
  })
  await types
  for (const [name, ms] of times) process.stdout.write(`${name.padEnd(18)} ${(ms / 1000).toFixed(1)} s\n`)
  return { ok, tally }
}

if (import.meta.main) {
  const { ok, tally } = await check(() => runTests(unitTests(), 2))
  process.stdout.write('slowest files and tests:\n')
  tellTimes([...tally.files.slice(0, 20), ...tally.slowest])
  tellUnsteady(tally)
  process.stdout.write(`${tally.passed} passed, ${tally.failed} failed\n`)
  process.exit(ok ? 0 : 1)
}

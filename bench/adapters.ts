import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { copyApp, runMayfly } from '../test/acceptance/cloud-fixture.ts'
import { startMayfly } from '../test/acceptance/harness.ts'
import { startRegistry } from '../test/acceptance/registry-fixture.ts'

// A warm hello through the adapter of each cloud beside the same as a plain `fetch` handler, in turns of the same minute:
// wall time of a call. Prints ratios.
// Usage: npm run bench:adapters

const CALLS = 400
const ROUNDS = 5
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
const registry = await startRegistry()
const node = await startMayfly(path.join(folder, 'data'), ['--empty', '--npm-registry', registry.url])
try {
  const deploy = async (app: string, ...more: string[]) => {
    const { code, stderr } = await runMayfly(['deploy', app, ...more, '--data', path.join(folder, 'data')])
    if (code !== 0) throw new Error(stderr)
  }
  const plain = path.join(folder, 'plain')
  mkdirSync(plain)
  writeFileSync(
    path.join(plain, 'index.mjs'),
    "export default { fetch: (request) => new Response(`Hello, ${new URL(request.url).searchParams.get('name')}!`) }",
  )
  await deploy(plain)
  await deploy(copyApp('google-hello', path.join(folder, 'google')))
  await deploy(copyApp('azure-shop', path.join(folder, 'azure')))
  const paths = { plain: 'plain', google: 'google', azure: 'azure/api/hello' }
  const call = async (where: string) => {
    const response = await fetch(`${node.ready.project.url}/functions/v1/${where}?name=Ann`, { headers: { apikey: node.ready.project.publishableKey } })
    if (!(await response.text()).startsWith('Hello')) throw new Error(`${where} answered ${response.status}`)
  }
  const times: Record<string, number[]> = { plain: [], google: [], azure: [] }
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, where] of Object.entries(paths)) {
      for (let i = 0; i < CALLS; i++) {
        const from = performance.now()
        await call(where)
        // The first round warms.
        if (round > 0) times[name]?.push(performance.now() - from)
      }
    }
  }
  const median = (name: string) => (times[name] ?? []).toSorted((a, b) => a - b)[(times[name] ?? []).length >> 1] ?? Number.NaN
  for (const name of Object.keys(paths))
    process.stdout.write(`${name.padEnd(8)} p50 ${median(name).toFixed(2)} ms, ÷ plain ${(median(name) / median('plain')).toFixed(2)}\n`)
} finally {
  await node.stop()
  await registry[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
}

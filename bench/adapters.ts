import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { copyApp, runMayfly } from '../test/acceptance/cloud-fixture.ts'
import { startMayfly } from '../test/acceptance/harness.ts'
import { startRegistry } from '../test/acceptance/registry-fixture.ts'

// A warm hello through the adapter of each cloud beside the same as a plain `fetch` handler, through a node, in turns of a
// few calls: wall time of a call. Prints the median of the ratios of each turn, and how far they lie apart.
// Usage: npm run bench:adapters

const TURNS = 60
const CALLS = 25
const WARM = 8
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
  // The sample app writes a line for each call, as its quickstart does: that is another cost.
  const azure = copyApp('azure-shop', path.join(folder, 'azure'))
  rmSync(path.join(azure, 'src', 'functions'), { recursive: true })
  writeFileSync(
    path.join(azure, 'src', 'index.js'),
    "const { app } = require('@azure/functions')\napp.http('hello', { handler: (request) => ({ body: `Hello, ${request.query.get('name')}!` }) })\n",
  )
  await deploy(azure)
  const paths = { plain: 'plain', google: 'google', azure: 'azure/api/hello' }
  const call = async (where: string) => {
    const response = await fetch(`${node.ready.project.url}/functions/v1/${where}?name=Ann`, { headers: { apikey: node.ready.project.publishableKey } })
    if (!(await response.text()).startsWith('Hello')) throw new Error(`${where} answered ${response.status}`)
  }
  const timeOf = async (where: string) => {
    const from = performance.now()
    for (let i = 0; i < CALLS; i++) await call(where)
    return (performance.now() - from) / CALLS
  }
  const turns: Record<string, number>[] = []
  for (let turn = -WARM; turn < TURNS; turn++) {
    const times: Record<string, number> = {}
    // Each begins as often as the others.
    const names = Object.entries(paths)
    for (let i = 0; i < names.length; i++) {
      const [name, where] = names[(i + turn + WARM) % names.length] as [string, string]
      times[name] = await timeOf(where)
    }
    if (turn >= 0) turns.push(times)
  }
  const at = (values: number[], share: number) => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN
  for (const name of Object.keys(paths)) {
    const ratios = turns.map((times) => (times[name] ?? Number.NaN) / (times.plain ?? Number.NaN))
    const spread = [0.25, 0.5, 0.75].map((share) => at(ratios, share).toFixed(2))
    const ms = at(
      turns.map((times) => times[name] ?? Number.NaN),
      0.5,
    )
    process.stdout.write(`${name.padEnd(8)} ${ms.toFixed(2)} ms, ÷ plain ${spread[1]} (${spread[0]} to ${spread[2]})\n`)
  }
} finally {
  await node.stop()
  await registry[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
}

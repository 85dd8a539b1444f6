import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { startMayfly } from '../test/acceptance/harness.ts'
import { timed } from './measure.ts'

// What the first request of a paused project takes, and the second beside it. Usage: npm run bench:resume [rounds, 20 when not said]

const ROUNDS = Number(process.argv[2] ?? 20)
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)
const node = await startMayfly(path.join(folder, 'data'))
const { operatorToken } = JSON.parse(readFileSync(path.join(folder, 'data', 'run.json'), 'utf8')) as { operatorToken: string }
const manage = async (route: string, body?: object): Promise<unknown> => {
  const headers = { authorization: `Bearer ${operatorToken}`, 'content-type': 'application/json' }
  const response = await fetch(`${node.ready.url}/api/v1${route}`, { method: 'POST', headers, ...(body && { body: JSON.stringify(body) }) })
  if (!response.ok) throw new Error(await response.text())
  return await response.json()
}
const middle = (times: readonly number[]) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0
try {
  const { keys } = (await manage('/projects', { ref: 'shop' })) as { keys: { secretKey: string } }
  const ask = (route: string) => async () => {
    const response = await fetch(`${node.ready.url}/p/shop${route}`, { headers: { apikey: keys.secretKey } })
    await response.arrayBuffer()
    if (!response.ok) throw new Error(`${route}: ${response.status}`)
  }
  for (const [what, route] of [
    ['a request of storage', '/storage/v1/bucket'],
    ['a request of data', '/rest/v1/'],
  ] as const) {
    const times: [number[], number[], number[]] = [[], [], []]
    await ask(route)()
    for (let round = 0; round < ROUNDS; round++) {
      times[2].push(await timed(() => manage('/projects/shop/pause')))
      times[0].push(await timed(ask(route)))
      times[1].push(await timed(ask(route)))
    }
    const [first, second, pause] = times.map((of) => `${middle(of).toFixed(0)} ms (most ${Math.max(...of).toFixed(0)})`)
    process.stdout.write(`${what}: resumed p50 ${first}, awake ${second}; the pause itself ${pause}\n`)
  }
} finally {
  await node.stop()
  rmSync(folder, { recursive: true, force: true })
}

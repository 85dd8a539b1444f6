import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { type RunningMayfly, startMayfly, zipOf } from '../test/acceptance/harness.ts'
import { pause } from './measure.ts'
import { wrk } from './wrk.ts'

// Throughput with 0, 1 and 2 workers: one node of each, asked in turn beside node:http, so that what else the machine does falls
// on all. A function that is busy, with 32 calls at once in a sandbox and with one, and one that computes: ratios, and what a call
// takes of processors, of the main process and of each worker, and of all that runs on the machine. Then one that is called now
// and then, over several connections: of some the calls are handed on to its home. Takes wrk (apt-get install wrk).
// Usage: npm run bench:workers [-- rounds [seconds]]

const ROUNDS = Number(process.argv[2] ?? 2)
const SECONDS = Number(process.argv[3] ?? 2)
/** Rounds that are not counted: a function that is busy comes into all processes meanwhile. */
const WARMING = 1
const SETS = [0, 1, 2] as const
const HELLO = "export default { fetch: () => new Response('hello') }"
/** Some milliseconds of a processor. */
const COMPUTES = `import { createHash } from 'node:crypto'
export default { fetch: () => {
  let text = 'hello'
  for (let i = 0; i < 1_000; i++) text = createHash('sha256').update(text).digest('hex')
  return new Response(text)
} }`
const ASKED = [
  { what: 'one function, 32 calls in a sandbox', name: 'hello-32', connections: 32 },
  { what: 'one function, a call in a sandbox', name: 'hello-1', connections: 8 },
  { what: 'one that computes', name: 'computes', connections: 8 },
] as const
/** Called now and then: so few a second in all that no process brings the function to itself. */
const RARELY = { connections: 8, calls: 40, everyMs: 15 }
const RAW = 'http://127.0.0.1:18078/'
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

async function open(workers: number): Promise<RunningMayfly> {
  const node = await startMayfly(path.join(folder, `data-${workers}`), ['--empty', '--workers', String(workers)])
  await deploy(node, 'hello-32', HELLO, 32)
  for (const name of ['hello-1', 'rare']) await deploy(node, name, HELLO, 1)
  await deploy(node, 'computes', COMPUTES, 1)
  return node
}

async function deploy({ ready: { url, project } }: RunningMayfly, name: string, code: string, concurrency: number): Promise<void> {
  const headers = { apikey: project.secretKey }
  const zip = await zipOf({ 'index.mjs': code })
  const artefact = createHash('sha256').update(zip).digest('hex')
  const at = `${url}/api/v1/projects/${project.ref}`
  await fetch(`${at}/artefacts/${artefact}`, { method: 'PUT', headers, body: new Uint8Array(zip) })
  const body = JSON.stringify({ artefact, handler: 'index.default', memory: 256, verifyJwt: false, concurrency })
  const reply = await fetch(`${at}/functions/${name}`, { method: 'PUT', headers, body })
  if (!reply.ok) throw new Error(`${name}: ${await reply.text()}`)
}

const MS_A_TICK = 10
const stat = (file: string) => {
  const text = readFileSync(file, 'utf8')
  return text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
}
/** What the main process and each of its workers have taken of processors, in ms. */
function ofNode(node: RunningMayfly): number[] {
  const main = node.pid()
  const workers = readFileSync(`/proc/${main}/task/${main}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((pid) => pid !== '' && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0worker\0'))
  return [String(main), ...workers].map((pid) => {
    const fields = stat(`/proc/${pid}/stat`)
    return ((fields[11] as number) + (fields[12] as number)) * MS_A_TICK
  })
}
/** Everything but idleness, in ms. */
const ofMachine = () => {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] =
    /^cpu +(.*)/
      .exec(readFileSync('/proc/stat', 'utf8'))?.[1]
      ?.split(' ')
      .map((ticks) => Number(ticks)) ?? []
  return (user + nice + system + irq + softirq) * MS_A_TICK
}

/** @returns the median of each connection, the least first */
async function rarely(url: string): Promise<number[]> {
  const agents = Array.from({ length: RARELY.connections }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
  const times: number[][] = agents.map(() => [])
  for (let call = 0; call < RARELY.calls; call++)
    for (const [at, agent] of agents.entries()) {
      const from = performance.now()
      await new Promise<void>((resolve, reject) => {
        get(url, { agent }, (answer) => answer.resume().once('end', resolve).once('error', reject)).once('error', reject)
      })
      // The first makes the connection.
      if (call > 0) times[at]?.push(performance.now() - from)
      await pause(RARELY.everyMs)
    }
  for (const agent of agents) agent.destroy()
  return times.map(median).toSorted((a, b) => a - b)
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number

const raw = spawn(process.execPath, ['-e', "require('node:http').createServer((_, r) => r.end('hello')).listen(18078, '127.0.0.1')"], { stdio: 'ignore' })
const nodes = new Map<number, RunningMayfly>()
try {
  for (const workers of SETS) nodes.set(workers, await open(workers))
  await pause(2_000)
  for (const { what, name, connections } of ASKED) {
    const raws: number[] = []
    const rates = new Map<number, number[]>(SETS.map((workers) => [workers, []]))
    const spent = new Map(SETS.map((workers) => [workers as number, { calls: 0, node: [] as number[], machine: 0 }]))
    for (let round = 1 - WARMING; round <= ROUNDS; round++) {
      if (round > 0) raws.push(wrk(RAW, connections, null, 1).rate)
      for (const [workers, node] of nodes) {
        const [nodeBefore, machineBefore] = [ofNode(node), ofMachine()]
        const { rate, calls } = wrk(`${node.ready.project.url}/functions/v1/${name}`, connections, null, SECONDS)
        if (round <= 0) continue
        rates.get(workers)?.push(rate)
        const sum = spent.get(workers) as { calls: number; node: number[]; machine: number }
        sum.calls += calls
        sum.node = ofNode(node).map((ms, at) => (sum.node[at] ?? 0) + ms - (nodeBefore[at] ?? ms))
        sum.machine += ofMachine() - machineBefore
      }
    }
    const base = median(rates.get(0) as number[])
    for (const [workers, all] of rates) {
      const rate = median(all)
      const { calls, node, machine } = spent.get(workers) as { calls: number; node: number[]; machine: number }
      const micros = (ms: number) => ((ms * 1000) / calls).toFixed(0)
      process.stdout.write(
        `${what.padEnd(36)} ${workers} workers  ${rate.toFixed(0).padStart(6)}/s (${Math.min(...all).toFixed(0)}–${Math.max(...all).toFixed(0)})  ÷ 0 workers ${(rate / base).toFixed(2)}  ÷ node:http ${(rate / median(raws)).toFixed(3)}  a call: ${node.map(micros).join(' + ')} µs of the node, ${micros(machine)} of the machine\n`,
      )
    }
  }
  for (const [workers, node] of nodes) {
    const before = ofNode(node)
    const medians = await rarely(`${node.ready.project.url}/functions/v1/rare`)
    const spent = ofNode(node).map((ms, at) => (((ms - (before[at] ?? ms)) * 1000) / (RARELY.connections * RARELY.calls)).toFixed(0))
    process.stdout.write(
      `${'one called now and then'.padEnd(36)} ${workers} workers  p50 of each connection ${medians.map((ms) => ms.toFixed(2)).join(' ')} ms  a call: ${spent.join(' + ')} µs of the node\n`,
    )
  }
} finally {
  raw.kill()
  for (const node of nodes.values()) await node.stop()
  rmSync(folder, { recursive: true, force: true })
}

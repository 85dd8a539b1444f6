import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { CreateFunctionCommand, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf, ROLE, type RunningMayfly, startMayfly, zipOf } from '../test/acceptance/harness.ts'
import { pause } from './measure.ts'
import { wrk } from './wrk.ts'

// Throughput with 0, 1 and 2 workers: one node of each, asked in turn, so that what else the machine does falls on all.
// A function that is busy, and eight that are busy in turn. Prints ratios, and what a call takes of processors: of the
// node's processes, the main one and its workers, and of all that runs on the machine. Takes wrk (apt-get install wrk).
// Usage: npm run bench:workers [-- rounds [seconds [connections [functions]]]]

const ROUNDS = Number(process.argv[2] ?? 3)
const SECONDS = Number(process.argv[3] ?? 4)
/** Rounds that are not counted: a function that is busy comes into all processes meanwhile. */
const WARMING = 2
const SETS = [0, 1, 2] as const
const CONNECTIONS = Number(process.argv[4] ?? 32)
const FUNCTIONS = Number(process.argv[5] ?? 8)
const HELLO = "export default { fetch: () => new Response('hello') }"
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

async function open(workers: number): Promise<RunningMayfly> {
  const node = await startMayfly(path.join(folder, `data-${workers}`), ['--empty', '--workers', String(workers)])
  const aws = awsOf(node.ready)
  const ZipFile = await zipOf({ 'index.mjs': HELLO })
  for (let at = 0; at < FUNCTIONS; at++) {
    const FunctionName = `f${at}`
    await aws.send(new CreateFunctionCommand({ FunctionName, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile } }))
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 30 }, { FunctionName })
  }
  aws.destroy()
  return node
}

const MS_A_TICK = 10
const stat = (file: string) => {
  const text = readFileSync(file, 'utf8')
  return text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
}
/** What the main process and its workers have taken of processors, in ms. */
function ofNode(node: RunningMayfly): number {
  const main = node.pid()
  const workers = readFileSync(`/proc/${main}/task/${main}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0worker\0'))
  return [String(main), ...workers].reduce((sum, pid) => {
    const fields = stat(`/proc/${pid}/stat`)
    return sum + ((fields[11] as number) + (fields[12] as number)) * MS_A_TICK
  }, 0)
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

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number

const nodes = new Map<number, RunningMayfly>()
try {
  for (const workers of SETS) nodes.set(workers, await open(workers))
  await pause(3_000)
  const header = (node: RunningMayfly) => `apikey: ${node.ready.project.secretKey}`
  for (const [what, functions] of [
    ['one function', ['f0']],
    [`${FUNCTIONS} functions, one after another`, Array.from({ length: FUNCTIONS }, (_, at) => `f${at}`)],
  ] as const) {
    if (functions.length === 1 && what !== 'one function') continue
    const rates = new Map<number, number[]>(SETS.map((workers) => [workers, []]))
    const spent = new Map(SETS.map((workers) => [workers as number, { calls: 0, node: 0, machine: 0 }]))
    const seconds = Math.max(1, functions.length === 1 ? SECONDS : Math.round(SECONDS / 4))
    for (let round = 1 - WARMING; round <= ROUNDS; round++) {
      for (const [workers, node] of nodes) {
        for (const name of functions) {
          const [nodeBefore, machineBefore] = [ofNode(node), ofMachine()]
          const { rate } = wrk(`${node.ready.url}/functions/v1/${name}`, CONNECTIONS, header(node), seconds)
          if (round <= 0) continue
          rates.get(workers)?.push(rate)
          const sum = spent.get(workers) as { calls: number; node: number; machine: number }
          sum.calls += rate * seconds
          sum.node += ofNode(node) - nodeBefore
          sum.machine += ofMachine() - machineBefore
        }
      }
    }
    const base = median(rates.get(0) as number[])
    for (const [workers, all] of rates) {
      const rate = median(all)
      const { calls, node, machine } = spent.get(workers) as { calls: number; node: number; machine: number }
      const micros = (ms: number) => ((ms * 1000) / calls).toFixed(0)
      process.stdout.write(
        `${what.padEnd(36)} ${workers} workers  ${rate.toFixed(0).padStart(7)}/s  ÷ 0 workers ${(rate / base).toFixed(2)}  (${Math.min(...all).toFixed(0)} to ${Math.max(...all).toFixed(0)})  a call: ${micros(node)} µs of the node, ${micros(machine)} of the machine\n`,
      )
    }
  }
} finally {
  for (const node of nodes.values()) await node.stop()
  rmSync(folder, { recursive: true, force: true })
}

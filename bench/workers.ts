import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { CreateFunctionCommand, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf, ROLE, type RunningMayfly, startMayfly, zipOf } from '../test/acceptance/harness.ts'
import { pause } from './measure.ts'
import { wrk } from './wrk.ts'

// Throughput with 0, 1 and 2 workers: one node of each, asked in turn, so that what else the machine does falls on all.
// A function that is busy, and eight that are busy in turn. Prints ratios. Takes wrk (apt-get install wrk).
// Usage: npm run bench:workers [-- rounds]

const ROUNDS = Number(process.argv[2] ?? 3)
const SETS = [0, 1, 2] as const
const CONNECTIONS = 32
const HELLO = "export default { fetch: () => new Response('hello') }"
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

async function open(workers: number): Promise<RunningMayfly> {
  const node = await startMayfly(path.join(folder, `data-${workers}`), ['--empty', '--workers', String(workers)])
  const aws = awsOf(node.ready)
  const ZipFile = await zipOf({ 'index.mjs': HELLO })
  for (let at = 0; at < 8; at++) {
    const FunctionName = `f${at}`
    await aws.send(new CreateFunctionCommand({ FunctionName, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile } }))
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 30 }, { FunctionName })
  }
  aws.destroy()
  return node
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number

const nodes = new Map<number, RunningMayfly>()
try {
  for (const workers of SETS) nodes.set(workers, await open(workers))
  await pause(3_000)
  const header = (node: RunningMayfly) => `apikey: ${node.ready.project.secretKey}`
  for (const [what, functions] of [
    ['one function', ['f0']],
    ['eight functions, one after another', Array.from({ length: 8 }, (_, at) => `f${at}`)],
  ] as const) {
    const rates = new Map<number, number[]>(SETS.map((workers) => [workers, []]))
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [workers, node] of nodes) {
        for (const name of functions) {
          const { rate } = wrk(`${node.ready.url}/functions/v1/${name}`, CONNECTIONS, header(node))
          if (round > 0) rates.get(workers)?.push(rate) // the first is for warming
        }
      }
    }
    const base = median(rates.get(0) as number[])
    for (const [workers, all] of rates) {
      const rate = median(all)
      process.stdout.write(
        `${what.padEnd(36)} ${workers} workers  ${rate.toFixed(0).padStart(7)}/s  ÷ 0 workers ${(rate / base).toFixed(2)}  (${Math.min(...all).toFixed(0)} to ${Math.max(...all).toFixed(0)})\n`,
      )
    }
  }
} finally {
  for (const node of nodes.values()) await node.stop()
  rmSync(folder, { recursive: true, force: true })
}

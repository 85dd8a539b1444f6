import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import type { Readable } from 'node:stream'
import path from 'node:path'
import { CreateFunctionCommand, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { build } from 'esbuild'
import { callOn } from './call.ts'
import { list } from './list.ts'
import { pause, show, timed } from './measure.ts'
import { wrk } from './wrk.ts'
import { awsOf } from '../test/acceptance/aws.ts'
import { ROLE, type RunningMayfly, startMayfly, zipOf } from '../test/acceptance/harness.ts'

// Measures Mayfly and a yardstick side by side and prints ratios; times alone say little on a shared machine.
// Usage: npm run bench [-- cold|warm|stream|start|list [functions]]. `warm` takes wrk (apt-get install wrk); `list`, of
// 10,000 functions where nothing else is said, runs only when it is asked for.

const only = process.argv[2] ?? null
const wants = (name: string) => only === null || only === name
const bareNode = () => timed(() => void spawnSync(process.execPath, ['-e', '0'], { stdio: 'ignore' }))

const BUNDLED = `import * as z from 'zod'
export { z }
const Greeting = z.object({ text: z.string().min(1), to: z.array(z.email()), at: z.iso.datetime() })
export const handler = async () => Greeting.parse({ text: 'hello', to: ['a@example.com'], at: '2026-01-01T00:00:00Z' }).text`
const HELLO = "export const handler = async () => 'hello'"
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
const data = path.join(folder, 'data')
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

const create = async (node: RunningMayfly, name: string, code: string, more: object = {}) => {
  const aws = awsOf(node.ready)
  await aws.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Role: ROLE,
      MemorySize: 128,
      Timeout: 10,
      Code: { ZipFile: await zipOf({ 'index.mjs': code }) },
      ...more,
    }),
  )
  await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: name })
  aws.destroy()
}
/** One GET on a connection that stands already, written and read by hand: what a client library adds is not ours to measure. */
function call(node: RunningMayfly, name: string): Promise<string | null> {
  const { port, host } = new URL(node.ready.url)
  sockets[host] ??= connect(Number(port), '127.0.0.1').setNoDelay(true)
  return callOn(sockets[host], host, name, `apikey: ${node.ready.project.publishableKey}\r\n`)
}
const sockets: Record<string, Socket> = {}

async function cold(): Promise<void> {
  let node = await startMayfly(data)
  const names = Array.from({ length: 40 }, (_, i) => `cold-${i}`)
  for (const name of names) await create(node, name, HELLO)
  // A real library of that size, as a bundler leaves it.
  const { outputFiles } = await build({
    stdin: { contents: BUNDLED, resolveDir: import.meta.dirname },
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
  })
  const big = outputFiles[0]?.text ?? ''
  for (let i = 0; i < 8; i++) await create(node, `big-${i}`, big)
  await node.stop()
  node = await startMayfly(data)
  await pause(3000)
  const bare: number[] = []
  const first: number[] = []
  await call(node, 'cold-0')
  for (const name of names.slice(1)) {
    bare.push(await bareNode())
    await pause(250) // the pool refills
    let reason: string | null = null
    first.push(
      await timed(async () => {
        reason = await call(node, name)
      }),
    )
    if (reason === null) throw new Error('not cold')
  }
  const bigs: number[] = []
  for (let i = 0; i < 8; i++) {
    await pause(300)
    bigs.push(await timed(() => call(node, `big-${i}`)))
  }
  const base = show('bare `node -e 0`', bare)
  const from = show('cold call by HTTP, pool warm, 39 functions', first)
  const large = show(`first call of a ${(big.length / 1e6).toFixed(2)} MB bundle`, bigs)
  process.stdout.write(
    `→ cold ÷ bare: p50 ${(from.p50 / base.p50).toFixed(3)}, p99 ÷ bare p99 ${(from.p99 / base.p99).toFixed(3)}, bundle ${(large.p50 / base.p50).toFixed(3)}  (aims 0.15, 1, 0.8)\n`,
  )
  await node.stop()
  for (const host in sockets) delete sockets[host]

  node = await startMayfly(data, ['--empty', '--sandbox-pool-size', '0'])
  const empty: number[] = []
  const bare2: number[] = []
  for (const name of names.slice(0, 12)) {
    bare2.push(await bareNode())
    empty.push(await timed(() => call(node, name)))
  }
  const base2 = show('bare `node -e 0`', bare2)
  const none = show('cold call, pool empty', empty)
  process.stdout.write(`→ pool empty ÷ bare: p50 ${(none.p50 / base2.p50).toFixed(3)}  (aim 2.5)\n`)
  await node.stop()
}

async function warm(): Promise<void> {
  const node = await startMayfly(data)
  await create(node, `warm-${Date.now()}`, HELLO)
  const name = `hello-${Date.now()}`
  await create(node, name, HELLO)
  const peer = path.join(folder, 'peer')
  execFileSync('mkdir', ['-p', peer])
  writeFileSync(path.join(peer, 'index.js'), "exports.hello = (req, res) => res.json('hello')")
  const framework = spawn(process.execPath, ['node_modules/.bin/functions-framework', '--source', peer, '--target', 'hello', '--port', '18099'], {
    stdio: 'ignore',
  })
  await pause(2500)
  const url = `${node.ready.url}/functions/v1/${name}`
  const header = `apikey: ${node.ready.project.publishableKey}`
  const ratios: number[] = []
  for (const connections of [1, 8, 32]) {
    wrk(url, connections, header)
    for (let pass = 0; pass < 3; pass++) {
      const theirs = wrk('http://127.0.0.1:18099/', connections, null)
      const ours = wrk(url, connections, header)
      ratios.push(ours.rate / theirs.rate)
      process.stdout.write(
        `${connections} connections: Mayfly ${ours.rate.toFixed(0)}/s p50 ${ours.p50}, functions-framework ${theirs.rate.toFixed(0)}/s p50 ${theirs.p50}, ratio ${(ours.rate / theirs.rate).toFixed(2)}  (aim 1.5)\n`,
      )
    }
  }
  framework.kill()
  await node.stop()
}

/** Megabytes a second of one answer, read as fast as it comes. */
async function streamed(url: string, headers: Record<string, string>): Promise<number> {
  const from = performance.now()
  let bytes = 0
  await new Promise<void>((resolve, reject) => {
    const request = get(url, { headers }, (response) => {
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      response.on('end', resolve)
      response.on('error', reject)
    })
    request.on('error', reject)
  })
  if (bytes !== STREAM_BYTES) throw new Error(`${url}: ${bytes} bytes`)
  return bytes / 1e6 / ((performance.now() - from) / 1000)
}
const STREAM_BYTES = 150 * 1024 * 1024
/** The same loop on both sides: pieces of 64 KiB, each when there is room for it. */
const WRITES = `const piece = Buffer.alloc(65536, 120)
const write = async (stream) => { for (let left = ${STREAM_BYTES}; left > 0; left -= piece.length) if (!stream.write(piece)) await new Promise((go) => stream.once('drain', go)); stream.end() }`

async function stream(): Promise<void> {
  const node = await startMayfly(data)
  const name = `stream-${Date.now()}`
  await create(node, name, `${WRITES}\nexport const handler = awslambda.streamifyResponse((event, stream) => write(stream))`, { MemorySize: 1769, Timeout: 60 })
  const peer = path.join(folder, 'peer.mjs')
  writeFileSync(
    peer,
    `import { createServer } from 'node:http'\n${WRITES}\nconst server = createServer((request, response) => void write(response)).listen(0, '127.0.0.1', () => console.log(server.address().port))`,
  )
  const raw = spawn(process.execPath, [peer], { stdio: ['ignore', 'pipe', 'ignore'] })
  const port = Number(await once(raw.stdout as Readable, 'data'))
  const headers = { apikey: node.ready.project.secretKey }
  const ratios: number[] = []
  for (let pass = 0; pass < 6; pass++) {
    const theirs = await streamed(`http://127.0.0.1:${port}/`, {})
    const ours = await streamed(`${node.ready.url}/functions/v1/${name}`, headers)
    if (pass > 0) ratios.push(ours / theirs)
    process.stdout.write(
      `stream of 150 MiB: Mayfly ${ours.toFixed(0)} MB/s, node:http ${theirs.toFixed(0)} MB/s, ratio ${(ours / theirs).toFixed(2)}${pass === 0 ? ', not counted' : ''}\n`,
    )
  }
  process.stdout.write(`→ stream ÷ node:http: ${ratios.toSorted((a, b) => a - b)[2]?.toFixed(2)}  (aim 0.5)\n`)
  raw.kill()
  await node.stop()
}

async function start(): Promise<void> {
  await (await startMayfly(data)).stop()
  const times: number[] = []
  const memory: number[] = []
  for (let i = 0; i < 5; i++) {
    let node: RunningMayfly | null = null
    times.push(
      await timed(async () => {
        node = await startMayfly(data)
      }),
    )
    const running = node as unknown as RunningMayfly
    await pause(3000)
    memory.push(Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${running.pid()}/smaps_rollup`, 'utf8'))?.[1]) / 1024)
    await running.stop()
  }
  show('start on an existing data directory', times)
  process.stdout.write(`idle memory, the node alone                   ${memory.map((mb) => mb.toFixed(0)).join(', ')} MB PSS  (aims 1500 ms, 110 MB)\n`)
}

try {
  if (wants('cold')) await cold()
  if (wants('warm')) await warm()
  if (wants('stream')) await stream()
  if (wants('start')) await start()
  if (only === 'list') await list(folder, Number(process.argv[3] ?? 10_000))
} finally {
  rmSync(folder, { recursive: true, force: true })
}

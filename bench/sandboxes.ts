import { createHash } from 'node:crypto'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { build } from 'esbuild'
import { type RunningMayfly, processes, startMayfly, zipOf } from '../test/acceptance/harness.ts'
import { Client, type SandboxInfo } from '../client/client.ts'
import { callOn } from './call.ts'
import { pause, show, timed } from './measure.ts'
import { wrk } from './wrk.ts'

// What sandboxes cost beside bare starts and beside one another, as ratios of one run.
// Usage: npm run bench:sandboxes [-- once|ready|fork|frozen|drivers|many|many-calls [how many [a file that its calls wait for]]]. `many-calls` takes wrk.

const only = process.argv[2] ?? null
const wants = (name: string) => only === null || only === name
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
const HELLO = "export const handler = async () => 'hello'"
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

const bareNode = () => timed(() => void spawnSync(process.execPath, ['-e', '0'], { stdio: 'ignore' }))
const p50 = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number

/** A node for one part of the bench. */
class Bench {
  readonly node: RunningMayfly
  readonly #sockets: Socket[] = []
  constructor(node: RunningMayfly) {
    this.node = node
  }

  static async open(name: string, args: readonly string[] = []): Promise<Bench> {
    return new Bench(await startMayfly(path.join(folder, name), ['--empty', ...args]))
  }

  async deploy(name: string, files: Record<string, string>, settings: Record<string, unknown> = {}): Promise<void> {
    const { url, project } = this.node.ready
    const headers = { apikey: project.secretKey }
    const zip = await zipOf(files)
    const artefact = createHash('sha256').update(zip).digest('hex')
    await fetch(`${url}/api/v1/projects/demo/artefacts/${artefact}`, { method: 'PUT', headers, body: new Uint8Array(zip) })
    const body = JSON.stringify({ artefact, handler: 'index.handler', memory: 128, verifyJwt: false, ...settings })
    const reply = await fetch(`${url}/api/v1/projects/demo/functions/${name}`, { method: 'PUT', headers, body })
    if (!reply.ok) throw new Error(`${name}: ${await reply.text()}`)
  }

  /** @returns why it was cold, null when it was not */
  async call(name: string): Promise<string | null> {
    const { port, host } = new URL(this.node.ready.url)
    const socket = this.#sockets.pop() ?? connect(Number(port), '127.0.0.1').setNoDelay(true)
    const why = await callOn(socket, host, name)
    this.#sockets.push(socket)
    return why
  }

  async sandboxes(): Promise<readonly SandboxInfo[]> {
    const { url, operatorToken } = JSON.parse(readFileSync(path.join(this.node.data, 'run.json'), 'utf8')) as { url: string; operatorToken: string }
    return (await new Client(url, operatorToken).status()).pool.sandboxes
  }

  async end(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await this.node.stop()
  }
}

/** `reuse: never`: paced within its ready set beside a warm function, and as fast as it goes. */
async function once(): Promise<void> {
  const bench = await Bench.open('once')
  await bench.deploy('once', { 'index.mjs': HELLO }, { reuse: 'never' })
  await bench.deploy('kept', { 'index.mjs': HELLO })
  for (let n = 0; n < 10; n++) for (const name of ['once', 'kept']) await bench.call(name)
  await pause(3000)
  const [used, kept]: [number[], number[]] = [[], []]
  for (let n = 0; n < 60; n++) {
    await pause(250)
    used.push(await timed(() => bench.call('once')))
    kept.push(await timed(() => bench.call('kept')))
  }
  const one = show('a call that uses its sandbox once, 4/s', used)
  const warm = show('a warm call beside it', kept)
  let calls = 0
  const until = performance.now() + 10_000
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (; performance.now() < until; calls++) await bench.call('once')
    }),
  )
  process.stdout.write(
    `→ used once ÷ warm: p50 ${(one.p50 / warm.p50).toFixed(2)}  (aim 1.5); as fast as it goes, 4 at once: ${(calls / 10).toFixed(1)}/s  (aim 18)\n`,
  )
  await bench.end()
}

/** Loaded ahead, with a dependency of a megabyte. */
async function ready(): Promise<void> {
  const bench = await Bench.open('ready')
  const contents = `import * as z from 'zod'\nexport { z }\nconst Greeting = z.object({ text: z.string() })\nexport const handler = async () => Greeting.parse({ text: 'hello' }).text`
  const { outputFiles } = await build({ stdin: { contents, resolveDir: import.meta.dirname }, bundle: true, platform: 'node', format: 'esm', write: false })
  const code = `${outputFiles[0]?.text}\nexport const more = ${JSON.stringify('x'.repeat(250_000))}`
  for (let n = 0; n < 20; n++) await bench.deploy(`big-${n}`, { 'index.mjs': code }, { provisioned: 1 })
  await pause(4000)
  const [bare, first]: [number[], number[]] = [[], []]
  await bench.call('big-0')
  for (let n = 1; n < 20; n++) {
    bare.push(await bareNode())
    await pause(100)
    first.push(await timed(() => bench.call(`big-${n}`)))
  }
  const base = show('bare `node -e 0`', bare)
  const from = show(`first call of ${(code.length / 1e6).toFixed(1)} MB that stands loaded`, first)
  process.stdout.write(`→ loaded ahead ÷ bare: p50 ${(from.p50 / base.p50).toFixed(3)}  (aim 0.10)\n`)
  await bench.end()
}

/** Python: a process of its own for each call. */
async function fork(): Promise<void> {
  const bench = await Bench.open('fork')
  const version = /\d+\.\d+/.exec(spawnSync('/usr/bin/python3', ['--version'], { encoding: 'utf8' }).stdout)?.[0]
  const files = { 'index.py': 'def handler(event, context): return "hello"\n' }
  for (const reuse of ['function', 'fork']) await bench.deploy(reuse, files, { runtime: `python${version}`, reuse })
  const times: Record<string, number[]> = { function: [], fork: [] }
  for (let n = 0; n < 520; n++) {
    for (const reuse of ['function', 'fork']) {
      const took = await timed(() => bench.call(reuse))
      if (n >= 20) times[reuse]?.push(took)
    }
  }
  const kept = show('Python, one process', times.function ?? [])
  const forked = show('Python, a process for each call', times.fork ?? [])
  const mean = (times.fork ?? []).reduce((sum, one) => sum + one, 0) / 500
  process.stdout.write(`→ forked: one after the other ${(1000 / mean).toFixed(0)}/s  (aim 250); ÷ one process p50 ${(forked.p50 / kept.p50).toFixed(2)}\n`)
  await bench.end()
}

/** What freezing adds to a call after a pause: two nodes, asked in turn. */
async function frozen(): Promise<void> {
  const freezes = await Bench.open('freezes', ['--sandbox-freeze-ms', '10'])
  const stays = await Bench.open('stays', ['--sandbox-freeze-ms', '60000'])
  for (const bench of [freezes, stays]) await bench.deploy('hello', { 'index.mjs': HELLO })
  const [with_, without]: [number[], number[]] = [[], []]
  for (let n = 0; n < 220; n++) {
    // Each after a pause of its own, and each as often the first: who comes second finds the processor awake.
    const turn: [Bench, number[]][] = [
      [freezes, with_],
      [stays, without],
    ]
    for (const [bench, times] of n % 2 === 0 ? turn : turn.reverse()) {
      await pause(60)
      const took = await timed(() => bench.call('hello'))
      if (n >= 20) times.push(took)
    }
  }
  const one = show('a call that thaws its sandbox', with_)
  const other = show('the same of one that never froze', without)
  process.stdout.write(`→ freeze and thaw add: p50 ${(one.p50 - other.p50).toFixed(2)} ms  (aim 0.2)\n`)
  for (const bench of [freezes, stays]) await bench.end()
}

/** A sandbox from nothing, by each driver. */
async function drivers(): Promise<void> {
  for (const [driver, aim] of [
    ['crun', 2.2],
    ['runc', 2.2],
    ['bwrap', 1.7],
  ] as const) {
    const bench = await Bench.open(`by-${driver}`, ['--sandbox', driver, '--sandbox-pool-size', '0'])
    for (let n = 0; n < 21; n++) await bench.deploy(`f-${n}`, { 'index.mjs': HELLO })
    await pause(1000)
    await bench.call('f-20')
    const [bare, empty]: [number[], number[]] = [[], []]
    for (let n = 0; n < 20; n++) {
      // What the node makes ahead of the next such call is not to stand beside the bare one.
      await pause(300)
      bare.push(await bareNode())
      empty.push(await timed(() => bench.call(`f-${n}`)))
    }
    const base = show('bare `node -e 0`', bare)
    const from = show(`cold call by ${driver}, pool empty`, empty)
    process.stdout.write(`→ ${driver}, pool empty ÷ bare: p50 ${(from.p50 / base.p50).toFixed(2)}  (aim ${aim})\n`)
    await bench.end()
  }
}

/**
 * So many functions stand frozen: what each is charged, and whether their calls are warm still.
 * @param go  a file that the calls wait for, so that the machine can be left alone for them
 */
async function many(count: number, go: string | null): Promise<void> {
  const bench = await Bench.open('many', ['--sandbox-idle-ms', '86400000'])
  for (let n = 0; n < count; n++) await bench.deploy(`f-${n}`, { 'index.mjs': HELLO })
  for (let n = 0; n < count; n++) await bench.call(`f-${n}`)
  await pause(3000)
  const all = (await bench.sandboxes()).filter(({ state }) => state === 'frozen')
  process.stdout.write(`${all.length} of ${count} frozen, ${p50(all.map(({ memoryMb }) => memoryMb)).toFixed(1)} MB charged each at p50  (aim 10)\n`)
  while (go !== null && !existsSync(go)) await pause(100)
  const times: number[] = []
  let cold = 0
  for (let n = 0; n < count; n++) {
    times.push(
      await timed(async () => {
        if ((await bench.call(`f-${n}`)) !== null) cold++
      }),
    )
  }
  show(`a call of each of ${count}`, times)
  process.stdout.write(`→ ${count - cold} of ${count} were warm\n`)
  await bench.end()
}

/** 32 connections to one sandbox that takes 32 calls, and to sandboxes of one call each, beside node:http and functions-framework. */
async function manyCalls(): Promise<void> {
  const bench = await Bench.open('calls')
  await bench.deploy('at-32', { 'index.mjs': HELLO }, { concurrency: 32 })
  await bench.deploy('at-1', { 'index.mjs': HELLO })
  const raw = spawn(process.execPath, ['-e', "require('node:http').createServer((_, r) => r.end('hello')).listen(18077)"], { stdio: 'ignore' })
  const peer = path.join(folder, 'index.js')
  writeFileSync(peer, "exports.hello = (req, res) => res.json('hello')")
  const framework = spawn(process.execPath, ['node_modules/.bin/functions-framework', '--source', folder, '--target', 'hello', '--port', '18099'], {
    stdio: 'ignore',
  })
  await pause(2500)
  const url = (name: string) => `${bench.node.ready.url}/functions/v1/${name}`
  const asked: [string, string, number][] = [
    ['node:http', 'http://127.0.0.1:18077/', 32],
    ['functions-framework', 'http://127.0.0.1:18099/', 32],
    ['concurrency 32', url('at-32'), 32],
    ['concurrency 1', url('at-1'), 8],
  ]
  const rates: Record<string, number[]> = Object.fromEntries(asked.map(([name]) => [name, []]))
  const pids = () => processes().flatMap(({ pid, args }) => (args.includes('/var/runtime/node/bootstrap.mjs') ? [pid] : []))
  for (const [, address, connections] of asked) for (let n = 0; n < 3; n++) wrk(address, connections, null)
  for (let pass = 0; pass < 3; pass++) {
    for (const [name, address, connections] of asked) {
      const before = processorMs([bench.node.pid(), ...pids()])
      const { rate, p50: middle } = wrk(address, connections, null)
      const spent = processorMs([bench.node.pid(), ...pids()]) - before
      rates[name]?.push(rate)
      const cost = name.startsWith('concurrency') ? `, ${((spent * 1000) / (rate * 4)).toFixed(0)} µs of processor a call` : ''
      process.stdout.write(`${name.padEnd(20)} ${rate.toFixed(0).padStart(6)}/s  p50 ${middle}${cost}\n`)
    }
  }
  const of = (name: string) => p50(rates[name] ?? [])
  process.stdout.write(
    `→ ÷ node:http: concurrency 32 ${(of('concurrency 32') / of('node:http')).toFixed(2)}  (aim 0.6), 1 ${(of('concurrency 1') / of('node:http')).toFixed(2)}  (aim 0.3); ÷ functions-framework: 32 ${(of('concurrency 32') / of('functions-framework')).toFixed(2)}  (aim 1.5), 1 ${(of('concurrency 1') / of('functions-framework')).toFixed(2)}\n`,
  )
  raw.kill()
  framework.kill()
  await bench.end()
}

function processorMs(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      ticks += Number(fields[11]) + Number(fields[12])
    } catch {
      // it has ended meanwhile
    }
  }
  return ticks * 10
}

try {
  if (wants('once')) await once()
  if (wants('ready')) await ready()
  if (wants('fork')) await fork()
  if (wants('frozen')) await frozen()
  if (wants('drivers')) await drivers()
  if (wants('many-calls')) await manyCalls()
  if (wants('many')) await many(Number(process.argv[3] ?? 500), process.argv[4] ?? null)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { processes, type RunningMayfly, startMayfly, zipOf } from '../test/acceptance/harness.ts'
import { pause } from './measure.ts'
import { functionsFramework, workerd } from './peers.ts'
import { wrk } from './wrk.ts'

// Where the processor time of a warm call goes: by process, and in the node by thread, from what the kernel counts.
// Beside it, in the same minutes, the rates of node:http, functions-framework and workerd, which is fetched from npm.
// Usage: npm run bench:calls [-- folder of another checkout]. With one, both take turns in the same minutes. Takes wrk.

const CODES = {
  fetch: "export default { fetch: () => new Response('hello') }",
  lambda: "export const handler = async () => 'hello'",
}
const ASKED = [
  { name: 'fetch-32', connections: 32 },
  { name: 'lambda-32', connections: 32 },
  { name: 'fetch-1', connections: 8 },
  { name: 'lambda-1', connections: 8 },
] as const
const PASSES = 2
const SECONDS = 2

const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
const RAW = 'http://127.0.0.1:18077/'
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

/** Microseconds that each part of a node has taken so far. */
type Spent = Record<'main' | 'threads' | 'sandboxes' | 'postgres', number>

class Measured {
  readonly name: string
  readonly node: RunningMayfly
  constructor(name: string, node: RunningMayfly) {
    this.name = name
    this.node = node
  }

  static async open(name: string, command: readonly string[] | undefined): Promise<Measured> {
    const data = path.join(folder, name)
    const measured = new Measured(name, await startMayfly(data, ['--empty'], {}, command ? { command } : {}))
    for (const kind of ['fetch', 'lambda'] as const) for (const concurrency of [32, 1]) await measured.#deploy(kind, concurrency)
    return measured
  }

  async #deploy(kind: keyof typeof CODES, concurrency: number): Promise<void> {
    const { url, project } = this.node.ready
    const headers = { apikey: project.secretKey }
    const zip = await zipOf({ 'index.mjs': CODES[kind] })
    const artefact = createHash('sha256').update(zip).digest('hex')
    const at = `${url}/api/v1/projects/${project.ref}`
    await fetch(`${at}/artefacts/${artefact}`, { method: 'PUT', headers, body: new Uint8Array(zip) })
    const body = JSON.stringify({ artefact, handler: kind === 'fetch' ? 'index.default' : 'index.handler', memory: 128, verifyJwt: false, concurrency })
    const reply = await fetch(`${at}/functions/${kind}-${concurrency}`, { method: 'PUT', headers, body })
    if (!reply.ok) throw new Error(`${kind}: ${await reply.text()}`)
  }

  url(name: string): string {
    return `${this.node.ready.project.url}/functions/v1/${name}`
  }

  spent(): Spent {
    const { instanceId } = JSON.parse(readFileSync(path.join(this.node.data, 'instance.json'), 'utf8')) as { instanceId: string }
    const group = `mayfly-${instanceId.replaceAll('-', '').slice(-12)}`
    const spent: Spent = { main: 0, threads: 0, sandboxes: 0, postgres: 0 }
    const pid = this.node.pid()
    for (const thread of threadsOf(pid)) spent[thread === pid ? 'main' : 'threads'] += runOf(pid, thread)
    for (const one of processes()) {
      const part = one.args.startsWith('postgres') ? (isBelow(one.pid, pid) ? 'postgres' : null) : groupsOf(one.pid).includes(group) ? 'sandboxes' : null
      if (part !== null && one.pid !== pid) for (const thread of threadsOf(one.pid)) spent[part] += runOf(one.pid, thread)
    }
    return spent
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return '' // it has ended meanwhile
  }
}
const runOf = (pid: number, thread: number) => Number(textOf(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0]) / 1000
const groupsOf = (pid: number) => textOf(`/proc/${pid}/cgroup`)
function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}
function isBelow(pid: number, ancestor: number): boolean {
  for (let at = pid; at > 1; ) {
    if (at === ancestor) return true
    at = Number(/^PPid:\s+(\d+)/m.exec(textOf(`/proc/${at}/status`))?.[1] ?? 0)
  }
  return false
}

const other = process.argv[2] ?? null
const raw = spawn(process.execPath, ['-e', "require('node:http').createServer((_, r) => r.end('hello')).listen(18077)"], { stdio: 'ignore' })
const peers = { 'node:http': { url: RAW, kill: () => raw.kill() }, 'functions-framework': functionsFramework(folder), workerd: workerd(folder) }
const nodes = [await Measured.open('here', undefined)]
if (other !== null) nodes.push(await Measured.open('there', [process.execPath, path.join(other, 'bin', 'mayfly.js'), 'up']))
try {
  await pause(500)
  for (const { name, connections } of ASKED) for (const node of nodes) wrk(node.url(name), connections, null, SECONDS)
  const ratios = new Map<string, number[]>()
  for (let pass = 0; pass < PASSES; pass++) {
    for (const { name, connections } of ASKED) {
      const rates = Object.entries(peers).flatMap(([peer, at]) => (at ? [{ peer, rate: wrk(at.url, connections, null, 1).rate }] : []))
      for (const node of nodes) {
        const before = node.spent()
        const { rate, calls } = wrk(node.url(name), connections, null, SECONDS)
        const after = node.spent()
        const each = (part: keyof Spent) => (after[part] - before[part]) / calls
        const parts = (Object.keys(after) as (keyof Spent)[]).map((part) => `${part} ${each(part).toFixed(0).padStart(3)}`).join('  ')
        const all = (Object.keys(after) as (keyof Spent)[]).reduce((sum, part) => sum + each(part), 0)
        for (const { peer, rate: theirs } of rates) {
          const key = `${name} ${node.name} ÷ ${peer}`
          ratios.set(key, [...(ratios.get(key) ?? []), rate / theirs])
        }
        process.stdout.write(`${name.padEnd(10)} ${node.name.padEnd(6)} ${rate.toFixed(0).padStart(6)}/s  µs a call ${all.toFixed(0).padStart(4)}: ${parts}\n`)
      }
    }
  }
  for (const [key, all] of ratios) process.stdout.write(`→ ${key}: ${all.map((one) => one.toFixed(3)).join(', ')}\n`)
} finally {
  for (const peer of Object.values(peers)) peer?.kill()
  for (const { node } of nodes) await node.stop()
  rmSync(folder, { recursive: true, force: true })
}

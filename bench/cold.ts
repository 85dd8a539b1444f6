import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { type RunningMayfly, startMayfly, zipOf } from '../test/acceptance/harness.ts'
import { callOn } from './call.ts'
import { middle, pause, show, timed } from './measure.ts'

// What a cold call costs beside a bare Node, a warm call after the same pause, and a call that uses its sandbox once.
// Usage: npm run bench:cold [-- folder of another checkout [functions]]. With one, both take turns: a node of each, the same calls.

const other = process.argv[2] || null
const FUNCTIONS = Number(process.argv[3] ?? 24)
const HELLO = "export const handler = async () => 'hello'"
/** What is made behind a call is over by then. */
const REST_MS = 750
const PAUSE_MS = 250

const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

class Measured {
  readonly name: string
  readonly cold: number[] = []
  readonly warm: number[] = []
  readonly once: number[] = []
  readonly #command: readonly string[] | undefined
  #node: RunningMayfly
  #socket: Socket | null = null

  private constructor(name: string, node: RunningMayfly, command: readonly string[] | undefined) {
    this.name = name
    this.#node = node
    this.#command = command
  }

  static async open(name: string, command: readonly string[] | undefined): Promise<Measured> {
    const data = path.join(folder, name)
    const measured = new Measured(name, await startMayfly(data, ['--empty'], {}, command ? { command } : {}), command)
    for (let n = 0; n < FUNCTIONS; n++) await measured.#deploy(`cold-${n}`, {})
    await measured.#deploy('once', { reuse: 'never' })
    await measured.#node.stop()
    return measured
  }

  async start(): Promise<void> {
    this.#node = await startMayfly(this.#node.data, ['--empty'], {}, this.#command ? { command: this.#command } : {})
  }

  async #deploy(name: string, settings: Record<string, unknown>): Promise<void> {
    const { url, project } = this.#node.ready
    const headers = { apikey: project.secretKey }
    const zip = await zipOf({ 'index.mjs': HELLO })
    const artefact = createHash('sha256').update(zip).digest('hex')
    const at = `${url}/api/v1/projects/${project.ref}`
    await fetch(`${at}/artefacts/${artefact}`, { method: 'PUT', headers, body: new Uint8Array(zip) })
    const body = JSON.stringify({ artefact, handler: 'index.handler', memory: 128, verifyJwt: false, ...settings })
    const reply = await fetch(`${at}/functions/${name}`, { method: 'PUT', headers, body })
    if (!reply.ok) throw new Error(`${name}: ${await reply.text()}`)
  }

  /** @returns why it was cold, null when it was not */
  async call(name: string): Promise<string | null> {
    const { port, host } = new URL(this.#node.ready.project.url)
    this.#socket ??= connect(Number(port), '127.0.0.1').setNoDelay(true)
    return await callOn(this.#socket, host, name)
  }

  async end(): Promise<void> {
    this.#socket?.destroy()
    await this.#node.stop()
  }
}

const nodes = [await Measured.open('here', undefined)]
if (other !== null) nodes.push(await Measured.open('there', [process.execPath, path.join(other, 'bin', 'mayfly.js'), 'up']))
const bare: number[] = []
try {
  for (const node of nodes) await node.start()
  await pause(3000)
  for (const node of nodes) for (let n = 0; n < 3; n++) await node.call('once')
  for (let n = 0; n < FUNCTIONS; n++) {
    for (const node of n % 2 === 0 ? nodes : nodes.toReversed()) {
      await pause(REST_MS)
      bare.push(await timed(() => void spawnSync(process.execPath, ['-e', '0'], { stdio: 'ignore' })))
      await pause(PAUSE_MS)
      let why: string | null = null
      const took = await timed(async () => {
        why = await node.call(`cold-${n}`)
      })
      if (why === null) throw new Error('not cold')
      // The first of a node's life goes ways that none has gone.
      if (n > 0) node.cold.push(took)
      await pause(PAUSE_MS)
      node.warm.push(await timed(() => node.call(`cold-${n}`)))
      await pause(REST_MS)
      node.once.push(await timed(() => node.call('once')))
    }
  }
  show('bare `node -e 0`', bare)
  for (const { name, cold, warm, once } of nodes) {
    show(`${name}: cold, pool warm`, cold)
    show(`${name}: warm, after ${PAUSE_MS} ms`, warm)
    show(`${name}: used once, after ${REST_MS} ms`, once)
    process.stdout.write(
      `→ ${name}: cold ÷ bare p50 ${(middle(cold) / middle(bare)).toFixed(3)}; ÷ warm ${(middle(cold) / middle(warm)).toFixed(2)}; once ÷ warm ${(middle(once) / middle(warm)).toFixed(2)}\n`,
    )
  }
} finally {
  for (const node of nodes) await node.end()
  rmSync(folder, { recursive: true, force: true })
}

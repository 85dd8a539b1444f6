import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { startMayfly, zipOf } from '../test/acceptance/harness.ts'
import { show, timed } from './measure.ts'

// One of 32 calls of a sandbox has an answer that its client does not read. Rounds with and without it take turns, on the
// same node in the same minute; prints the ratio of what the 31 others take. Usage: npm run bench:slow-reader

const OTHERS = 31
const ROUNDS = 20
const CALLS = 10
const CODE = `exports.fetch = async (request) => {
  const { searchParams } = new URL(request.url)
  if (!searchParams.has('endless')) return new Response('x'.repeat(20_000))
  return new Response(new ReadableStream({ pull: (to) => to.enqueue(Buffer.alloc(65_536, 120)) }))
}`

const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)
const node = await startMayfly(path.join(folder, 'data'))
const { url, project } = node.ready
try {
  const zip = await zipOf({ 'index.js': CODE })
  const artefact = createHash('sha256').update(zip).digest('hex')
  const manage = (at: string, body: string | Uint8Array<ArrayBuffer>) =>
    fetch(`${url}/api/v1/projects/${project.ref}/${at}`, { method: 'PUT', headers: { apikey: project.secretKey }, body })
  await manage(`artefacts/${artefact}`, new Uint8Array(zip))
  await manage(
    'functions/many',
    JSON.stringify({ runtime: 'nodejs24.x', handler: 'index.fetch', memory: 256, concurrency: OTHERS + 1, timeout: 600, artefact }),
  )
  const call = async () => {
    const response = await fetch(`${project.url}/functions/v1/many`, { headers: { apikey: project.publishableKey } })
    if ((await response.text()).length !== 20_000) throw new Error(`it answered ${response.status}`)
  }
  /** Its answer flows until the client's window and all before it are full, and stands there. */
  const slowReader = async (): Promise<Socket> => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.write(`GET /functions/v1/many?endless=1 HTTP/1.1\r\nhost: ${hostname}:${port}\r\napikey: ${project.publishableKey}\r\n\r\n`)
    await new Promise((resolve) => socket.once('readable', resolve))
    return socket
  }
  for (let n = 0; n < 300; n++) await call()
  const times: Record<'without' | 'with', number[]> = { without: [], with: [] }
  for (let round = 0; round < ROUNDS; round++) {
    for (const how of ['without', 'with'] as const) {
      const socket = how === 'with' ? await slowReader() : null
      const each = async () => {
        for (let n = 0; n < CALLS; n++) times[how].push(await timed(call))
      }
      await Promise.all(Array.from({ length: OTHERS }, each))
      socket?.destroy()
    }
  }
  const alone = show('31 at once', times.without)
  const beside = show('31 at once beside one that is not read', times.with)
  process.stdout.write(`→ beside ÷ alone: p50 ${(beside.p50 / alone.p50).toFixed(2)}, p99 ${(beside.p99 / alone.p99).toFixed(2)}  (at most 2)\n`)
} finally {
  await node.stop()
  rmSync(folder, { recursive: true, force: true })
}

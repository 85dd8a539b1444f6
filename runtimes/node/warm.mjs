// Dummy rounds before a guest is anything: what real calls will run is hot by then.
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { start, startAhead } from './calls.mjs'
import { encode, F, u32 } from './frames.mjs'
import { listenRelay, listenTo } from './relay.mjs'
import { calls, code, forget, withdrawTrace } from './running.mjs'
import { replaceEnvironment } from './specialise.mjs'
import { offerWeb } from './web.mjs'
import { control, sandboxCredit } from './wire.mjs'

const { stringify } = JSON
const later = setImmediate
const realEnv = process.env
/** As one that waits thinks of its size. */
const WARM_MB = 512

// The dummy rounds go through the code of real calls, with handlers of our own and frames that go nowhere.
/**
 * @param relayPorts  that calls will have, most likely
 * @param fetches  also what takes and makes requests, whose client is most of what there is to load
 * @param collects  what is left behind is given back; what lives shortly need not
 * @param rehearse  has the guest become what some bytes say, with a call behind it, as it hears that from the host
 */
export async function warm({ rounds, relayPorts = [], fetches = true, collects = true }, rehearse) {
  listenTo(relayPorts)
  if (fetches) offerWeb()
  const realSend = control.send
  const realData = control.sendData
  const credit = sandboxCredit.left
  control.send = (type, flags, stream, payload) => void encode(type, flags, stream, payload)
  control.sendData = control.send
  code.version = { functionName: 'w', functionVersion: 'w', functionArn: 'w', memoryMb: 1, logGroup: 'w', logStream: 'w' }
  const context = { invocationId: 'w', traceId: 'w', clientContext: null, depth: 0 }
  const frame = (head, body) => {
    const bytes = Buffer.from(stringify(head))
    return Buffer.concat([u32(bytes.length), bytes, Buffer.from(body)])
  }
  const settled = () => new Promise((resolve) => later(resolve))
  for (let i = 0; i < rounds; i++) {
    code.handler = { kind: 'lambda', run: async (event) => ({ statusCode: 200, body: stringify(event) }) }
    startAhead(1, F.fin, frame({ kind: 'event', remainingMs: 1000, context }, '{"a":[1,"b",{"c":null}]}'))
    await settled()
    if (i % 3 === 1) {
      const run = async (event, stream) => stream.end(stringify(event))
      code.handler = { kind: 'lambda', run, streaming: { highWaterMark: undefined } }
      start(3, F.fin, frame({ kind: 'event', remainingMs: 1000, context }, '{"a":1}'))
      for (let turn = 0; turn < 50 && calls.has(3); turn++) await settled()
    }
    if (fetches && i % 3 === 0) {
      code.handler = { kind: 'fetch', run: async (request) => new Response(request.headers.get('a') ?? (await request.text()), { headers: { b: 'c' } }) }
      start(2, 0, frame({ kind: 'http', remainingMs: 1000, context, method: 'POST', url: 'http://localhost/x?y=z', headers: [['c', 'd']], hasBody: true }, ''))
      calls.get(2)?.body.take(Buffer.from('body'))
      calls.get(2)?.body.end(true)
      for (let turn = 0; turn < 50 && calls.has(2); turn++) await settled()
      if (calls.has(2)) forget(calls.get(2))
    }
  }
  await warmLoading(rehearse, frame({ kind: 'event', remainingMs: 1000, context }, '{"a":[1,"b",{"c":null}]}'))
  if (fetches) await warmFetch()
  code.handler = null
  sandboxCredit.left = credit
  withdrawTrace()
  control.send = realSend
  control.sendData = realData
  if (collects) giveBack()
}

// What the dummy rounds left behind would be charged to every function. The user's code finds no way to this.
function giveBack() {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  setFlagsFromString('--no-expose-gc')
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}

// Loading is most of a cold start, and a module is loaded but once: small ones of our own go the way of the user's.
const WARM_LOADS = 8
const WARM_FIELDS = { cachePath: null, concurrency: 1, relayPorts: [], build: false }
async function warmLoading(rehearse, call) {
  const folder = fs.mkdtempSync(path.join(realEnv.TMPDIR ?? '/tmp', 'warm-'))
  const before = { environment: { ...realEnv }, version: code.version, at: process.cwd() }
  try {
    for (let i = 0; i < WARM_LOADS; i++) {
      const root = path.join(folder, String(i))
      fs.mkdirSync(root)
      fs.writeFileSync(path.join(root, 'index.mjs'), `import fs from 'node:fs'\nexport const handler = async () => fs && ${i}`)
      fs.writeFileSync(path.join(root, 'plain.cjs'), `exports.handler = async () => require('node:path') && ${i}`)
      for (const handler of ['index.handler', 'plain.handler']) {
        const environment = { ...before.environment, WARM: `${handler}{relay}`, [`WARM_${i}`]: handler }
        const fields = { ...{ handler, framework: null, environment, context: before.version, memoryMb: WARM_MB, codePath: root }, ...WARM_FIELDS }
        code.handler = null
        await rehearse(Buffer.from(stringify(fields)), call)
        for (let turn = 0; turn < 50 && calls.has(1); turn++) await new Promise((resolve) => later(resolve))
      }
      await new Promise((listening) => {
        const server = listenRelay(0, () => server.close(listening))
      })
    }
  } finally {
    process.chdir(before.at)
    replaceEnvironment(before.environment)
    delete globalThis.awslambda
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

// The first fetch of a process loads its client, which takes longer than all else of a cold call: the first ones go
// to a server of our own.
async function warmFetch() {
  process.getBuiltinModule('node:dns') // what looks names up
  const answer = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\netag: "w"\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}'
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(answer))
  })
  try {
    await new Promise((listening, failed) => {
      server.once('error', failed)
      server.listen({ host: '127.0.0.1', port: 0 }, listening)
    })
    const url = `http://127.0.0.1:${server.address().port}/`
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'image/webp' }, body: new Uint8Array(1024) })
    await response.json()
    await (await fetch(url, { headers: { apikey: 'w' } })).arrayBuffer()
  } catch {
    // Where there is no loopback the first fetch loads it, as ever.
  } finally {
    server.close()
  }
}

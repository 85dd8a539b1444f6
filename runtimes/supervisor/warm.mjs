// Dummy invocations through the code of real ones, so that the first real one finds it hot: a client of our own on
// the API's own port, and frames that go nowhere.
import net from 'node:net'
import { encode, F, u32 } from '../node/frames.mjs'
import { control, sandboxCredit } from '../node/wire.mjs'
import { Calls, headersOf } from './calls.mjs'
import { RuntimeApi } from './runtime-api.mjs'

const VERSION = { functionArn: 'w' }
const HEAD = { kind: 'event', remainingMs: 1000, context: { invocationId: 'w', traceId: 'w', clientContext: null, depth: 0, invokedArn: 'w' } }

/**
 * @param serve  has the API's port answered by the given API until what it gives back is called
 * @param address  host and port of the API
 */
export async function warm(rounds, serve, address) {
  const calls = new Calls((call, payload) => api.offer({ id: 'w', payload, headers: headersOf(call, VERSION) }))
  const over = { now: () => {} }
  const api = new RuntimeApi({
    ready: () => over.now(),
    initError: () => {},
    result: (pieces) => calls.result(pieces),
    error: (error) => calls.error(error),
    stream: () => null,
    over: () => {
      api.forget()
      void calls.done()
      over.now()
    },
  })
  const { send, sendData } = control
  const { left } = sandboxCredit
  control.send = (type, flags, stream, payload) => void encode(type, flags, stream, payload)
  control.sendData = control.send
  const restore = serve(api)
  const client = await connect(address)
  try {
    const head = Buffer.from(JSON.stringify(HEAD))
    const call = Buffer.concat([u32(head.length), head, Buffer.from('{"a":[1,"b",{"c":null}]}')])
    for (let i = 0; i < rounds; i++) {
      const idle = new Promise((resolve) => {
        over.now = resolve
      })
      const event = client.ask('GET', 'invocation/next')
      await idle
      calls.start(1, F.fin, call)
      await event
      await client.ask('POST', `invocation/w/${i % 8 === 7 ? 'error' : 'response'}`, '{"errorType":"w"}')
    }
  } finally {
    client.end()
    restore()
    control.send = send
    control.sendData = sendData
    sandboxCredit.left = left
  }
  // What the dummy rounds left behind would be charged to every function.
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}

async function connect(address) {
  const [host, port] = address.split(':')
  const socket = net.connect({ host, port: Number(port) })
  await new Promise((connected, failed) => socket.once('connect', connected).once('error', failed))
  let text = ''
  let heard = null
  socket.setEncoding('latin1')
  socket.on('error', () => {})
  socket.on('data', (piece) => {
    text += piece
    const end = text.indexOf('\r\n\r\n')
    const bytes = end === -1 ? Number.POSITIVE_INFINITY : end + 4 + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
    if (text.length < bytes) return
    text = ''
    heard?.()
  })
  return {
    ask: (method, path, body = '') => {
      socket.write(`${method} /2018-06-01/runtime/${path} HTTP/1.1\r\nHost: ${address}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
      return new Promise((resolve) => {
        heard = resolve
      })
    },
    end: () => socket.destroy(),
  }
}

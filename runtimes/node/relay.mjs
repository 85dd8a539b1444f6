// Loopback connections of user code become streams on descriptor 4.
import net from 'node:net'
import { Credit, F, MAX, STREAM_WINDOW, T, u32 } from './frames.mjs'
import { relay } from './wire.mjs'

const BACKLOG = 511
const relays = new Map()
let nextRelay = 1
export const relayAddress = {
  port: 0,
  get origin() {
    return `http://127.0.0.1:${this.port}`
  },
}

export function listenRelay(port, ready) {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
    const id = nextRelay++
    socket.unref() // whoever waits for it has its other end
    const credit = new Credit(STREAM_WINDOW)
    relays.set(id, { socket, credit })
    relay.send(T.open, 0, id)
    let sending = Promise.resolve()
    const send = async (chunk) => {
      for (let at = 0; at < chunk.length; at += MAX) {
        const piece = chunk.subarray(at, at + MAX)
        await credit.take(piece.length)
        await relay.room()
        if (!relays.has(id)) return
        relay.sendData(T.data, 0, id, piece)
      }
      socket.resume()
    }
    const reset = () => relays.delete(id) && relay.sendData(T.reset, 0, id)
    // An end may be heard while data still waits for credit, and so may an orderly close.
    socket.on('data', (chunk) => {
      socket.pause()
      sending = sending.then(() => send(chunk))
    })
    socket.on('end', () => sending.then(() => relays.has(id) && relay.sendData(T.end, F.fin, id)))
    socket.on('error', () => {})
    socket.on('close', (failed) => (failed ? reset() : sending.then(reset)))
  })
  server.on('error', () => {
    // Without isolation the port may be taken by the node itself, and then leads there anyway.
    if (ready && port !== 0) listenRelay(0, ready)
  })
  if (ready) server.once('listening', () => ready(server.address().port))
  listenAt(server, port)
  server.unref()
  return server
}

/** Beside its own, by their numbers. */
const others = new Map()
export function listenTo(ports) {
  for (const port of ports) if (port !== relayAddress.port && !others.has(port)) others.set(port, listenRelay(port))
}
/** Another process listens there from now on. */
export function leavePorts() {
  for (const server of others.values()) server.close()
}

/** `listen` asks the resolver even about an address, and loading that one takes a tenth of a start; this is what it calls then. */
function listenAt(server, port) {
  if (typeof server._listen2 === 'function') server._listen2('127.0.0.1', port, 4, BACKLOG, undefined, 0)
  else server.listen({ host: '127.0.0.1', port })
}

export function onRelay(type, _flags, id, payload) {
  const entry = relays.get(id)
  if (!entry) return
  if (type === T.data) {
    const bytes = Buffer.from(payload)
    entry.socket.write(bytes, (error) => error || relay.send(T.credit, 0, id, u32(bytes.length)))
  } else if (type === T.end) {
    entry.ended = true
    entry.socket.end()
  } else if (type === T.credit) entry.credit.give(payload.readUInt32LE(0))
  else if (type === T.reset) {
    relays.delete(id)
    // What came before an end is brought to its end; what broke off must not look whole.
    if (entry.ended) entry.socket.destroySoon()
    else entry.socket.resetAndDestroy()
  }
}

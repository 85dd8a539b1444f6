import { Duplex } from 'node:stream'
import type { Socket } from '../core/route.ts'

const LARGEST_FRAME = 64 * 1024
const OVER = 1000

/** A WebSocket whose binary frames are the bytes of a stream, with back-pressure both ways. */
export function streamOf(socket: Socket): Duplex {
  let isOpen = true
  const stream = new Duplex({
    allowHalfOpen: false,
    read: () => socket.listen(true),
    write: (chunk: Buffer, _encoding, done) => {
      if (!isOpen) return done(new Error('the connection is gone'))
      for (let at = 0; at < chunk.length; at += LARGEST_FRAME) {
        const isLast = at + LARGEST_FRAME >= chunk.length
        socket.send(chunk.subarray(at, at + LARGEST_FRAME), isLast ? () => done() : undefined)
      }
    },
    final: (done) => {
      socket.close(OVER, 'the session is over')
      done()
    },
    destroy: (error, done) => {
      if (isOpen) socket.close(OVER, 'the session is over')
      done(error)
    },
  })
  socket.onFrame((frame) => {
    if (!stream.push(typeof frame === 'string' ? Buffer.from(frame) : frame)) socket.listen(false)
  })
  socket.onClose(() => {
    isOpen = false
    stream.push(null)
    stream.destroy()
  })
  return stream
}

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { eventHeaders, eventMessage } from './event-stream.ts'

describe('the event stream', () => {
  it('frames a chunk as AWS does, byte for byte', () => {
    const headers = eventHeaders([
      [':event-type', 'PayloadChunk'],
      [':content-type', 'application/octet-stream'],
      [':message-type', 'event'],
    ])
    assert.equal(
      eventMessage(headers, Buffer.from('hello')).toString('hex'),
      '0000006f0000005af5fe871f0b3a6576656e742d7479706507000c5061796c6f61644368756e6b0d3a636f6e74656e742d747970650700186170706c69636174696f6e2f6f637465742d73747265616d0d3a6d6573736167652d747970650700056576656e7468656c6c6f29e71260',
    )
  })

  it('counts and sums any headers and payload right', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 40 }), fc.string({ maxLength: 200 })), { maxLength: 5 }),
        fc.uint8Array({ maxLength: 2_000 }),
        (pairs, payload) => {
          const headers = eventHeaders(pairs)
          const message = eventMessage(headers, payload)
          assert.equal(message.readUInt32BE(0), message.length)
          assert.equal(message.readUInt32BE(4), headers.length)
          assert.equal(message.readUInt32BE(8), crc32(message.subarray(0, 8)))
          assert.deepEqual([...message.subarray(12 + headers.length, -4)], [...payload])
          assert.equal(message.readUInt32BE(message.length - 4), crc32(message.subarray(0, -4)))
          const read: [string, string][] = []
          for (let at = 12; at < 12 + headers.length; ) {
            const name = message.toString('utf8', at + 1, at + 1 + message.readUInt8(at))
            at += 1 + message.readUInt8(at)
            assert.equal(message.readUInt8(at), 7)
            const length = message.readUInt16BE(at + 1)
            read.push([name, message.toString('utf8', at + 3, at + 3 + length)])
            at += 3 + length
          }
          assert.deepEqual(read, pairs)
        },
      ),
    )
  })
})

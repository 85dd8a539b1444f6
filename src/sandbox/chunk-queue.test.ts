import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ChunkQueue } from './chunk-queue.ts'

const bytesOf = (length: number, seed: number) => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + seed) % 256))

describe('ChunkQueue', () => {
  it('gives the bytes in order, whatever their sizes and whenever they are taken', () => {
    const step = fc.oneof(fc.constant(null), fc.constantFrom(0, 1, 5, 1000, 1023, 1024, 9000, 70_000), fc.nat(2_000))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new ChunkQueue()
        const put: Buffer[] = []
        const got: Buffer[] = []
        for (const [seed, length] of steps.entries()) {
          if (length === null) {
            const chunk = queue.shift()
            if (chunk) got.push(Buffer.from(chunk))
            continue
          }
          const piece = bytesOf(length, seed)
          put.push(Buffer.from(piece))
          queue.push(piece)
          // What was taken does not change any more.
          assert.equal(queue.bytes, Buffer.concat(put).length - Buffer.concat(got).length)
        }
        got.push(queue.takeAll())
        assert.equal(queue.bytes, 0)
        assert.ok(Buffer.concat(got).equals(Buffer.concat(put)))
      }),
    )
  })

  it('holds byte by byte what comes byte by byte in little more memory than its size', () => {
    const queue = new ChunkQueue()
    const piece = Buffer.from('x')
    for (let i = 0; i < 256 * 1024; i++) queue.push(piece)
    assert.equal(queue.bytes, 256 * 1024)
    let chunks = 0
    const buffers = new Set<ArrayBufferLike>()
    for (let chunk = queue.shift(); chunk; chunk = queue.shift()) {
      chunks++
      buffers.add(chunk.buffer)
    }
    assert.ok(chunks <= 32, `${chunks} chunks`)
    assert.ok([...buffers].reduce((sum, buffer) => sum + buffer.byteLength, 0) <= 264 * 1024)
  })

  it('does not hold a large chunk for the sake of a part of it', () => {
    const queue = new ChunkQueue()
    const large = Buffer.alloc(64 * 1024, 'x')
    queue.push(large.subarray(0, 2_000))
    queue.push(large.subarray(0, 60_000))
    assert.notEqual(queue.shift()?.buffer, large.buffer)
    assert.equal(queue.shift()?.buffer, large.buffer)
  })

  it('drops all and tells how much that was', () => {
    const queue = new ChunkQueue()
    for (const length of [3, 4000, 3]) queue.push(bytesOf(length, 1))
    assert.equal(queue.clear(), 4006)
    queue.push(bytesOf(2, 9))
    assert.deepEqual(queue.takeAll(), bytesOf(2, 9))
  })
})

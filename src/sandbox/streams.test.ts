import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../lib/clock.ts'
import { eventOf, never, PoolFixture, silent, until } from './pool-fixture.ts'
import type { Call, CallResult, ResultBody, SandboxLease } from './types.ts'

const KiB = 1024
const code = {
  // Writes 64 KiB after 64 KiB while there is room, and tells how much that was.
  flows: `let written = 0
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      if (event.ask) return void stream.end(String(written))
      for (let i = 0; i < event.pieces; i++) {
        if (!stream.write(Buffer.alloc(65536, 120))) await new Promise((go) => stream.once('drain', go).once('close', go))
        if (stream.destroyed) break
        written += 65536
      }
      stream.end()
    })`,
  // One buffer for all pieces, of several sizes, each written over as soon as the stream says that it has it.
  counts: `exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      const piece = Buffer.alloc(65536)
      for (let i = 0; i < event.pieces; i++) {
        const bytes = [65536, 20000, 65536, 300, 16384][i % 5]
        await new Promise((go) => stream.write(piece.subarray(0, bytes).fill(i % 251), go))
      }
      stream.end()
    })`,
  stands: `exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      stream.write('some')
      await new Promise((resolve) => setTimeout(resolve, 60_000))
    })`,
}

const fixture = new PoolFixture('process', code)
before(() => fixture.openFirst())
after(() => fixture[Symbol.asyncDispose]())

const takes = (event: unknown): Call => ({ ...eventOf(event), takesStream: true }) as Call
const bodyOf = (result: CallResult): ResultBody => {
  assert.ok(result.kind === 'stream', result.kind)
  return result.body
}
const textOf = async (body: AsyncIterable<Uint8Array>) => {
  let text = ''
  for await (const chunk of body) text += Buffer.from(chunk).toString()
  return text
}

describe('a stream out of a sandbox', () => {
  it('is what was written, byte for byte, though its function writes over what it gave, and its reader stops and goes on', async () => {
    const spec = fixture.specOf('counts', { concurrency: 2 })
    const read = async () => {
      using lease = await fixture.pool.acquire(spec, silent, never)
      const body = bodyOf(await lease.run(takes({ pieces: 200 }), silent, never))
      const chunks: Buffer[] = []
      for await (const chunk of body) {
        // Kept as they came: they must not be written over either.
        chunks.push(chunk as Buffer)
        if (chunks.length % 16 === 0) await systemClock.sleep(5)
      }
      return Buffer.concat(chunks)
    }
    const expected = Buffer.concat(Array.from({ length: 200 }, (_, i) => Buffer.alloc([65_536, 20_000, 65_536, 300, 16_384][i % 5] as number, i % 251)))
    for (const came of await Promise.all([read(), read()])) assert.ok(came.equals(expected), 'other bytes than were written')
  })

  it('waits for its reader: who stands still slows its own function, not the neighbour in the same sandbox', async () => {
    const spec = fixture.specOf('flows', { concurrency: 3 })
    const begin = () => fixture.pool.acquire(spec, silent, never)
    using slow = await begin()
    using quick = await begin()
    using asks = await begin()
    assert.equal(new Set([slow.sandboxId, quick.sandboxId, asks.sandboxId]).size, 1)
    const unread = bodyOf(await slow.run(takes({ pieces: 100 }), silent, never))
    await until(() => unread.receivedBytes === 256 * KiB)
    await systemClock.sleep(200)
    assert.equal(unread.receivedBytes, 256 * KiB, 'it goes past its window')
    // What is in the window, in the stream's own buffer and on its way to it.
    const written = Number(await textOf(bodyOf(await asks.run(takes({ ask: true }), silent, never))))
    assert.ok(written < 256 * KiB + 4 * 64 * KiB, `${written} bytes were written, though nobody reads`)
    assert.equal((await textOf(bodyOf(await quick.run(takes({ pieces: 60 }), silent, never)))).length, 60 * 65_536)
    assert.equal((await textOf(unread)).length, 100 * 65_536)
    for (const lease of [slow, quick, asks]) assert.deepEqual((await lease.finished).error, null)
  })

  it('of 32 calls in a sandbox one that nobody reads holds its own window and no more', async () => {
    const spec = fixture.specOf('flows', { key: 'many', concurrency: 32 })
    const shared: SandboxLease[] = []
    while (shared.length < 32) {
      const lease = await fixture.pool.acquire(spec, silent, never)
      shared.push(lease)
    }
    const [slow, ...others] = shared as [SandboxLease, ...SandboxLease[]]
    assert.equal(new Set(shared.map(({ sandboxId }) => sandboxId)).size, 1)
    const unread = bodyOf(await slow.run(takes({ pieces: 100 }), silent, never))
    await until(() => unread.receivedBytes === 256 * KiB)
    const texts = await Promise.all(others.map(async (lease) => await textOf(bodyOf(await lease.run(takes({ pieces: 20 }), silent, never)))))
    assert.deepEqual(new Set(texts.map((text) => text.length)), new Set([20 * 65_536]))
    assert.equal(unread.receivedBytes, 256 * KiB)
    assert.equal((await textOf(unread)).length, 100 * 65_536)
    for (const lease of shared) {
      assert.deepEqual((await lease.finished).error, null)
      lease[Symbol.dispose]()
    }
  })

  it('of 32 calls in a sandbox 24 that nobody reads leave the others their way', async () => {
    const spec = fixture.specOf('flows', { key: 'unread', concurrency: 32 })
    await fixture.call(spec, { ask: true })
    const shared: SandboxLease[] = []
    while (shared.length < 32) shared.push(await fixture.pool.acquire(spec, silent, never))
    assert.equal(new Set(shared.map(({ sandboxId }) => sandboxId)).size, 1)
    const others = shared.splice(24)
    const unread: ResultBody[] = []
    for (const lease of shared) {
      const body = bodyOf(await lease.run(takes({ pieces: 100 }), silent, never))
      unread.push(body)
      // It has what it takes of the window; those behind it find the less.
      await until(() => body.receivedBytes > 0)
    }
    const texts = await Promise.all(others.map(async (lease) => await textOf(bodyOf(await lease.run(takes({ pieces: 20 }), silent, never)))))
    assert.deepEqual(new Set(texts.map((text) => text.length)), new Set([20 * 65_536]))
    const held = unread.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0)
    assert.ok(held < 4 * 1024 * KiB, `${held} bytes are held, all that a sandbox has`)
    // Those that stood still come to their end as soon as they are read.
    for (const text of await Promise.all(unread.map(textOf))) assert.equal(text.length, 100 * 65_536)
    for (const lease of [...shared, ...others]) {
      assert.deepEqual((await lease.finished).error, null)
      lease[Symbol.dispose]()
    }
  })

  const ends = async (lease: SandboxLease, call: Call, signal: AbortSignal, read: (body: ResultBody) => Promise<void>) => {
    await read(bodyOf(await lease.run(call, silent, signal)))
    return await lease.finished
  }

  it('is given up when its reader stops or its client leaves; the sandbox takes the next call', async () => {
    const spec = fixture.specOf('flows', { key: 'left', concurrency: 1 })
    using first = await fixture.pool.acquire(spec, silent, never)
    const stopped = await ends(first, takes({ pieces: 100_000 }), never, async (body) => {
      for await (const _ of body) break
    })
    assert.equal(stopped.error, null)
    first[Symbol.dispose]()
    using second = await fixture.pool.acquire(spec, silent, never)
    assert.equal(second.sandboxId, first.sandboxId)
    const leaving = new AbortController()
    await ends(second, takes({ pieces: 100_000 }), leaving.signal, async (body) => {
      leaving.abort()
      await assert.rejects(textOf(body))
    })
  })

  for (const concurrency of [1, 2]) {
    it(`breaks off at the deadline, and the end says why (concurrency ${concurrency})`, async () => {
      using lease = await fixture.pool.acquire(fixture.specOf('stands', { key: `stands-${concurrency}`, concurrency, timeoutMs: 300 }), silent, never)
      const end = await ends(lease, takes({}), never, (body) => assert.rejects(textOf(body)))
      assert.equal(end.error?.type, 'Sandbox.Timedout')
      assert.match(Buffer.from(end.error?.payload ?? []).toString(), /Task timed out after 0.30 seconds/)
    })
  }
})

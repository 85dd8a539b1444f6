import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { LIMITS } from '../core/limits.ts'
import { Channel, ChannelClosed, type Failed, ProtocolError } from './channel.ts'
import { creditOf, encodeFrame, FLAG, type Frame, FrameDecoder, LOG_WINDOW, MAX_PAYLOAD, SANDBOX_WINDOW, STREAM_WINDOW, TYPE } from './frames.ts'
import type { Call, CallResult, LogSink } from './types.ts'
import { pair } from '../lib/pair-fixture.ts'

const silent: LogSink = { write: () => {}, lost: () => {} }
const context = { invocationId: 'i', traceId: 't', clientContext: null, depth: 0, invokedArn: 'a' }
const event: Call = { kind: 'event', context, payload: Buffer.from('{}') }
const http: Call = { kind: 'http', context, method: 'GET', url: 'http://localhost/', headers: [], body: null }
const json = (value: unknown) => Buffer.from(JSON.stringify(value))
const HELLO = encodeFrame(TYPE.hello, 0, 0, json({ version: 1 }))

function open() {
  const [control, guest] = pair()
  const [relay, guestRelay] = pair()
  const relayed: Duplex[] = []
  guest.on('data', () => {})
  guestRelay.on('data', () => {})
  const channel = new Channel({ control, relay }, (connection) => relayed.push(connection))
  return {
    channel,
    control,
    relayed,
    say: (...frames: Buffer[]) => guest.write(Buffer.concat(frames)),
    sayRelay: (...frames: Buffer[]) => guestRelay.write(Buffer.concat(frames)),
    guest,
  }
}

/** A call as two promises: its outcome, and the end of all that it left behind. */
function send(channel: Channel, call: Call, log: LogSink) {
  const result = Promise.withResolvers<CallResult>()
  const over = Promise.withResolvers<Error | null>()
  const broke = Promise.withResolvers<Failed>()
  result.promise.catch(() => {})
  const id = channel.call(call, 1000, log, {
    result: result.resolve,
    broke: broke.resolve,
    over: (error) => {
      if (error) result.reject(error)
      over.resolve(error)
    },
  })
  return { id, result: result.promise, over: over.promise, broke: broke.promise }
}

/** A load with a call behind it. */
function loadWith(call: Call) {
  const opened = open()
  const sent: Frame[] = []
  const decoder = new FrameDecoder()
  opened.guest.on('data', (chunk: Buffer) => decoder.push(chunk, (frame) => sent.push(frame)))
  opened.say(HELLO)
  const loading = opened.channel.load(silent, { call, remainingMs: 1000 })
  loading.catch(() => {})
  return { ...opened, loading, sent }
}
const LOADED = (kind: string) => encodeFrame(TYPE.loaded, 0, 0, json({ kind }))
const settled = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

describe('a call behind the load of its code', () => {
  const heard = () => {
    const outcomes: unknown[] = []
    const push = (what: string) => (value: unknown) => void outcomes.push([what, value instanceof Error ? value.name : value])
    return { outcomes, ends: { result: push('result'), broke: push('broke'), over: push('over') } }
  }
  it('goes out with it, and is kept with what it answered until somebody listens', async () => {
    const { channel, loading, sent, say } = loadWith(event)
    await settled()
    assert.deepEqual(
      sent.map(({ type, flags }) => [type, flags]),
      [
        [TYPE.specialise, FLAG.fin],
        [TYPE.call, FLAG.fin],
      ],
    )
    say(LOADED('lambda'), encodeFrame(TYPE.result, FLAG.fin | FLAG.done, 1, Buffer.from('1')))
    assert.equal(await loading, 'lambda')
    assert.equal(channel.ahead?.call, event)
    const { outcomes, ends } = heard()
    channel.ahead?.listen(ends)
    assert.deepEqual(outcomes, [
      ['result', { kind: 'event', payload: Buffer.from('1') }],
      ['over', null],
    ])
  })
  it('sends its body when the code is there, and not where it never is', async () => {
    const reads = { n: 0 }
    const body = async function* () {
      reads.n++
      yield Buffer.from('body')
    }
    const post: Call = { ...http, method: 'POST', body: body() } as Call
    const fails = loadWith(post)
    fails.say(encodeFrame(TYPE.loadError, 0, 0, json({ errorType: 'E' })))
    await assert.rejects(fails.loading, { errorType: 'E' })
    assert.deepEqual([fails.channel.ahead, reads.n], [null, 0])
    const works = loadWith(post)
    works.say(LOADED('fetch'))
    await works.loading
    await settled()
    assert.deepEqual(
      works.sent.map(({ type }) => type),
      [TYPE.specialise, TYPE.call, TYPE.data, TYPE.end],
    )
  })
  it('never was where it does not suit the handler, and what is said of it then is a lie', async () => {
    const { channel, loading, say } = loadWith(http)
    say(LOADED('lambda'))
    assert.equal(await loading, 'lambda')
    assert.equal(channel.ahead, null)
    say(encodeFrame(TYPE.head, FLAG.fin | FLAG.done, 1, json({ status: 200, headers: [] })))
    assert.ok((await channel.failure) instanceof ProtocolError)
  })
  it('ends the sandbox that answers it before it has loaded', async () => {
    const { channel, loading, say } = loadWith(event)
    say(encodeFrame(TYPE.result, FLAG.fin | FLAG.done, 1, Buffer.from('1')))
    await assert.rejects(loading, ProtocolError)
    assert.equal(channel.ahead, null)
  })
  it('hears of a sandbox that is lost before anybody listens', async () => {
    const { channel, loading, say, guest } = loadWith(event)
    say(LOADED('lambda'))
    await loading
    guest.destroy()
    channel.close()
    const { outcomes, ends } = heard()
    channel.ahead?.listen(ends)
    assert.deepEqual(outcomes, [['over', 'ChannelClosed']])
  })
  it('is left to whoever sends it where it is too large', async () => {
    const large: Call = { ...http, url: `http://localhost/${'x'.repeat(MAX_PAYLOAD)}` } as Call
    const { channel, loading, sent, say } = loadWith(large)
    say(LOADED('fetch'))
    await loading
    assert.deepEqual([channel.ahead, sent.length], [null, 1])
  })
})

describe('FrameDecoder', () => {
  it('gives the same frames however the bytes are split, data in pieces of which the last has the flags', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...Object.values(TYPE)), fc.nat(255), fc.nat(0xffffffff), fc.uint8Array({ maxLength: 300 })), { maxLength: 10 }),
        fc.array(fc.nat(40), { minLength: 1 }),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames.map(([type, flags, stream, payload]) => encodeFrame(type, flags, stream, payload)))
          const decoder = new FrameDecoder()
          const seen: [type: number, flags: number, stream: number, payload: number[]][] = []
          let rest: number[] = []
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const end = Math.min(bytes.length, at + (cuts[i % cuts.length] as number) + 1)
            decoder.push(bytes.subarray(at, end), ({ type, flags, stream, payload }) => {
              const whole = [...rest, ...payload]
              rest = []
              const length = frames[seen.length]?.[3].length ?? 0
              if (type === TYPE.data && whole.length < length) rest = flags === 0 ? whole : assert.fail('flags before the last piece')
              else seen.push([type, flags, stream, whole])
            })
            at = end
          }
          assert.deepEqual(
            seen,
            frames.map(([type, flags, stream, payload]) => [type, flags, stream, [...payload]]),
          )
        },
      ),
    )
  })
})

const wholeReply = (body: string) => {
  const head = json({ status: 200, headers: [['a', 'b']] })
  const length = Buffer.alloc(4)
  length.writeUInt32LE(head.length)
  return Buffer.concat([length, head, Buffer.from(body)])
}

describe('Channel', () => {
  it('takes a hello and a result, once', async () => {
    const { channel, say } = open()
    say(HELLO)
    assert.equal((await channel.hello(AbortSignal.timeout(1000))).version, 1)
    const sent = send(channel, event, silent)
    say(encodeFrame(TYPE.result, FLAG.fin | FLAG.done, sent.id, Buffer.from('"x"')))
    const result = await sent.result
    assert.equal(result.kind === 'event' && Buffer.from(result.payload).toString(), '"x"')
    await sent.over
  })

  it('is over at once where the sandbox was gone before', { timeout: 5_000 }, async () => {
    for (const gone of ['control', 'relay'] as const) {
      const ways = { control: pair()[0], relay: pair()[0] }
      ways[gone].destroy()
      await once(ways[gone], 'close')
      const channel = new Channel(ways, () => {})
      await assert.rejects(channel.hello(new AbortController().signal), ChannelClosed)
      assert.ok(channel.isOver)
    }
  })

  it('takes an error of any bytes behind its type, and how the process ended', async () => {
    const { channel, say } = open()
    say(HELLO)
    const sent = send(channel, event, silent)
    const head = json({ errorType: 'Mine' })
    const length = Buffer.alloc(4)
    length.writeUInt32LE(head.length)
    say(encodeFrame(TYPE.callError, FLAG.raw | FLAG.done, sent.id, Buffer.concat([length, head, Buffer.from([0xff, 0, 0x7b])])))
    assert.deepEqual(await sent.result, { kind: 'error', errorType: 'Mine', payload: Buffer.from([0xff, 0, 0x7b]) })
    say(encodeFrame(TYPE.exiting, 0, 0, Buffer.from([3, 11, 0, 0])))
    await channel.failure
    assert.deepEqual(channel.exit, { code: 3, signal: 11 })
  })

  const hostile: [string, (id: number) => Buffer[]][] = [
    ['a length past the limit', () => [Buffer.from([1, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0])]],
    ['an unknown type', () => [encodeFrame(99, 0, 0)]],
    ['a reserved field', () => [Buffer.from([0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0, 0])]],
    ['an error whose head is cut short', (id) => [encodeFrame(TYPE.callError, FLAG.raw | FLAG.done, id, Buffer.from([9, 0, 0, 0, 123]))]],
    ['an error without a head', (id) => [encodeFrame(TYPE.callError, FLAG.raw | FLAG.done, id, Buffer.from([1]))]],
    ['a whole body for an event', (id) => [encodeFrame(TYPE.head, FLAG.raw | FLAG.fin | FLAG.done, id, wholeReply('x'))]],
    ['an error whose head has no type', (id) => [encodeFrame(TYPE.callError, FLAG.raw | FLAG.done, id, Buffer.concat([Buffer.from([2, 0, 0, 0]), json({})]))]],
    ['a call that does not run', (id) => [encodeFrame(TYPE.result, FLAG.fin, id + 7, json(1))]],
    ['a second result', (id) => [encodeFrame(TYPE.result, FLAG.fin, id, json(1)), encodeFrame(TYPE.result, FLAG.fin, id, json(2))]],
    ['a result and an error', (id) => [encodeFrame(TYPE.result, FLAG.fin, id, json(1)), encodeFrame(TYPE.callError, 0, id, json({ errorType: 'x' }))]],
    ['a head for an event', (id) => [encodeFrame(TYPE.head, 0, id, json({ status: 200, headers: [] }))]],
    ['done before a result', (id) => [encodeFrame(TYPE.done, 0, id)]],
    ['data where nothing is open', (id) => [encodeFrame(TYPE.data, 0, id, json(1))]],
    ['an error without a type', (id) => [encodeFrame(TYPE.callError, 0, id, json({}))]],
    ['an error that is not JSON', (id) => [encodeFrame(TYPE.callError, 0, id, Buffer.from('{'))]],
    ['a second hello', () => [HELLO]],
    ['another version', () => [encodeFrame(TYPE.hello, 0, 0, json({ version: 2 }))]],
    ['loaded when nothing loads', () => [encodeFrame(TYPE.loaded, 0, 0, json({ kind: 'lambda' }))]],
    ['a credit beyond the window', (id) => [encodeFrame(TYPE.credit, 0, id, Buffer.from([255, 255, 255, 255]))]],
    ['a stream without a type', (id) => [encodeFrame(TYPE.stream, 0, id, json({}))]],
    ['a stream after a result', (id) => [encodeFrame(TYPE.result, FLAG.fin, id, json(1)), encodeFrame(TYPE.stream, 0, id, json({ contentType: 'a' }))]],
    ['a second stream', (id) => [encodeFrame(TYPE.stream, 0, id, json({ contentType: 'a' })), encodeFrame(TYPE.stream, 0, id, json({ contentType: 'a' }))]],
    ['a stream that breaks off without an error', (id) => [encodeFrame(TYPE.stream, 0, id, json({ contentType: 'a' })), encodeFrame(TYPE.end, FLAG.done, id)]],
    ['a relay frame on control', () => [encodeFrame(TYPE.open, 0, 1)]],
  ]
  for (const [name, frames] of hostile) {
    it(`ends with a ProtocolError at ${name}`, async () => {
      const { channel, say } = open()
      say(HELLO)
      const sent = send(channel, event, silent)
      sent.result.catch(() => {})
      say(...frames(sent.id))
      assert.ok((await channel.failure) instanceof ProtocolError)
    })
  }

  it('a load fails at once at an answer that cannot be believed', { timeout: 5_000 }, async () => {
    for (const answer of [encodeFrame(TYPE.loaded, 0, 0, json({ kind: 'other' })), encodeFrame(TYPE.loadError, 0, 0, json({}))]) {
      const { channel, say } = open()
      say(HELLO)
      const loading = channel.load(silent)
      say(answer)
      await assert.rejects(loading, ProtocolError)
    }
  })

  it('ends at body bytes beyond credit, not before', async () => {
    const { channel, say } = open()
    say(HELLO)
    const sent = send(channel, http, silent)
    say(encodeFrame(TYPE.head, 0, sent.id, json({ status: 200, headers: [['a', 'b']] })))
    const piece = encodeFrame(TYPE.data, 0, sent.id, Buffer.alloc(MAX_PAYLOAD))
    for (let i = 0; i < STREAM_WINDOW / MAX_PAYLOAD; i++) say(piece)
    assert.equal((await sent.result).kind, 'http')
    assert.equal(await Promise.race([channel.failure, new Promise((resolve) => setTimeout(resolve, 20, 'alive'))]), 'alive')
    say(piece)
    assert.ok((await channel.failure) instanceof ProtocolError)
  })

  describe('with a stream', () => {
    const streamed: Call = { ...event, takesStream: true }
    const begin = async () => {
      const { channel, say } = open()
      say(HELLO)
      const sent = send(channel, streamed, silent)
      say(encodeFrame(TYPE.stream, 0, sent.id, json({ contentType: 'text/csv' })))
      const result = await sent.result
      assert.ok(result.kind === 'stream')
      assert.equal(result.contentType, 'text/csv')
      const data = (bytes: Buffer | string) => say(encodeFrame(TYPE.data, 0, sent.id, Buffer.from(bytes)))
      return { channel, say, sent, body: result.body, data }
    }
    const textOf = async (body: AsyncIterable<Uint8Array>) => {
      let text = ''
      for await (const chunk of body) text += Buffer.from(chunk).toString()
      return text
    }

    it('gives what comes as it comes, and its end', async () => {
      const { say, sent, body, data } = await begin()
      data('one ')
      const chunks = body[Symbol.asyncIterator]()
      assert.equal(Buffer.from((await chunks.next()).value ?? []).toString(), 'one ')
      data('two')
      say(encodeFrame(TYPE.end, FLAG.fin | FLAG.done, sent.id))
      assert.equal(Buffer.from((await chunks.next()).value ?? []).toString(), 'two')
      assert.equal((await chunks.next()).done, true)
      assert.equal(await sent.over, null)
    })

    it('gives what came before its error, then breaks off and tells the error', async () => {
      const { say, sent, body, data } = await begin()
      data('some')
      say(encodeFrame(TYPE.callError, FLAG.done, sent.id, json({ errorType: 'Mine' })))
      assert.deepEqual([(await sent.broke).errorType, await sent.over], ['Mine', null])
      const chunks = body[Symbol.asyncIterator]()
      assert.equal(Buffer.from((await chunks.next()).value ?? []).toString(), 'some')
      await assert.rejects(chunks.next())
    })

    it('collects it for who takes none, or its error', async () => {
      for (const fails of [false, true]) {
        const { channel, say } = open()
        say(HELLO)
        const sent = send(channel, event, silent)
        say(encodeFrame(TYPE.stream, 0, sent.id, json({ contentType: 'text/csv' })), encodeFrame(TYPE.data, 0, sent.id, Buffer.from('a')))
        say(encodeFrame(TYPE.data, 0, sent.id, Buffer.from('b')))
        say(fails ? encodeFrame(TYPE.callError, FLAG.done, sent.id, json({ errorType: 'Mine' })) : encodeFrame(TYPE.end, FLAG.fin | FLAG.done, sent.id))
        const result = await sent.result
        if (fails) assert.ok(result.kind === 'error' && result.errorType === 'Mine')
        else assert.ok(result.kind === 'event' && Buffer.from(result.payload).toString() === 'ab')
        assert.equal(await sent.over, null)
      }
    })

    it('ends at data beyond credit', async () => {
      const { channel, data } = await begin()
      for (let i = 0; i <= STREAM_WINDOW / MAX_PAYLOAD; i++) data(Buffer.alloc(MAX_PAYLOAD))
      assert.ok((await channel.failure) instanceof ProtocolError)
    })

    it(`holds streamedReply (${LIMITS.streamedReply.value}), and tells one byte more as the function’s error; the guest may end it as it likes`, async () => {
      for (const over of [0, 1]) {
        const { channel, say, sent, body, data } = await begin()
        let read = 0
        const reading = (async () => {
          for await (const chunk of body) read += chunk.byteLength
        })()
        const ended = over === 0 ? reading : assert.rejects(reading)
        for (let left = LIMITS.streamedReply.value + over; left > 0; left -= MAX_PAYLOAD) {
          data(Buffer.alloc(Math.min(left, MAX_PAYLOAD)))
          await new Promise((resolve) => setImmediate(resolve))
        }
        if (over === 0) {
          say(encodeFrame(TYPE.end, FLAG.fin | FLAG.done, sent.id))
          await ended
          assert.equal(read, LIMITS.streamedReply.value)
          continue
        }
        await ended
        assert.equal((await sent.broke).errorType, 'Function.ResponseSizeTooLarge')
        for (let i = 0; i < 20; i++) data(Buffer.alloc(MAX_PAYLOAD))
        say(encodeFrame(TYPE.callError, FLAG.done, sent.id, json({ errorType: 'Later' })))
        assert.equal(await sent.over, null)
        channel.close()
      }
    })

    it('fails it when the guest is gone', async () => {
      const { channel, sent, body, data } = await begin()
      data('some')
      channel.close()
      await assert.rejects(textOf(body), ChannelClosed)
      assert.ok((await sent.over) instanceof ChannelClosed)
    })
  })

  it('ends at a log frame larger than its credit, and counts what the guest lost', async () => {
    const { channel, say } = open()
    let lost = 0
    const sent = send(channel, event, { write: () => {}, lost: (bytes) => (lost += bytes) })
    say(HELLO, encodeFrame(TYPE.logLost, 0, sent.id, Buffer.from([5, 0, 0, 0])))
    for (let i = 0; i < (LOG_WINDOW / MAX_PAYLOAD) * 3; i++) say(encodeFrame(TYPE.log, FLAG.stdout, sent.id, Buffer.alloc(MAX_PAYLOAD)))
    say(encodeFrame(TYPE.result, FLAG.fin | FLAG.done, sent.id, json(1)))
    await sent.result
    assert.equal(lost, 5)
  })

  describe('a guest that wants the memory of the node', () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const usedBytes = () => {
      collect()
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    }
    const BYTE = Buffer.from('x')

    it('gets none by pieces without bytes, however many, nor by such of one', async () => {
      const { channel, control, say } = open()
      const [collected, streamed] = [send(channel, event, silent), send(channel, http, silent)]
      say(HELLO, encodeFrame(TYPE.result, 0, collected.id), encodeFrame(TYPE.head, 0, streamed.id, json({ status: 200, headers: [] })))
      await streamed.result
      for (const { id } of [collected, streamed]) {
        const empty = Buffer.concat(Array.from({ length: 5_000 }, () => encodeFrame(TYPE.data, 0, id)))
        const tiny = Buffer.concat(Array.from({ length: 5_000 }, () => encodeFrame(TYPE.data, 0, id, BYTE)))
        const before = usedBytes()
        for (let i = 0; i < 150; i++) {
          say(i < 100 ? empty : tiny)
          // All of it was heard, however long others had their turn.
          do await new Promise((resolve) => setImmediate(resolve))
          while (control.readableLength > 0)
        }
        const held = usedBytes() - before
        assert.ok(held < 8 * 1024 * 1024, `${held} bytes are held`)
      }
      say(encodeFrame(TYPE.end, FLAG.fin | FLAG.done, collected.id))
      const result = (await collected.result) as Extract<CallResult, { kind: 'event' }>
      assert.equal(result.payload.byteLength, 250_000)
    })

    it('is ended when it makes us answer and reads nothing of it', async () => {
      const [relay, guestRelay] = pair()
      guestRelay.on('data', () => {})
      // Takes what it is told, and never says that it has.
      const control = new Duplex({ read: () => {}, write: () => {} })
      const channel = new Channel({ control, relay }, () => {})
      const sent = send(channel, event, silent)
      control.push(HELLO)
      const line = Buffer.concat(Array.from({ length: 20_000 }, () => encodeFrame(TYPE.log, FLAG.stdout, sent.id, BYTE)))
      for (let i = 0; i < 200 && !channel.isOver; i++) {
        control.push(line)
        await new Promise((resolve) => setImmediate(resolve))
      }
      const error = await sent.over
      assert.ok(error instanceof ProtocolError)
      const [, unread] = /does not read the (\d+) bytes/.exec(error.message) ?? []
      assert.ok(Number(unread) > LIMITS.unreadFrames.value, error.message)
    })
  })

  it('lets others have their turn when a guest says very much at once, and loses nothing of it', async () => {
    const [control, guest] = pair()
    const [relay] = pair()
    guest.on('data', () => {})
    const channel = new Channel({ control, relay }, () => {})
    let heard = 0
    const sent = send(channel, event, { write: () => void heard++, lost: () => {} })
    const burst = Buffer.concat(Array.from({ length: 2_000 }, () => encodeFrame(TYPE.log, FLAG.stdout, sent.id, Buffer.from('x'))))
    guest.write(Buffer.concat([HELLO, burst]))
    guest.write(burst)
    await new Promise<void>((resolve) => process.nextTick(resolve))
    assert.ok(heard > 0 && heard <= 512 && control.isPaused(), `${heard} frames in a turn`)
    guest.write(encodeFrame(TYPE.result, FLAG.fin | FLAG.done, sent.id, json(1)))
    await sent.result
    assert.equal(heard, 4_000)
  })

  it('takes no line out of the type of an error', async () => {
    const { channel, say } = open()
    const sent = send(channel, event, silent)
    say(HELLO, encodeFrame(TYPE.callError, FLAG.done, sent.id, json({ errorType: 'A\nEND RequestId: x\r\u2028\u0000', errorMessage: 'm' })))
    const result = (await sent.result) as Failed
    assert.equal(result.errorType, 'A END RequestId: x   ')
  })

  it('fails every call when the guest is gone', async () => {
    const { channel, guest } = open()
    const all = [send(channel, event, silent), send(channel, http, silent)]
    guest.end()
    for (const one of all) await assert.rejects(one.result, ChannelClosed)
  })

  it('has credit for bodies after any number of calls that ended before their body was sent', async () => {
    const { channel, say, guest } = open()
    say(HELLO)
    const received = new Map<number, number>()
    const decoder = new FrameDecoder()
    guest.on('data', (chunk: Buffer) =>
      decoder.push(chunk, ({ type, stream, payload }) => {
        if (type === TYPE.data) received.set(stream, (received.get(stream) ?? 0) + payload.length)
      }),
    )
    for (let i = 0; i < (SANDBOX_WINDOW / MAX_PAYLOAD) * 2; i++) {
      const body = (async function* () {
        yield Buffer.alloc(2 * STREAM_WINDOW)
      })()
      const sent = send(channel, { ...http, method: 'POST', body }, silent)
      for (let turn = 0; (received.get(sent.id) ?? 0) < STREAM_WINDOW; turn++) {
        assert.ok(turn < 1000, `call ${i}: its body has no credit`)
        await new Promise((resolve) => setImmediate(resolve))
      }
      say(
        encodeFrame(TYPE.head, FLAG.fin | FLAG.done, sent.id, json({ status: 200, headers: [] })),
        encodeFrame(TYPE.credit, 0, sent.id, creditOf(STREAM_WINDOW)),
      )
      await sent.over
    }
  })

  it('never throws and never hangs on random bytes and on frames of random order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 64 }),
            fc.tuple(fc.constantFrom(...Object.values(TYPE)), fc.nat(15), fc.nat(4), fc.uint8Array({ maxLength: 40 })),
          ),
          { maxLength: 12 },
        ),
        async (parts) => {
          const { channel, say, sayRelay, guest } = open()
          const sent = send(channel, event, silent)
          sent.result.catch(() => {})
          for (const part of parts) {
            const bytes = Array.isArray(part) ? encodeFrame(part[0], part[1], part[2], part[3]) : Buffer.from(part)
            if (bytes.length % 2 === 0) say(bytes)
            else sayRelay(bytes)
          }
          guest.end()
          assert.ok((await channel.failure) instanceof Error)
          await sent.over
        },
      ),
      { numRuns: 200 },
    )
  })

  it('makes no more connections in a turn than may be open, however many were reset at once', async () => {
    const { channel, relayed, sayRelay } = open()
    const pairs = (from: number) => Array.from({ length: 2000 }, (_, i) => [encodeFrame(TYPE.open, 0, from + i), encodeFrame(TYPE.reset, 0, from + i)]).flat()
    sayRelay(...pairs(1))
    sayRelay(encodeFrame(TYPE.open, 0, 3000))
    // It is heard on when the others had their turn.
    for (let before = -1; relayed.at(-1)?.destroyed !== false; before = relayed.length) {
      assert.ok(relayed.length - Math.max(0, before) <= LIMITS.relayConnections.value, `${relayed.length} after ${before}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal(channel.isOver, false)
    channel.close()
  })
  it(`holds relayConnections (${LIMITS.relayConnections.value}) and refuses one more, without ending`, async () => {
    const { channel, relayed, sayRelay } = open()
    for (let id = 1; id <= LIMITS.relayConnections.value + 1; id++) sayRelay(encodeFrame(TYPE.open, 0, id))
    assert.equal(await Promise.race([channel.failure, new Promise((resolve) => setTimeout(resolve, 50, 'alive'))]), 'alive')
    assert.equal(relayed.length, LIMITS.relayConnections.value)
    sayRelay(encodeFrame(TYPE.open, 0, 5))
    assert.ok((await channel.failure) instanceof ProtocolError, 'an id is never used twice')
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Reply } from '../core/route.ts'
import { integrationPrelude, replyOfStream } from './stream-reply.ts'

const INTEGRATION = 'application/vnd.awslambda.http-integration-response'
const ZEROS = '\0'.repeat(8)

/** A stream of these pieces; `reader` sees how far it was read. */
function streamOf(contentType: string, pieces: readonly (string | Error)[]) {
  const reader = { read: 0, over: false }
  const body = {
    receivedBytes: 0,
    takeWhole: () => null,
    async *[Symbol.asyncIterator]() {
      try {
        for (const piece of pieces) {
          if (piece instanceof Error) throw piece
          reader.read++
          yield Buffer.from(piece)
        }
      } finally {
        reader.over = true
      }
    },
  }
  return { result: { kind: 'stream' as const, contentType, body }, reader }
}
const textOf = async ({ body }: Reply): Promise<string> => {
  let text = ''
  for await (const chunk of body as AsyncIterable<Uint8Array>) text += Buffer.from(chunk).toString()
  return text
}

describe('a stream as a reply', () => {
  it('has the type that it says, and its bytes as they come', async () => {
    const { result, reader } = streamOf('text/event-stream', ['data: 1\n\n', 'data: 2\n\n'])
    const reply = await replyOfStream(result)
    assert.deepEqual([reply.status, reply.headers, reader.read], [200, { 'content-type': 'text/event-stream' }, 0])
    assert.equal(await textOf(reply), 'data: 1\n\ndata: 2\n\n')
  })

  it('has status, headers and cookies of its prelude, however that is cut', async () => {
    const prelude = `{"statusCode":201,"headers":{"X-A":"b","Content-Type":"text/html","x-many":["1"]},"cookies":["a=1","b=2"]}`
    const whole = `${prelude}${ZEROS}<p>body</p>`
    for (const at of [0, 1, prelude.length, prelude.length + 3, prelude.length + 8, prelude.length + 9]) {
      const reply = await replyOfStream(streamOf(INTEGRATION, [whole.slice(0, at), whole.slice(at), '!']).result)
      assert.deepEqual([reply.status, reply.headers], [201, { 'x-a': 'b', 'content-type': 'text/html', 'x-many': '1', 'set-cookie': ['a=1', 'b=2'] }])
      assert.equal(await textOf(reply), '<p>body</p>!')
    }
  })

  it('is 200 of unknown bytes where its prelude says nothing', async () => {
    const reply = await replyOfStream(streamOf(`${INTEGRATION}; charset=utf-8`, [`{}${ZEROS}`]).result)
    assert.deepEqual([reply.status, reply.headers, await textOf(reply)], [200, { 'content-type': 'application/octet-stream' }, ''])
  })

  it('reads a body that has no place to its end', async () => {
    const { result, reader } = streamOf(INTEGRATION, [`{"statusCode":204}${ZEROS}`, 'a', 'b'])
    assert.equal((await replyOfStream(result)).body, null)
    for (let turn = 0; turn < 20 && !reader.over; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([reader.read, reader.over], [3, true])
  })

  it('lets no header through that would break the reply or the connection', async () => {
    const headers = { 'x-a\r\nx-evil': '1', 'x-b': 'a\r\nx-evil: 1', connection: 'upgrade', 'transfer-encoding': 'chunked', 'content-length': '3', 'x-c': 'c' }
    const prelude = JSON.stringify({ headers, cookies: ['a=1\r\nset-cookie: b=2', 7] })
    const reply = await replyOfStream(streamOf(INTEGRATION, [prelude + ZEROS]).result)
    assert.deepEqual(reply.headers, { 'content-type': 'application/octet-stream', 'x-c': 'c', 'set-cookie': ['7'] })
    const typed = await replyOfStream(streamOf('text/plain\r\nx-evil: 1', []).result)
    assert.deepEqual(typed.headers, { 'content-type': 'application/octet-stream' })
  })

  for (const [what, pieces] of [
    ['does not end', ['{"statusCode":200}']],
    ['never ends', Array.from({ length: 200 }, () => ' '.repeat(1024))],
    ['is no JSON', [`{${ZEROS}`]],
    ['is no object', [`[]${ZEROS}`]],
    ['is null', [`null${ZEROS}`]],
    ['has a status below 200', [`{"statusCode":101}${ZEROS}`]],
    ['has a status of words', [`{"statusCode":"ok"}${ZEROS}`]],
  ] as const) {
    it(`is refused when its prelude ${what}, and read no further`, async () => {
      const { result, reader } = streamOf(INTEGRATION, pieces)
      await assert.rejects(replyOfStream(result), { code: 'function_reply_invalid' })
      assert.deepEqual([reader.over, reader.read < 70], [true, true])
    })
  }

  it('breaks off where the function does: in the prelude before anything is sent, else in the body', async () => {
    await assert.rejects(replyOfStream(streamOf(INTEGRATION, ['{"st', new Error('mine')]).result), { code: 'function_reply_invalid' })
    const reply = await replyOfStream(streamOf(INTEGRATION, [`{}${ZEROS}some`, new Error('mine')]).result)
    await assert.rejects(textOf(reply), /mine/)
  })
})

describe('integrationPrelude', () => {
  it('says a Response as a handler would stream it', () => {
    const prelude = integrationPrelude(201, [
      ['x-a', '1'],
      ['x-a', '2'],
      ['set-cookie', 'a=1'],
      ['__proto__', 'x'],
    ])
    assert.equal(prelude.toString(), `{"statusCode":201,"headers":{"x-a":"1,2","__proto__":"x"},"cookies":["a=1"]}${ZEROS}`)
  })
})

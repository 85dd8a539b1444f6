import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { InvokeWithResponseStreamCommand, type InvokeWithResponseStreamCommandInput, type InvokeWithResponseStreamCompleteEvent } from '@aws-sdk/client-lambda'
import { readLogs } from './cloud-fixture.ts'
import { lambdaNode } from './lambda-fixture.ts'

const { at, create, invoke } = lambdaNode()
const streaming = (body: string) => `const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
export const handler = awslambda.streamifyResponse(async (event, stream, context) => { ${body} })`

/** All of a stream: each chunk with the time when it came, and how it ended. */
async function read(name: string, event: unknown = {}, more: Partial<InvokeWithResponseStreamCommandInput> = {}) {
  const reply = await at.aws.send(new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), ...more }))
  const chunks: { at: number; bytes: Uint8Array }[] = []
  const ends: InvokeWithResponseStreamCompleteEvent[] = []
  for await (const one of reply.EventStream ?? []) {
    if (one.PayloadChunk) {
      assert.equal(ends.length, 0, 'a chunk after the end')
      chunks.push({ at: performance.now(), bytes: one.PayloadChunk.Payload ?? new Uint8Array() })
    }
    if (one.InvokeComplete) ends.push(one.InvokeComplete)
  }
  assert.equal(ends.length, 1, 'exactly one InvokeComplete')
  return {
    reply,
    chunks,
    end: ends[0] as InvokeWithResponseStreamCompleteEvent,
    endedAt: performance.now(),
    text: Buffer.concat(chunks.map((one) => one.bytes)).toString(),
  }
}
const call = (name: string, init: RequestInit = {}, path = '') =>
  fetch(`${at.node.ready.url}/functions/v1/${name}${path}`, { ...init, headers: { apikey: at.node.ready.project.secretKey } })

describe('InvokeWithResponseStream by the unmodified SDK', () => {
  it('has chunks before the handler ends, their bytes as they were written, and one InvokeComplete', async () => {
    await create('slowly', streaming('for (const word of ["one ", "two ", "größer"]) { stream.write(word); await sleep(400) } stream.end()'))
    const { reply, chunks, end, endedAt, text } = await read('slowly')
    assert.equal(text, 'one two größer')
    assert.ok(endedAt - (chunks[0]?.at ?? endedAt) > 700, 'the first chunk came long before the end')
    assert.deepEqual([reply.StatusCode, reply.ExecutedVersion, reply.ResponseStreamContentType], [200, '$LATEST', 'application/vnd.amazon.eventstream'])
    assert.deepEqual(end, {})
  })

  it('carries any bytes, many of them, and objects as their JSON', async () => {
    await create(
      'bytes',
      `import { pipeline } from 'node:stream/promises'; import { Readable } from 'node:stream'
      ${streaming('stream.write({ a: 1 }); await pipeline(Readable.from((function* () { for (let i = 0; i < 300; i++) yield Buffer.alloc(65_537, i) })()), stream)')}`,
      { memory: 256 },
    )
    const { chunks, end } = await read('bytes')
    const all = Buffer.concat(chunks.map((one) => one.bytes))
    const expected = Buffer.concat([Buffer.from('{"a":1}'), ...Array.from({ length: 300 }, (_, i) => Buffer.alloc(65_537, i))])
    assert.ok(all.equals(expected), `${all.length} of ${expected.length} bytes`)
    assert.deepEqual(end, {})
  })

  it('passes status, headers and cookies through unparsed: JSON, eight zero bytes, the body', async () => {
    await create(
      'integration',
      streaming(
        `stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { 'x-a': 'b', 'content-type': 'text/plain' }, cookies: ['a=1', 'b=2'] }); stream.write('body'); await sleep(200); stream.end('!')`,
      ),
    )
    const { text } = await read('integration')
    assert.equal(text, `{"statusCode":201,"headers":{"x-a":"b","content-type":"text/plain"},"cookies":["a=1","b=2"]}${'\0'.repeat(8)}body!`)
    const reply = await call('integration')
    assert.deepEqual(
      [reply.status, reply.headers.get('x-a'), reply.headers.get('content-type'), reply.headers.getSetCookie()],
      [201, 'b', 'text/plain', ['a=1', 'b=2']],
    )
    assert.equal(await reply.text(), 'body!')
  })

  it('gives the result of a handler that does not stream as chunks', async () => {
    await create('buffered', 'export const handler = async (event) => event.big ? "x".repeat(event.big) : event')
    const small = await read('buffered', { b: 1 })
    assert.deepEqual([small.text, small.end], ['{"b":1}', {}])
    const big = await read('buffered', { big: 1_000_000 })
    assert.equal(big.text, JSON.stringify('x'.repeat(1_000_000)))
    await create(
      'standard',
      'export default { fetch: async (request) => new Response(await request.text(), { status: 203, headers: { "x-a": "b", "content-type": "text/plain" } }) }',
    )
    const web = await read('standard', { n: 1 })
    assert.equal(web.text, `{"statusCode":203,"headers":{"content-type":"text/plain","x-a":"b"}}${'\0'.repeat(8)}{"n":1}`)
  })

  const failures: [name: string, code: string, text: string, type: string, message: RegExp, timeout?: number][] = [
    ['throws before it writes', streaming('throw new TypeError("before")'), '', 'TypeError', /^before$/],
    ['throws in the middle', streaming('stream.write("some"); await sleep(50); throw new RangeError("middle")'), 'some', 'RangeError', /^middle$/],
    ['throws what is no error', streaming('stream.write("some"); throw "boom"'), 'some', 'string', /^boom$/],
    ['destroys its stream', streaming('stream.write("some"); await sleep(50); stream.destroy(new Error("mine"))'), 'some', 'Error', /^mine$/],
    [
      'has a source that breaks',
      `import { pipeline } from 'node:stream/promises'; import { Readable } from 'node:stream'
      ${streaming('await pipeline(Readable.from((async function* () { yield "some"; await sleep(50); throw new Error("source") })()), stream)')}`,
      'some',
      'Error',
      /^source$/,
    ],
    ['never ends', streaming('stream.write("some"); await sleep(60_000)'), 'some', 'Sandbox.Timedout', /Task timed out after 1.00 seconds/, 1],
    ['exits', streaming('stream.write("some"); await sleep(50); process.exit(3)'), 'some', 'Runtime.ExitError', /exit status 3/],
    [
      'leaves an error to nobody',
      streaming('stream.write("some"); await sleep(50); setTimeout(() => { throw new Error("outside") }, 1); await sleep(9_000)'),
      'some',
      'Error',
      /^outside$/,
    ],
    ['does not end its stream', streaming('stream.write("some")'), 'some', 'Sandbox.Timedout', /Task timed out/, 1],
    ['is not async', 'export const handler = awslambda.streamifyResponse((event, stream) => { stream.write("x") })', 'x', 'Error', /non-async/],
    ['cannot be loaded', 'export const handler = (', '', 'Runtime.UserCodeSyntaxError', /SyntaxError/],
    ['does not stream and throws', 'export const handler = async () => { throw new Error("plain") }', '', 'Error', /^plain$/],
  ]
  for (const [name, code, text, type, message, timeout] of failures) {
    it(`tells in its end of a function that ${name}; a caller who takes no stream gets the same error`, async () => {
      const id = `fails-${name.replaceAll(/[^a-z]+/gi, '-')}`
      await create(id, code, { timeout: timeout ?? 10 })
      const got = await read(id, {}, { LogType: 'Tail' })
      assert.deepEqual([got.text, got.end.ErrorCode], [text, 'Unhandled'])
      const error = JSON.parse(got.end.ErrorDetails ?? '') as { errorType: string; errorMessage: string }
      assert.equal(error.errorType, type)
      assert.match(error.errorMessage, message)
      assert.match(Buffer.from(got.end.LogResult ?? '', 'base64').toString(), /START RequestId: [\s\S]*REPORT RequestId: .*Status: (error|timeout)/)
      const plain = await invoke(id)
      assert.equal(plain.error, 'Unhandled')
      assert.equal((JSON.parse(plain.text) as { errorType: string }).errorType, type)
    })
  }

  it('tells of a handler that never ends though its stream has', async () => {
    await create('goes-on', streaming('stream.end("whole"); await sleep(60_000)'), { timeout: 1 })
    const { text, end } = await read('goes-on')
    assert.deepEqual([text, end.ErrorCode], ['whole', 'Unhandled'])
    assert.match(end.ErrorDetails ?? '', /Task timed out after 1.00 seconds/)
  })

  it('answers DryRun without running, and refuses other types', async () => {
    const dry = await at.aws.send(new InvokeWithResponseStreamCommand({ FunctionName: 'slowly', InvocationType: 'DryRun' }))
    assert.equal(dry.StatusCode, 204)
    await assert.rejects(at.aws.send(new InvokeWithResponseStreamCommand({ FunctionName: 'slowly', InvocationType: 'Event' as 'DryRun' })), {
      name: 'ValidationException',
      message: /'invocationType' failed to satisfy constraint: Member must satisfy enum value set: \[RequestResponse, DryRun\]/,
    })
    await assert.rejects(at.aws.send(new InvokeWithResponseStreamCommand({ FunctionName: 'none' })), { name: 'ResourceNotFoundException' })
  })
})

describe('a streaming function', () => {
  it('is collected for Invoke, up to invocationReply', async () => {
    await create(
      'collected',
      streaming(
        'for (let i = 0; i < event.pieces; i++) if (!stream.write(Buffer.alloc(65_536, 120))) await new Promise((go) => stream.once("drain", go)); stream.end("\\n")',
      ),
      { memory: 256 },
    )
    const whole = await invoke('collected', { pieces: 95 })
    assert.deepEqual([whole.error, whole.text.length], [null, 95 * 65_536 + 1])
    const over = await invoke('collected', { pieces: 97 })
    assert.deepEqual([over.error, (JSON.parse(over.text) as { errorType: string }).errorType], ['Unhandled', 'Function.ResponseSizeTooLarge'])
    assert.match(over.log, /Error Type: Function.ResponseSizeTooLarge/)
  })

  it('hears that its reader left', async () => {
    await create(
      'left',
      `let seen = 'nothing'; ${streaming('if (event.ask) return void stream.end(seen); try { stream.on("error", () => { seen = "left" }); for (;;) { stream.write("x"); await sleep(20); if (stream.destroyed) return } } finally { console.log("over", seen) }')}`,
    )
    const leaving = new AbortController()
    const reply = await at.aws.send(new InvokeWithResponseStreamCommand({ FunctionName: 'left', Payload: Buffer.from('{}') }), { abortSignal: leaving.signal })
    for await (const one of reply.EventStream ?? []) {
      assert.ok(one.PayloadChunk)
      break
    }
    leaving.abort()
    for (let tried = 0; ; tried++) {
      const lines = await readLogs(at.node, 'left')
      if (lines.includes('over left')) break
      assert.ok(tried < 20, `it runs on: ${lines}`)
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  })

  it('has no global where the variable says so', async () => {
    await create('without', 'export const handler = async () => typeof awslambda', { environment: { AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA: '1' } })
    assert.equal((await invoke('without')).text, '"undefined"')
  })

  it('streams to /functions/v1 with the type that it says; what breaks off is cut', async () => {
    await create(
      'typed',
      streaming(
        'stream.setContentType("text/csv"); stream.write("a,b\\n"); await sleep(300); if (event.rawPath === "/cut") throw new Error("mine"); stream.end("1,2\\n")',
      ),
    )
    const reply = await call('typed')
    assert.equal(reply.headers.get('content-type'), 'text/csv')
    assert.equal(await reply.text(), 'a,b\n1,2\n')
    const cut = await call('typed', {}, '/cut')
    assert.equal(cut.status, 200)
    await assert.rejects(cut.text())
  })
})

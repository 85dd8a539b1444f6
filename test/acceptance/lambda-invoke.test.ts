import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Sha256 } from '@aws-crypto/sha256-js'
import { InvokeAsyncCommand, InvokeCommand, type InvokeCommandInput } from '@aws-sdk/client-lambda'
import { SignatureV4 } from '@smithy/signature-v4'
import { readLogs } from './cloud-fixture.ts'
import { failsAs, lambdaNode } from './lambda-fixture.ts'

const { at, create } = lambdaNode(async () => {
  await create(
    'tells',
    'export const handler = async (event, context) => { console.log("told", event.what); return { event, id: context.awsRequestId, client: context.clientContext ?? null, trace: process.env._X_AMZN_TRACE_ID } }',
  )
})
const invoke = async (name: string, payload: string | Uint8Array | undefined, more: Partial<InvokeCommandInput> = {}) => {
  const reply = await at.aws.send(new InvokeCommand({ FunctionName: name, ...(payload === undefined ? {} : { Payload: Buffer.from(payload) }), ...more }))
  return { reply, text: Buffer.from(reply.Payload ?? []).toString() }
}
/** The lines of a function's log, once `words` are among them. */
const logOf = async (name: string, words: string): Promise<string> => {
  for (let tried = 0; ; tried++) {
    const lines = await readLogs(at.node, name)
    if (lines.includes(words)) return lines
    assert.ok(tried < 40, `${words} is not in: ${lines}`)
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

describe('Invoke by the unmodified SDK', () => {
  it('hands an event on byte for byte, and its answer back so', async () => {
    await create('bytes', 'export default { fetch: async (request) => new Response(await request.text(), { headers: { "content-type": "text/plain" } }) }')
    // The order of keys and the spaces are the caller’s.
    assert.equal((JSON.parse((await invoke('bytes', '{"b":1,  "a":2}')).text) as { body: string }).body, '{"b":1,  "a":2}')
    await create('raw', 'export const handler = awslambda.streamifyResponse(async (event, stream) => { stream.end(`{"b":1,  "a":2}`) })')
    assert.equal((await invoke('raw', '{}')).text, '{"b":1,  "a":2}')
  })

  it('takes no body as an empty object, and refuses what is no JSON', async () => {
    assert.deepEqual((JSON.parse((await invoke('tells', undefined)).text) as { event: unknown }).event, {})
    for (const body of ['{', 'hello', "{'a':1}", '\ufeff{}', Buffer.from([0x22, 0xff, 0x22])]) {
      await failsAs(
        invoke('tells', body),
        'InvalidRequestContentException',
        400,
        /^Could not parse request body into json: Could not parse payload into json: ./,
      )
    }
    for (const body of ['null', '1', '"x"', '[]'])
      assert.deepEqual((JSON.parse((await invoke('tells', body === 'null' ? '{"a":null}' : `{"a":${body}}`)).text) as { event: unknown }).event, {
        a: JSON.parse(body),
      })
  })

  it('has one id in the header, the context and the log', async () => {
    const { reply, text } = await invoke('tells', '{}', { LogType: 'Tail' })
    const { id } = JSON.parse(text) as { id: string }
    assert.equal(reply.$metadata.requestId, id)
    assert.match(
      Buffer.from(reply.LogResult ?? '', 'base64').toString(),
      new RegExp(`^START RequestId: ${id} [\\s\\S]*\\t${id}\\tINFO\\ttold [\\s\\S]*END RequestId: ${id}\\n`),
    )
  })

  it('gives an error of the function with 200, its keys in order', async () => {
    await create('throws', 'export const handler = async () => { throw new Error("mine") }')
    const { reply, text } = await invoke('throws', '{}')
    assert.deepEqual(
      [reply.StatusCode, reply.FunctionError, Object.keys(JSON.parse(text) as object)],
      [200, 'Unhandled', ['errorType', 'errorMessage', 'trace']],
    )
  })

  it('refuses types that it does not know', async () => {
    await failsAs(
      invoke('tells', '{}', { InvocationType: 'Later' as 'Event' }),
      'ValidationException',
      400,
      /^1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: \[Event, RequestResponse, DryRun\]$/,
    )
    await failsAs(invoke('tells', '{}', { LogType: 'All' as 'Tail' }), 'ValidationException', 400, /'logType'/)
  })

  it('refuses a tenant and a durable execution, which no function has', async () => {
    await failsAs(invoke('tells', '{}', { TenantId: 'a' }), 'InvalidParameterValueException', 400, /not enabled with tenancy configuration/)
    await failsAs(invoke('tells', '{}', { DurableExecutionName: 'a' }), 'InvalidParameterValueException', 400, /not durable/)
  })

  it('needs neither a content type nor a hash of the body', async () => {
    const { accessKey, region, url } = at.node.ready
    const credentials = { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret }
    const signer = new SignatureV4({ service: 'lambda', region, sha256: Sha256, credentials, applyChecksum: false })
    const { protocol, hostname, port, host } = new URL(url)
    const body = Buffer.from('{"what":"bare"}')
    const request = { method: 'POST', protocol, hostname, port: Number(port), path: '/2015-03-31/functions/tells/invocations', headers: { host }, body }
    const { headers } = await signer.sign(request)
    assert.deepEqual(Object.keys(headers).toSorted(), ['authorization', 'host', 'x-amz-date'])
    const reply = await fetch(`${url}${request.path}`, {
      method: 'POST',
      headers: { authorization: headers.authorization ?? '', 'x-amz-date': headers['x-amz-date'] ?? '' },
      body,
    })
    assert.deepEqual([reply.status, ((await reply.json()) as { event: unknown }).event], [200, { what: 'bare' }])
  })

  it('hands the client context on, and refuses one that is none or too long', async () => {
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    const { text } = await invoke('tells', '{}', { ClientContext: base64('{"custom":{"a":"한"}}') })
    assert.deepEqual((JSON.parse(text) as { client: unknown }).client, { custom: { a: '한' } })
    const longest = base64(JSON.stringify({ a: 'x'.repeat(2676) }))
    assert.equal(longest.length, 3580)
    await invoke('tells', '{}', { ClientContext: longest })
    for (const bad of ['!', 'e30', base64('x'), base64('1'), base64('[]'), base64(JSON.stringify({ a: 'x'.repeat(2680) }))].filter((one) => one !== 'e30')) {
      await failsAs(invoke('tells', '{}', { ClientContext: bad }), 'InvalidRequestContentException', 400, /Client context/)
    }
  })

  it('keeps the trace id that it is given, and makes one otherwise', async () => {
    const send = async (trace: string | null) => {
      const command = new InvokeCommand({ FunctionName: 'tells', Payload: Buffer.from('{}') })
      let header = ''
      command.middlewareStack.add(
        (next) => async (args) => {
          const request = args.request as { headers: Record<string, string> }
          if (trace !== null) request.headers['x-amzn-trace-id'] = trace
          const result = await next(args)
          header = (result.response as { headers: Record<string, string> }).headers['x-amzn-trace-id'] ?? ''
          return result
        },
        { step: 'build' },
      )
      const reply = await at.aws.send(command)
      return [header, (JSON.parse(Buffer.from(reply.Payload ?? []).toString()) as { trace: string }).trace]
    }
    const trace = 'Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1'
    assert.deepEqual(await send(trace), [trace, trace])
    const [header, inside] = await send(null)
    assert.match(inside ?? '', /^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$/)
    assert.equal(header, inside)
  })

  it('takes an event that nobody waits for up to queuedPayload, and is refused one past it', async () => {
    const edge = 1_048_576
    const event = (bytes: number) => JSON.stringify({ what: 'x'.repeat(bytes - '{"what":""}'.length) })
    const { reply, text } = await invoke('tells', event(edge), { InvocationType: 'Event' })
    assert.deepEqual([reply.StatusCode, text, reply.ExecutedVersion], [202, '', undefined])
    for (const bytes of [edge + 1, 6_291_457]) {
      await failsAs(
        invoke('tells', event(bytes), { InvocationType: 'Event' }),
        'RequestTooLargeException',
        413,
        /^Request must be smaller than 1048576 bytes for the InvokeFunction operation$/,
      )
    }
  })

  it('gives an event that nobody waits for no client context', async () => {
    await create('alone', 'export const handler = async (event, context) => { console.log("context", context.clientContext === undefined) }')
    await invoke('alone', '{}', { InvocationType: 'Event', ClientContext: Buffer.from('{"a":1}').toString('base64') })
    await logOf('alone', 'context true')
  })
})

describe('InvokeAsync', () => {
  it('queues an event up to invokeAsyncBody, and is refused one past it', async () => {
    await create('older', 'export const handler = async (event) => { console.log("got", event.what.length) }', { memory: 256 })
    const edge = 262_144
    const event = (bytes: number) => Buffer.from(JSON.stringify({ what: 'x'.repeat(bytes - '{"what":""}'.length) }))
    const reply = await at.aws.send(new InvokeAsyncCommand({ FunctionName: 'older', InvokeArgs: event(edge) }))
    assert.equal(reply.Status, 202)
    await logOf('older', `got ${edge - '{"what":""}'.length}`)
    await failsAs(
      at.aws.send(new InvokeAsyncCommand({ FunctionName: 'older', InvokeArgs: event(edge + 1) })),
      'RequestTooLargeException',
      413,
      /^Request must be smaller than 262144 bytes for the InvokeAsync operation$/,
    )
    await failsAs(
      at.aws.send(new InvokeAsyncCommand({ FunctionName: 'none', InvokeArgs: Buffer.from('{}') })),
      'ResourceNotFoundException',
      404,
      /Function not found/,
    )
  })
})

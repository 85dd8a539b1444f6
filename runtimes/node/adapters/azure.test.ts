import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it, mock } from 'node:test'
import { makeEvent } from '../../../client/events.ts'

const ROOT = path.resolve(import.meta.dirname, '..', '..', '..')
interface SentMessage {
  readonly MessageBody: string
  readonly MessageAttributes: Record<string, object>
}
interface Loaded {
  readonly run: (request: Request, environment: object, context: object) => Promise<Response>
}
const { loadAzure } = (await import(path.join(import.meta.dirname, 'azure.mjs'))) as {
  loadAzure: (root: string, handler: string, moduleAt: (file: string) => Promise<unknown>) => Promise<Loaded>
}
const { ownKeysOf } = (await import(path.join(import.meta.dirname, 'azure-keys.mjs'))) as {
  ownKeysOf: (functions: readonly object[]) => ReadonlyMap<string, string>
}
const { notServedOf, takingOf } = (await import(path.join(import.meta.dirname, 'azure-host.mjs'))) as {
  notServedOf: (host: object) => string[]
  takingOf: (kind: string, host: object) => object
}
const { core } = (await import(path.join(import.meta.dirname, 'azure-core.mjs'))) as {
  core: { functions: Map<string, unknown>; locked: boolean; hooks: Record<string, unknown[]> }
}

/** Of an event that `mayfly invoke --event` makes. */
const PLACE = { nowMs: 0, id: 'i', region: 'r', project: 'p', functionName: 'f', md5: () => 'm', gzip: () => new Uint8Array() }

describe('an app of Azure', () => {
  let folder = ''
  let storage: Server
  const blobs = new Map<string, string>([
    ['photos/a b.txt', 'abc'],
    ['prices/latest.txt', '7'],
  ])
  const lines: string[] = []
  const queues = new Map<string, SentMessage[]>()
  const published: { to: string; type: string; data: unknown }[] = []
  /** As the node's queues do; whether a signature holds is seen where there is a node. */
  const answerQueues = async (request: IncomingMessage, text: string) => {
    assert.match(request.headers.authorization ?? '', /^AWS4-HMAC-SHA256 Credential=id\/\d{8}\/us-east-1\/sqs\/aws4_request, .*Signature=[0-9a-f]{64}$/)
    const input = JSON.parse(text) as { QueueName?: string; QueueUrl?: string; Entries: (SentMessage & { Id: string })[] }
    if (request.headers['x-amz-target'] === 'AmazonSQS.CreateQueue') {
      queues.set(input.QueueName ?? '', [])
      return { status: 200, body: {} }
    }
    const queue = queues.get(input.QueueUrl?.split('/').at(-1) ?? '')
    if (!queue) return { status: 400, body: { __type: 'com.amazonaws.sqs#QueueDoesNotExist', message: 'none' } }
    assert.ok(input.Entries.length <= 10 && text.length <= 1 << 20)
    const isBad = input.Entries.some(({ MessageBody }) => MessageBody === 'refused')
    if (!isBad) queue.push(...input.Entries)
    return { status: 200, body: isBad ? { Failed: [{ Id: '0', Message: 'no such words' }] } : { Successful: [] } }
  }
  before(async () => {
    for (const how of ['log', 'info', 'error', 'warn'] as const) mock.method(console, how, (...parts: unknown[]) => void lines.push(parts.join(' ')))
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-azure-'))
    cpSync(path.join(ROOT, 'test', 'acceptance', 'apps', 'azure-shop'), folder, { recursive: true })
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
    storage = createServer(async (request, response) => {
      const at = decodeURIComponent(request.url ?? '').replace('/storage/v1/object/', '')
      if (!request.headers['x-amz-target'] && request.headers.authorization !== 'Bearer k') return void response.writeHead(401).end()
      if (request.method === 'GET') return void response.writeHead(blobs.has(at) ? 200 : 404).end(blobs.get(at))
      let text = ''
      for await (const chunk of request) text += chunk
      if (request.headers['x-amz-target']) {
        const { status, body } = await answerQueues(request, text)
        return void response.writeHead(status).end(JSON.stringify(body))
      }
      if (request.headers['content-type'] === 'application/cloudevents-batch+json') {
        const events = JSON.parse(text) as { type: string; data: unknown }[]
        assert.ok(events.length <= 100)
        if (events.some(({ data }) => data === 'refused')) return void response.writeHead(413).end('too much')
        published.push(...events.map((one) => ({ to: new URL(at, 'http://x').searchParams.get('bus') ?? '', ...one })))
        return void response.writeHead(202).end('{}')
      }
      blobs.set(at, text)
      response.end('{}')
    })
    await new Promise<void>((resolve) => storage.listen(0, '127.0.0.1', resolve))
    Object.assign(process.env, {
      MAYFLY_URL: `http://127.0.0.1:${(storage.address() as AddressInfo).port}`,
      MAYFLY_KEY: 'k',
      BUS_QUEUE: 'bus',
      AWS_ENDPOINT_URL: `http://127.0.0.1:${(storage.address() as AddressInfo).port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'id',
      AWS_SECRET_ACCESS_KEY: 'secret',
      AZURE_FUNCTION_KEY: 'f',
      AZURE_MASTER_KEY: 'm',
    })
  })
  after(() => {
    mock.restoreAll()
    storage.closeAllConnections()
    storage.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** As each sandbox loads it: from nothing. */
  const load = async (handler: string) => {
    core.functions.clear()
    core.locked = false
    for (const hooks of Object.values(core.hooks)) hooks.length = 0
    const require = createRequire(path.join(folder, 'package.json'))
    return await loadAzure(folder, handler, async (file) => {
      delete require.cache[require.resolve(file)]
      return require(file)
    })
  }
  let calls = 0
  const pending: Promise<unknown>[] = []
  const context = (failures = 0, lastError: object | null = null) => ({
    awsRequestId: `call-${++calls}`,
    failures,
    lastError,
    waitUntil: (promise: Promise<unknown>) => void pending.push(promise),
  })
  const get = async ({ run }: Loaded, at: string, init: RequestInit = {}) => await run(new Request(`http://shop.example${at}`, init), {}, context())
  const start = async (handler: string, event: unknown, failures = 0, lastError: object | null = null) =>
    await (await load(handler)).run(new Request('http://localhost/', { method: 'POST', body: JSON.stringify(event) }), {}, context(failures, lastError))
  const describeApp = async () => {
    process.env._MAYFLY_DESCRIBE = '1'
    const { run } = await load('app.http')
    delete process.env._MAYFLY_DESCRIBE
    return (await (await run(new Request('http://x/'), {}, context())).json()) as {
      functions: { name: string; trigger: string; details: Record<string, unknown> }[]
      warnings: string[]
    }
  }

  it('says what it registers, and what of it is not served', async () => {
    const { functions, warnings } = await describeApp()
    assert.equal(functions.length, 23)
    assert.deepEqual(
      functions.filter(({ trigger }) => trigger !== 'httpTrigger').map(({ name, trigger }) => [name, trigger]),
      [
        ['onPhoto', 'blobTrigger'],
        ['nightly', 'timerTrigger'],
        ['onOrder', 'queueTrigger'],
        ['onNews', 'serviceBusTrigger'],
        ['onGrid', 'eventGridTrigger'],
        ['onRows', 'cosmosDBTrigger'],
        ['forwards', 'queueTrigger'],
        ['tells', 'serviceBusTrigger'],
        ['flaky', 'timerTrigger'],
        ['onMany', 'serviceBusTrigger'],
        ['again', 'blobTrigger'],
      ],
    )
    assert.equal(functions.find(({ name }) => name === 'onPhoto')?.details.path, 'photos/{name}')
    assert.deepEqual(functions.find(({ name }) => name === 'flaky')?.details.retry, {
      strategy: 'exponentialBackoff',
      retryStrategy: 'exponentialBackoff',
      maxRetryCount: 2,
      minimumInterval: { seconds: 0 },
      maximumInterval: { seconds: 1 },
    })
    assert.deepEqual(warnings, [
      'host.json: "extensions.http.hsts" is not served.',
      'tells: the output "queue" goes to the queue "no.name", which is no name of one here (1 to 80 letters, digits, - and _): calls that use it fail.',
      'flaky: schedule names the setting NIGHTLY, which is not there; put it under "environment" of mayfly.json.',
    ])
  })

  it('says how its messages are taken, as host.json has it', () => {
    const extensions = (queues: object, serviceBus: object = {}) => ({ extensions: { queues, serviceBus } })
    for (const [kind, host, taking] of [
      ['queuetrigger', {}, { retryAfter: 0 }],
      ['queuetrigger', extensions({ visibilityTimeout: '00:01:30' }), { retryAfter: 90 }],
      ['queuetrigger', extensions({ batchSize: 16 }), { retryAfter: 0, atOnce: 24 }],
      ['queuetrigger', extensions({ batchSize: 1, newBatchThreshold: 0 }), { retryAfter: 0, atOnce: 1 }],
      ['servicebustrigger', extensions({ visibilityTimeout: '00:01:30' }, { maxConcurrentCalls: 16 }), { retryAfter: 0, atOnce: 16 }],
      ['blobtrigger', extensions({ visibilityTimeout: '00:01:30' }), {}],
    ] as const) {
      assert.deepEqual(takingOf(kind, host), taking)
      assert.deepEqual(notServedOf(host), [])
    }
    assert.throws(
      () => takingOf('queuetrigger', extensions({ visibilityTimeout: 30 })),
      /"extensions\.queues\.visibilityTimeout" must be such as "00:05:00", not 30/,
    )
    assert.deepEqual(notServedOf(extensions({ messageEncoding: 'none' })), ['extensions.queues.messageEncoding'])
  })

  it('answers at its routes, by method, constraint and rank', async () => {
    const app = await load('app.http')
    const cases: [string, RequestInit, number, string | null][] = [
      ['/api/hello?name=Ann', {}, 200, 'Hello, Ann!'],
      ['/API/Hello', { method: 'POST', body: 'Bo' }, 200, 'Hello, Bo!'],
      ['/api/products/toys/12', {}, 200, '{"category":"toys","id":"12"}'],
      ['/api/products/toys', {}, 200, '{"category":"toys"}'],
      ['/api/products/toys/twelve', {}, 404, null],
      ['/api/products/newest/1', {}, 201, 'newest'],
      ['/api/files/a/b%20c', { method: 'PUT', body: 'xyz' }, 200, 'a/b c: 3'],
      ['/api/files/a', {}, 404, null],
      ['/hello', {}, 404, null],
      ['/api/hooked', {}, 200, '{"from":"hook","said":"own"}'],
      ['/api/nothing', {}, 204, null],
      ['/api/%ff', {}, 404, null],
    ]
    for (const [at, init, status, body] of cases) {
      const response = await get(app, at, init)
      assert.equal(response.status, status, at)
      if (body !== null) assert.equal(await response.text(), body, at)
    }
    assert.deepEqual((await get(app, '/api/products/newest/1')).headers.getSetCookie(), ['seen=1; SameSite=Lax'])
    assert.equal((await get(app, '/api/broken')).status, 500)
  })

  it('shows a function its request and its invocation', async () => {
    const app = await load('app.http')
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    process.env._X_AMZN_TRACE_ID = 'Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1'
    const seen = async (init: RequestInit) => (await (await get(app, '/api/seen?q=1&q=2', init)).json()) as Record<string, { [name: string]: unknown }>
    const { context, ...request } = await seen({ method: 'POST', headers: { 'x-mine': 'm', traceparent }, body: '{"a":1}' })
    assert.deepEqual(request, { method: 'POST', url: 'http://shop.example/api/seen?q=1&q=2', header: 'm', query: ['1', '2'], user: null, body: { a: 1 } })
    assert.deepEqual(context, {
      invocationId: `call-${calls}`,
      functionName: 'seen',
      traceContext: { traceParent: traceparent, traceState: '', attributes: {} },
      trigger: 'httpTrigger',
      returned: 'http',
    })
    const traced = (await seen({})).context as { traceContext: { traceParent: string } }
    assert.equal(traced.traceContext.traceParent, '00-5759e988bd862e3fe1be46a994272793-e1be46a994272793-01')
  })

  it('answers whatever a function may give', async () => {
    const app = await load('app.http')
    const cases: [string, number, string, Record<string, string>][] = [
      ['class', 202, 'of the class', { 'x-kind': 'class' }],
      ['text', 500, '', {}],
      ['empty', 204, '', {}],
      ['bytes', 200, '\u0001\u0002\u0003', {}],
      ['stream', 200, 'streamed', { 'x-kind': 'stream' }],
      ['other', 418, '{"how":"other"}', { 'content-type': 'application/teapot+json' }],
    ]
    for (const [how, status, body, headers] of cases) {
      const response = await get(app, `/api/answers/${how}`)
      assert.equal(response.status, status, how)
      assert.equal(await response.text(), body, how)
      assert.equal(response.headers.get('x-shop'), 'open', 'customHeaders of host.json')
      for (const [name, value] of Object.entries(headers)) assert.equal(response.headers.get(name), value, how)
    }
  })

  it('asks for keys where a function does', async () => {
    const app = await load('app.http')
    const status = async (at: string, headers: Record<string, string> = {}) => (await get(app, at, { headers })).status
    assert.equal(await status('/api/kept'), 401)
    assert.equal(await status('/api/kept?code=wrong'), 401)
    assert.equal(await status('/api/kept?code='), 401)
    assert.equal(await status('/api/kept?code=f'), 200)
    assert.equal(await status('/api/kept', { 'x-functions-key': 'm' }), 200)
    assert.equal(await status('/api/managed?code=f'), 401)
    // A key of its own opens that function alone; what is in the header counts before the address.
    process.env.AZURE_FUNCTION_KEY_KEPT = 'own'
    assert.equal(await status('/api/kept?code=own'), 200)
    assert.equal(await status('/api/kept?code=own', { 'x-functions-key': 'wrong' }), 401)
    assert.equal(await status('/api/kept?code=wrong', { 'x-functions-key': 'own' }), 200)
    assert.equal(await status('/api/managed?code=own'), 401)
    delete process.env.AZURE_FUNCTION_KEY_KEPT
    assert.equal(await status('/api/managed?code=m'), 200)
    // As `client/azure-app.ts` names them.
    const http = (name: string) => ({ metadata: { name, bindings: { in: { type: 'httpTrigger' } } } })
    assert.deepEqual(Object.fromEntries(ownKeysOf([http('kept'), http('a-b'), http('a_b')])), {
      kept: 'AZURE_FUNCTION_KEY_KEPT',
      'a-b': 'AZURE_FUNCTION_KEY_A_B_D44362D6',
      a_b: 'AZURE_FUNCTION_KEY_A_B_648FA9B3',
    })
  })

  it('runs its other functions by events, with blobs in and out', async () => {
    const record = { eventSource: 'aws:s3', s3: { bucket: { name: 'photos' }, object: { key: 'a+b.txt', eTag: 'e' } } }
    assert.equal((await start('onPhoto', { Records: [record] })).status, 200)
    assert.equal(blobs.get('copies/a b.txt'), 'ABC')
    await assert.rejects(start('onPhoto', { blob: 'photos/gone.txt' }), /is not there any more/)
    assert.equal((await start('nightly', {})).status, 204)
    assert.equal(await (await start('onOrder', { id: 4 })).text(), '{"shipped":4}')
    assert.equal(await (await start('onOrder', { Records: [{ messageId: '1', body: '{"id":5}' }] })).text(), '{"shipped":5}')
    assert.equal(await (await start('onNews', 'today')).text(), 'news: today')
    assert.equal(await (await start('onGrid', { subject: 's' })).text(), 'grid: s')
    assert.equal(await (await start('onRows', [{ id: 1 }, { id: 2 }])).text(), 'rows: 2')
    // Of several messages each is one invocation, but for those that are taken together.
    const twice = { Records: [1, 2].map((id) => ({ messageId: String(id), body: `{"id":${id}}`, eventSource: 'aws:sqs' })) }
    assert.equal(await (await start('onOrder', twice)).text(), '{"shipped":2}')
    assert.deepEqual(lines.slice(-2), ['onOrder: order 1, try 1', 'onOrder: order 2, try 1'])
    assert.equal(await (await start('onMany', twice)).text(), '2 of {"id":1}')
    // As `mayfly invoke --event` makes them.
    assert.equal(await (await start('onNews', makeEvent('topic', { body: 'told' }, PLACE))).text(), 'news: told')
    assert.equal(await (await start('onRows', makeEvent('row', {}, PLACE))).text(), 'rows: 1')
    assert.equal(
      await (await start('onGrid', makeEvent('s3:put', { bucket: 'b', key: 'a b' }, PLACE))).text(),
      'grid: /blobServices/default/containers/b/blobs/a b',
    )
    assert.equal(await (await start('onGrid', makeEvent('bus', { source: 'shop' }, PLACE))).text(), 'grid: shop')
    assert.equal((await start('nightly', makeEvent('schedule', {}, PLACE))).status, 204)
    await assert.rejects(load('nowhere'), /registers no function 'nowhere'/)
  })

  it('writes messages to queues: of a list each is one, whatever it holds', async () => {
    const bodies = () => [...queues].map(([name, messages]) => [name, messages.splice(0).map(({ MessageBody }) => MessageBody)])
    const cases: [unknown, string[]][] = [
      ['x', ['x']],
      [{ a: 1 }, ['{"a":1}']],
      [7, ['7']],
      [
        [1, 'two', { three: 3 }, null],
        ['1', 'two', '{"three":3}'],
      ],
      ['a [list] of words', ['a [list] of words']],
      [Array.from({ length: 12 }, (_, n) => n), Array.from({ length: 12 }, (_, n) => String(n))],
      [Array.from({ length: 3 }, (_, n) => `${n}${'x'.repeat(500_000)}`), Array.from({ length: 3 }, (_, n) => `${n}${'x'.repeat(500_000)}`)],
    ]
    for (const [message, sent] of cases) {
      await start('forwards', message)
      assert.deepEqual(bodies(), [['orders', sent]])
    }
    await start('forwards', null)
    assert.deepEqual(bodies(), [['orders', []]])
    // What no message can hold there is packed, and the trigger gets it as it was.
    await start('forwards', 'a\u0000b')
    const [
      {
        MessageBody: body,
        MessageAttributes: { ContentEncoding },
      } = {} as never,
    ] = queues.get('orders') as [SentMessage]
    assert.deepEqual([body, ContentEncoding], [Buffer.from('a\u0000b').toString('base64'), { DataType: 'String', StringValue: 'base64' }])
    queues.delete('orders')
    const record = { messageId: '1', eventSource: 'aws:sqs', body, messageAttributes: { ContentEncoding: { stringValue: 'base64', dataType: 'String' } } }
    assert.equal(await (await start('onNews', { Records: [record] })).text(), 'news: a\u0000b')
    // By name, of a function that answers HTTP too, to a queue that the address names.
    const app = await load('app.http')
    assert.equal(await (await get(app, '/api/orders/eu', { method: 'POST', body: '[{"id":1},{"id":2}]' })).text(), '2 orders')
    assert.deepEqual(bodies(), [
      ['orders-eu', ['{"id":1}', '{"id":2}']],
      ['bus', ['ordered']],
    ])
    assert.equal((await get(app, '/api/orders/no.name', { method: 'POST', body: '[1]' })).status, 500)
    assert.ok(lines.some((line) => /queue "orders-no\.name", which is no name of one here/.test(line)))
    await start('tells', ['a "text"', { b: 1 }, 7])
    assert.deepEqual(
      published.splice(0).map(({ to, type, data }) => [to, type, data]),
      [
        ['news', 'message', 'a "text"'],
        ['news', 'message', '{"b":1}'],
        ['news', 'message', '7'],
      ],
    )
    await start(
      'tells',
      Array.from({ length: 101 }, (_, n) => n),
    )
    assert.equal(published.splice(0).length, 101)
    await assert.rejects(start('tells', 'refused'), /the topic news cannot be written: 413 too much/)
    await assert.rejects(start('forwards', 'refused'), /the queue orders did not take a message: no such words/)
    delete process.env.AWS_ACCESS_KEY_ID
    await assert.rejects(start('forwards', 'x'), /a function without a role has no queues/)
    process.env.AWS_ACCESS_KEY_ID = 'id'
  })

  it('keeps messages that fail as often as Azure lets them in a queue beside', async () => {
    queues.clear()
    const order = (count: number) => ({
      Records: [
        {
          messageId: '1',
          body: '{"id":"bad"}',
          attributes: { ApproximateReceiveCount: String(count) },
          eventSource: 'aws:sqs',
          eventSourceARN: 'arn:aws:sqs:r:0:orders',
        },
      ],
    })
    await assert.rejects(start('onOrder', order(2)), /no such order/)
    assert.equal(queues.size, 0)
    assert.equal((await start('onOrder', order(3))).status, 204)
    assert.deepEqual(
      [...queues].map(([name, sent]) => [name, sent.map(({ MessageBody }) => MessageBody)]),
      [['orders-poison', ['{"id":"bad"}']]],
    )
    assert.match(lines.at(-2) ?? '', /no such order/)
    assert.match(lines.at(-1) ?? '', /onOrder: given up after 3 tries; the message lies in the queue orders-poison/)
  })

  it('is administered by who has the master key, and nobody else', async () => {
    const app = await load('app.http')
    const as = (key: string, init: RequestInit = {}) => ({ ...init, headers: { 'x-functions-key': key } })
    for (const at of ['/admin/host/status', '/admin/functions', '/admin/functions/onOrder', '/admin/nowhere'])
      for (const key of ['f', '', 'wrong']) assert.equal((await get(app, at, as(key))).status, 401)
    assert.equal(((await (await get(app, '/admin/host/status', as('m'))).json()) as { state: string }).state, 'Running')
    assert.ok(((await (await get(app, '/admin/functions', as('m'))).json()) as { name: string }[]).some(({ name }) => name === 'onOrder'))
    const order = as('m', { method: 'POST', body: JSON.stringify({ input: '{"id":9}' }) })
    assert.equal((await get(app, '/admin/functions/onOrder', order)).status, 202)
    await Promise.all(pending.splice(0))
    assert.ok(lines.some((line) => line.includes('onOrder: order 9')))
    assert.equal((await get(app, '/admin/functions/none', order)).status, 404)
    assert.equal((await get(app, '/admin/elsewhere', as('m'))).status, 404)
  })

  it('tells a function that is tried again which try it is, and hooks of each line', async () => {
    await assert.rejects(start('flaky', {}), /the stars are not right/)
    await assert.rejects(start('flaky', {}, 1), /the stars are not right/)
    assert.equal((await start('flaky', {}, 2)).status, 204)
    assert.deepEqual(lines.slice(-3), ['flaky: try undefined of undefined', 'flaky: try 1 of 2', 'flaky: try 2 of 2'])
    const photo = { blob: 'prices/latest.txt' }
    await assert.rejects(start('again', photo, 1, { message: 'it was late', stack: 'Error: it was late\n    at more.js:7:1' }), /not yet/)
    await assert.rejects(start('again', photo, 1, { message: null, stack: null }), /not yet/)
    assert.deepEqual(lines.slice(-2), ['again: : try 1 of 2 after it was late at more.js:7', 'again: : try 1 of 2 after undefined'])
    const { end, shutdownMs } = (await load('app.http')) as Loaded & { end: () => Promise<void>; shutdownMs: number }
    assert.ok(shutdownMs > 0)
    await end()
    assert.equal(lines.at(-1), 'the shop has closed')
  })

  it('leaves out what host.json or a setting leaves out, and names what of host.json is not served', async () => {
    process.env.AzureWebJobs_hello_Disabled = 'true'
    try {
      assert.equal((await get(await load('app.http'), '/api/hello')).status, 404)
    } finally {
      delete process.env.AzureWebJobs_hello_Disabled
    }
    const file = path.join(folder, 'host.json')
    const own = readFileSync(file, 'utf8')
    // With a comment, and a comma that nothing follows, as Azure takes them.
    writeFileSync(
      file,
      '{"version":"2.0", // a "comment"\n"functions":["kept",],"extensions":{"http":{"routePrefix":""},"serviceBus":{"prefetchCount":1}},"singleton":{}}',
    )
    try {
      const app = await load('app.http')
      assert.equal((await get(app, '/hello')).status, 404)
      assert.equal((await get(app, '/kept')).status, 401)
      const { functions, warnings } = await describeApp()
      assert.deepEqual(
        functions.map(({ name }) => name),
        ['kept'],
      )
      assert.deepEqual(warnings, ['host.json: "extensions.serviceBus.prefetchCount" is not served.', 'host.json: "singleton" is not served.'])
      writeFileSync(file, '{"version": }')
      await assert.rejects(load('app.http'), /SyntaxError: host\.json/)
    } finally {
      writeFileSync(file, own)
    }
  })

  it('does not take a function named `app` for its door', async () => {
    const file = path.join(folder, 'src', 'functions', 'app.js')
    writeFileSync(file, "require('@azure/functions').app.timer('app', { schedule: '0 0 4 * * *', handler: () => 'the timer' })\n")
    try {
      assert.equal(await (await start('app', makeEvent('schedule', {}, PLACE))).text(), 'the timer')
      assert.equal((await get(await load('app.http'), '/api/hello')).status, 200)
    } finally {
      rmSync(file)
    }
    // As apps have it that were deployed by the door's former name.
    assert.equal((await get(await load('app'), '/api/hello')).status, 200)
  })

  it('says of an app of the former model that it is one', async () => {
    const own = mkdtempSync(path.join(tmpdir(), 'mayfly-azure-'))
    try {
      mkdirSync(path.join(own, 'hello'))
      writeFileSync(path.join(own, 'hello', 'function.json'), '{}')
      writeFileSync(path.join(own, 'index.js'), '')
      writeFileSync(path.join(own, 'package.json'), '{"main":"index.js"}')
      core.functions.clear()
      core.locked = false
      await assert.rejects(
        loadAzure(own, 'app', async () => null),
        /function\.json is of the former programming model/,
      )
      writeFileSync(path.join(own, 'package.json'), '{"main":"dist/*.js","scripts":{"build":"tsc"}}')
      await assert.rejects(
        loadAzure(own, 'app', async () => null),
        /dist\/\*\.js, names no file; its script "build" makes them/,
      )
    } finally {
      rmSync(own, { recursive: true, force: true })
    }
  })

  it('takes requests at a port of its own where it streams', () => {
    const own = mkdtempSync(path.join(tmpdir(), 'mayfly-azure-'))
    try {
      symlinkSync(path.join(ROOT, 'node_modules'), path.join(own, 'node_modules'))
      writeFileSync(path.join(own, 'package.json'), '{"main":"index.js"}')
      writeFileSync(path.join(own, 'host.json'), '{"extensions":{"http":{"customHeaders":{"x-shop":"open"}}}}')
      writeFileSync(
        path.join(own, 'index.js'),
        `const { app } = require('@azure/functions')
         app.setup({ enableHttpStream: true })
         app.http('packed', { handler: async () => ({ headers: { 'content-encoding': 'gzip' }, body: require('node:zlib').gzipSync('packed') }) })
         app.http('streamed', { route: 's/{id}', handler: async (request) => {
           const said = await request.text()
           const body = new ReadableStream({ start(to) { for (const part of ['one ', said]) to.enqueue(new TextEncoder().encode(part)); to.close() } })
           return { headers: { 'x-id': request.params.id }, body }
         } })`,
      )
      // Its port stays open as long as the process.
      const program = `import { createRequire } from 'node:module'
        import { loadAzure } from ${JSON.stringify(path.join(import.meta.dirname, 'azure.mjs'))}
        const require = createRequire(${JSON.stringify(path.join(own, 'package.json'))})
        const { run } = await loadAzure(${JSON.stringify(own)}, 'app', async (file) => require(file))
        const answer = await run(new Request('http://a.example/api/s/7', { method: 'POST', body: 'two' }), {}, { awsRequestId: 'i' })
        console.log(answer.status, answer.headers.get('x-id'), answer.headers.get('x-shop'), await answer.text())
        const packed = await run(new Request('http://a.example/api/packed'), {}, { awsRequestId: 'j' })
        console.log(packed.status, packed.headers.get('content-encoding'), packed.headers.get('content-length'), await packed.text())
        process.exit()`
      assert.equal(
        execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8', timeout: 30_000 }),
        '200 7 open one two\n200 null null packed\n',
      )
    } finally {
      rmSync(own, { recursive: true, force: true })
    }
  })
})

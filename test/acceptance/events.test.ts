import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { LambdaClient, PutFunctionEventInvokeConfigCommand } from '@aws-sdk/client-lambda'
import { CloudEvent, emitterFor, HTTP, httpTransport, Mode } from 'cloudevents'
import { blocksOf, commandsOf, namesOf, Reader } from './documents.ts'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const noPrograms = existsSync('/usr/bin/aws') && existsSync('/usr/bin/curl') ? false : 'needs the packages awscli and curl'
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('events of one own', () => {
  let folder = ''
  let node: RunningMayfly
  let echo = ''
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'), ['--empty'])
    const zip = await zipOf({ 'index.mjs': `export const handler = async (event) => { console.log(JSON.stringify(event)) }` })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await call('PUT', `/artefacts/${artefact}`, zip)
    echo = artefact
    for (const [name, pattern] of [
      ['orders', { 'detail-type': [{ prefix: 'order.' }], source: [{ 'anything-but': 'nobody' }] }],
      ['large', { 'detail-type': ['order.placed'], detail: { total: [{ numeric: ['>', 100] }] } }],
    ] as const) {
      await call('PUT', `/functions/${name}`, { artefact })
      await call('PUT', `/functions/${name}/triggers`, { triggers: [{ bus: { pattern } }] })
    }
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  const ask = (at: string, init: { method: string; headers?: Record<string, string>; body?: string | Uint8Array<ArrayBuffer> }, key?: string | null) =>
    fetch(`${node.ready.url}/api/v1/projects/demo${at}`, {
      ...init,
      headers: { ...init.headers, ...(key === null ? {} : { authorization: `Bearer ${key ?? node.ready.project.secretKey}` }) },
    })
  const call = async (method: string, at: string, body?: object | Buffer) => {
    const response = await ask(at, { method, ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }) })
    const text = await response.text()
    assert.ok(response.ok, `${method} ${at}: ${response.status} ${text}`)
    return (text === '' ? {} : JSON.parse(text)) as Record<string, never>
  }
  interface Told {
    readonly id: string
    readonly 'detail-type': string
    readonly source: string
    readonly detail: unknown
    readonly cloudevent?: Record<string, unknown>
  }
  const told = async (name: string): Promise<Told[]> => {
    const { lines } = (await call('GET', `/functions/${name}/logs?limit=5000`)) as unknown as { lines: { text: string; source: string }[] }
    return lines.filter(({ source }) => source === 'stdout').map(({ text }) => JSON.parse(text.split('\t').slice(3).join('\t')) as Told)
  }
  const hears = async (name: string, id: string): Promise<Told> => {
    for (const end = Date.now() + 60_000; Date.now() < end; await pause(100)) {
      const [one] = (await told(name)).filter((event) => event.id === id)
      if (one) return one
    }
    assert.fail(`${name} did not hear ${id}`)
  }
  const cli = (...args: string[]) => mayfly(['events', ...args], { MAYFLY_URL: node.ready.url, MAYFLY_KEY: node.ready.project.secretKey })

  it('start functions by name and pattern, sent by the command, once an id', async () => {
    const sent = cli('send', 'order.placed', '--source', 'shop', '--data', '{"total":101}', '--id', 'first')
    assert.equal(sent.code, 0, sent.stderr)
    assert.match(sent.stdout, /^Sent as first: it starts 2 functions\./)
    for (const name of ['orders', 'large']) {
      const { 'detail-type': type, source, detail } = await hears(name, 'first')
      assert.deepEqual([type, source, detail], ['order.placed', 'shop', { total: 101 }])
    }
    assert.match(cli('send', 'order.placed', '--source', 'shop', '--id', 'first').stdout, /was sent before: it starts nothing again/)
    assert.match(cli('send', 'order.sent').stdout, /it starts a function\./)
    assert.match(cli('send', 'user.came').stdout, /no function waits for it/)
    assert.match(cli('send', 'order.placed', '--bus', 'another').stdout, /no function waits for it/)
    for (const args of [['send'], ['send', 'x', '--data', '{'], ['throw', 'x']]) assert.equal(cli(...args).code, 2, args.join(' '))
    const listed = mayfly(['triggers', 'large'], { MAYFLY_URL: node.ready.url, MAYFLY_KEY: node.ready.project.secretKey })
    assert.match(listed.stdout, /large\s+bus default: \{"detail":.*\s+the node/)
  })
  it('are taken together, or none of them', async () => {
    const send = async (events: object[]) => (await ask('/events', { method: 'POST', body: JSON.stringify({ events }) })).status
    const one = (id: string) => ({ 'detail-type': 'order.many', id })
    assert.equal(await send([one('m1'), {}]), 400)
    assert.equal(await send([one('m1'), one('m2'), one('m1')]), 202)
    for (const id of ['m1', 'm2']) await hears('orders', id)
  })
  it('come as CloudEvents by their own library, in each mode', async () => {
    const sink = `${node.ready.url}/api/v1/projects/demo/events`
    const headers = { authorization: `Bearer ${node.ready.project.secretKey}` }
    for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
      const event = new CloudEvent({ type: 'order.cloud', source: '/shop', tenant: 'a', data: { mode } })
      const emit = emitterFor(httpTransport(sink), { mode })
      await emit(event, { headers })
      const { detail, source, cloudevent } = await hears('orders', event.id)
      assert.deepEqual([detail, source, cloudevent?.tenant], [{ mode }, '/shop', 'a'])
      // Whoever sends it again hears that it was there.
      const { body, headers: own } = HTTP.binary(event)
      const again = await ask('/events', { method: 'POST', headers: own as Record<string, string>, body: body as string })
      assert.deepEqual([again.status, await again.json()], [202, { events: [{ id: event.id, started: 0, seen: true }] }])
    }
    const batch = ['c1', 'c2'].map((id) => ({ specversion: '1.0', id, source: '/shop', type: 'order.cloud' }))
    const taken = await ask('/events', { method: 'POST', headers: { 'content-type': 'application/cloudevents-batch+json' }, body: JSON.stringify(batch) })
    assert.equal(taken.status, 202)
    for (const id of ['c1', 'c2']) await hears('orders', id)
  })
  it('are sent by a function itself, and a loop of them ends and is told', async () => {
    const zip = await zipOf({
      'index.mjs': `export const handler = async ({ detail }) => {
        const { MAYFLY_URL, MAYFLY_KEY } = process.env
        const reply = await fetch(MAYFLY_URL + '/events/v1', {
          method: 'POST',
          headers: { apikey: MAYFLY_KEY },
          body: JSON.stringify({ 'detail-type': 'turn', detail: { n: detail.n + 1 } }),
        })
        console.log(JSON.stringify({ id: 'turn' + detail.n, detail: [reply.status, (await reply.json()).events?.[0]?.started] }))
      }`,
    })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await call('PUT', `/artefacts/${artefact}`, zip)
    await call('PUT', '/functions/spins', { artefact })
    await call('PUT', '/functions/spins/triggers', { triggers: [{ bus: { pattern: { 'detail-type': ['turn'] } } }] })
    await call('POST', '/events', Buffer.from('{"detail-type":"turn","detail":{"n":0}}'))
    for (let n = 0; n < 15; n++) assert.deepEqual((await hears('spins', `turn${n}`)).detail, [202, 1])
    assert.deepEqual((await hears('spins', 'turn15')).detail, [202, 0], 'its sixteenth turn starts none')
    const { deadLetters } = (await call('GET', '/dead-letters')) as unknown as { deadLetters: { function: string; reason: string }[] }
    assert.deepEqual(
      deadLetters.map((letter) => [letter.function, letter.reason]),
      [['spins', 'recursion']],
    )
    assert.equal((await told('spins')).length, 16)
  })
  for (const page of ['events', 'invocations', 'queues', 'schedules'])
    it(`have docs/${page}.md with the same commands, files and names in both languages`, () => {
      const [english, korean] = ['md', 'ko.md'].map((end) => blocksOf(`${page}.${end}`, ['json', 'sh', 'js']).map(commandsOf))
      assert.ok((english?.length ?? 0) > 0)
      assert.deepEqual(korean, english)
      const [names, theirs] = ['md', 'ko.md'].map((end) => namesOf(`${page}.${end}`)) as [Set<string>, Set<string>]
      assert.ok(names.size > 10)
      assert.deepEqual(
        [...names].filter((name) => !theirs.has(name)),
        [],
        'the Korean page speaks of all that the English one does',
      )
    })
  it('do what their documentation says, block after block; and so do queues and schedules', { skip: noPrograms }, async () => {
    for (const name of ['resize', 'on-failure']) await call('PUT', `/functions/${name}`, { artefact: echo })
    const reader = new Reader(node.ready, folder)
    const read = reader.read('events.md')
    const events = read.map(({ said }) => said)
    const came = async () => {
      const { lines } = (await call('GET', '/functions/placed/logs?limit=100')) as unknown as { lines: { text: string }[] }
      const { deadLetters } = (await call('GET', '/dead-letters?function=placed')) as unknown as { deadLetters: { attempts: number; errorType: string }[] }
      return [lines.some(({ text }) => text.endsWith('order 7')), deadLetters.map(({ attempts, errorType }) => `${attempts} ${errorType}`).join()].join(' ')
    }
    for (const end = Date.now() + 60_000; Date.now() < end && (await came()) !== 'true 2 RangeError'; ) await pause(200)
    assert.equal(await came(), 'true 2 RangeError')
    // Of what pages promise as their answer.
    for (const [what, said] of [
      [/OnFailure/, events],
      [/Sent as order-7: it starts \d+ functions?\./, events],
      [/webhook github \(push\) at http/, events],
      [/\/routes\/v1\/files\/\{rest\+\}/, events],
      [/^hello$/m, reader.read('queues.md').map((one) => one.said)],
      [/schedule 0 3 \* \* \* .*the node, next \d{4}-/, reader.read('schedules.md').map((one) => one.said)],
    ] as const)
      assert.ok(
        said.some((one) => what.test(one)),
        `${what}: ${said.join('\n')}`,
      )
    const news = read.find(({ block }) => block.kind === 'json' && block.text.includes('"topic"'))?.block
    const [article] = (await told(`events-md-${news?.line}`)).filter((event) => JSON.stringify(event).includes('article.new'))
    assert.ok(article, 'the topic was told')
  })
  it('go by the data plane with the secret key alone', async () => {
    const send = async (key: string) =>
      (await fetch(`${node.ready.url}/events/v1`, { method: 'POST', headers: { apikey: key }, body: '{"detail-type":"order.plane","id":"plane"}' })).status
    assert.equal(await send(node.ready.project.publishableKey), 403)
    assert.equal(await send('sb_secret_none'), 401)
    assert.equal(await send(node.ready.project.secretKey), 202)
    await hears('orders', 'plane')
  })
  it('tell how a call ended, by mayfly.json and by the Lambda API, and a loop of them ends', async () => {
    const zip = await zipOf({
      'index.mjs': `export const handler = async (event) => { console.log(JSON.stringify(event)); if (event.fail) throw new Error('failed'); return 'well' }`,
    })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await call('PUT', `/artefacts/${artefact}`, zip)
    const tells = { maxAttempts: 1, onSuccess: { event: 'order.done' }, onFailure: { event: 'order.failed' } }
    await call('PUT', '/functions/caller', { artefact, async: tells })
    await call('PUT', '/functions/outcomes', { artefact, async: { onSuccess: { event: 'outcome.turn' } } })
    await call('PUT', '/functions/outcomes/triggers', { triggers: [{ bus: { pattern: { 'detail-type': ['outcome.turn'] } } }] })
    const hearsOf = async (type: string) => {
      for (const end = Date.now() + 60_000; Date.now() < end; await pause(100)) {
        const one = (await told('orders')).find((event) => event['detail-type'] === type)
        if (one) return one.detail as { requestContext: object; responsePayload: unknown }
      }
      assert.fail(`nobody heard of ${type}`)
    }
    const { invocation } = await call('POST', '/functions/caller/invoke?async=1', {})
    const done = await hearsOf('order.done')
    assert.partialDeepStrictEqual(done, { requestContext: { requestId: invocation, condition: 'Success' }, responsePayload: 'well' })
    await call('POST', '/functions/caller/invoke?async=1', { fail: true })
    assert.partialDeepStrictEqual(await hearsOf('order.failed'), {
      requestContext: { condition: 'RetriesExhausted' },
      responsePayload: { errorMessage: 'failed' },
    })

    const { accessKey, url, region } = node.ready
    const lambda = new LambdaClient({ endpoint: url, region, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret } })
    await call('PUT', '/functions/orders/triggers', { triggers: [{ bus: {} }] })
    const OnSuccess = { Destination: `arn:aws:events:${region}:000000000000:event-bus/default` }
    await lambda.send(new PutFunctionEventInvokeConfigCommand({ FunctionName: 'caller', DestinationConfig: { OnSuccess } }))
    lambda.destroy()
    await call('POST', '/functions/caller/invoke?async=1', {})
    await hearsOf('Lambda Function Invocation Result - Success')

    await call('POST', '/functions/outcomes/invoke?async=1', {})
    const letters = async () => ((await call('GET', '/dead-letters?function=outcomes')) as unknown as { deadLetters: { reason: string }[] }).deadLetters
    for (const end = Date.now() + 60_000; Date.now() < end && (await letters()).length === 0; ) await pause(200)
    assert.deepEqual(
      (await letters()).map(({ reason }) => reason),
      ['recursion'],
    )
    assert.equal((await told('outcomes')).length, 16)
  })
  it('are refused from who may not send them, and when they are none', async () => {
    const event = { method: 'POST', body: '{"detail-type":"order.x","id":"refused"}' }
    const { publishableKey } = node.ready.project
    for (const [key, status] of [
      [null, 401],
      [publishableKey, 403],
      ['sb_secret_none', 401],
    ] as const)
      assert.equal((await ask('/events', event, key)).status, status)
    assert.equal(
      (await fetch(`${node.ready.url}/api/v1/projects/another/events`, { ...event, headers: { authorization: `Bearer ${node.ready.project.secretKey}` } }))
        .status,
      401,
    )
    const status = async (body: string, headers: Record<string, string> = {}, query = '') =>
      (await ask(`/events${query}`, { method: 'POST', headers, body })).status
    assert.equal(await status(`{"detail-type":"order.x","detail":{"a":"${'x'.repeat(2 * 1024 * 1024)}"}}`), 413)
    assert.equal(await status(`{"detail-type":"order.x","detail":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`), 400)
    assert.equal(await status('{"specversion":"1.0"}', { 'content-type': 'application/cloudevents+json' }), 400)
    assert.equal(await status('{}', { 'ce-id': '1' }), 400)
    assert.equal(await status(event.body, {}, '?bus=a%2Fb'), 400)
    assert.equal(await status(event.body), 202)
    await hears('orders', 'refused')
    assert.equal((await told('orders')).filter(({ id }) => id === 'refused').length, 1)
    const bad = await ask('/functions/orders/triggers', { method: 'PUT', body: '{"triggers":[{"bus":{"pattern":{"source":"x"}}}]}' })
    assert.match(await bad.text(), /triggers\.0\.bus\.pattern: source: must be a list/)
  })
})

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { spawn } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { LambdaClient, PutFunctionEventInvokeConfigCommand, UpdateFunctionConfigurationCommand } from '@aws-sdk/client-lambda'
import { CreateQueueCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'
import { manage } from './photos.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const until = async (what: () => boolean | Promise<boolean>, ms = 60_000) => {
  for (const end = Date.now() + ms; Date.now() < end; await pause(100)) if (await what()) return
  assert.fail('it did not come to that')
}

/** Every step of an entry at which something is written, or about to be. */
const POINTS = [
  'beforeEnqueueCommit',
  'afterEnqueueCommit',
  'beforeLease',
  'afterLease',
  'duringRun',
  'afterRunBeforeRecord',
  'afterRunBeforeSettle',
  'beforeAckCommit',
  'afterAckCommit',
  'beforeRetryCommit',
  'afterRetryCommit',
  'beforeBuryCommit',
  'afterBuryCommit',
  'afterWebhookBeforeSettle',
] as const

interface Life {
  readonly status: string
  readonly attempts: readonly { readonly attempt: number; readonly outcome: string; readonly errorType?: string; readonly nextAt?: string }[]
  readonly destination: { readonly kind: string; readonly target: string; readonly delivery: string } | null
  readonly result: { readonly payload: unknown } | null
}

describe('the life of a queued invocation', () => {
  const folder = makeFolder()
  const data = path.join(folder, 'data')
  const point = path.join(folder, 'point')
  const SECRET = `whsec_${Buffer.from('twenty-four bytes or more').toString('base64')}`
  const told = new Map<string, boolean>()
  /** What the calls were of that were told, by their ids. */
  const asked = new Map<string, unknown>()
  const receiver = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray())
    const { 'webhook-id': id = '', 'webhook-timestamp': at = '', 'webhook-signature': signature = '' } = request.headers as Record<string, string>
    const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64')
    const isSigned = signature === `v1,${createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')}`
    const { requestContext, requestPayload } = JSON.parse(String(body)) as { requestContext: { requestId: string }; requestPayload: unknown }
    told.set(requestContext.requestId, isSigned)
    asked.set(requestContext.requestId, requestPayload)
    response.writeHead(200).end()
  })
  let origin = ''
  let node: RunningMayfly
  const start = () => startMayfly(data, ['--empty', ...NO_SPARE, '--invoke-webhook-origins', origin], { MAYFLY_TEST_CRASH_AT: point })
  const cli = <T>(...args: string[]): T => {
    const { code, stdout, stderr } = mayfly([...args, '--json', '--data', data])
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as T
  }
  const deploy = (name: string, code: string, async: object, triggers?: readonly object[]) => {
    const at = path.join(folder, name)
    mkdirSync(at, { recursive: true })
    writeFileSync(path.join(at, 'index.mjs'), code)
    writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify({ name, async, triggers }))
    const { code: exit, stderr } = mayfly(['deploy', at, '--data', data])
    assert.equal(exit, 0, stderr)
  }
  const send = (name: string, event: unknown, ...args: string[]) =>
    cli<{ invocation: string; duplicate?: boolean }>('invoke', name, '--async', '--data', JSON.stringify(event), ...args)
  const life = (id: string) => cli<Life>('invocation', id)
  const letters = (...args: string[]) => cli<{ deadLetters: { id: string; errorType: string; function: string }[] }>('dlq', 'ls', ...args).deadLetters

  // What commands do stands above. Over many lives the node is asked as they ask it, which takes no process for each.
  const ask = <T>(route: string) => manage<T>(data, `/api/v1/projects/demo${route}`)
  const lifeNow = async (id: string) => (await ask<{ invocation: Life }>(`/invocations/${id}`)).invocation
  const lettersNow = async (name: string) => (await ask<{ deadLetters: { id: string }[] }>(`/dead-letters?function=${name}`)).deadLetters
  const tell = async (route: string, event: object = {}): Promise<{ invocation: string }> => {
    const headers = { authorization: `Bearer ${node.ready.project.secretKey}`, 'content-type': 'application/json' }
    const reply = await fetch(`${node.ready.url}/api/v1/projects/demo${route}`, { method: 'POST', headers, body: JSON.stringify(event) })
    assert.ok(reply.ok, await reply.clone().text())
    return (await reply.json()) as { invocation: string }
  }

  /** Resolves when the node has ended itself at this point, and another life has begun. */
  const dies = async (pid: number, name: string) => {
    await until(() => {
      try {
        process.kill(pid, 0)
        return false
      } catch {
        return true
      }
    })
    writeFileSync(point, '')
    assert.match(node.stderr(), new RegExp(`^crash point ${name}$`, 'm'), 'it died there and not elsewhere')
    await node.ended()
    node = await start()
  }

  before(async () => {
    receiver.listen(0, '127.0.0.1')
    await once(receiver, 'listening')
    origin = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
    node = await start()
  })
  after(async () => {
    await node?.stop()
    receiver.close()
    removeFolder(folder)
  })

  it('is told by id, with attempts, result and destination; a key is one event; a pause loses nothing', async () => {
    mayfly(['secrets', 'set', `HOOK=${SECRET}`, '--data', data])
    deploy(
      'twice',
      "export const handler = async (event, context) => { if (event.fails && !globalThis.tried) { globalThis.tried = true; throw new TypeError('first') } return { got: event.n } }",
      {
        maxAttempts: 3,
        retryAfter: 0,
        keepResult: 600,
        rate: 100,
        parallelism: 2,
        orderBy: 'key',
        onSuccess: { webhook: `${origin}/hook`, secret: 'HOOK' },
      },
    )
    const heard = { json: '', text: '' }
    const tails = (['json', 'text'] as const).map((form) => {
      const args = ['events', 'tail', 'twice', '--data', data, ...(form === 'json' ? ['--json'] : [])]
      const tail = spawn(process.execPath, [path.join(ROOT, 'bin', 'mayfly.js'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
      tail.stdout.on('data', (chunk: Buffer) => {
        heard[form] += String(chunk)
      })
      return tail
    })
    // Their connections are there when something is told: so it is asked until then.
    await until(() => {
      send('twice', { n: 0 })
      return heard.json.includes('queued') && heard.text.includes('queued')
    })
    mayfly(['pause', 'twice', '--data', data])
    const first = send('twice', { n: 1, fails: true, key: 'a' }, '--idempotency-key', 'k1')
    assert.deepEqual(send('twice', { n: 1, fails: true, key: 'a' }, '--idempotency-key', 'k1'), { invocation: first.invocation, duplicate: true })
    const second = send('twice', { n: 2, key: 'a' })
    assert.deepEqual([life(first.invocation).status, life(second.invocation).status], ['paused', 'paused'])
    assert.ok((await manage<{ pausedAt: string | null }>(data, '/api/v1/projects/demo/functions/twice/queue')).pausedAt)
    assert.deepEqual(
      cli<{ entries: { state: string }[] }>('queue', 'twice', '--state', 'paused').entries.map(({ state }) => state),
      ['paused', 'paused'],
    )
    assert.match(mayfly(['resume', 'twice', '--data', data]).stdout, /go on/)
    await until(async () => told.has(second.invocation) && (await lifeNow(second.invocation)).status === 'succeeded')
    const { status, attempts, destination, result } = life(first.invocation)
    assert.deepEqual(
      [status, attempts.map(({ outcome }) => outcome), attempts[0]?.errorType, result?.payload],
      ['succeeded', ['error', 'ok'], 'TypeError', { got: 1 }],
    )
    assert.deepEqual([destination?.kind, destination?.target, told.get(first.invocation)], ['webhook', `${origin}/hook`, true])
    const ran = (...of: string[]) => cli<{ invocations: { id: string; function: string; attempt: number }[] }>('invocation', 'ls', ...of).invocations
    assert.ok(ran('--state', 'succeeded').some(({ id, function: name, attempt }) => id === first.invocation && name === 'twice' && attempt === 2))
    assert.deepEqual(
      ran('twice', '--state', 'failed').map(({ id, attempt }) => [id, attempt]),
      [[first.invocation, 1]],
    )
    assert.equal(mayfly(['invocation', 'ls', '--state', 'gone', '--data', data]).code, 2)
    await until(() => heard.json.includes(`"invocation":"${first.invocation}","function":"twice","what":"failed"`))
    await until(() => new RegExp(`Z failed {4}twice ${first.invocation} attempt 1 {2}TypeError {2}first`).test(heard.text))
    assert.match(heard.text, /Z queued {4}twice .*\n.*Z started {3}twice /, 'one below the other')
    for (const tail of tails) tail.kill()
    const none = mayfly(['invocation', '00000000-0000-4000-8000-000000000000', '--json', '--data', data])
    assert.equal(none.code, 5)
    assert.match(none.stderr + none.stdout, /invocation_not_found|nothing is known/)
  })
  it('tells queues, as mayfly.json and the Lambda API say', async () => {
    const { url: endpoint, region, accessKey } = node.ready
    const about = { endpoint, region, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret }, maxAttempts: 1 }
    const sqs = new SQSClient(about)
    const lambda = new LambdaClient(about)
    const made = async (name: string) => (await sqs.send(new CreateQueueCommand({ QueueName: name }))).QueueUrl as string
    const heard = async (QueueUrl: string) => {
      const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 }))
      return Messages.map(({ Body = '', MessageId = '' }) => ({ id: MessageId, record: JSON.parse(Body) as Record<string, unknown> }))
    }
    try {
      const [good, bad] = [await made('good'), await made('bad')]
      deploy('halves', "export const handler = async (event) => { if (event.n % 2) throw new RangeError('odd'); return { half: event.n / 2 } }", {
        maxAttempts: 1,
        onSuccess: { queue: 'good' },
      })
      await lambda.send(
        new PutFunctionEventInvokeConfigCommand({
          FunctionName: 'halves',
          MaximumRetryAttempts: 0,
          DestinationConfig: { OnFailure: { Destination: `arn:aws:sqs:${region}:000000000000:bad` } },
        }),
      )
      const even = send('halves', { n: 4 })
      const [success] = await heard(good)
      assert.partialDeepStrictEqual(success?.record, {
        version: '1.0',
        requestContext: { requestId: even.invocation, condition: 'Success', approximateInvokeCount: 1 },
        requestPayload: { n: 4 },
        responseContext: { statusCode: 200, executedVersion: '$LATEST' },
        responsePayload: { half: 2 },
      })
      const { status, destination } = life(even.invocation)
      assert.deepEqual([status, destination?.kind, destination?.target, destination?.delivery], ['succeeded', 'queue', 'good', success?.id])
      const odd = send('halves', { n: 3 })
      const [failure] = await heard(bad)
      assert.partialDeepStrictEqual(failure?.record, {
        requestContext: { requestId: odd.invocation, condition: 'RetriesExhausted' },
        responseContext: { functionError: 'Unhandled' },
        responsePayload: { errorType: 'RangeError' },
      })
      // Beside it the event itself goes to the function's dead-letter queue, with why.
      const letters = await made('letters')
      await lambda.send(
        new UpdateFunctionConfigurationCommand({ FunctionName: 'halves', DeadLetterConfig: { TargetArn: `arn:aws:sqs:${region}:000000000000:letters` } }),
      )
      const lost = send('halves', { n: 5 })
      const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl: letters, WaitTimeSeconds: 20, MessageAttributeNames: ['All'] }))
      const said = Object.fromEntries(Object.entries(Messages[0]?.MessageAttributes ?? {}).map(([name, { StringValue }]) => [name, StringValue]))
      assert.deepEqual([JSON.parse(Messages[0]?.Body ?? ''), said], [{ n: 5 }, { RequestID: lost.invocation, ErrorCode: '200', ErrorMessage: 'odd' }])
      // Clients read the code as a number.
      assert.equal(Messages[0]?.MessageAttributes?.ErrorCode?.DataType, 'Number')
      assert.equal((await heard(bad)).length, 1)
    } finally {
      sqs.destroy()
      lambda.destroy()
    }
  })
  it('makes dead letters of what never succeeds, which are shown, exported, sent again with another event, all at once, and dropped', async () => {
    deploy('picky', "export const handler = async (event) => { if (event.n !== 'good') throw new RangeError('bad'); return 'fine' }", { maxAttempts: 1 })
    for (const n of [1, 2, 3]) send('picky', { n })
    await until(async () => (await lettersNow('picky')).length === 3)
    assert.equal(letters('picky', '--error', 'TypeError').length, 0)
    const [one] = letters('picky', '--error', 'RangeError', '--reason', 'attempts')
    assert.match(cli<{ payload: string }>('dlq', 'show', one?.id ?? '').payload, /^\{"n":\d\}$/)
    assert.equal(mayfly(['dlq', 'export', 'picky', '--data', data]).stdout.trim().split('\n').length, 3)
    const { invocation } = cli<{ invocation: string }>('dlq', 'replay', one?.id ?? '', '--event', '{"n":"good"}')
    await until(async () => (await lifeNow(invocation)).status === 'succeeded')
    assert.deepEqual(cli('dlq', 'replay', '--all', 'picky'), { replayed: 2, stayed: 0 })
    await until(async () => (await lettersNow('picky')).length === 2)
    assert.deepEqual(cli('dlq', 'drop', '--all', 'picky'), { removed: 2 })
    assert.deepEqual(letters('picky'), [])
  })
  it('loses nothing that was acknowledged, and counts each run once, over kill -9 at every step', async () => {
    deploy('steps', "export const handler = async (event) => { if (event.fails) throw new Error('as asked'); return event.n }", {
      maxAttempts: 2,
      retryAfter: 0,
      onSuccess: { webhook: `${origin}/hook`, secret: 'HOOK' },
    })
    const sent: { id: string; fails: boolean }[] = []
    for (const name of POINTS) {
      const pid = node.pid()
      const fails = /Retry|Bury/.test(name)
      // The sender of what is paused is answered before the node dies: that is of no use where it dies before it can answer.
      const isOfEnqueue = name.includes('Enqueue')
      if (isOfEnqueue) writeFileSync(point, name)
      else await tell('/functions/steps/pause')
      const reply = await tell('/functions/steps/invoke?async=1', { n: name, fails }).catch((error: Error) => error)
      if (!(reply instanceof Error)) sent.push({ id: reply.invocation, fails })
      else assert.ok(isOfEnqueue, reply.message)
      if (!isOfEnqueue) {
        writeFileSync(point, name)
        // The node may die before it answers.
        await tell('/functions/steps/resume').catch(() => {})
      }
      await dies(pid, name)
      await tell('/functions/steps/resume')
    }
    assert.ok(sent.length >= POINTS.length - 2, 'all but those whose commit was never told')
    const dead = new Set<string>()
    await until(async () => {
      for (const { id } of await lettersNow('steps')) dead.add(id)
      for (const { id, fails } of sent) if (fails ? !dead.has(id) : !told.has(id) || (await lifeNow(id)).status !== 'succeeded') return false
      return true
    })
    const { invocations } = await manage<{ invocations: { id: string; attempt: number }[] }>(
      data,
      '/api/v1/projects/demo/functions/steps/invocations?limit=1000',
    )
    assert.equal(new Set(invocations.map(({ id, attempt }) => `${id}/${attempt}`)).size, invocations.length)
    const { usage } = cli<{ usage: { functionName: string; executions: number; cut: number }[] }>('usage')
    const all = usage.filter(({ functionName }) => functionName === 'steps').reduce((sum, one) => sum + one.executions + one.cut, 0)
    assert.equal(all, invocations.length, 'the sum of the executions is the bill')
  })
  it('tells a queue, an event and who watches the log of each call once, over kill -9 of the step that does so', async () => {
    const { region, accessKey } = node.ready
    const hook = { onSuccess: { webhook: `${origin}/hook`, secret: 'HOOK' } }
    const code = 'export const handler = async (event) => { console.log(`asked for ${event.n}`); return event }'
    deploy('to-queue', code, { onSuccess: { queue: 'outcomes' } })
    deploy('to-event', code, { onSuccess: { event: 'ended' } })
    deploy('hears', code, hook, [{ bus: { pattern: { 'detail-type': ['ended'] } } }])
    deploy('watches', code, hook, [{ log: { function: 'writes', pattern: 'asked', format: 'plain' } }])
    deploy('writes', code, {})
    const withQueue = async <T>(ask: (sqs: SQSClient, QueueUrl: string) => Promise<T>): Promise<T> => {
      const endpoint = node.ready.url
      const sqs = new SQSClient({ endpoint, region, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret }, maxAttempts: 1 })
      try {
        return await ask(sqs, (await sqs.send(new CreateQueueCommand({ QueueName: 'outcomes' }))).QueueUrl as string)
      } finally {
        sqs.destroy()
      }
    }
    await withQueue(async () => {})
    /** By its own id: one that nobody deletes comes again, and is no other. */
    const messages = new Map<string, string>()
    const receive = async (sqs: SQSClient, QueueUrl: string) => {
      const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 }))
      for (const { MessageId = '', Body = '' } of Messages)
        messages.set(MessageId, (JSON.parse(Body) as { requestContext: { requestId: string } }).requestContext.requestId)
    }
    /** Each entry that was queued for the call is one of these, however often it ran. */
    const heard = {
      'to-queue': (id: string) => [...messages.values()].filter((one) => one === id).length,
      'to-event': (id: string) =>
        [...asked.values()].filter((event) => (event as { detail?: { requestContext?: { requestId: string } } })?.detail?.requestContext?.requestId === id)
          .length,
      writes: (id: string) =>
        [...asked.values()].flatMap((event) => (event as { lines?: { invocation: string }[] })?.lines ?? []).filter(({ invocation }) => invocation === id)
          .length,
    }
    const sent: { name: keyof typeof heard; id: string }[] = []
    const isIdle = async () => {
      const { waiting, running } = await manage<{ waiting: number; running: number }>(data, '/api/v1/projects/demo/queue?limit=1')
      return waiting === 0 && running === 0
    }
    // What still ends would be what the node dies of.
    await until(isIdle)
    for (const [name, at] of [
      ['to-queue', 'beforeAckCommit'],
      ['to-queue', 'afterAckCommit'],
      ['to-event', 'beforeAckCommit'],
      ['to-event', 'afterAckCommit'],
      ['writes', 'beforeLinesCommit'],
      ['writes', 'afterLinesCommit'],
    ] as const) {
      const pid = node.pid()
      writeFileSync(point, at)
      const { invocation: id } = await tell(`/functions/${name}/invoke?async=1`, { n: at })
      sent.push({ name, id })
      await dies(pid, at)
      // Nothing of it is under way when the next step is the last of a life.
      await until(async () => {
        if (name === 'to-queue') await withQueue(receive)
        return heard[name](id) > 0 && (await isIdle())
      })
    }
    await withQueue(receive)
    assert.deepEqual(
      sent.map(({ name, id }) => [name, heard[name](id)]),
      sent.map(({ name }) => [name, 1]),
    )
  })
})

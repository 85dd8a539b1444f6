import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { buildSync } from 'esbuild'
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SetQueueAttributesCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import {
  CreateEventSourceMappingCommand,
  DeleteEventSourceMappingCommand,
  GetEventSourceMappingCommand,
  LambdaClient,
  UpdateEventSourceMappingCommand,
} from '@aws-sdk/client-lambda'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const ARN = 'arn:aws:sqs:us-east-1:000000000000:'
const CODE = `export const handler = async ({ Records }) => {
  for (const record of Records) console.log(JSON.stringify(record))
  if (Records.some(({ body }) => body === 'boom')) throw new Error('boom')
  return { batchItemFailures: Records.filter(({ body }) => body === 'bad').map(({ messageId }) => ({ itemIdentifier: messageId })) }
}`

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const until = async (what: () => Promise<boolean>) => {
  for (const end = Date.now() + 80_000; Date.now() < end; await pause(200)) if (await what()) return
  assert.fail('it did not come to that')
}

describe('messages of queues', () => {
  let folder = ''
  let data = ''
  let dies = ''
  let node: RunningMayfly
  let sqs: SQSClient
  const start = async () => {
    node = await startMayfly(data, ['--empty'], { MAYFLY_TEST_CRASH_AT: dies })
    const { url, region, accessKey } = node.ready
    sqs?.destroy()
    sqs = new SQSClient({ endpoint: url, region, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret } })
  }
  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    dies = path.join(folder, 'dies')
    await start()
  })
  after(async () => {
    sqs?.destroy()
    await node?.stop()
    removeFolder(folder)
  })

  const call = async (method: string, at: string, body?: object | Buffer) => {
    const response = await fetch(`${node.ready.url}/api/v1/projects/demo${at}`, {
      method,
      headers: { authorization: `Bearer ${node.ready.project.secretKey}` },
      ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    })
    const text = await response.text()
    assert.ok(response.ok, `${method} ${at}: ${response.status} ${text}`)
    return (text === '' ? {} : JSON.parse(text)) as Record<string, never>
  }
  const deploy = async (name: string) => {
    const zip = await zipOf({ 'index.mjs': CODE })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await call('PUT', `/artefacts/${artefact}`, zip)
    await call('PUT', `/functions/${name}`, { artefact })
  }
  const watch = (name: string, ...triggers: object[]) => call('PUT', `/functions/${name}/triggers`, { triggers })
  interface Told {
    readonly body: string
    readonly messageId: string
    readonly attributes: Record<string, string>
  }
  const told = async (name: string): Promise<Told[]> => {
    const { lines } = (await call('GET', `/functions/${name}/logs?limit=5000`)) as unknown as { lines: { text: string; source: string }[] }
    return lines.filter(({ source }) => source === 'stdout').map(({ text }) => JSON.parse(text.split('\t').slice(3).join('\t')) as Told)
  }
  const bodies = async (name: string) => (await told(name)).map(({ body }) => body).toSorted()
  const urlOf = async (name: string) => (await sqs.send(new GetQueueUrlCommand({ QueueName: name }))).QueueUrl as string
  const depth = async (name: string) => {
    const asked = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'] as const
    const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: await urlOf(name), AttributeNames: [...asked] }))
    return asked.reduce((sum, one) => sum + Number(Attributes?.[one]), 0)
  }
  const send = async (name: string, ...texts: string[]) => {
    const { Failed = [] } = await sqs.send(
      new SendMessageBatchCommand({
        QueueUrl: await urlOf(name),
        Entries: texts.map((MessageBody, n) => ({ Id: `${n}`, MessageBody, MessageAttributes: { n: { DataType: 'Number', StringValue: `${n}` } } })),
      }),
    )
    assert.deepEqual(Failed, [])
  }
  /** Gives up what was received twice. */
  const strict = async (name: string, VisibilityTimeout = '1') => {
    const Attributes = { VisibilityTimeout, RedrivePolicy: JSON.stringify({ deadLetterTargetArn: `${ARN}dead`, maxReceiveCount: 2 }) }
    await sqs.send(new SetQueueAttributesCommand({ QueueUrl: await urlOf(name), Attributes }))
  }

  it('starts a function with the event of SQS; what it says failed comes again, and is given up in the end', async () => {
    await sqs.send(new CreateQueueCommand({ QueueName: 'dead' }))
    for (const name of ['mails', 'other']) {
      await deploy(name)
      // The queue is made where there is none.
      await watch(name, { queue: { name, batchSize: 3 } })
      await strict(name)
    }
    await send('mails', 'good', 'bad')
    await send('other', 'boom')
    await until(async () => (await depth('dead')) === 2)
    await until(async () => (await depth('mails')) + (await depth('other')) === 0)
    assert.deepEqual(await bodies('mails'), ['bad', 'bad', 'good'])
    assert.deepEqual(await bodies('other'), ['boom', 'boom'])
    const { attributes, messageId, ...rest } = (await told('mails')).find(({ body }) => body === 'good') as Told & { receiptHandle?: string }
    delete rest.receiptHandle
    assert.deepEqual(rest, {
      body: 'good',
      messageAttributes: { n: { stringValue: '0', stringListValues: [], binaryListValues: [], dataType: 'Number' } },
      md5OfMessageAttributes: (rest as unknown as { md5OfMessageAttributes: string }).md5OfMessageAttributes,
      md5OfBody: createHash('md5').update('good').digest('hex'),
      eventSource: 'aws:sqs',
      eventSourceARN: `${ARN}mails`,
      awsRegion: 'us-east-1',
    })
    assert.match(messageId, /^[0-9a-f-]{36}$/)
    assert.deepEqual([attributes.ApproximateReceiveCount, attributes.SenderId], ['1', node.ready.accessKey.id])
  })

  it('runs a batch that fails again in halves where it is to: the message that fails is given up, and none beside it', async () => {
    const before = await depth('dead')
    await deploy('halves')
    await watch('halves', { queue: { name: 'halves', windowSeconds: 2, bisect: true } })
    await strict('halves')
    await send('halves', 'a', 'b', 'boom', 'c', 'd')
    await until(async () => (await depth('dead')) === before + 1)
    await until(async () => (await depth('halves')) === 0)
    const ran = await bodies('halves')
    for (const one of ['a', 'b', 'c', 'd']) assert.ok(ran.filter((body) => body === one).length >= 2, `${one} ran in the batch and in a half of it: ${ran}`)
    assert.equal(await depth('dead'), before + 1)
  })

  it('rests with `enabled: false`: messages wait', async () => {
    await watch('mails', { queue: { name: 'mails' }, enabled: false })
    // Who waits for messages by then has left.
    await pause(2_500)
    await send('mails', 'later')
    await pause(1_500)
    assert.equal(await depth('mails'), 1)
    await watch('mails', { queue: { name: 'mails' } })
    await until(async () => (await depth('mails')) === 0)
    assert.ok((await bodies('mails')).includes('later'))
  })

  it('starts functions by event source mappings of the Lambda API, with filters, until they are disabled or deleted', async () => {
    await deploy('mapped')
    const { url, region, accessKey } = node.ready
    const lambda = new LambdaClient({ endpoint: url, region, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret } })
    const EventSourceArn = `${ARN}jobs`
    const settings = {
      BatchSize: 20,
      MaximumBatchingWindowInSeconds: 1,
      FunctionResponseTypes: ['ReportBatchItemFailures' as const],
      ScalingConfig: { MaximumConcurrency: 2 },
      FilterCriteria: { Filters: [{ Pattern: '{"body":[{"anything-but":"not this"}]}' }] },
    }
    const create = () => lambda.send(new CreateEventSourceMappingCommand({ FunctionName: 'mapped', EventSourceArn, ...settings }))
    await assert.rejects(create(), { name: 'InvalidParameterValueException', message: /NonExistentQueue/ })
    await sqs.send(new CreateQueueCommand({ QueueName: 'jobs' }))
    await strict('jobs')
    const { UUID } = await create()
    const state = async () => {
      const { State, LastProcessingResult } = await lambda.send(new GetEventSourceMappingCommand({ UUID }))
      return [State, LastProcessingResult]
    }
    assert.deepEqual(await state(), ['Enabled', undefined])
    const listed = () => mayfly(['triggers', 'mapped'], { MAYFLY_URL: url, MAYFLY_KEY: node.ready.project.secretKey }).stdout
    assert.match(listed(), /^mapped +queue jobs \(event source mapping\) +the node$/m)
    const [given] = [await depth('dead')]
    await send('jobs', 'one', 'not this', 'bad')
    await until(async () => (await depth('jobs')) === 0 && (await depth('dead')) === given + 1)
    assert.deepEqual(await bodies('mapped'), ['bad', 'bad', 'one'])
    await lambda.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: false, FunctionResponseTypes: [], FilterCriteria: {} }))
    assert.deepEqual(await state(), ['Disabled', undefined])
    assert.match(listed(), /^mapped +queue jobs \(event source mapping\) +nothing: it rests$/m)
    // Who waits for messages by then has left.
    await pause(2_500)
    await send('jobs', 'two', 'bad')
    await pause(1_500)
    assert.equal(await depth('jobs'), 2)
    await lambda.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: true }))
    // What it answers is of no account now.
    await until(async () => (await depth('jobs')) === 0)
    assert.deepEqual([await bodies('mapped'), await depth('dead')], [['bad', 'bad', 'bad', 'one', 'two'], given + 1])
    await lambda.send(new DeleteEventSourceMappingCommand({ UUID }))
    assert.match(listed(), /^Nothing starts a function/)
    lambda.destroy()
  })

  it('holds the messages of a function that is paused, however often, and gives up none', async () => {
    await call('POST', '/functions/other/pause')
    await send('other', 'held')
    await pause(3_000)
    assert.deepEqual([await depth('other'), (await bodies('other')).includes('held')], [1, false])
    const { Messages = [] } = await sqs.send(
      new ReceiveMessageCommand({ QueueUrl: await urlOf('other'), VisibilityTimeout: 0, MessageSystemAttributeNames: ['ApproximateReceiveCount'] }),
    )
    assert.deepEqual(
      Messages.map(({ Attributes }) => Attributes?.ApproximateReceiveCount),
      ['1'],
    )
    await call('POST', '/functions/other/resume')
    await until(async () => (await depth('other')) === 0)
    assert.ok((await bodies('other')).includes('held'))
  })

  it('ends a loop of a function that sends to its own queue, and tells it; not one of a function that may loop', async () => {
    const contents = `import { SQSClient, SendMessageCommand } from '@aws-sdk/client-sqs'
      const sqs = new SQSClient({})
      // What it says of itself is not believed.
      const MessageSystemAttributes = { AWSTraceHeader: { DataType: 'String', StringValue: 'Lineage=1:6d617966:0' } }
      export const handler = async ({ Records: [{ body, eventSourceARN }] }) => {
        const QueueUrl = process.env.AWS_ENDPOINT_URL + '/000000000000/' + eventSourceARN.split(':').at(-1)
        if (body !== 'end24') await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: body.replace(/\\d+$/, (n) => Number(n) + 1), MessageSystemAttributes }))
        console.log(JSON.stringify({ body }))
      }`
    const built = buildSync({ stdin: { contents, resolveDir: import.meta.dirname }, bundle: true, platform: 'node', format: 'cjs', minify: true, write: false })
    const zip = await zipOf({ 'index.js': Buffer.from(built.outputFiles[0]?.contents ?? []) })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await call('PUT', `/artefacts/${artefact}`, zip)
    const made = (async = {}) => call('PUT', '/functions/spins', { artefact, async })
    await made()
    await watch('spins', { queue: { name: 'spins', batchSize: 1 } })
    await send('spins', '0')
    const letters = async () =>
      ((await call('GET', '/dead-letters?function=spins')) as unknown as { deadLetters: { reason: string }[] }).deadLetters.map(({ reason }) => reason)
    await until(async () => (await letters()).length > 0)
    assert.deepEqual(await letters(), ['recursion'])
    assert.equal((await bodies('spins')).length, 16)
    await until(async () => (await depth('spins')) === 0)
    await made({ mayLoop: true })
    await send('spins', 'end0')
    await until(async () => (await bodies('spins')).includes('end24'))
    assert.deepEqual(await letters(), ['recursion'])
  })

  it('takes what is not done again after kill -9 at each moment', async () => {
    const points = ['afterReceiveCommit', 'duringRun', 'afterRunBeforeSettle']
    for (const point of points) {
      const died = once(node.child, 'exit')
      writeFileSync(dies, point)
      // The node may end before it answers: then nothing was promised, and a client sends again.
      const isTaken = await send('mails', point).then(
        () => true,
        () => false,
      )
      await died
      rmSync(dies)
      await start()
      if (!isTaken) await send('mails', point)
    }
    await until(async () => (await depth('mails')) === 0)
    const seen = await bodies('mails')
    for (const point of points) assert.ok(seen.includes(point), point)
  })
})

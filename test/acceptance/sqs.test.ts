import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListMessageMoveTasksCommand,
  ListQueuesCommand,
  ListQueueTagsCommand,
  PurgeQueueCommand,
  QueueDoesNotExist,
  ReceiptHandleIsInvalid,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
  SQSClient,
  StartMessageMoveTaskCommand,
  TagQueueCommand,
  UntagQueueCommand,
} from '@aws-sdk/client-sqs'
import { AwsCli } from './awscli-fixture.ts'
import { makeFolder, mayfly, type Ready, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'

const BOTO = existsSync('/usr/lib/python3/dist-packages/boto3') && existsSync('/usr/bin/aws')
const ARN = 'arn:aws:sqs:us-east-1:000000000000:'

const clientOf = (ready: Ready, secret = ready.accessKey.secret) =>
  new SQSClient({ endpoint: ready.url, region: ready.region, credentials: { accessKeyId: ready.accessKey.id, secretAccessKey: secret }, maxAttempts: 1 })

let folder = ''
let node: RunningMayfly
let sqs: SQSClient
before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'), ['--empty', ...NO_SPARE])
  sqs = clientOf(node.ready)
})
after(async () => {
  sqs?.destroy()
  await node?.stop()
  if (folder) removeFolder(folder)
})

const create = async (name: string, attributes: Record<string, string> = {}) =>
  (await sqs.send(new CreateQueueCommand({ QueueName: name, Attributes: attributes }))).QueueUrl as string
const receive = async (QueueUrl: string, more: object = {}) =>
  (await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, ...more }))).Messages ?? []

describe('queues by @aws-sdk/client-sqs', () => {
  it('sends, receives with what was said of a message, and deletes', async () => {
    const url = await create('mail')
    assert.equal((await sqs.send(new GetQueueUrlCommand({ QueueName: 'mail' }))).QueueUrl, url)
    // The client compares the MD5 of body and attributes itself.
    const sent = await sqs.send(
      new SendMessageCommand({
        QueueUrl: url,
        MessageBody: '안녕 <&> "mail"',
        MessageAttributes: { 'a.b': { DataType: 'Number', StringValue: '4.2' }, raw: { DataType: 'Binary', BinaryValue: new Uint8Array([0, 255]) } },
      }),
    )
    const [message] = await receive(url, { MessageAttributeNames: ['All'], MessageSystemAttributeNames: ['All'] })
    assert.deepEqual([message?.MessageId, message?.Body], [sent.MessageId, '안녕 <&> "mail"'])
    assert.deepEqual(message?.MessageAttributes?.raw?.BinaryValue, new Uint8Array([0, 255]))
    assert.equal(message?.MD5OfMessageAttributes, sent.MD5OfMessageAttributes)
    assert.deepEqual([message?.Attributes?.ApproximateReceiveCount, message?.Attributes?.SenderId], ['1', node.ready.accessKey.id])
    assert.deepEqual(await receive(url), [])
    const counted = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['ApproximateNumberOfMessagesNotVisible', 'QueueArn'] }))
    assert.deepEqual(counted.Attributes, { ApproximateNumberOfMessagesNotVisible: '1', QueueArn: `${ARN}mail` })
    await sqs.send(new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle: message?.ReceiptHandle, VisibilityTimeout: 0 }))
    const [again] = await receive(url)
    assert.equal(again?.MessageId, sent.MessageId)
    // The former receipt counts no more: whoever has it now decides.
    await sqs.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: message?.ReceiptHandle }))
    await sqs.send(new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle: again?.ReceiptHandle, VisibilityTimeout: 0 }))
    const [last] = await receive(url)
    await sqs.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: last?.ReceiptHandle }))
    assert.equal(
      (await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['All'] }))).Attributes?.ApproximateNumberOfMessagesNotVisible,
      '0',
    )
  })

  it('takes batches, waits for messages, and holds delays', async () => {
    const url = await create('batches')
    const waiting = receive(url, { WaitTimeSeconds: 20 })
    const { Successful, Failed } = await sqs.send(
      new SendMessageBatchCommand({
        QueueUrl: url,
        Entries: [
          { Id: 'one', MessageBody: 'one' },
          { Id: 'late', MessageBody: 'late', DelaySeconds: 900 },
          { Id: 'bad', MessageBody: '\u0001' },
        ],
      }),
    )
    assert.deepEqual(
      [Successful?.map(({ Id }) => Id), Failed?.map(({ Id, Code, SenderFault }) => [Id, Code, SenderFault])],
      [['one', 'late'], [['bad', 'InvalidMessageContents', true]]],
    )
    const got = await waiting
    assert.deepEqual(
      got.map(({ Body }) => Body),
      ['one'],
    )
    const ended = await sqs.send(
      new DeleteMessageBatchCommand({
        QueueUrl: url,
        Entries: [
          { Id: 'a', ReceiptHandle: got[0]?.ReceiptHandle },
          { Id: 'b', ReceiptHandle: 'none' },
        ],
      }),
    )
    assert.deepEqual([ended.Successful?.map(({ Id }) => Id), ended.Failed?.map(({ Id, Code }) => [Id, Code])], [['a'], [['b', 'ReceiptHandleIsInvalid']]])
    const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['ApproximateNumberOfMessagesDelayed'] }))
    assert.equal(Attributes?.ApproximateNumberOfMessagesDelayed, '1')
    await sqs.send(new PurgeQueueCommand({ QueueUrl: url }))
    const purged = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['ApproximateNumberOfMessagesDelayed'] }))
    assert.equal(purged.Attributes?.ApproximateNumberOfMessagesDelayed, '0')
  })

  it('gives up messages to a dead-letter queue, and brings them back', async () => {
    await create('dead')
    const url = await create('work', { VisibilityTimeout: '0', RedrivePolicy: JSON.stringify({ deadLetterTargetArn: `${ARN}dead`, maxReceiveCount: 2 }) })
    const dead = `${node.ready.url}/000000000000/dead`
    await sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: 'poison' }))
    assert.equal((await receive(url)).length, 1)
    assert.equal((await receive(url)).length, 1)
    assert.equal((await receive(url)).length, 0)
    const [letter] = await receive(dead, { MessageSystemAttributeNames: ['DeadLetterQueueSourceArn'], VisibilityTimeout: 0 })
    assert.deepEqual([letter?.Body, letter?.Attributes?.DeadLetterQueueSourceArn], ['poison', `${ARN}work`])
    await sqs.send(new StartMessageMoveTaskCommand({ SourceArn: `${ARN}dead` }))
    const [back] = await receive(url, { WaitTimeSeconds: 20 })
    assert.equal(back?.Body, 'poison')
    const { Results } = await sqs.send(new ListMessageMoveTasksCommand({ SourceArn: `${ARN}dead` }))
    assert.equal(Results?.[0]?.ApproximateNumberOfMessagesMoved, 1)
  })

  it('lists page by page, keeps tags and settings, and names its errors', async () => {
    for (const name of ['p-1', 'p-2', 'p-3']) await create(name)
    const first = await sqs.send(new ListQueuesCommand({ QueueNamePrefix: 'p-', MaxResults: 2 }))
    const second = await sqs.send(new ListQueuesCommand({ QueueNamePrefix: 'p-', MaxResults: 2, NextToken: first.NextToken }))
    assert.deepEqual([first.QueueUrls?.length, second.QueueUrls?.length, second.NextToken], [2, 1, undefined])
    const QueueUrl = first.QueueUrls?.[0] as string
    await sqs.send(new TagQueueCommand({ QueueUrl, Tags: { a: '1', b: '2' } }))
    await sqs.send(new UntagQueueCommand({ QueueUrl, TagKeys: ['a'] }))
    assert.deepEqual((await sqs.send(new ListQueueTagsCommand({ QueueUrl }))).Tags, { b: '2' })
    await sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { VisibilityTimeout: '77' } }))
    assert.equal((await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['VisibilityTimeout'] }))).Attributes?.VisibilityTimeout, '77')
    await sqs.send(new DeleteQueueCommand({ QueueUrl }))
    // As a client of today sees it: the class is JSON's, the name that of the older protocol.
    await assert.rejects(sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: 'x' })), (error: Error) => {
      assert.ok(error instanceof QueueDoesNotExist)
      assert.match(`${error.name} ${(error as { Code?: string }).Code ?? ''}`, /QueueDoesNotExist|NonExistentQueue/)
      return true
    })
    const mail = await create('mail')
    await assert.rejects(sqs.send(new DeleteMessageCommand({ QueueUrl: mail, ReceiptHandle: 'x' })), ReceiptHandleIsInvalid)
    await assert.rejects(create('q.fifo', { FifoQueue: 'true' }), /FIFO queues are not served/)
    await assert.rejects(create('mail', { VisibilityTimeout: '1' }), { name: /QueueNameExists|QueueAlreadyExists/ })
  })

  it('is closed to a wrong signature, and to more than a request may have', async () => {
    using stranger = Object.assign(clientOf(node.ready, 'not-the-secret'), { [Symbol.dispose]: () => stranger.destroy() })
    await assert.rejects(stranger.send(new ListQueuesCommand({})), /signature/)
    const unsigned = await fetch(`${node.ready.url}/`, { method: 'POST', headers: { 'x-amz-target': 'AmazonSQS.ListQueues' }, body: '{}' })
    assert.equal(unsigned.status, 403)
    const url = await create('mail')
    // LIMITS.queueRequest is met before the body is held.
    await assert.rejects(sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: 'x'.repeat(4 * 1024 * 1024) })), /bytes/)
  })
})

const environment = () => ({
  PATH: '/usr/bin:/bin',
  HOME: folder,
  LANG: 'C.UTF-8',
  AWS_ACCESS_KEY_ID: node.ready.accessKey.id,
  AWS_SECRET_ACCESS_KEY: node.ready.accessKey.secret,
  AWS_DEFAULT_REGION: node.ready.region,
  AWS_EC2_METADATA_DISABLED: 'true',
  AWS_PAGER: '',
  NO_PROXY: '*',
})
const python = (program: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const env = { ...environment(), URL: node.ready.url }
    execFile('/usr/bin/python3', ['-c', program], { timeout: 60_000, env }, (error, stdout, stderr) => (error ? reject(new Error(stderr)) : resolve(stdout)))
  })

describe('queues by the command and the management API', () => {
  const cli = (...args: string[]) => mayfly(['queues', ...args], { MAYFLY_URL: node.ready.url, MAYFLY_KEY: node.ready.project.secretKey })
  const done = (...args: string[]) => {
    const { code, stdout, stderr } = cli(...args)
    assert.equal(code, 0, stderr)
    return stdout
  }
  it('makes them, sends, shows, receives, brings back and removes', async () => {
    done('create', 'own-dead')
    assert.match(done('create', 'own', '--visibility', '1s', '--retention', '2d', '--dead-letter', 'own-dead', '--max-receives', '1'), /own is there/)
    assert.match(done('create', 'own', '--visibility', '1s', '--retention', '2d', '--dead-letter', 'own-dead', '--max-receives', '1'), /so already/)
    const url = (await sqs.send(new GetQueueUrlCommand({ QueueName: 'own' }))).QueueUrl as string
    const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['All'] }))
    assert.deepEqual(
      [Attributes?.VisibilityTimeout, Attributes?.MessageRetentionPeriod, JSON.parse(Attributes?.RedrivePolicy ?? '')],
      ['1', '172800', { deadLetterTargetArn: `${ARN}own-dead`, maxReceiveCount: 1 }],
    )
    assert.match(done('send', 'own', '안녕 hello'), /^Sent as [0-9a-f-]{36}\./)
    done('send', 'own', 'later', '--delay', '15m')
    assert.match(done('show', 'own'), /1 waiting, 0 in flight, 1 delayed.*안녕 hello.*later/s)
    // Received by somebody who never says that he is done, it is given up at the next look.
    assert.equal((await receive(url, { VisibilityTimeout: 0 })).length, 1)
    assert.match(done('receive', 'own'), /Nothing can be received from own/)
    assert.match(done('ls'), /own +0 +0 +1 .*own-dead after 1\nown-dead +1 +0 +0 /s)
    assert.match(done('redrive', 'own-dead'), /From own-dead 1 message goes to where it came from/)
    assert.equal(done('receive', 'own', '--wait', '20s').trim(), '안녕 hello')
    assert.match(cli('rm', 'own').stderr, /the queue own has messages/)
    assert.equal(cli('purge', 'own').code, 2)
    done('purge', 'own', '--yes')
    done('rm', 'own')
    done('rm', 'own-dead', '--yes')
    assert.match(cli('show', 'own').stderr, /no queue "own"/)
    for (const args of [['send', 'own'], ['throw'], ['create'], ['create', 'own', '--visibility', 'x'], ['ls', '--yes']])
      assert.equal(cli(...args).code, 2, args.join(' '))
  })
  it('refuses what is not right, and who may not', async () => {
    const ask = async (method: string, at: string, body?: object, key = node.ready.project.secretKey, project = 'demo') =>
      (
        await fetch(`${node.ready.url}/api/v1/projects/${project}/queues${at}`, {
          method,
          headers: { authorization: `Bearer ${key}` },
          ...(body ? { body: JSON.stringify(body) } : {}),
        })
      ).status
    await create('strict', { MaximumMessageSize: '1024' })
    for (const [status, method, at, body] of [
      [400, 'PUT', '/strict', { visibilitySeconds: 43_201 }],
      [400, 'PUT', '/strict', { deadLetter: { queue: 'strict', maxReceives: 3 } }],
      [400, 'PUT', '/a%2Fb', {}],
      [404, 'PUT', '/strict', { deadLetter: { queue: 'none', maxReceives: 3 } }],
      [413, 'POST', '/strict/messages', { body: 'x'.repeat(1025) }],
      [400, 'POST', '/strict/messages', { body: '\u0000' }],
      [400, 'POST', '/strict/messages', { body: '' }],
      [400, 'POST', '/strict/messages', { messages: Array.from({ length: 11 }, () => ({ body: 'x' })) }],
      [400, 'POST', '/strict/done', { receipts: ['x'] }],
      [400, 'POST', '/strict/redrive', {}],
      [404, 'GET', '/none', undefined],
      [400, 'GET', '/strict/messages?limit=0', undefined],
    ] as const)
      assert.equal(await ask(method, at, body), status, `${method} ${at} ${JSON.stringify(body)?.slice(0, 80)}`)
    assert.equal(await ask('POST', '/strict/messages', { body: 'x' }), 202)
    const kept = await fetch(`${node.ready.url}/api/v1/projects/demo/queues/strict`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${node.ready.project.secretKey}` },
    })
    assert.deepEqual([kept.status, ((await kept.json()) as { code: string }).code], [409, 'queue_not_empty'])
    assert.equal(await ask('DELETE', '/strict?messages=drop'), 204)
    assert.equal(await ask('GET', '', undefined, node.ready.project.publishableKey), 403)
    assert.equal(await ask('GET', '', undefined, node.ready.project.secretKey, 'another'), 401)
  })
})

describe('queues by the protocol before JSON', { skip: BOTO ? false : 'needs the packages awscli and python3-boto3' }, () => {
  it('serves boto3', async () => {
    const out = await python(`
import boto3, json, os
sqs = boto3.client('sqs', endpoint_url=os.environ['URL'])
url = sqs.create_queue(QueueName='boto', Attributes={'VisibilityTimeout': '60'}, tags={'k': 'v'})['QueueUrl']
sqs.send_message(QueueUrl=url, MessageBody='<a> & b', MessageAttributes={'n': {'DataType': 'String', 'StringValue': 'v'}, 'b': {'DataType': 'Binary', 'BinaryValue': b'\\x00\\xff'}})
sent = sqs.send_message_batch(QueueUrl=url, Entries=[{'Id': str(n), 'MessageBody': 'm%d' % n} for n in range(3)])
got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=['All'], MessageAttributeNames=['All'])['Messages']
one = next(m for m in got if m['Body'] == '<a> & b')
ended = sqs.delete_message_batch(QueueUrl=url, Entries=[{'Id': str(n), 'ReceiptHandle': m['ReceiptHandle']} for n, m in enumerate(got)])
attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])['Attributes']
try:
    sqs.get_queue_url(QueueName='nowhere')
except sqs.exceptions.QueueDoesNotExist as error:
    code = error.response['Error']['Code']
print(json.dumps([len(sent['Successful']), len(got), one['MessageAttributes']['b']['BinaryValue'].hex(), len(ended['Successful']), attributes['ApproximateNumberOfMessages'], attributes['VisibilityTimeout'], sqs.list_queue_tags(QueueUrl=url)['Tags'], code]))`)
    assert.deepEqual(JSON.parse(out), [3, 4, '00ff', 4, '0', '60', { k: 'v' }, 'AWS.SimpleQueueService.NonExistentQueue'])
  })

  it('serves the AWS CLI', async () => {
    using cli = new AwsCli('/usr/bin/python3', folder, environment())
    const url = node.ready.url
    const aws = async (...args: string[]) => {
      const { code, stdout, stderr } = await cli.run(['sqs', ...args, '--endpoint-url', url, '--output', 'json'])
      assert.equal(code, 0, stderr)
      return stdout
    }
    await aws('create-queue', '--queue-name', 'cli')
    await aws('send-message', '--queue-url', `${url}/000000000000/cli`, '--message-body', 'hello')
    const out = await aws('receive-message', '--queue-url', `${url}/000000000000/cli`, '--query', 'Messages[0].Body')
    assert.equal(JSON.parse(out), 'hello')
  })
})

describe('queues over kill -9', () => {
  it('has every message that was acknowledged, and none that was deleted', async () => {
    const data = path.join(folder, 'killed')
    const sentIds: string[] = []
    let url = ''
    for (const point of ['afterSendCommit:2', 'afterReceiveCommit', 'afterDeleteCommit']) {
      const killed = await startMayfly(data, ['--empty', ...NO_SPARE], { MAYFLY_TEST_CRASH_AT: point })
      const client = clientOf(killed.ready)
      url = (await client.send(new CreateQueueCommand({ QueueName: 'q', Attributes: { VisibilityTimeout: '0' } }))).QueueUrl as string
      try {
        for (let n = 0; n < 2; n++)
          sentIds.push((await client.send(new SendMessageCommand({ QueueUrl: url, MessageBody: `${point} ${n}` }))).MessageId as string)
        const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 10, VisibilityTimeout: 60 }))
        await client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: Messages[0]?.ReceiptHandle }))
        assert.fail('the node outlived its end')
      } catch (error) {
        assert.notEqual((error as Error).name, 'AssertionError')
      }
      await killed.ended()
      client.destroy()
    }
    const whole = await startMayfly(data, ['--empty', ...NO_SPARE])
    try {
      const client = clientOf(whole.ready)
      const QueueUrl = `${whole.ready.url}/000000000000/q`
      const { Attributes = {} } = await client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }))
      const there = Number(Attributes.ApproximateNumberOfMessages) + Number(Attributes.ApproximateNumberOfMessagesNotVisible)
      // 1 acknowledged and 1 committed but not told; 2; 2 of which one was deleted, though nobody heard of it.
      assert.deepEqual([sentIds.length, there], [5, 5])
      client.destroy()
    } finally {
      await whole.stop()
    }
  })
})

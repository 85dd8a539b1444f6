import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { EVENT_KINDS, EventError, type EventWishes, makeEvent } from './events.ts'

const NOW = Date.parse('2026-11-24T02:25:00.123Z')
const place = {
  nowMs: NOW,
  id: '0193',
  region: 'us-east-1',
  project: 'demo',
  functionName: 'hello',
  md5: (bytes: string) => createHash('md5').update(bytes).digest('hex'),
  gzip: (text: string) => gzipSync(text),
}
const make = <T>(kind: string, wishes: EventWishes = {}) => makeEvent(kind, wishes, place) as T

describe('events, as their sources write them', () => {
  it('S3: keys as a form writes them; what went has neither size nor eTag', () => {
    type S3 = { Records: [{ eventName: string; eventTime: string; s3: { object: Record<string, unknown>; bucket: object } }] }
    const [put] = make<S3>('s3:put', { bucket: 'b', key: 'a b/é(1).jpg', body: 'hello' }).Records
    assert.equal(put.eventName, 'ObjectCreated:Put')
    assert.equal(put.eventTime, '2026-11-24T02:25:00.123Z')
    assert.deepEqual(put.s3.object, { key: 'a+b/%C3%A9%281%29.jpg', size: 5, eTag: '5d41402abc4b2a76b9719d911017c592', sequencer: put.s3.object.sequencer })
    const [gone] = make<S3>('s3:delete', { key: 'k' }).Records
    assert.equal(gone.eventName, 'ObjectRemoved:Delete')
    assert.deepEqual(Object.keys(gone.s3.object), ['key', 'sequencer'])
  })

  it('http: method, path, query, headers, cookies, body, in both formats', () => {
    const wishes = { path: '/a%20b?x=1&x=2&y=', header: ['X-One: 1', 'x-one: 2', 'cookie: a=1; b=2'], body: '{"a":1}' }
    const two = make<Record<string, unknown> & { requestContext: { http: object; time: string } }>('http', wishes)
    assert.deepEqual(two.requestContext.http, { method: 'POST', path: '/a%20b', protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: 'mayfly' })
    assert.equal(two.requestContext.time, '24/Nov/2026:02:25:00 +0000')
    assert.deepEqual(two.queryStringParameters, { x: '1,2', y: '' })
    assert.deepEqual(two.cookies, ['a=1', 'b=2'])
    assert.deepEqual(two.headers, {
      host: 'localhost',
      'user-agent': 'mayfly',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-port': '80',
      'content-type': 'application/json',
      'content-length': '7',
      'x-one': '1,2',
    })
    const one = make<Record<string, unknown>>('http:v1', { method: 'get', path: '/x?y=1&y=2' })
    assert.deepEqual([one.httpMethod, one.path, one.body], ['GET', '/x', null])
    assert.deepEqual(one.multiValueQueryStringParameters, { y: ['1', '2'] })
    assert.deepEqual(one.queryStringParameters, { y: '2' })
  })

  it('schedule and bus: times without milliseconds', () => {
    assert.deepEqual(make('schedule', { source: 'nightly' }), {
      version: '0',
      id: '0193',
      'detail-type': 'Scheduled Event',
      source: 'aws.events',
      account: '000000000000',
      time: '2026-11-24T02:25:00Z',
      region: 'us-east-1',
      resources: ['arn:aws:events:us-east-1:000000000000:rule/nightly'],
      detail: {},
    })
    assert.deepEqual(make<{ detail: object }>('bus', { body: '{"n":1}' }).detail, { n: 1 })
  })

  it('queue and topic: numbers of attributes are texts', () => {
    const [message] = make<{ Records: [Record<string, unknown>] }>('queue', { body: 'hello', source: 'work' }).Records
    assert.deepEqual(message.attributes, {
      ApproximateReceiveCount: '1',
      SentTimestamp: String(NOW),
      SenderId: '000000000000',
      ApproximateFirstReceiveTimestamp: String(NOW),
    })
    assert.equal(message.md5OfBody, '5d41402abc4b2a76b9719d911017c592')
    assert.equal(message.eventSourceARN, 'arn:aws:sqs:us-east-1:000000000000:work')
    const [{ Sns }] = make<{ Records: [{ Sns: Record<string, unknown> }] }>('topic', { body: 'news' }).Records
    assert.deepEqual([Sns.Message, Sns.Subject, 'SigningCertUrl' in Sns], ['news', null, true])
  })

  it('rows, items, records of a stream, lines of a log', () => {
    assert.deepEqual(make('row', { table: 't', record: '{"id":2}' }), { type: 'INSERT', table: 't', schema: 'public', record: { id: 2 }, old_record: null })
    assert.deepEqual(make('row:update', { record: '{"id":2,"n":2}', old: '{"id":2,"n":1}' }), {
      type: 'UPDATE',
      table: 'items',
      schema: 'public',
      record: { id: 2, n: 2 },
      old_record: { id: 2, n: 1 },
    })
    assert.equal(make<{ record: unknown }>('row:delete').record, null)
    const [{ dynamodb }] = make<{ Records: [{ dynamodb: Record<string, unknown> }] }>('dynamodb', { record: '{"id":"1","n":2,"l":[true,null]}' }).Records
    assert.deepEqual(dynamodb.NewImage, { id: { S: '1' }, n: { N: '2' }, l: { L: [{ BOOL: true }, { NULL: true }] } })
    assert.deepEqual(dynamodb.Keys, { id: { S: '1' } })
    const [{ kinesis }] = make<{ Records: [{ kinesis: Record<string, unknown> }] }>('kinesis', { body: 'hello' }).Records
    assert.deepEqual([kinesis.data, kinesis.approximateArrivalTimestamp], ['aGVsbG8=', NOW / 1000])
    const { awslogs } = make<{ awslogs: { data: string } }>('logs', { body: 'a\nb' })
    const inner = JSON.parse(gunzipSync(Buffer.from(awslogs.data, 'base64')).toString()) as { logEvents: { message: string }[] }
    assert.deepEqual(
      inner.logEvents.map((one) => one.message),
      ['a', 'b'],
    )
  })

  it('makes each kind of nothing, and refuses what is not of a kind', () => {
    for (const kind of EVENT_KINDS.keys()) assert.ok(JSON.stringify(make(kind)).length > 20, kind)
    for (const [kind, wishes, said] of [
      ['s3', {}, /there is http, http:v1, s3:put/],
      ['constructor', {}, /there is/],
      ['queue', { path: '/x' }, /takes --source, --body, and no --path/],
      ['bus', { detailType: 'x', table: 'y' }, /no --table/],
      ['http', { path: 'x' }, /begins with \//],
      ['http', { header: ['x'] }, /name: value/],
      ['row', { record: '[1]' }, /JSON object/],
      ['row', { record: '{' }, /not JSON/],
    ] as const)
      assert.throws(
        () => make(kind, wishes),
        (error: unknown) => error instanceof EventError && said.test(error.message),
      )
  })
})

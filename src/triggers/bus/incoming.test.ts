import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { CloudEvent, HTTP } from 'cloudevents'
import { LIMITS } from '../../core/limits.ts'
import { sentEvents } from './incoming.ts'

const json = { 'content-type': 'application/json' }
const structured = { 'content-type': 'application/cloudevents+json; charset=utf-8' }
const batched = { 'content-type': 'application/cloudevents-batch+json' }
const binary = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/shop', 'ce-type': 'order.placed' }
const cloud = { specversion: '1.0', id: '1', source: '/shop', type: 'order.placed' }
const read = (headers: Record<string, string>, body: unknown) =>
  sentEvents(headers, Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))

describe('events of a request', () => {
  it('in our own form, one and several', () => {
    const whole = { id: '7', 'detail-type': 'order.placed', source: 'shop', time: '2026-12-24T18:00:00+09:00', resources: ['order/7'], detail: { n: 7 } }
    const [one] = read(json, whole)
    assert.deepEqual(one, {
      id: '7',
      detailType: 'order.placed',
      source: 'shop',
      time: new Date('2026-12-24T09:00:00Z'),
      resources: ['order/7'],
      detail: { n: 7 },
      cloudevent: null,
    })
    const two = read({}, { events: [{ 'detail-type': 'a' }, whole] })
    assert.deepEqual(two, [{ id: null, detailType: 'a', source: 'mayfly', time: null, resources: [], detail: {}, cloudevent: null }, one])
  })
  it('as CloudEvents, in each mode as their own library writes them', () => {
    const event = new CloudEvent({
      type: 'order.placed',
      source: '/shop',
      subject: 'order/7',
      time: '2026-12-24T18:00:00.000Z',
      tenant: 'a b',
      data: { n: '일곱' },
    })
    for (const message of [HTTP.binary(event), HTTP.structured(event)]) {
      const [one, ...more] = read(message.headers as Record<string, string>, message.body)
      assert.deepEqual(more, [])
      const { id, detailType, source, time, resources, detail, cloudevent } = one ?? assert.fail()
      assert.deepEqual([id, detailType, source, time], [event.id, 'order.placed', '/shop', new Date('2026-12-24T18:00:00Z')])
      assert.deepEqual([resources, detail], [['order/7'], { n: '일곱' }])
      assert.equal(cloudevent?.tenant, 'a b')
      assert.equal(cloudevent?.subject, 'order/7')
    }
    assert.deepEqual(
      read(batched, [cloud, { ...cloud, id: '2', data: [1] }]).map(({ id, detail }) => [id, detail]),
      [
        ['1', null],
        ['2', [1]],
      ],
    )
  })
  it('with data of any kind', () => {
    const detail = (headers: Record<string, string>, body: unknown) => read(headers, body)[0]?.detail
    assert.equal(detail({ ...binary, 'content-type': 'text/plain' }, 'hello'), 'hello')
    assert.equal(detail({ ...binary, 'content-type': 'image/png' }, Buffer.from([0, 255])), 'AP8=')
    assert.deepEqual(detail({ ...binary, 'content-type': 'application/vnd.shop+json' }, { a: 1 }), { a: 1 })
    for (const any of ['text', 7, null, false, [1]]) assert.deepEqual(detail(json, { 'detail-type': 'a', detail: any }), any)
    assert.equal(detail(binary, Buffer.alloc(0)), null)
    assert.equal(detail(structured, { ...cloud, data_base64: 'AP8=' }), 'AP8=')
    assert.equal(read({ ...binary, 'ce-subject': 'caf%C3%A9 100%' }, '')[0]?.resources[0], 'café 100%')
  })
  it('up to as many as LIMITS.busEvents, and as deep as LIMITS.busEventDepth', () => {
    const many = (n: number) => ({ events: Array.from({ length: n }, () => ({ 'detail-type': 'a' })) })
    assert.equal(read(json, many(LIMITS.busEvents.value)).length, LIMITS.busEvents.value)
    assert.throws(() => read(json, many(LIMITS.busEvents.value + 1)), { code: 'bad_request', message: /1 to 100 events/ })
    const deep = (n: number) => `{"detail-type":"a","detail":${'{"a":'.repeat(n)}1${'}'.repeat(n)}}`
    assert.equal(read(json, deep(LIMITS.busEventDepth.value)).length, 1)
    assert.throws(() => read(json, deep(LIMITS.busEventDepth.value + 1)), { code: 'bad_request', message: /deeper than 64/ })
  })
  const own = { 'detail-type': 'a' }
  for (const [what, headers, body, said] of [
    ['what is no JSON', json, '{', /not JSON/],
    ['a list', json, [own], /must be an object/],
    ['no event', json, { events: [] }, /1 to 100/],
    ['more than the list', json, { events: [own], bus: 'x' }, /nothing else/],
    ['no type', json, {}, /`detail-type` must be/],
    ['an empty type', json, { 'detail-type': '' }, /`detail-type` must be/],
    ['a type that is none', json, { 'detail-type': { a: 1 } }, /`detail-type` must be/],
    ['a field that it does not know', json, { ...own, Detail: {} }, /unknown fields: `Detail`/],
    ['a field of every object', json, '{"detail-type":"a","__proto__":{"x":1}}', /unknown fields/],
    ['a source of the platform', json, { ...own, source: 'aws.events' }, /the platform's own/],
    ['a source of the platform in capitals', structured, { ...cloud, source: 'AWS.ec2' }, /the platform's own/],
    ['an id that controls', json, { ...own, id: 'a\u0000' }, /`id` must be/],
    ['half a character', json, '{"detail-type":"\\ud800"}', /`detail-type` must be/],
    ['an id that is too long', json, { ...own, id: 'x'.repeat(257) }, /1 to 256/],
    ['a time that is none', json, { ...own, time: '2026-02-31' }, /`time` must be/],
    ['a time as a number', json, { ...own, time: 1 }, /`time` must be/],
    ['too many resources', json, { ...own, resources: Array.from({ length: 101 }, () => 'x') }, /at most 100/],
    ['the wrong one of several', json, { events: [own, {}] }, /events\.1: `detail-type`/],
    ['levels without end', json, `{"detail-type":"a","detail":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}}`, /deeper than 64/],
    ['a CloudEvent of another version', structured, { ...cloud, specversion: '0.3' }, /must be "1\.0"/],
    ['a CloudEvent without one', structured, { id: '1', source: 's', type: 't' }, /must be "1\.0"/],
    ['a CloudEvent without an id', structured, { ...cloud, id: undefined }, /`id` must be/],
    ['a CloudEvent without a source', structured, { ...cloud, source: '' }, /`source` must be/],
    ['a CloudEvent with data twice', structured, { ...cloud, data: 1, data_base64: 'AA==' }, /both/],
    ['base64 that is none', structured, { ...cloud, data_base64: 'A' }, /must be base64/],
    ['an attribute with capitals', structured, { ...cloud, tenantId: 'x' }, /small letters and digits/],
    ['an attribute that is an object', structured, { ...cloud, tenant: {} }, /must be a text/],
    [
      'data without end',
      structured,
      `{"specversion":"1.0","id":"1","source":"s","type":"t","data":${'['.repeat(200_000)}${']'.repeat(200_000)}}`,
      /deeper than 64/,
    ],
    ['a batch that is none', batched, cloud, /must be a list/],
    ['another format', { 'content-type': 'application/cloudevents+avro' }, 'x', /not read/],
    ['a binary one without a version', { 'ce-id': '1', 'ce-source': 's', 'ce-type': 't' }, '', /must be "1\.0"/],
    ['a binary one without a source', { ...binary, 'ce-source': '' }, '', /`source` must be/],
    ['a binary one whose JSON is none', { ...binary, ...json }, '{', /not JSON/],
    ['a binary one with data in a header', { ...binary, 'ce-data': 'x' }, '', /is the body/],
    ['a header that is no UTF-8', { ...binary, 'ce-subject': '%ff' }, '', /no text of UTF-8/],
  ] as const)
    it(`refuses ${what}`, () => {
      assert.throws(() => read(headers, body), { message: said })
    })
})

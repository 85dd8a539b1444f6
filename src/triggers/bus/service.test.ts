import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { noCrash } from '../../core/crash.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { TriggerSpec } from '../../core/trigger-spec.ts'
import { systemClock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { openPlace, type Place } from '../triggers-fixture.ts'
import { EventBus, type EventBusDeps, type SentEvent } from './service.ts'

const DEMO = 'demo' as ProjectRef

describe('a bus', () => {
  let place: Place
  before(async () => {
    place = await openPlace()
  })
  after(async () => {
    await place.close()
  })
  afterEach(async () => {
    await place.clear()
    await place.databases.control.script('truncate mayfly.bus_event')
  })

  const open = (changes: Partial<EventBusDeps> = {}) =>
    new EventBus({
      control: place.databases.control,
      queue: place.queue,
      loopers: async () => new Set(),
      newId: () => uuidv7(systemClock.now()),
      region: 'us-east-1',
      crash: noCrash,
      clock: systemClock,
      ...changes,
    })
  const event = (more: Partial<SentEvent> = {}): SentEvent => ({
    id: null,
    detailType: 'order.placed',
    source: 'shop',
    time: null,
    resources: [],
    detail: { n: 1 },
    cloudevent: null,
    ...more,
  })
  const watch = async (name: string, ...buses: NonNullable<TriggerSpec['bus']>[]) => {
    await place.addFunction(name)
    await place.open().put(
      DEMO,
      name,
      buses.map((bus) => ({ bus })),
    )
  }
  const send = (...events: SentEvent[]) => open().send(place.project, 'default', events, 0)
  const names = async () => (await place.queued()).map(({ name }) => name).toSorted()
  const ended = async () => place.databases.control.script('truncate mayfly.entry, mayfly.entry_payload')

  it('starts whoever waits for the event, by bus and pattern, with the event of EventBridge', async () => {
    await watch('all', { name: 'default' })
    await watch('large', { name: 'default', pattern: { detail: { n: [{ numeric: ['>', 5] }] } } })
    await watch('other', { name: 'other' })
    const [one] = await send(event({ id: 'a', time: new Date('2026-12-24T18:00:00.500Z'), resources: ['order/1'] }))
    assert.deepEqual(one, { id: 'a', started: 1, seen: false })
    assert.deepEqual(
      (await place.queued()).map(({ name, payload }) => [name, JSON.parse(payload)]),
      [
        [
          'all',
          {
            version: '0',
            id: 'a',
            'detail-type': 'order.placed',
            source: 'shop',
            account: '000000000000',
            time: '2026-12-24T18:00:00Z',
            region: 'us-east-1',
            resources: ['order/1'],
            detail: { n: 1 },
          },
        ],
      ],
    )
    assert.deepEqual(
      (await send(event({ detail: { n: 6 } }), event({ detailType: 'x', detail: {} }))).map(({ started }) => started),
      [2, 1],
    )
    assert.deepEqual(
      (await open().send(place.project, 'other', [event()], 0)).map(({ started }) => started),
      [1],
    )
    assert.deepEqual(await names(), ['all', 'all', 'all', 'large', 'other'])
  })
  it('starts functions at the topic of its name with the message as SNS tells it, one of those that share a subscription', async () => {
    const at = async (name: string, topic: NonNullable<TriggerSpec['topic']>) => {
      await place.addFunction(name)
      await place.open().put(DEMO, name, [{ topic }])
    }
    await at('alone', { name: 'news' })
    for (const name of ['one', 'two']) await at(name, { name: 'news', subscription: 'web' })
    await at('third', { name: 'news', subscription: 'mail' })
    await at('other', { name: 'olds' })
    await watch('bus', { name: 'news' })
    const publish = (id: string, detail: unknown) => open().send(place.project, 'news', [event({ id, detail, time: new Date('2026-12-24T18:00:00.500Z') })], 0)
    assert.deepEqual(await publish('a', 'a "text"'), [{ id: 'a', started: 4, seen: false }])
    const got = (await place.queued()).map(({ name, payload }) => ({ name, record: JSON.parse(payload).Records?.[0] }))
    assert.deepEqual(got.map(({ name }) => (name === 'two' ? 'one' : name)).toSorted(), ['alone', 'bus', 'one', 'third'])
    const TopicArn = 'arn:aws:sns:us-east-1:000000000000:news'
    assert.deepEqual(got.find(({ name }) => name === 'third')?.record, {
      EventVersion: '1.0',
      EventSubscriptionArn: `${TopicArn}:mail`,
      EventSource: 'aws:sns',
      Sns: {
        ...{ Type: 'Notification', MessageId: 'a', TopicArn, Subject: 'order.placed', Message: 'a "text"', Timestamp: '2026-12-24T18:00:00.000Z' },
        ...{ SignatureVersion: '1', Signature: '', SigningCertUrl: '', UnsubscribeUrl: '', MessageAttributes: {} },
      },
    })
    for (let n = 0; n < 30; n++) await publish(`b${n}`, { n })
    const all = await place.queued()
    const count = (name: string) => all.filter((one) => one.name === name).length
    assert.deepEqual([count('alone'), count('third'), count('one') + count('two'), count('other')], [31, 31, 31, 0])
    assert.ok(count('one') > 0 && count('two') > 0, 'they share it')
    assert.equal(JSON.parse(all.findLast(({ name }) => name === 'alone')?.payload ?? '').Records[0].Sns.Message, '{"n":29}')
  })
  it('refuses a message that is too large as SNS tells it', async () => {
    await place.addFunction('f')
    await place.open().put(DEMO, 'f', [{ topic: { name: 'default' } }])
    const most = place.queue.maxPayloadBytes(DEMO)
    await assert.rejects(send(event({ detail: { text: '"'.repeat(most / 3) } })), { code: 'payload_too_large' })
    assert.deepEqual(await names(), [])
  })
  it('is none of another project', async () => {
    await watch('f', { name: 'default' })
    const another = await place.addProject('another')
    assert.deepEqual(
      (await open().send(another, 'default', [event({ id: 'a' })], 0)).map(({ started }) => started),
      [0],
    )
    assert.deepEqual(
      (await send(event({ id: 'a' }))).map(({ seen }) => seen),
      [false],
      'nor are its ids',
    )
    assert.deepEqual(await names(), ['f'])
  })
  it('starts nothing twice by one id of a source within LIMITS.busEventWindow', async () => {
    await watch('f', { name: 'default' })
    const seen = async (...events: SentEvent[]) => (await send(...events)).map((one) => one.seen)
    assert.deepEqual(await seen(event({ id: 'a' }), event({ id: 'b' }), event({ id: 'a', detail: { n: 2 } })), [false, false, true])
    assert.deepEqual(await seen(event({ id: 'b' }), event({ id: 'a' }), event({ id: 'a', source: 'another' })), [true, true, false])
    assert.deepEqual(await names(), ['f', 'f', 'f'])
    await ended()
    const age = (seconds: number) =>
      place.databases.control.sql`update mayfly.bus_event set seen_at = clock_timestamp() - ${seconds}::int * interval '1 second'`
    await age(LIMITS.busEventWindow.value - 60)
    await place.open().once(DEMO)
    assert.deepEqual(await seen(event({ id: 'a' })), [true])
    await age(LIMITS.busEventWindow.value + 60)
    assert.deepEqual(await seen(event({ id: 'a' })), [false])
    await age(LIMITS.busEventWindow.value + 60)
    await place.open().once(DEMO)
    assert.equal((await place.databases.control.sql`select from mayfly.bus_event`).length, 0, 'what is past is forgotten')
  })
  it('takes one of many that come with the same ids at once, in whatever order', async () => {
    await watch('f', { name: 'default' })
    const ids = ['a', 'b', 'c', 'd']
    const all = await Promise.all(Array.from({ length: 8 }, (_, n) => send(...(n % 2 === 0 ? ids : ids.toReversed()).map((id) => event({ id })))))
    assert.equal(all.flat().filter(({ seen }) => !seen).length, 4)
    assert.deepEqual(await names(), ['f', 'f', 'f', 'f'])
  })
  it('has it once over the end of a life before its commit and after it, when it is sent again', async () => {
    await watch('f', { name: 'default' })
    for (const point of ['beforePublishCommit', 'afterPublishCommit'] as const) {
      const crash = (at: string) => {
        if (at === point) throw new Error('cut')
      }
      await assert.rejects(open({ crash }).send(place.project, 'default', [event({ id: point })], 0), /cut/)
      assert.deepEqual(
        (await send(event({ id: point }))).map(({ seen }) => seen),
        [point === 'afterPublishCommit'],
      )
    }
    assert.deepEqual(await names(), ['f', 'f'])
  })
  it('takes none of a request, nor an id of it, when the queue is full', async () => {
    await watch('f', { name: 'default' })
    const full = { enqueueIn: () => Promise.reject(new MayflyError('queue_full', 'full')), maxPayloadBytes: () => 1_000_000 }
    await assert.rejects(open({ queue: full }).send(place.project, 'default', [event({ id: 'a' })], 0), { code: 'queue_full' })
    assert.deepEqual(
      (await send(event({ id: 'a' }))).map(({ seen }) => seen),
      [false],
    )
  })
  it('gives up what stands behind LIMITS.callDepth functions, but where they may loop', async () => {
    await watch('f', { name: 'default' })
    await watch('spins', { name: 'default' })
    const bus = open({ loopers: async () => new Set(['spins']) })
    const at = async (depth: number) => (await bus.send(place.project, 'default', [event()], depth)).map(({ started }) => started)
    assert.deepEqual(await at(LIMITS.callDepth.value - 1), [2])
    assert.deepEqual(await at(LIMITS.callDepth.value), [1])
    assert.deepEqual(await names(), ['f', 'spins', 'spins'])
    const letters = await place.databases.control.sql<{ name: string; reason: string }>`select function_name as name, reason from mayfly.dead_letter`
    assert.deepEqual(
      letters.map(({ name, reason }) => [name, reason]),
      [['f', 'recursion']],
    )
  })
  it('refuses an event that is larger than an entry may be, and more than LIMITS.busFanOut together', async () => {
    const large = (bytes: number) => event({ id: 'a', detail: { text: 'x'.repeat(bytes) } })
    const most = place.queue.maxPayloadBytes('demo')
    await assert.rejects(send(large(most)), { code: 'payload_too_large' })
    const bytes = most - 1_000
    const functions = Math.floor(LIMITS.busFanOut.value / bytes)
    await watch('f', ...Array.from({ length: functions + 1 }, (_, n) => ({ name: 'default', pattern: { $or: [{ source: ['shop'] }, { id: [String(n)] }] } })))
    await assert.rejects(send(large(bytes)), { code: 'payload_too_large', message: /together/ })
    assert.deepEqual(await names(), [])
    assert.deepEqual(
      (await send(event({ id: 'a' }))).map(({ seen }) => seen),
      [false],
    )
  })
  it('tells of an outcome whom it concerns, without its response where it is too long, and of what is deeper than it may be', async () => {
    await watch('f', { name: 'default', pattern: { 'detail-type': ['done'], detail: { response: [{ exists: true }] } } })
    await watch('g', { name: 'default' })
    await watch('elsewhere', { name: 'other' })
    const form = (detail: object) => ({ detailType: 'done', source: 'mayfly.functions.f', resources: ['arn'], detail })
    const started = async (forms: object[], depth = 1, loopers: string[] = []) => {
      const { databases, project } = place
      const { entries, letters } = await databases.control.transaction((tx) =>
        open().startedBy(tx, project, 'default', forms.map(form), 'id-1', depth, new Set(loopers)),
      )
      const letter = letters[0] && JSON.parse(Buffer.from(letters[0].payload).toString())
      return [entries.map((one) => one.functionName), letters.map((one) => [one.functionName, one.errorType]), (letter as { id?: string } | undefined)?.id]
    }
    const most = place.queue.maxPayloadBytes('demo')
    const [request, response, long] = [{ request: 1 }, { request: 1, response: 2 }, { response: 'x'.repeat(most) }]
    assert.deepEqual(await started([response, request]), [['f', 'g'], [], undefined])
    assert.deepEqual(await started([long, request]), [['g'], [], undefined])
    assert.deepEqual(await started([long]), [
      [],
      [
        ['f', 'payload_too_large'],
        ['g', 'payload_too_large'],
      ],
      'id-1',
    ])
    const deep = LIMITS.callDepth.value
    assert.deepEqual(await started([request], deep - 1), [['g'], [], undefined])
    assert.deepEqual(await started([request], deep), [[], [['g', 'recursion_too_deep']], 'id-1'])
    assert.deepEqual(await started([request], deep, ['g']), [['g'], [], undefined])
    assert.deepEqual(await names(), [], 'its owner writes it')
  })
})

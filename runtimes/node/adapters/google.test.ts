import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeEvent } from '../../../client/events.ts'

// The cases of Google's own conformance client: what it posts, and what the function has to see.
const ROOT = path.resolve(import.meta.dirname, '..', '..', '..')
const APP = `
const functions = require('@google-cloud/functions-framework')
globalThis.seen = []
functions.http('declared', (req, res) => { globalThis.seen.push(req.body); res.send('ok') })
functions.cloudEvent('event', (event) => { globalThis.seen.push({ ...event }) })
functions.cloudEvent('eventCallback', (event, done) => { globalThis.seen.push({ ...event }); done(null, 'done') })
functions.http('sleeper', async (_req, res) => { await new Promise((resolve) => setTimeout(resolve, 200)); res.send('slept') })
exports.background = (data, context) => { globalThis.seen.push({ data, context }) }
exports.backgroundCallback = (data, context, done) => { globalThis.seen.push({ data, context }); done() }
exports.exported = { nested: (req, res) => res.json(req.body) }
`

const { loadGoogle } = (await import(path.join(import.meta.dirname, 'google.mjs'))) as {
  loadGoogle: (root: string, target: string, moduleAt: (file: string) => Promise<unknown>) => Promise<unknown>
}

interface Loaded {
  readonly run: (request: Request) => Promise<Response>
}
const world = globalThis as unknown as { seen: unknown[] }

const time = '2020-09-29T11:32:00.123Z'
const source = (service: string, resource: string) => `//${service}/${resource}`
/** A legacy event, and the CloudEvent that it is. */
const PAIRS = [
  {
    name: 'storage',
    legacy: {
      context: {
        eventId: '1',
        timestamp: time,
        eventType: 'google.storage.object.finalize',
        resource: { service: 'storage.googleapis.com', name: 'projects/_/buckets/some-bucket/objects/folder/Test.cs', type: 'storage#object' },
      },
      data: { bucket: 'some-bucket', name: 'folder/Test.cs', kind: 'storage#object', size: '352' },
    },
    event: {
      type: 'google.cloud.storage.object.v1.finalized',
      source: source('storage.googleapis.com', 'projects/_/buckets/some-bucket'),
      subject: 'objects/folder/Test.cs',
      data: { bucket: 'some-bucket', name: 'folder/Test.cs', kind: 'storage#object', size: '352' },
    },
  },
  {
    name: 'pubsub',
    legacy: {
      context: {
        eventId: '1',
        timestamp: time,
        eventType: 'google.pubsub.topic.publish',
        resource: { service: 'pubsub.googleapis.com', name: 'projects/p/topics/t', type: 'type.googleapis.com/google.pubsub.v1.PubsubMessage' },
      },
      data: { '@type': 'type.googleapis.com/google.pubsub.v1.PubsubMessage', attributes: { a: 'b' }, data: 'dGVzdA==' },
    },
    event: {
      type: 'google.cloud.pubsub.topic.v1.messagePublished',
      source: source('pubsub.googleapis.com', 'projects/p/topics/t'),
      subject: undefined,
      data: {
        message: { '@type': 'type.googleapis.com/google.pubsub.v1.PubsubMessage', attributes: { a: 'b' }, data: 'dGVzdA==', messageId: '1', publishTime: time },
      },
    },
  },
  {
    name: 'firestore',
    legacy: {
      context: {
        eventId: '1',
        timestamp: time,
        eventType: 'providers/cloud.firestore/eventTypes/document.write',
        resource: 'projects/p/databases/(default)/documents/gcf-test/2Vm2mI1d0wIaK2Waj5to',
      },
      data: { value: { fields: { a: { stringValue: 'b' } } } },
    },
    event: {
      type: 'google.cloud.firestore.document.v1.written',
      source: source('firestore.googleapis.com', 'projects/p/databases/(default)'),
      subject: 'documents/gcf-test/2Vm2mI1d0wIaK2Waj5to',
      data: { value: { fields: { a: { stringValue: 'b' } } } },
    },
  },
  {
    name: 'firebase-auth',
    legacy: {
      context: { eventId: '1', timestamp: time, eventType: 'providers/firebase.auth/eventTypes/user.create', resource: 'projects/p' },
      data: { email: 'a@b.c', metadata: { createdAt: time }, uid: 'u1' },
    },
    event: {
      type: 'google.firebase.auth.user.v1.created',
      source: source('firebaseauth.googleapis.com', 'projects/p'),
      subject: 'users/u1',
      data: { email: 'a@b.c', metadata: { createTime: time }, uid: 'u1' },
    },
  },
  {
    name: 'firebase-db',
    legacy: {
      context: {
        eventId: '1',
        timestamp: time,
        eventType: 'providers/google.firebase.database/eventTypes/ref.write',
        resource: 'projects/_/instances/i/refs/a/b',
      },
      domain: 'firebaseio.com',
      data: { data: null, delta: { c: 1 } },
    },
    event: {
      type: 'google.firebase.database.ref.v1.written',
      source: source('firebasedatabase.googleapis.com', 'projects/_/locations/us-central1/instances/i'),
      subject: 'refs/a/b',
      data: { data: null, delta: { c: 1 } },
    },
  },
] as const

describe("the cases of Google's conformance client", () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-google-'))
    writeFileSync(path.join(folder, 'package.json'), '{"name":"conformance"}')
    writeFileSync(path.join(folder, 'index.js'), APP)
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const load = async (target: string, signature = 'http'): Promise<Loaded> => {
    process.env.FUNCTION_SIGNATURE_TYPE = signature
    try {
      return (await loadGoogle(folder, target, async (file: string) => createRequire(file)(file))) as Loaded
    } finally {
      delete process.env.FUNCTION_SIGNATURE_TYPE
      world.seen.length = 0
    }
  }
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    new Request('http://localhost/', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-forwarded-for': '127.0.0.1', ...headers },
      body: JSON.stringify(body),
    })
  /** As the platform starts a function: from no address. */
  const started = (event: unknown) => new Request('http://localhost/', { method: 'POST', body: JSON.stringify(event) })

  it('http: declared, and exported by a path', async () => {
    const declared = await load('declared')
    assert.equal((await declared.run(post({ res: 'PASS' }))).status, 200)
    assert.deepEqual(world.seen, [{ res: 'PASS' }])
    assert.deepEqual(await (await (await load('exported.nested')).run(post({ res: 'PASS' }))).json(), { res: 'PASS' })
  })

  for (const { name, legacy, event } of PAIRS) {
    const cloud = {
      specversion: '1.0',
      id: '1',
      time,
      datacontenttype: 'application/json',
      type: event.type,
      source: event.source,
      ...(event.subject === undefined ? {} : { subject: event.subject }),
    }
    const whole = { ...cloud, data: event.data }
    it(`cloudevent: ${name}, structured, binary, and from a legacy event`, async () => {
      const { datacontenttype: _, ...attributes } = cloud
      const headers = Object.fromEntries(Object.entries(attributes).map(([key, value]) => [`ce-${key}`, value]))
      for (const target of ['event', 'eventCallback']) {
        const { run } = await load(target)
        const sent = [post(whole, { 'content-type': 'application/cloudevents+json' }), post(event.data, headers), post(legacy), started(whole), started(legacy)]
        for (const request of sent) {
          world.seen.length = 0
          assert.ok((await run(request)).ok)
          const { datacontenttype: __, ...seen } = world.seen[0] as Record<string, unknown>
          assert.deepEqual(seen, { ...attributes, data: event.data })
        }
      }
    })
    it(`legacyevent: ${name}, as it is and from a CloudEvent`, async () => {
      for (const target of ['background', 'backgroundCallback']) {
        const { run } = await load(target, 'event')
        for (const request of [post(legacy), started(legacy)]) {
          world.seen.length = 0
          assert.ok((await run(request)).ok)
          const seen = world.seen[0] as { data: unknown; context: { eventType: string; eventId: string } }
          assert.deepEqual(seen.data, legacy.data)
          assert.equal(seen.context.eventType, legacy.context.eventType)
        }
        world.seen.length = 0
        assert.ok((await run(started(whole))).ok)
        const turned = world.seen[0] as { context: { eventId: string; timestamp: string; resource: unknown } }
        assert.equal(turned.context.eventId, '1')
        assert.equal(turned.context.timestamp, time)
      }
    })
  }

  it('events of the platform come as the CloudEvents of what they are there', async () => {
    const place = { nowMs: 0, id: 'i', region: 'r', project: 'p', functionName: 'f', md5: () => 'm', gzip: () => new Uint8Array() }
    const { run } = await load('event')
    for (const [kind, type, source] of [
      ['queue', 'google.cloud.pubsub.topic.v1.messagePublished', '//pubsub.googleapis.com/projects/_/topics/work'],
      ['topic', 'google.cloud.pubsub.topic.v1.messagePublished', '//pubsub.googleapis.com/projects/_/topics/news'],
      ['schedule', 'google.cloud.scheduler.job.v1.executed', '//cloudscheduler.googleapis.com/projects/_/locations/_/jobs/every-minute'],
      ['s3:put', 'google.cloud.storage.object.v1.finalized', '//storage.googleapis.com/projects/_/buckets/uploads'],
      ['s3:delete', 'google.cloud.storage.object.v1.deleted', '//storage.googleapis.com/projects/_/buckets/uploads'],
    ] as const) {
      world.seen.length = 0
      assert.ok((await run(started(makeEvent(kind, {}, place)))).ok)
      const seen = world.seen[0] as { type: string; source: string; data: { message?: { data: string } } }
      assert.deepEqual([seen.type, seen.source], [type, source])
      if (kind === 'topic') assert.equal(Buffer.from(seen.data.message?.data ?? '', 'base64').toString(), 'hello')
    }
    // A function of old gets the event of old.
    const background = await load('background', 'event')
    assert.ok((await background.run(started(makeEvent('topic', { body: 'of old' }, place)))).ok)
    const { data, context } = world.seen[0] as { data: { data: string }; context: { eventType: string } }
    assert.equal(context.eventType, 'google.pubsub.topic.publish')
    assert.equal(Buffer.from(data.data, 'base64').toString(), 'of old')
  })

  it('concurrency: requests to a sleeper run beside one another', async () => {
    const { run } = await load('sleeper')
    const answers = await Promise.all(Array.from({ length: 8 }, async () => await (await run(post({}))).text()))
    assert.deepEqual(new Set(answers), new Set(['slept']))
  })

  it('another signature than the three is refused, as is a target that is not there', async () => {
    await assert.rejects(load('background', 'typed'), /FUNCTION_SIGNATURE_TYPE must be one of http, cloudevent, event/)
    await assert.rejects(load('nowhere'), /neither registers nor exports a function 'nowhere'/)
  })
})

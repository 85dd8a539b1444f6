import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openInProcessBus } from './backends/bus/in-process.ts'
import type { Bus } from './backends/bus/bus.ts'
import type { CallAsked } from './gateway/index.ts'
import { homeKeyOf } from './home-key.ts'
import { Homes } from './homes.ts'

const KEYS = Array.from({ length: 400 }, (_, at) => `demo/f${at}`)

describe('Homes', () => {
  let bus: Bus
  before(() => {
    bus = openInProcessBus()
  })
  after(() => bus[Symbol.asyncDispose]())
  const all = (self: number, live: readonly number[]) => {
    const homes = new Homes(self, '/nowhere', bus)
    homes.set(live)
    return homes
  }

  it('are the same for every process, and each worker has its part', () => {
    using main = all(0, [1, 2, 3])
    using worker = all(2, [3, 1, 2])
    const of = KEYS.map((key) => main.of(key))
    assert.deepEqual(
      of,
      KEYS.map((key) => worker.of(key)),
    )
    for (const one of [1, 2, 3]) assert.ok(of.filter((home) => home === one).length > KEYS.length / 6)
    for (const key of KEYS) {
      assert.notEqual(main.peerFor(key), null)
      assert.equal(worker.peerFor(key) === null, worker.of(key) === 2)
    }
  })
  it('move with the worker that comes or goes, and no others do', () => {
    using homes = all(0, [1, 2, 3])
    const before = new Map(KEYS.map((key) => [key, homes.of(key)]))
    homes.set([1, 3])
    for (const key of KEYS) if (before.get(key) !== 2) assert.equal(homes.of(key), before.get(key))
    homes.set([3, 2, 1])
    for (const key of KEYS) assert.equal(homes.of(key), before.get(key))
    homes.set([])
    assert.deepEqual([homes.of('demo/f'), homes.peerFor('demo/f')], [null, null])
  })
  it('that are busy leave a call where it came in; the main process looks for another worker', async () => {
    using main = all(0, [1, 2])
    using worker = all(1, [1, 2])
    const key = KEYS.find((one) => main.of(one) === 2) as string
    const home = main.peerFor(key)
    assert.notEqual(worker.peerFor(key), null)
    const say = async (process: number, busy: boolean) => {
      bus.publish('workers.load', { process, busy })
      await new Promise(setImmediate)
    }
    await say(2, true)
    assert.equal(worker.peerFor(key), null)
    assert.ok(main.peerFor(key) !== null && main.peerFor(key) !== home)
    await say(1, true)
    assert.equal(main.peerFor(key), null)
    await say(2, false)
    assert.equal(main.peerFor(key), home)
    assert.notEqual(worker.peerFor(key), null)
  })
})

describe('what the home of a call is found by', () => {
  const deps = {
    auth: { accessKey: async (id: string) => (id === 'AKIAAAAAAAAAAAAAAAAA' ? { id, secret: 's', project: 'shop' as never } : null) },
    httpRoutes: {
      match: async (project: string, method: string, rest: string) => ({ kind: 'found', route: { functionName: `${project} ${method} ${rest}` } }) as never,
    },
    urls: { find: async (id: string) => (id === 'u' ? ({ project: 'shop', functionName: 'f', alias: 'live' } as never) : null) },
  }
  const asked = (path: string, access: string, params: Record<string, string>, more: object = {}) =>
    homeKeyOf({ route: { path, access }, params, ref: null, request: { headers: {}, url: '/' }, relay: null, ...more } as unknown as CallAsked, deps)
  const signed = { request: { headers: { authorization: 'AWS4-HMAC-SHA256 Credential=AKIAAAAAAAAAAAAAAAAA/20260101/x' }, url: '/' } }
  const INVOKE = '/2015-03-31/functions/:name/invocations'

  it('is the function and its project, by whichever way it is called', async () => {
    assert.equal(await asked('/functions/v1/:name', 'project', { name: 'f' }), 'demo/f')
    assert.equal(await asked('/functions/v1/:name', 'project', { name: 'f' }, { ref: 'shop' }), 'shop/f')
    assert.equal(await asked('/routes/v1/*', 'project', { '*': 'a/b' }, { ref: 'shop' }), 'shop/shop GET a/b')
    assert.equal(await asked('/functions/v1/:name', 'project', { name: 'f' }, { relay: { project: 'shop' } }), 'shop/f')
    assert.equal(await asked('/api/v1/projects/:ref/functions/:name/invoke', 'manage', { ref: 'shop', name: 'f:live' }), 'shop/f')
    assert.equal(await asked('/lambda-url/:id', 'own', { id: 'u' }), 'shop/f')
    for (const name of ['f', 'f:live', '000000000000:function:f', 'arn:aws:lambda:us-east-1:000000000000:function:f:7'])
      assert.equal(await asked(INVOKE, 'aws', { name }, signed), 'shop/f', name)
    const presigned = { request: { headers: {}, url: '/x?X-Amz-Credential=AKIAAAAAAAAAAAAAAAAA%2F20260101' } }
    assert.equal(await asked(INVOKE, 'aws', { name: 'f' }, presigned), 'shop/f')
  })
  it('is not there where nothing says whose it is', async () => {
    assert.equal(await asked('/lambda-url/:id', 'own', { id: 'x' }), null)
    assert.equal(await asked(INVOKE, 'aws', { name: 'f' }), null)
    const other = { request: { headers: { authorization: 'AWS4-HMAC-SHA256 Credential=AKIABBBBBBBBBBBBBBBB/20260101/x' }, url: '/' } }
    assert.equal(await asked(INVOKE, 'aws', { name: 'f' }, other), null)
  })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it } from 'node:test'
import type { Bus, BusValue } from './bus.ts'
import { busConformance } from './conformance.ts'
import { WiredBus } from './wired.ts'

/** The two ends of a unix socket. */
async function pair(): Promise<[Socket, Socket]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bus-'))
  const server = createServer()
  server.listen(path.join(folder, 's'))
  await once(server, 'listening')
  const one = connect(path.join(folder, 's'))
  const [other] = (await once(server, 'connection')) as [Socket]
  server.close()
  rmSync(folder, { recursive: true, force: true })
  return [one, other]
}

const message = (text: string | Buffer) => {
  const head = Buffer.alloc(4)
  head.writeUInt32LE(Buffer.byteLength(text))
  return Buffer.concat([head, Buffer.from(text)])
}

async function star(spokes: number) {
  const hub = WiredBus.hub()
  const all: WiredBus[] = []
  const sockets: Socket[] = []
  const gone: number[] = []
  for (let i = 0; i < spokes; i++) {
    const [near, far] = await pair()
    hub.attach(near, () => gone.push(i))
    sockets.push(far)
    all.push(WiredBus.spoke(far, () => {}))
  }
  return {
    hub,
    spokes: all,
    sockets,
    gone,
    [Symbol.asyncDispose]: async () => {
      for (const bus of [...all, hub]) await bus[Symbol.asyncDispose]()
    },
  }
}

/** One bus as two processes have it: one speaks, the other hears and answers. */
const between = (speaks: Bus, hears: Bus, close: () => Promise<void>): Bus => ({
  publish: (subject, value) => speaks.publish(subject, value),
  request: (subject, value, signal) => speaks.request(subject, value, signal),
  subscribe: (subject, hear) => hears.subscribe(subject, hear),
  respond: (subject, answer) => hears.respond(subject, answer),
  [Symbol.asyncDispose]: close,
})

for (const [name, speaker, hearer] of [
  ['a hub by itself', 0, 0],
  ['a hub and its spoke', 0, 1],
  ['a spoke and its hub', 1, 0],
  ['two spokes', 1, 2],
] as const) {
  busConformance(name, async () => {
    const all = await star(2)
    const ends = [all.hub, ...all.spokes]
    return between(ends[speaker] as Bus, ends[hearer] as Bus, () => all[Symbol.asyncDispose]())
  })
}

describe('a bus over sockets', () => {
  it('keeps the order of what is told and then asked', async () => {
    await using all = await star(1)
    const [spoke] = all.spokes as [WiredBus]
    const heard: BusValue[] = []
    spoke.subscribe('n', (value) => heard.push(value))
    spoke.respond('heard', async () => heard.length)
    for (let n = 1; n <= 200; n++) {
      all.hub.publish('n', n)
      assert.equal(await all.hub.request('heard', null, AbortSignal.timeout(5_000)), n)
    }
  })
  it('fails what was asked of a process that is gone, and forgets what that one answered', async () => {
    await using all = await star(2)
    const [asks, dies] = all.spokes as [WiredBus, WiredBus]
    dies.respond('never', () => new Promise(() => {}))
    const asked = asks.request('never', null, AbortSignal.timeout(5_000))
    const own = all.hub.request('never', null, AbortSignal.timeout(5_000))
    const both = Promise.all([assert.rejects(asked, /gone/), assert.rejects(own, /gone/)])
    await new Promise((resolve) => setTimeout(resolve, 20)) // on their way
    all.sockets[1]?.destroy()
    await both
    assert.deepEqual(all.gone, [1])
    all.hub.respond('never', async () => 'here')
    assert.equal(await asks.request('never', null, AbortSignal.timeout(5_000)), 'here')
  })
  it('says why an answer failed', async () => {
    await using all = await star(1)
    all.hub.respond('fails', () => {
      throw new Error('that way')
    })
    await assert.rejects((all.spokes[0] as WiredBus).request('fails', null, AbortSignal.timeout(5_000)), /that way/)
  })
  it('refuses what is no small fact, whichever side says it, and lives on', async () => {
    await using all = await star(1)
    const [spoke] = all.spokes as [WiredBus]
    const large = 'x'.repeat(5 * 1024 * 1024)
    spoke.respond('large', async () => large)
    assert.throws(() => all.hub.publish('a', large), RangeError)
    await assert.rejects(all.hub.request('large', null, AbortSignal.timeout(5_000)), /bytes/)
    spoke.respond('small', async () => 1)
    assert.equal(await all.hub.request('small', null, AbortSignal.timeout(5_000)), 1)
  })
  for (const [name, bytes] of [
    ['a length that no message has', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['what is no JSON', Buffer.from([2, 0, 0, 0, 0x7b, 0x7b])],
    ['a message of no kind', message('{"kind":"other"}')],
    ['nothing', message('null')],
    ['what none of its kind has', message('{"kind":"responds","subject":{"a":1}}{')],
    // Each of its bytes becomes three when it is told on.
    [
      'what is larger when it is told on',
      message(Buffer.concat([Buffer.from('{"kind":"tell","subject":"a","value":"'), Buffer.alloc(3_000_000, 0xff), Buffer.from('"}')])),
    ],
    ['what is nested too deep to be told on', message(`{"kind":"tell","subject":"a","value":${'['.repeat(500_000)}${']'.repeat(500_000)}}`)],
  ] as const) {
    it(`cuts a link that says ${name}`, async () => {
      await using all = await star(1)
      const [near, far] = await pair()
      let isGone = false
      all.hub.attach(near, () => {
        isGone = true
      })
      far.on('error', () => {})
      far.resume()
      far.write(bytes)
      await once(far, 'close')
      assert.equal(isGone, true)
      all.hub.respond('after', async () => 1)
      assert.equal(await (all.spokes[0] as WiredBus).request('after', null, AbortSignal.timeout(5_000)), 1)
    })
  }
  it('takes messages in any pieces', async () => {
    await using all = await star(0)
    const [near, far] = await pair()
    all.hub.attach(near, () => {})
    const heard: BusValue[] = []
    all.hub.subscribe('a', (value) => heard.push(value))
    const one = message(JSON.stringify({ kind: 'tell', subject: 'a', value: 'né' }))
    const bytes = Buffer.concat([one, one])
    for (const byte of bytes) {
      far.write(Buffer.from([byte]))
      await new Promise(setImmediate)
    }
    for (let i = 0; i < 400 && heard.length < 2; i++) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.deepEqual(heard, ['né', 'né'])
    far.destroy()
  })
})

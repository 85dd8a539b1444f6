import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { BusValue } from './bus.ts'
import { WiredBus } from './wired.ts'
import { pair } from '../../lib/pair-fixture.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Subjects that somebody answers or hears, that the other side says it answers, and that nobody has heard of. */
const subject = fc.constantFrom<unknown>('doubles', 'fails', 'never', 'told', 'worker.1.sync', 'worker.2.sync', '', 'nobody', '__proto__', 7, null, ['told'])
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(null, { worker: 1, count: -1, functionId: '__proto__' }, { worker: 1e9, mb: 1e308 }, { worker: 'x', kept: null }),
)
const id = fc.oneof(fc.integer({ min: -1, max: 8 }), fc.constantFrom<unknown>(1e308, null, 'x', {}))
const frame: fc.Arbitrary<object> = fc.oneof(
  fc.record({ kind: fc.constant('tell'), subject, value }),
  fc.record({ kind: fc.constant('ask'), id, subject, value }),
  fc.record({ kind: fc.constant('answer'), id, value }),
  fc.record({ kind: fc.constant('failed'), id, message: value }),
  fc.record({ kind: fc.constant('forget'), id }),
  fc.record({ kind: fc.constantFrom('responds', 'silent'), subject }),
)
/** What is no message, or not of the form of one. */
const wrong: fc.Arbitrary<string | Uint8Array> = fc.oneof(
  fc.json(),
  fc.constantFrom('', 'null', '[]', '"tell"', '{"kind":"tell"}', '{"kind":"ask","id":1}', '{"kind":"responds"}', '{"kind":"constructor"}'),
  fc.constant(`${'['.repeat(50_000)}${']'.repeat(50_000)}`),
  fc.uint8Array({ maxLength: 60 }),
)
const message = (payload: string | Uint8Array, lie: number): Buffer => {
  const bytes = Buffer.from(payload as string)
  const head = Buffer.alloc(4)
  head.writeUInt32LE(Math.max(0, bytes.length + lie) >>> 0)
  return Buffer.concat([head, bytes])
}
const said = fc.oneof(
  { weight: 8, arbitrary: frame.map((one) => message(JSON.stringify(one), 0)) },
  { weight: 1, arbitrary: wrong.map((payload) => message(payload, 0)) },
  { weight: 1, arbitrary: fc.tuple(frame, fc.constantFrom(-3, 3, 0x7fffffff)).map(([one, lie]) => message(JSON.stringify(one), lie)) },
)

async function play(all: readonly Buffer[], cut: number, isHub: boolean) {
  const [near, far] = pair()
  let gone = 0
  const bus = isHub ? WiredBus.hub() : WiredBus.spoke(near, () => gone++)
  if (isHub) bus.attach(near, () => gone++)
  const [one, other] = pair()
  const honest = WiredBus.spoke(other, () => {})
  if (isHub) bus.attach(one, () => {})
  far.on('data', () => {})
  far.on('error', () => {})
  bus.respond('doubles', async (given) => (given as number) * 2)
  bus.respond('fails', async () => {
    throw new Error('mine')
  })
  bus.respond('never', () => new Promise(() => {}))
  bus.subscribe('told', (given) => void (given as { length: number }).length)
  if (isHub) honest.respond('worker.2.sync', async () => 'honest')
  await turn()
  const asked = Promise.allSettled(['worker.1.sync', 'nobody'].map((name) => bus.request(name, 1, AbortSignal.timeout(20))))
  const bytes = Buffer.concat(all)
  for (let at = 0; at < bytes.length; at += cut) if (!far.destroyed) far.write(bytes.subarray(at, at + cut))
  await turn()
  // Whatever was said, the process lives, its others are served, and no answer of theirs is forged.
  assert.equal(await bus.request('doubles', 21, AbortSignal.timeout(5_000)), 42)
  let mine: BusValue = null
  if (isHub) {
    assert.equal(await honest.request('doubles', 4, AbortSignal.timeout(5_000)), 8)
    honest.subscribe('last', (given) => (mine = given))
    bus.publish('last', 'word')
    for (let i = 0; i < 50 && mine === null; i++) await turn()
    assert.equal(mine, 'word')
  }
  const wasCut = gone
  if (!far.destroyed) far.destroy()
  near.destroy()
  for (let i = 0; i < 50 && gone === 0; i++) await turn()
  assert.equal(gone, 1, 'who watches the link hears of its end, once')
  await asked
  await honest[Symbol.asyncDispose]()
  await bus[Symbol.asyncDispose]()
  return wasCut === 1
}

describe('the bus and whatever comes over a link', () => {
  for (const [side, isHub] of [
    ['hub', true],
    ['spoke', false],
  ] as const) {
    it(`ends nothing of a ${side} but that link`, async () => {
      let cuts = 0
      await fc.assert(
        fc.asyncProperty(fc.array(said, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 4_000 }), async (all, cut) => {
          if (await play(all, cut, isHub)) cuts++
        }),
        { numRuns: 150 },
      )
      assert.ok(cuts > 15 && cuts < 150, `${cuts} links were cut`)
    })
  }
})

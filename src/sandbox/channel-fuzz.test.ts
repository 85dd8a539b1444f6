import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Channel, ChannelClosed, ProtocolError } from './channel.ts'
import { creditOf, encodeFrame, FLAG, MAX_PAYLOAD, SANDBOX_WINDOW, STREAM_WINDOW, TYPE } from './frames.ts'
import type { Call, CallResult, LogSink, ResultBody } from './types.ts'
import { pair } from '../lib/pair-fixture.ts'

// A guest that says what a runtime may say, in any order that is allowed; and the same with single frames changed,
// doubled, lost, swapped or cut. Whatever comes, the host ends each call once, and holds no more than its windows.

const silent: LogSink = { write: () => {}, lost: () => {} }
const context = { invocationId: 'i', traceId: 't', clientContext: null, depth: 0, invokedArn: 'a' }
const json = (value: unknown) => Buffer.from(JSON.stringify(value))
const RUNS = 500
const turn = () => new Promise((resolve) => setImmediate(resolve))

interface Said {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}
const say = (type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Said => ({
  type,
  flags,
  stream,
  payload: Buffer.from(payload),
})
const encoded = ({ type, flags, stream, payload }: Said) => encodeFrame(type, flags, stream, payload)

/** How a reader of a body behaves. */
const READERS = ['all', 'none', 'first', 'gives up'] as const
interface PlannedCall {
  readonly kind: 'event' | 'stream' | 'http' | 'upload'
  readonly reads: (typeof READERS)[number]
  readonly cancels: boolean
  /** Frames of the guest for it, in their order. */
  readonly frames: (id: number) => Said[]
}

const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.constant(new Uint8Array(MAX_PAYLOAD)), fc.constant(new Uint8Array(0)))
const pieces = fc.array(bytes, { maxLength: 4 }).map((all) => (all.reduce((sum, one) => sum + one.length, 0) <= STREAM_WINDOW ? all : []))
const data = (id: number, all: readonly Uint8Array[]) => all.map((one) => say(TYPE.data, 0, id, one))
const ERROR = json({ errorType: 'Mine', errorMessage: 'm' })
const HEAD = json({ status: 200, headers: [['a', 'b']] })
const wholeReply = (rest: Uint8Array) => {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(HEAD.length)
  return Buffer.concat([length, HEAD, rest])
}
const rawError = (rest: Uint8Array) => {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(ERROR.length)
  return Buffer.concat([length, ERROR, rest])
}

/** The end of a call: with its last frame, or of its own after a while. */
const doneWith = (frames: Said[], id: number, apart: boolean): Said[] => {
  if (apart) return [...frames, say(TYPE.log, FLAG.stderr, id, Buffer.from('late')), say(TYPE.done, 0, id)]
  const last = frames.at(-1) as Said
  return [...frames.slice(0, -1), { ...last, flags: last.flags | FLAG.done }]
}

const outcome = (kind: PlannedCall['kind']): fc.Arbitrary<(id: number) => Said[]> => {
  const error = fc.oneof(
    fc.constant((id: number) => [say(TYPE.callError, 0, id, ERROR)]),
    fc.uint8Array({ maxLength: 50 }).map((rest) => (id: number) => [say(TYPE.callError, FLAG.raw, id, rawError(rest))]),
  )
  if (kind === 'http' || kind === 'upload') {
    return fc.oneof(
      error,
      fc.constant((id: number) => [say(TYPE.head, FLAG.fin, id, json({ status: 204, headers: [] }))]),
      fc.uint8Array({ maxLength: 50 }).map((rest) => (id: number) => [say(TYPE.head, FLAG.raw | FLAG.fin, id, wholeReply(rest))]),
      fc.tuple(pieces, fc.boolean()).map(([all, whole]) => (id: number) => [
        say(TYPE.head, 0, id, json({ status: 200, headers: [['a', 'b']] })),
        ...data(id, all),
        say(TYPE.end, whole ? FLAG.fin : 0, id),
      ]),
    )
  }
  return fc.oneof(
    error,
    bytes.map((all) => (id: number) => [say(TYPE.result, FLAG.fin, id, all)]),
    pieces.map((all) => (id: number) => [say(TYPE.result, 0, id), ...data(id, all), say(TYPE.end, FLAG.fin, id)]),
    fc.tuple(pieces, fc.boolean()).map(([all, fails]) => (id: number) => [
      say(TYPE.stream, 0, id, json({ contentType: 'text/csv' })),
      ...data(id, all),
      fails ? say(TYPE.callError, 0, id, ERROR) : say(TYPE.end, FLAG.fin, id),
    ]),
  )
}

const call: fc.Arbitrary<PlannedCall> = fc.constantFrom<PlannedCall['kind'][]>('event', 'stream', 'http', 'upload').chain((kind) =>
  fc
    .record({
      reads: fc.constantFrom(...READERS),
      cancels: fc.boolean(),
      before: fc.array(fc.constantFrom('log', 'lost', 'credit'), { maxLength: 3 }),
      frames: outcome(kind),
      apart: fc.boolean(),
    })
    .map(({ reads, cancels, before, frames, apart }) => ({
      kind,
      reads,
      cancels,
      frames: (id: number) => [
        ...before.map((what) =>
          what === 'log'
            ? say(TYPE.log, FLAG.stdout, id, Buffer.from('line\n'))
            : what === 'lost'
              ? say(TYPE.logLost, 0, id, creditOf(7))
              : say(TYPE.credit, 0, id, creditOf(STREAM_WINDOW)),
        ),
        ...doneWith(frames(id), id, apart),
      ],
    })),
)

const connection = fc
  .record({ pieces, ends: fc.constantFrom('end', 'reset', 'both', 'none'), credit: fc.nat(STREAM_WINDOW) })
  .map(({ pieces: all, ends, credit }) => (id: number) => [
    say(TYPE.open, 0, id),
    say(TYPE.credit, 0, id, creditOf(credit)),
    ...data(id, all),
    ...(ends === 'end' || ends === 'both' ? [say(TYPE.end, FLAG.fin, id)] : []),
    ...(ends === 'reset' || ends === 'both' ? [say(TYPE.reset, 0, id)] : []),
  ])

/** Frames of several streams, each in its order, mixed as `picks` say. */
function mixed(lists: Said[][], picks: readonly number[]): Said[] {
  const left = lists.map((list) => [...list]).filter((list) => list.length > 0)
  const all: Said[] = []
  for (let i = 0; left.length > 0; i++) {
    const at = (picks[i % picks.length] ?? 0) % left.length
    const list = left[at] as Said[]
    all.push(list.shift() as Said)
    if (list.length === 0) left.splice(at, 1)
  }
  return all
}

interface Plan {
  readonly calls: readonly PlannedCall[]
  readonly connections: readonly ((id: number) => Said[])[]
  readonly picks: readonly number[]
  /** After how many frames the other side gets its turn, and where the bytes are split. */
  readonly breath: number
  readonly cut: number | null
  readonly loads: boolean
  readonly exits: boolean
}
const plan: fc.Arbitrary<Plan> = fc.record({
  calls: fc.array(call, { minLength: 1, maxLength: 4 }),
  connections: fc.array(connection, { maxLength: 3 }),
  picks: fc.array(fc.nat(100), { minLength: 1, maxLength: 30 }),
  breath: fc.integer({ min: 1, max: 6 }),
  cut: fc.option(fc.integer({ min: 1, max: 5_000 }), { nil: null }),
  loads: fc.boolean(),
  exits: fc.boolean(),
})

const HOSTILE_JSON = fc.oneof(
  fc.json(),
  fc.constant(`${'['.repeat(20_000)}${']'.repeat(20_000)}`),
  fc.constant('{"__proto__":{"status":200},"status":200,"headers":[["__proto__","x"]],"errorType":"constructor","contentType":"a\\r\\nb: c"}'),
  fc.constant('{"status":1e3,"headers":null,"errorType":{},"version":1e308,"kind":["lambda"],"shutdownMs":-0}'),
  fc.constant(`{"errorType":"${'x'.repeat(60_000)}"}`),
)
type Mutation = (frames: Said[], at: number) => (Said | Buffer)[]
const change =
  (make: (one: Said) => Said | Buffer): Mutation =>
  (frames, at) =>
    frames.map((one, index) => (index === at ? make(one) : one))
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.constantFrom(...Object.values(TYPE)).map((type) => change((one) => ({ ...one, type }))),
  fc.nat(255).map((flags) => change((one) => ({ ...one, flags: one.flags ^ flags }))),
  fc.constantFrom(-1, 1, 7, 0x7fffffff).map((by) => change((one) => ({ ...one, stream: Math.max(0, one.stream + by) }))),
  HOSTILE_JSON.map((text) => change((one) => ({ ...one, payload: Buffer.from(text).subarray(0, MAX_PAYLOAD) }))),
  fc.uint8Array({ maxLength: 80 }).map((payload) => change((one) => ({ ...one, payload: Buffer.from(payload) }))),
  fc.nat(300).map((to) => change((one) => ({ ...one, payload: one.payload.subarray(0, to) }))),
  fc.constant(change((one) => ({ ...one, payload: Buffer.alloc(MAX_PAYLOAD, one.payload.length > 0 ? one.payload : Buffer.from('x')) }))),
  // A length that is a lie: what follows is read as something else.
  fc.constantFrom(-1, 1, 12, 70_000, 0xfffffff0).map((by) =>
    change((one) => {
      const frame = encoded(one)
      frame.writeUInt32LE(Math.max(0, one.payload.length + by) >>> 0, 0)
      return frame
    }),
  ),
  fc.nat(65_535).map((reserved) =>
    change((one) => {
      const frame = encoded(one)
      frame.writeUInt16LE(reserved, 6)
      return frame
    }),
  ),
  fc.uint8Array({ minLength: 1, maxLength: 30 }).map(
    (noise): Mutation =>
      (frames, at) => [...frames.slice(0, at), Buffer.from(noise), ...frames.slice(at)],
  ),
  fc.constant<Mutation>((frames, at) => frames.filter((_, index) => index !== at)),
  fc.integer({ min: 1, max: 40 }).map(
    (times): Mutation =>
      (frames, at) =>
        frames.flatMap((one, index) => (index === at ? Array.from({ length: times + 1 }, () => one) : [one])),
  ),
  fc.constant<Mutation>((frames, at) => {
    const [one, next] = [frames[at] as Said, frames[at + 1]]
    return next ? [...frames.slice(0, at), next, one, ...frames.slice(at + 2)] : frames
  }),
)

interface Heard {
  results: number
  broke: number
  overs: (Error | null)[]
  body: (ResultBody & { readonly heldBytes: number }) | null
  wrong: string[]
}

/** Plays the host: begins the calls, reads or leaves their bodies, and notes what it hears of each. */
function begin(channel: Channel, planned: PlannedCall): Heard & { id: number } {
  const heard: Heard & { id: number } = { id: 0, results: 0, broke: 0, overs: [], body: null, wrong: [] }
  const upload = async function* () {
    for (let i = 0; i < 3; i++) yield Buffer.alloc(1000)
  }
  const http = { kind: 'http', context, method: 'POST', url: 'http://localhost/', headers: [] } as const
  const asked: Call =
    planned.kind === 'http' || planned.kind === 'upload'
      ? { ...http, body: planned.kind === 'upload' ? upload() : null }
      : { kind: 'event', context, payload: Buffer.from('{}'), takesStream: planned.kind === 'stream' }
  const read = async (body: ResultBody) => {
    if (planned.reads === 'none') return
    try {
      for await (const _ of body) if (planned.reads === 'first') return
    } catch {
      // It broke off: the outcome says why.
    }
  }
  heard.id = channel.call(asked, 1000, silent, {
    result: (result: CallResult) => {
      heard.results++
      if (heard.overs.length > 0) heard.wrong.push('a result after the end')
      if (result.kind !== 'http' && result.kind !== 'stream') return
      heard.body = result.body as Heard['body']
      if (planned.reads === 'gives up') channel.abandon(heard.id, new Error('nobody reads'))
      else void read(result.body)
    },
    broke: () => {
      heard.broke++
      if (heard.results === 0 || heard.overs.length > 0) heard.wrong.push('broke out of its turn')
    },
    over: (error) => {
      heard.overs.push(error)
    },
  })
  if (planned.cancels) channel.cancel(heard.id)
  return heard
}

async function play(planned: Plan, mutations: readonly { on: 'control' | 'relay'; at: number; how: Mutation }[]) {
  const [control, guest] = pair()
  const [relay, guestRelay] = pair()
  for (const one of [guest, guestRelay]) one.on('data', () => {})
  const relayed: Duplex[] = []
  const channel = new Channel({ control, relay }, (one) => {
    relayed.push(one)
    one.on('error', () => {})
    one.on('data', (chunk) => one.write(chunk))
  })
  const hello = channel.hello(AbortSignal.timeout(60_000)).catch((error: Error) => error)
  const first = [say(TYPE.hello, 0, 0, json({ version: 1 }))]
  const settled: string[] = []
  const waits = planned.loads
    ? [channel.warm({ rounds: 1, relayPorts: [], fetches: true, collects: true }), channel.load(silent)].map((work) =>
        work.then(
          () => settled.push('done'),
          () => settled.push('failed'),
        ),
      )
    : []
  if (planned.loads) first.push(say(TYPE.warmed, 0, 0), say(TYPE.log, FLAG.stdout, 0, Buffer.from('loading')), say(TYPE.loaded, 0, 0, json({ kind: 'lambda' })))
  const calls = planned.calls.map((one) => begin(channel, one))
  const mix = (lists: Said[][], on: 'control' | 'relay', before: Said[]): Buffer[] => {
    let frames: (Said | Buffer)[] = [...before, ...mixed(lists, planned.picks)]
    for (const { on: where, at, how } of mutations) {
      const plain = frames.filter((one) => !Buffer.isBuffer(one))
      // What is no frame any more stays where it is; the next change is to a frame.
      if (where === on && plain.length === frames.length && plain.length > 0) frames = how(plain as Said[], at % plain.length)
    }
    return frames.map((one) => (Buffer.isBuffer(one) ? one : encoded(one)))
  }
  const onControl = mix(
    calls.map(({ id }, index) => (planned.calls[index] as PlannedCall).frames(id)),
    'control',
    first,
  )
  if (planned.exits) onControl.push(encoded(say(TYPE.exiting, 0, 0, Buffer.from([3, 0, 0, 0]))))
  const opened = planned.connections.map((one, index) => one(index + 1))
  const onRelay = mix(
    opened.map((frames) => frames.slice(1)),
    'relay',
    opened.flatMap((frames) => frames.slice(0, 1)),
  )
  let mostHeld = 0
  const send = async (socket: Duplex, frames: Buffer[]) => {
    for (let i = 0; i < frames.length; i += planned.breath) {
      const chunk = Buffer.concat(frames.slice(i, i + planned.breath))
      const cut = Math.max(planned.cut ?? chunk.length, Math.ceil(chunk.length / 16), 1)
      for (let at = 0; at < chunk.length; at += cut) if (!socket.destroyed) socket.write(chunk.subarray(at, at + cut))
      mostHeld = Math.max(
        mostHeld,
        calls.reduce((sum, { body }) => sum + (body?.heldBytes ?? 0), 0),
      )
      for (const { body } of calls) assert.ok((body?.heldBytes ?? 0) <= STREAM_WINDOW)
      await turn()
    }
  }
  await Promise.all([send(guest, onControl), send(guestRelay, onRelay)])
  const before = channel.isOver
  for (const one of [guest, guestRelay]) if (!one.destroyed) one.end()
  const failure = await channel.failure
  await Promise.all(waits)
  await hello
  await turn()
  assert.ok(failure instanceof ProtocolError || failure instanceof ChannelClosed, String(failure))
  assert.ok(mostHeld <= SANDBOX_WINDOW)
  assert.equal(settled.length, waits.length)
  for (const one of calls) {
    assert.deepEqual(one.wrong, [])
    assert.equal(one.overs.length, 1, 'a call ends once')
    assert.ok(one.results <= 1 && one.broke <= one.results)
    if (one.overs[0] === null) assert.equal(one.results, 1, 'what ended in order has an outcome')
    else assert.equal(one.overs[0], failure)
  }
  for (const one of relayed) assert.ok(one.destroyed, 'no connection is left')
  return { failure, calls, before, relayed }
}

describe('the channel and whatever a guest says', () => {
  it('takes no guest that keeps the law for one that breaks it, and ends every call in order', async () => {
    await fc.assert(
      fc.asyncProperty(plan, async (planned) => {
        const { failure, calls, relayed } = await play(planned, [])
        assert.ok(failure instanceof ChannelClosed, String(failure))
        for (const one of calls) assert.deepEqual([one.overs, one.results], [[null], 1])
        if (!planned.exits) assert.equal(relayed.length, planned.connections.length)
      }),
      { numRuns: 150 },
    )
  })

  it('ends each call once, and with the sandbox whatever belongs to it, however frames are changed', async () => {
    let broken = 0
    await fc.assert(
      fc.asyncProperty(
        plan,
        fc.array(fc.record({ on: fc.constantFrom('control' as const, 'control' as const, 'relay' as const), at: fc.nat(1000), how: mutation }), {
          minLength: 1,
          maxLength: 3,
        }),
        async (planned, mutations) => {
          if ((await play(planned, mutations)).failure instanceof ProtocolError) broken++
        },
      ),
      { numRuns: RUNS },
    )
    assert.ok(broken > RUNS / 6, `the changes mattered in ${broken} of ${RUNS} only`)
  })
})

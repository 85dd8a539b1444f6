import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import type { Databases } from '../backends/database/database.ts'
import { ERRORS, MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { Principal } from '../core/principal.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Socket, UpgradeContext } from '../core/route.ts'
import type { Clock } from '../lib/clock.ts'
import type { Said } from './notices.ts'
import { Realtime } from './service.ts'

const demo = 'demo' as ProjectRef
const project: Project = { id: '1', ref: demo, name: 'demo', state: 'active' }
const anon: Principal = { kind: 'anon', project: demo, keyId: 'a' }
const service: Principal = { kind: 'service', project: demo, keyId: 's' }

/** What waits for a token has gone on. */
const looked = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Time that stands until it is moved. */
class StandingClock implements Clock {
  #at = 0
  readonly #timers = new Set<{ at: number; fire: () => void }>()
  now = () => this.#at
  monotonic = () => this.#at
  timer(ms: number, fire: () => void): Disposable {
    const timer = { at: this.#at + ms, fire }
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) }
  }
  sleep = (ms: number) => new Promise<void>((resolve) => this.timer(ms, resolve))
  move(ms: number): void {
    this.#at += ms
    for (const timer of this.#timers) {
      if (timer.at > this.#at) continue
      this.#timers.delete(timer)
      timer.fire()
    }
  }
}

/** The far end of a socket: what it was sent, what it says. */
class FarEnd implements Socket {
  buffered = 0
  readonly frames: { topic: string; event: string; payload: Record<string, unknown>; ref: string | null }[] = []
  readonly binary: Buffer[] = []
  closed: number | null = null
  #take: (frame: string | Buffer) => void = () => {}
  readonly #onClose = new Set<() => void>()
  send(frame: string | Uint8Array): void {
    if (typeof frame !== 'string') return void this.binary.push(Buffer.from(frame))
    const parsed = JSON.parse(frame)
    if (Array.isArray(parsed)) this.frames.push({ ref: parsed[1], topic: parsed[2], event: parsed[3], payload: parsed[4] })
    else this.frames.push(parsed)
  }
  close(code: number): void {
    this.closed ??= code
    this.leave()
  }
  cut(): void {
    this.closed ??= 1006
    this.leave()
  }
  listen(): void {}
  onFrame(take: (frame: string | Buffer) => void): void {
    this.#take = take
  }
  onClose(take: () => void): void {
    this.#onClose.add(take)
  }
  leave(): void {
    for (const take of this.#onClose) take()
    this.#onClose.clear()
  }
  say(topic: string, event: string, payload: unknown, ref = 'r'): void {
    this.#take(JSON.stringify({ topic, event, payload, ref, join_ref: null }))
  }
  sayRaw(frame: string | Buffer): void {
    this.#take(frame)
  }
  join(name: string, config: Record<string, unknown> = {}): Record<string, unknown> {
    this.say(`realtime:${name}`, 'phx_join', { config }, `join ${name}`)
    return this.reply(`join ${name}`)
  }
  reply(ref: string): Record<string, unknown> {
    return (this.frames.findLast((frame) => frame.event === 'phx_reply' && frame.ref === ref)?.payload ?? {}) as Record<string, unknown>
  }
  heard(event: string) {
    return this.frames.filter((frame) => frame.event === event).map((frame) => frame.payload)
  }
}

describe('Realtime', () => {
  const clock = new StandingClock()
  let realtime: Realtime
  let ids = 0
  /** What policies let anybody do in private channels. */
  let lets = { read: false, write: false }
  const answers = async (texts: TemplateStringsArray) => {
    const text = texts.join('')
    if (text.includes('insert into realtime.messages')) return [{ id: 'a' }, { id: 'b' }]
    if (text.includes('from realtime.messages')) return lets.read ? [{ extension: 'broadcast' }, { extension: 'presence' }] : []
    return text.includes('may_write') ? [{ may: lets.write }] : []
  }
  const asked = { openRoles: async () => ({ transaction: (work: (tx: typeof answers) => unknown) => work(answers) }) } as unknown as Databases
  let databases = asked
  /** What SQL says: whether it is heard, by how many, and a word of it. */
  let ready: Promise<void> | null = null
  let listening = 0
  let say: (said: Said) => void = () => {}
  /** Of these tokens: `user 30` lasts half a minute from now. */
  const verifyToken = async (ref: ProjectRef, token: string): Promise<Principal> => {
    const [, seconds] = /^user (\d+)$/.exec(token) ?? []
    if (seconds === undefined) throw new MayflyError(token === 'old' ? 'token_expired' : 'token_invalid', 'no')
    const claims = { sub: 'u', role: 'authenticated' }
    return { kind: 'user', project: ref, role: 'authenticated', userId: 'u', claims, expiresAtMs: clock.now() + Number(seconds) * 1_000 }
  }
  const make = (more: Partial<{ sockets: number; joins: number; messages: number }> = {}) => {
    const config = { sockets: 10, joins: 1000, messages: 1000, ...more }
    realtime = new Realtime({
      databases,
      config,
      verifyToken,
      hear: (_, take) => {
        listening++
        say = take
        return {
          get ready() {
            return ready
          },
          [Symbol.asyncDispose]: async () => void listening--,
        }
      },
      newId: () => String(++ids),
      clock,
      log: silentLog,
    })
  }
  const contextOf = (principal: Principal, version = '1.0.0'): UpgradeContext => ({
    id: '',
    principal,
    project,
    query: new URLSearchParams({ vsn: version }),
    closed: new AbortController().signal,
    headers: {},
  })
  const connect = (principal: Principal = anon, version = '1.0.0') => {
    const end = new FarEnd()
    realtime.admit(contextOf(principal, version))
    realtime.accept(contextOf(principal, version), end)
    return end
  }
  afterEach(async () => {
    await realtime[Symbol.asyncDispose]()
    assert.deepEqual([realtime.numbers.sockets, realtime.numbers.channels], [0, 0], 'nothing is left behind')
  })

  it('answers a join, a heartbeat and a leave as clients of Phoenix expect', () => {
    make()
    const end = connect()
    assert.deepEqual(end.join('room'), { status: 'ok', response: { postgres_changes: [] } })
    end.say('phoenix', 'heartbeat', {}, 'h')
    assert.deepEqual(end.reply('h'), { status: 'ok', response: {} })
    assert.equal(realtime.numbers.channels, 1)
    end.say('realtime:room', 'phx_leave', {}, 'l')
    assert.deepEqual(end.reply('l'), { status: 'ok', response: {} })
    assert.equal(end.heard('phx_close').length, 1)
    assert.equal(realtime.numbers.channels, 0)
  })
  it('refuses joins that it does not serve, each with its reason', async () => {
    make()
    const end = connect()
    const reason = (name: string, config = {}) => ((end.join(name, config).response ?? {}) as { reason: string }).reason
    assert.match(reason(''), /^TopicNameRequired/)
    end.join('secret', { private: true })
    await looked()
    assert.match(
      (end.reply('join secret').response as { reason: string }).reason,
      /^Unauthorized: You do not have permissions to read from this Channel topic: secret$/,
    )
    assert.match(reason('x'.repeat(300)), /^TopicNameTooLong/)
    end.say('realtime:t', 'phx_join', { config: {}, access_token: 'eyJ.x.y' }, 't')
    await looked()
    assert.match((end.reply('t').response as { reason: string }).reason, /^MalformedJWT/)
    end.say('realtime:t', 'phx_join', { config: {}, access_token: 'sb_publishable_x' }, 'u')
    assert.equal(end.reply('u').status, 'ok')
    end.say('elsewhere', 'phx_join', {}, 'e')
    assert.equal(end.reply('e').status, 'error')
    assert.equal(connect(service).join('secret', { private: 'true' }).status, 'ok')
  })
  it('a private and a public channel of one name do not hear each other, nor do projects', () => {
    make()
    const [hidden, shown] = [connect(service), connect(service)]
    hidden.join('room', { private: true })
    shown.join('room')
    const broadcast = { topic: 'realtime:room', event: 'e', meta: null, encoding: 'json' as const, payload: Buffer.from('1') }
    realtime.publish(demo, [{ isPrivate: true, broadcast }])
    realtime.publish('shop', [{ isPrivate: false, broadcast }])
    assert.deepEqual([hidden.heard('broadcast').length, shown.heard('broadcast').length], [1, 0])
  })
  it('who is told that it is in a channel hears what SQL says there; a database that is long away holds nobody up', async () => {
    make()
    const { promise, resolve } = Promise.withResolvers<void>()
    ready = promise
    const [end, other] = [connect(), connect()]
    end.say('realtime:room', 'phx_join', { config: {} }, 'first')
    other.say('realtime:left', 'phx_join', { config: {} }, 'first')
    other.say('realtime:left', 'phx_leave', {}, 'l')
    await looked()
    assert.equal(end.reply('first').status, undefined)
    resolve()
    await looked()
    assert.deepEqual([end.reply('first').status, other.reply('first').status, listening], ['ok', undefined, 1])
    ready = new Promise(() => {})
    end.say('realtime:later', 'phx_join', { config: {} }, 'second')
    await looked()
    assert.equal(end.reply('second').status, undefined)
    clock.move(2_000)
    await looked()
    assert.equal(end.reply('second').status, 'ok')
    ready = null
    const broadcast = { topic: 'realtime:room', event: 'e', meta: { id: 'i' }, encoding: 'json' as const, payload: Buffer.from('{"n":1}') }
    say({ isPrivate: false, broadcast })
    say({ isPrivate: true, broadcast })
    assert.deepEqual(end.heard('broadcast'), [{ type: 'broadcast', event: 'e', payload: { n: 1 }, meta: { id: 'i' } }])
  })
  it('realtimeIdleSlot: what SQL says is heard for so long after the last socket, and anew for the next', async () => {
    make()
    const [end, other] = [connect(), connect()]
    end.leave()
    clock.move(LIMITS.realtimeIdleSlot.value - 1)
    assert.equal(listening, 1)
    other.leave()
    clock.move(LIMITS.realtimeIdleSlot.value - 1)
    const third = connect()
    clock.move(1)
    assert.equal(listening, 1)
    third.leave()
    clock.move(LIMITS.realtimeIdleSlot.value)
    assert.equal(listening, 0)
    connect()
    assert.equal(listening, 1)
    await realtime.dropProject('demo')
    assert.equal(listening, 0)
  })
  it('a token says who a channel is of, until it ends and no other came', async () => {
    make()
    const end = connect()
    const join = (topic: string, access_token: string) => end.say(`realtime:${topic}`, 'phx_join', { config: {}, access_token }, topic)
    join('a', 'user 30')
    join('b', 'user 30')
    // Left before the token was looked at.
    join('c', 'user 30')
    end.say('realtime:c', 'phx_leave', {}, 'l')
    await looked()
    assert.deepEqual([end.reply('a').status, end.reply('b').status, realtime.numbers.channels], ['ok', 'ok', 2])
    end.say('realtime:b', 'access_token', { access_token: 'user 600' }, 'b')
    await looked()
    clock.move(31_000)
    const closed = () => end.heard('phx_close').length
    assert.deepEqual([closed(), realtime.numbers.channels], [1, 1])
    assert.deepEqual(end.heard('system'), [{ extension: 'system', status: 'error', message: 'Token has expired', channel: 'a' }])
    end.say('phoenix', 'heartbeat', {}, 'h')
    end.say('realtime:b', 'access_token', { access_token: 'old' }, 'b')
    await looked()
    assert.equal(realtime.numbers.channels, 0)
    join('d', 'old')
    await looked()
    assert.match((end.reply('d').response as { reason: string }).reason, /^InvalidJWTToken: Token has expired$/)
  })
  it('a private channel is of whom policies let in, who says what they let him, until another token comes', async () => {
    make()
    lets = { read: true, write: false }
    const [end, other] = [connect(), connect(service)]
    other.join('p', { private: true, presence: { enabled: true } })
    end.say('realtime:p', 'phx_join', { config: { private: true, broadcast: { ack: true }, presence: { enabled: true } }, access_token: 'user 30' }, 'p')
    await looked()
    assert.equal(end.reply('p').status, 'ok')
    other.say('realtime:p', 'broadcast', { type: 'broadcast', event: 'e', payload: {} }, 'b')
    assert.equal(end.heard('broadcast').length, 1)
    // It hears, and says nothing.
    end.say('realtime:p', 'broadcast', { type: 'broadcast', event: 'e', payload: {} }, 'b')
    assert.match(JSON.stringify(end.reply('b')), /do not have permissions to write/)
    end.say('realtime:p', 'presence', { event: 'track', payload: {} }, 't')
    assert.match(JSON.stringify(end.reply('t')), /do not have permissions/)
    assert.deepEqual([other.heard('broadcast'), other.heard('presence_diff')], [[], []])
    lets = { read: true, write: true }
    end.say('realtime:p', 'access_token', { access_token: 'user 600' }, 'n')
    await looked()
    end.say('realtime:p', 'broadcast', { type: 'broadcast', event: 'e', payload: {} }, 'c')
    end.say('realtime:p', 'presence', { event: 'track', payload: {} }, 'u')
    assert.deepEqual([end.reply('c').status, end.reply('u').status, other.heard('broadcast').length], ['ok', 'ok', 1])
    // Who comes anew and is not let in any more is not in it by what was before.
    lets = { read: false, write: true }
    end.say('realtime:p', 'phx_join', { config: { private: true }, access_token: 'user 30' }, 'again')
    await looked()
    assert.match(JSON.stringify(end.reply('again')), /Unauthorized/)
    other.say('realtime:p', 'broadcast', { type: 'broadcast', event: 'e', payload: {} }, 'd')
    assert.equal(end.heard('broadcast').length, 1)
    // Of who left before the answer came nothing is left.
    lets = { read: true, write: true }
    end.join('q', { private: true })
    end.say('realtime:q', 'phx_leave', {}, 'l')
    await looked()
    assert.equal(realtime.numbers.channels, 1)
    lets = { read: false, write: false }
  })
  it('a private channel is not of a user, whosever key his socket has', async () => {
    make()
    const end = connect(service)
    end.say('realtime:p', 'phx_join', { config: { private: true }, access_token: 'user 30' }, 'p')
    await looked()
    assert.match((end.reply('p').response as { reason: string }).reason, /^Unauthorized/)
    assert.equal(end.join('q', { private: true }).status, 'ok')
    end.say('realtime:q', 'access_token', { access_token: 'user 30' }, 'q')
    await looked()
    assert.match(JSON.stringify(end.heard('system')), /no longer have permission/)
    assert.equal(realtime.numbers.channels, 0)
  })
  it('a token that is no key closes the channel that it is said in', async () => {
    make()
    const end = connect()
    end.join('room')
    for (const token of [null, 'sb_publishable_x', '']) end.say('realtime:room', 'access_token', { access_token: token }, 'a')
    assert.equal(end.heard('phx_close').length, 0)
    end.say('realtime:room', 'access_token', { access_token: 'eyJ.x.y' }, 'a')
    await looked()
    assert.deepEqual([end.heard('system').length, end.heard('phx_close').length], [1, 1])
  })
  it('presence: who joins sees who is there, tracks and leaves are told, a re-track names what it replaces', () => {
    make()
    const [a, b] = [connect(), connect()]
    a.join('room', { presence: { key: 'anna', enabled: true } })
    assert.deepEqual(a.heard('presence_state'), [{}])
    a.say('realtime:room', 'presence', { type: 'presence', event: 'track', payload: { at: 1 } }, 'p')
    assert.equal(a.reply('p').status, 'ok')
    b.join('room', { presence: { key: '__proto__', enabled: true } })
    const [state] = b.heard('presence_state') as [{ anna: { metas: [{ at: number; phx_ref: string }] } }]
    assert.equal(state.anna.metas[0].at, 1)
    a.say('realtime:room', 'presence', { type: 'presence', event: 'track', payload: { at: 2 } })
    const [again] = b.heard('presence_diff') as [{ joins: { anna: { metas: [{ phx_ref_prev: string }] } }; leaves: { anna: { metas: [{ phx_ref: string }] } } }]
    assert.equal(again.joins.anna.metas[0].phx_ref_prev, state.anna.metas[0].phx_ref)
    assert.equal(again.leaves.anna.metas[0].phx_ref, state.anna.metas[0].phx_ref)
    b.say('realtime:room', 'presence', { event: 'track', payload: ['no'] }, 'q')
    assert.deepEqual(b.reply('q'), { status: 'error', response: { reason: 'Presence track payload must be a map' } })
    b.say('realtime:room', 'presence', { event: 'track', payload: { text: 'x'.repeat(LIMITS.realtimePresence.value) } }, 'q')
    assert.deepEqual(b.reply('q').status, 'error')
    a.leave()
    assert.deepEqual(Object.keys((b.heard('presence_diff').at(-1) as { leaves: object }).leaves), ['anna'])
  })
  it('a client that joins anew leaves what it had; one that is gone leaves nothing', () => {
    make()
    const end = connect()
    end.join('room')
    end.join('room')
    assert.deepEqual([end.heard('phx_close').length, realtime.numbers.channels], [1, 1])
    end.leave()
    assert.deepEqual([realtime.numbers.sockets, realtime.numbers.channels], [0, 0])
  })
  it('a frame that is none closes the socket', () => {
    make()
    for (const bad of ['{', '[]', '{"topic":1}']) {
      const end = connect()
      end.sayRaw(bad)
      assert.equal(end.closed, 1008, bad)
    }
    const end = connect(anon, '2.0.0')
    end.sayRaw(Buffer.from([9, 9, 9]))
    assert.equal(end.closed, 1008)
  })
  it('JSON that is not whole is handed to nobody', () => {
    make()
    const [from, to] = [connect(anon, '2.0.0'), connect()]
    const topic = Buffer.from('realtime:room')
    from.sayRaw(JSON.stringify(['1', 'x', 'realtime:room', 'phx_join', { config: { broadcast: { ack: true } } }]))
    to.join('room')
    const push = (payload: string | Buffer) =>
      Buffer.concat([Buffer.from([3, 1, 1, topic.length, 1, 0, 1]), Buffer.from('1r'), topic, Buffer.from('e'), Buffer.from(payload)])
    for (const bad of ['{"a":', '1}', '', Buffer.from([34, 255, 34])]) from.sayRaw(push(bad))
    assert.deepEqual([from.reply('r').status, to.heard('broadcast').length], ['error', 0])
    from.sayRaw(push('{"a":1}'))
    assert.deepEqual([from.reply('r').status, to.heard('broadcast')], ['ok', [{ type: 'broadcast', event: 'e', payload: { a: 1 } }]])
  })

  it('realtimeSockets: one past it is told too_many_sockets', () => {
    make({ sockets: 2 })
    connect()
    const second = connect()
    assert.throws(() => connect(), { code: 'too_many_sockets' })
    second.leave()
    connect()
    assert.equal(LIMITS.realtimeSockets.error, 'too_many_sockets')
  })
  it('realtimeChannels: one past it is told too_many_channels in the words of clients', () => {
    make()
    const end = connect()
    for (let n = 0; n < LIMITS.realtimeChannels.value; n++) assert.equal(end.join(`room ${n}`).status, 'ok')
    assert.deepEqual(end.join('one more').response, { reason: 'ChannelRateLimitReached: Too many channels' })
    assert.equal(end.join('room 0').status, 'ok', 'a rejoin is none more')
  })
  it('realtimeJoins: so many a second, then too_many_joins, of all sockets together', () => {
    make({ joins: 3 })
    const [a, b] = [connect(), connect()]
    for (const end of [a, b, a]) assert.equal(end.join('room').status, 'ok')
    assert.deepEqual(b.join('other').response, { reason: 'ClientJoinRateLimitReached: Too many joins per second' })
    clock.move(1_000)
    assert.equal(b.join('other').status, 'ok')
    assert.equal(LIMITS.realtimeJoins.error, 'too_many_joins')
  })
  it('realtimeMessages: past it the channel is closed, and HTTP is told too_many_messages', () => {
    make({ messages: 2 })
    const end = connect()
    end.join('room', { broadcast: { self: true } })
    for (let n = 0; n < 3; n++) end.say('realtime:room', 'broadcast', { type: 'broadcast', event: 'e', payload: { n } })
    assert.deepEqual(end.heard('broadcast').length, 2)
    assert.deepEqual(end.heard('system'), [{ extension: 'system', status: 'error', message: 'Too many messages per second', channel: 'room' }])
    assert.equal(end.heard('phx_close').length, 1)
    const broadcast = { topic: 'realtime:room', event: 'e', meta: null, encoding: 'json' as const, payload: Buffer.from('1') }
    assert.throws(() => realtime.publish(demo, [{ isPrivate: false, broadcast }]), { code: 'too_many_messages' })
    assert.equal(LIMITS.realtimeMessages.error, 'too_many_messages')
  })
  it('realtimeMessages: of what SQL says so many are told a second, whatever clients send meanwhile', () => {
    make({ messages: 2 })
    const end = connect()
    end.join('room', { broadcast: { self: true } })
    const said = (n: number) => ({
      isPrivate: false,
      broadcast: { topic: 'realtime:room', event: 'sql', meta: null, encoding: 'json' as const, payload: Buffer.from(String(n)) },
    })
    for (let n = 0; n < 5; n++) say(said(n))
    const payloads = () => end.heard('broadcast').map(({ payload }) => payload)
    assert.deepEqual(payloads(), [0, 1])
    assert.deepEqual([end.heard('system'), end.heard('phx_close')], [[], []])
    for (let n = 5; n < 7; n++) end.say('realtime:room', 'broadcast', { type: 'broadcast', event: 'e', payload: n })
    clock.move(1_000)
    say(said(7))
    assert.deepEqual(payloads(), [0, 1, 5, 6, 7])
  })
  it('what no text can be made of, or is nested without end, ends nothing but its own socket', async () => {
    make()
    const deep = (around: (inner: string) => string) => around(`${'['.repeat(200_000)}${']'.repeat(200_000)}`)
    const hostile = [
      '{"topic":"realtime:room","event":"broadcast","ref":"r","payload":{"event":{"toString":1,"valueOf":1}}}',
      '{"topic":"realtime:room","event":"presence","ref":"r","payload":{"event":{"toString":1,"valueOf":1}}}',
      deep((inner) => `{"topic":"realtime:room","event":"broadcast","ref":"r","payload":{"event":"e","payload":${inner}}}`),
      deep((inner) => `{"topic":"realtime:room","event":"presence","ref":"r","payload":{"event":"track","payload":{"a":${inner}}}}`),
      deep(
        (inner) =>
          `{"topic":"realtime:other","event":"phx_join","ref":"j","payload":{"config":{"postgres_changes":[{"event":"*","schema":"public","x":${inner}}]}}}`,
      ),
      '{"topic":"realtime:other","event":"phx_join","ref":"j","payload":{"config":{"postgres_changes":[{"event":{"toString":1,"valueOf":1}}]}}}',
      '{"topic":"realtime:other","event":"phx_join","ref":"j","payload":{"config":{"postgres_changes":[{"select":[{"toString":1,"valueOf":1}]}]}}}',
      '{"topic":"realtime:other","event":"phx_join","ref":"j","payload":{"config":{"postgres_changes_options":{"timeout":{"toString":1,"valueOf":1}}}}}',
      '{"topic":"realtime:room","event":"broadcast","ref":"r","payload":5}',
    ]
    for (const frame of hostile) {
      const [end, other] = [connect(), connect()]
      end.join('room', { broadcast: { ack: true, self: true } })
      other.join('room')
      end.sayRaw(frame)
      await new Promise((resolve) => setImmediate(resolve))
      assert.equal(other.closed, null, frame.slice(0, 100))
      assert.ok(end.closed === null || end.closed === 1008, String(end.closed))
      other.say('realtime:room', 'broadcast', { type: 'broadcast', event: 'after', payload: {} })
      end.leave()
      other.leave()
    }
  })
  it('a batch that this second has not room for is refused whole, and told to nobody', () => {
    make({ messages: 3 })
    const end = connect()
    end.join('room')
    const one = { isPrivate: false, broadcast: { topic: 'realtime:room', event: 'e', meta: null, encoding: 'json' as const, payload: Buffer.from('1') } }
    realtime.publish(demo, [one])
    assert.throws(() => realtime.publish(demo, [one, one, one]), { code: 'too_many_messages', message: 'Too many messages per second' })
    assert.throws(() => realtime.publish(demo, [one, one, one, one]), { code: 'too_many_messages', message: /reduce the batch size/ })
    assert.equal(end.heard('broadcast').length, 1)
    realtime.publish(demo, [one, one])
    assert.equal(end.heard('broadcast').length, 3)
  })
  it('realtimePayload: a broadcast goes up to it, and no byte past it', () => {
    make()
    const end = connect()
    end.join('room', { broadcast: { self: true, ack: true } })
    const sized = (bytes: number) => ({ type: 'broadcast', event: 'e', payload: 'x'.repeat(bytes - 2) })
    end.say('realtime:room', 'broadcast', sized(LIMITS.realtimePayload.value), 'a')
    assert.equal(end.reply('a').status, 'ok')
    end.say('realtime:room', 'broadcast', sized(LIMITS.realtimePayload.value + 1), 'b')
    assert.deepEqual(end.reply('b'), { status: 'error', response: { reason: 'payload_size_exceeded' } })
    assert.equal(end.heard('broadcast').length, 1)
  })
  it('row changes that the database cannot stream are refused by realtime_unavailable, in the words of clients', async () => {
    const sql = async () => [{ walLevel: 'replica', mayReplicate: true, published: true }]
    // The network's far end: a server that was set up for something else.
    databases = { openProject: async () => ({ sql }) } as unknown as Databases
    make()
    const end = connect()
    end.join('room', { postgres_changes: [{ event: '*', schema: 'public', table: 't' }] })
    await new Promise((resolve) => setImmediate(resolve))
    assert.match(
      (end.reply('join room').response as { reason: string }).reason,
      /^DatabaseUnavailable: row changes cannot be streamed: wal_level of PostgreSQL is replica/,
    )
    assert.equal(ERRORS.realtime_unavailable.status, 503)
    assert.equal(realtime.numbers.channels, 0)
  })
  it('realtimeBindings: more kinds of changes in one join are refused', () => {
    make()
    const changes = Array.from({ length: LIMITS.realtimeBindings.value + 1 }, () => ({ event: '*', schema: 'public' }))
    assert.equal(connect().join('room', { postgres_changes: changes }).status, 'error')
  })
  it('realtimeSilence: who says nothing for so long is closed, a heartbeat keeps it', () => {
    make()
    const [quiet, alive] = [connect(), connect()]
    clock.move(LIMITS.realtimeSilence.value - 1)
    alive.say('phoenix', 'heartbeat', {})
    clock.move(1)
    assert.deepEqual([quiet.closed, alive.closed], [1008, null])
  })
  it('realtimeSendBuffer: who reads too slowly is cut, the others go on', () => {
    make()
    const [slow, quick] = [connect(), connect()]
    slow.join('room')
    quick.join('room')
    const broadcast = { topic: 'realtime:room', event: 'e', meta: null, encoding: 'json' as const, payload: Buffer.from('1') }
    slow.buffered = LIMITS.realtimeSendBuffer.value
    realtime.publish(demo, [{ isPrivate: false, broadcast }])
    assert.equal(slow.closed, null)
    slow.buffered++
    realtime.publish(demo, [{ isPrivate: false, broadcast }])
    assert.deepEqual([slow.closed, realtime.numbers.cut, realtime.numbers.sockets, realtime.numbers.channels], [1006, 1, 1, 1])
    assert.equal(quick.heard('broadcast').length, 2)
  })
})

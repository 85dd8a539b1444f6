import { DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Principal } from '../core/principal.ts'
import type { Socket } from '../core/route.ts'
import { identityOf } from '../core/session.ts'
import type { ChannelName } from './channels.ts'
import type { ClientDeps, Subscription } from './client.ts'
import { type Broadcast, decodePush, decodeText, encodeText, type Message, type Push } from './frames.ts'
import { type JoinConfig, readJoin, userTokenOf } from './join.ts'
import { Membership } from './membership.ts'
import { ALL_RIGHTS, type Rights } from './rights.ts'

const POLICY_VIOLATION = 1008
/** How long a join is held so that a client that is told it is subscribed misses nothing from then on. */
const SHORT_WAIT_MS = 2_000
const JOIN_REFUSALS: Partial<Record<string, string>> = {
  too_many_channels: 'ChannelRateLimitReached: Too many channels',
  too_many_joins: 'ClientJoinRateLimitReached: Too many joins per second',
}

/** One client's connection: its channels, and what it says in them. */
export class Client {
  readonly #deps: ClientDeps
  readonly #socket: Socket
  readonly #joined = new Map<string, Membership>()
  /** Channels whose joins wait for a token to be looked at. */
  readonly #joining = new Map<string, string | null>()
  #silence: Disposable
  #closed = false

  constructor(deps: ClientDeps, socket: Socket) {
    this.#deps = deps
    this.#socket = socket
    this.#silence = this.#awaitNext()
    socket.onFrame((frame) => this.#safely(() => this.#take(frame)))
    socket.onClose(() => this.#end())
  }

  /** Channels that it is in, or on its way into. */
  get channels(): number {
    return this.#joined.size
  }

  /** Nothing that it says from now on is heard. */
  close(code: number, reason: string): void {
    this.#socket.close(code, reason)
    this.#end()
  }

  send(frame: string | Buffer): void {
    if (this.#closed) return
    // Who does not read as fast as is written to him would hold the memory of all.
    if (this.#socket.buffered > LIMITS.realtimeSendBuffer.value) {
      this.#deps.onCut()
      this.#socket.cut()
      this.#end()
      return
    }
    this.#socket.send(frame)
  }

  sendMessage(message: Message): void {
    this.send(encodeText(this.#deps.version, message))
  }

  #awaitNext(): Disposable {
    return this.#deps.clock.timer(LIMITS.realtimeSilence.value, () => this.#socket.close(POLICY_VIOLATION, 'no heartbeat came'))
  }

  /** What one client says must not end the node, whatever it is: nobody stands above these calls. */
  #safely(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#deps.log.warn({ error: String(error) }, 'a frame of a client could not be taken')
      this.close(POLICY_VIOLATION, 'the frame is not understood')
    }
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    this.#silence[Symbol.dispose]()
    for (const membership of this.#joined.values()) membership.end()
    this.#joined.clear()
  }

  #take(frame: string | Buffer): void {
    if (this.#closed) return
    this.#silence[Symbol.dispose]()
    this.#silence = this.#awaitNext()
    this.#deps.onReceived()
    if (typeof frame !== 'string') {
      const push = this.#deps.version === '2.0.0' ? decodePush(frame) : null
      if (push) this.#broadcast(push)
      else this.#socket.close(POLICY_VIOLATION, 'the frame is not understood')
      return
    }
    const message = decodeText(this.#deps.version, frame)
    if (!message) return void this.#socket.close(POLICY_VIOLATION, 'the frame is not understood')
    if (message.topic === 'phoenix') {
      if (message.event === 'heartbeat') this.#reply(message, 'ok', {})
      return
    }
    if (message.event === 'phx_join') {
      void this.#join(message).catch((error: Error) => {
        this.#deps.log.error({ error: error.stack }, 'a channel could not be joined')
        this.#forget(message.topic, message.joinRef)
        this.#reply(message, 'error', { reason: 'UnknownErrorOnChannel: the node could not join the channel' })
      })
      return
    }
    const membership = this.#joined.get(message.topic)
    if (!membership || (message.joinRef !== null && message.joinRef !== membership.joinRef)) {
      if (message.event === 'phx_leave') {
        this.#joining.delete(message.topic)
        this.#reply(message, 'ok', {})
      } else this.#reply(message, 'error', { reason: 'unmatched topic' })
      return
    }
    switch (message.event) {
      case 'phx_leave':
        this.#reply(message, 'ok', {})
        this.#closeChannel(membership)
        return
      case 'access_token': {
        const token = userTokenOf(((message.payload ?? {}) as { access_token?: unknown }).access_token)
        if (token !== null) void this.#renew(membership, token)
        return
      }
      case 'broadcast':
        this.#broadcast(asPush(message))
        return
      case 'presence':
        this.#presence(membership, message)
        return
      default:
        this.#reply(message, 'error', { reason: `unknown event ${message.event.slice(0, 100)}` })
    }
  }

  async #join(message: Message): Promise<void> {
    const { topic } = message
    const refuse = (reason: string) => this.#reply(message, 'error', { reason })
    const name = topic.startsWith('realtime:') ? topic.slice('realtime:'.length) : null
    if (name === null) return refuse('unmatched topic')
    if (name === '') return refuse('TopicNameRequired: You must provide a topic name')
    if (Buffer.byteLength(topic) > 255) return refuse('TopicNameTooLong: A topic may have 255 bytes')
    const config = readJoin(message.payload)
    const joinRef = message.joinRef ?? message.ref
    let { principal } = this.#deps
    this.#joining.delete(topic)
    if (config.userToken !== null) {
      this.#joining.set(topic, joinRef)
      const verified = await this.#deps.verify(config.userToken).then(
        (of) => ({ of, refusal: null }),
        (error: unknown) => ({ of: null, refusal: refusalOfToken(error) }),
      )
      // Who left meanwhile, or began anew, is in no channel by this.
      if (this.#joining.get(topic) !== joinRef || this.#closed) return
      this.#joining.delete(topic)
      if (verified.of === null) return refuse(verified.refusal)
      principal = verified.of
    }
    try {
      this.#admitJoin(topic, config)
    } catch (error) {
      if (error instanceof MayflyError) return refuse(JOIN_REFUSALS[error.code] ?? error.message)
      throw error
    }
    let rights = ALL_RIGHTS
    if (asksPolicies(config, principal)) {
      this.#joining.set(topic, joinRef)
      const found = await this.#rightsIn(principal, name)
      if (this.#joining.get(topic) !== joinRef || this.#closed) return
      this.#joining.delete(topic)
      if (found === 'away') return refuse('InitializingProjectConnection: the database of the project is not reached')
      if (!found?.broadcast.read) {
        // What it was let into before is judged by the same policies.
        const former = this.#joined.get(topic)
        if (former?.config.isPrivate) this.#closeChannel(former)
        return refuse(`Unauthorized: You do not have permissions to read from this Channel topic: ${name}`)
      }
      rights = found
    }
    // A client that joins anew has forgotten what it had.
    const before = this.#joined.get(topic)
    if (before) this.#closeChannel(before)
    const channel: ChannelName = { project: this.#deps.project, topic, isPrivate: config.isPrivate }
    const membership = new Membership(this, this.#deps, { channel, name, joinRef, config, principal, rights })
    this.#joined.set(topic, membership)
    membership.enter()
    const heard = this.#deps.heard()
    if (heard) {
      const late = Promise.withResolvers<void>()
      using _wait = this.#deps.clock.timer(SHORT_WAIT_MS, late.resolve)
      await Promise.race([heard, late.promise])
      if (membership.ended) return
    }
    if (config.changes.length === 0) this.#welcome(message, membership)
    else await this.#subscribe(message, membership)
  }

  async #rightsIn(principal: Principal, name: string): Promise<Rights | null | 'away'> {
    try {
      return await this.#deps.rightsIn(identityOf(principal), name)
    } catch (error) {
      if (error instanceof DatabaseError && error.isAway) return 'away'
      throw error
    }
  }

  /** A token of its user's came: from now on the channel is that one's, until it ends. */
  async #renew(membership: Membership, token: string): Promise<void> {
    try {
      const principal = await this.#deps.verify(token)
      if (membership.ended) return
      let rights = ALL_RIGHTS
      if (asksPolicies(membership.config, principal)) {
        const name = membership.channel.topic.slice('realtime:'.length)
        const found = await this.#deps.rightsIn(identityOf(principal), name)
        if (membership.ended) return
        if (!found?.broadcast.read) {
          membership.system('system', 'error', `You no longer have permission to read from this Channel topic: ${name}`)
          return this.#closeChannel(membership)
        }
        rights = found
      }
      await membership.become(principal, rights)
    } catch (error) {
      if (membership.ended) return
      membership.system('system', 'error', refusalOfToken(error).replace(/^\w+: /, ''))
      this.#closeChannel(membership)
    }
  }

  /** The token of a channel's user has ended, and no other came. */
  lapse(membership: Membership): void {
    membership.system('system', 'error', 'Token has expired')
    this.#closeChannel(membership)
  }

  /** @throws MayflyError */
  #admitJoin(topic: string, config: JoinConfig): void {
    if (!this.#deps.rates.joins.take()) throw new MayflyError('too_many_joins', 'Too many joins per second')
    if (!this.#joined.has(topic) && this.#joined.size + this.#joining.size >= LIMITS.realtimeChannels.value)
      throw new MayflyError('too_many_channels', 'Too many channels')
    if (config.changes.length > LIMITS.realtimeBindings.value)
      throw new MayflyError('bad_request', `a channel may ask for ${LIMITS.realtimeBindings.value} kinds of row changes`)
  }

  async #subscribe(message: Message, membership: Membership): Promise<void> {
    const { clock } = this.#deps
    const fail = (why: string) => {
      if (!this.#forget(membership.channel.topic, membership.joinRef)) return
      this.#reply(message, 'error', { reason: why })
    }
    let subscription: Subscription
    const { turn } = membership
    try {
      subscription = await this.#deps.subscribe(membership.subscriber())
    } catch (error) {
      if (error instanceof MayflyError)
        return fail(`${error.code === 'too_many_channels' ? 'ChannelRateLimitReached' : 'DatabaseUnavailable'}: ${error.message}`)
      if (error instanceof DatabaseError && error.isAway) return fail('InitializingProjectConnection: the database of the project is not reached')
      throw error
    }
    if (!membership.hold(subscription, turn)) return
    const wanted = membership.config.waitMs
    let answered = false
    const answer = (how: () => void) => {
      if (!answered) how()
      answered = true
    }
    using _wait = clock.timer(wanted ?? SHORT_WAIT_MS, () =>
      this.#safely(() => answer(() => (wanted === null ? this.#welcome(message, membership) : fail('UnableToSubscribe: the database was not ready in time')))),
    )
    try {
      await subscription.live
    } catch (error) {
      if (!(error instanceof MayflyError)) throw error
      if (membership.ended) return
      // Told aside, as a client that is refused its join would try the same for ever.
      answer(() => (wanted === null ? this.#welcome(message, membership) : fail(error.message)))
      membership.system('error', error.message)
      return
    }
    if (membership.ended) return
    answer(() => this.#welcome(message, membership))
    membership.system('ok', 'Subscribed to PostgreSQL')
  }

  #welcome(message: Message, membership: Membership): void {
    const postgres_changes = membership.config.changes.map(({ id, echo }) => ({ ...echo, id }))
    this.#reply(message, 'ok', { postgres_changes })
    if (membership.wantsPresence) membership.sendEvent('presence_state', this.#deps.channels.presenceOf(membership.channel))
  }

  #broadcast(push: Push): void {
    const membership = this.#joined.get(push.topic)
    if (!membership) return
    if (!this.#deps.rates.messages.take()) {
      membership.system('system', 'error', 'Too many messages per second')
      this.#closeChannel(membership)
      return
    }
    const { config, channel } = membership
    if (!membership.rights.broadcast.write) {
      if (config.ack)
        this.#reply(push, 'error', { reason: `You do not have permissions to write to this Channel topic: ${channel.topic.slice('realtime:'.length)}` })
      return
    }
    const tooLarge = push.payload.length > LIMITS.realtimePayload.value
    const isJson = push.encoding === 'binary' || isJsonText(push.payload)
    if (!tooLarge && isJson) {
      const broadcast: Broadcast = { topic: push.topic, event: push.event, meta: null, encoding: push.encoding, payload: push.payload }
      this.#deps.channels.broadcast(channel, broadcast, config.self ? null : membership)
    }
    if (!config.ack) return
    if (tooLarge) this.#reply(push, 'error', { reason: 'payload_size_exceeded' })
    else if (!isJson) this.#reply(push, 'error', { reason: 'the payload is not JSON' })
    else this.#reply(push, 'ok', {})
  }

  #presence(membership: Membership, message: Message): void {
    if (!this.#deps.rates.messages.take()) {
      membership.system('system', 'error', 'Too many messages per second')
      this.#closeChannel(membership)
      return
    }
    const fault = this.#present(membership, message.payload)
    if (fault === null) this.#reply(message, 'ok', {})
    else this.#reply(message, 'error', { reason: fault })
  }

  /** @returns why it cannot be done */
  #present(membership: Membership, said: unknown): string | null {
    const { channels } = this.#deps
    const { event, payload = {} } = said as { event?: unknown; payload?: unknown }
    const kind = typeof event === 'string' ? event.toLowerCase() : ''
    if (kind === 'untrack') channels.untrack(membership.channel, membership)
    else if (kind !== 'track') return 'unknown presence event'
    else if (!membership.rights.presence.write) return 'You do not have permissions to track presence in this Channel'
    else {
      if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return 'Presence track payload must be a map'
      if (Buffer.byteLength(JSON.stringify(payload)) > LIMITS.realtimePresence.value) return 'payload_size_exceeded'
      channels.track(membership.channel, membership, membership.presenceKey, payload as Record<string, unknown>)
    }
    return null
  }

  #reply(to: Pick<Message, 'joinRef' | 'ref' | 'topic'>, status: 'ok' | 'error', response: unknown): void {
    this.sendMessage({ joinRef: to.joinRef, ref: to.ref, topic: to.topic, event: 'phx_reply', payload: { status, response } })
  }

  /** @returns false when it was not there any more */
  #forget(topic: string, joinRef: string | null): boolean {
    const membership = this.#joined.get(topic)
    if (!membership || membership.joinRef !== joinRef) return false
    membership.end()
    this.#joined.delete(topic)
    return true
  }

  #closeChannel(membership: Membership): void {
    const { topic } = membership.channel
    this.#forget(topic, membership.joinRef)
    this.sendMessage({ joinRef: membership.joinRef, ref: membership.joinRef, topic, event: 'phx_close', payload: {} })
  }
}

/** Who sees all rows is in every channel. */
const asksPolicies = (config: JoinConfig, principal: Principal): boolean => config.isPrivate && identityOf(principal).role !== 'service_role'

function refusalOfToken(error: unknown): string {
  if (!(error instanceof MayflyError)) return 'InitializingProjectConnection: the token could not be looked at'
  if (error.code === 'token_expired') return 'InvalidJWTToken: Token has expired'
  if (error.code === 'token_refused' || error.code === 'token_role_unknown') return `InvalidJWTToken: ${error.message}`
  return 'MalformedJWT: The token provided is not a valid JWT'
}

/** A broadcast that came as text. */
function asPush(message: Message): Push {
  const { event, payload = {} } = (message.payload ?? {}) as { event?: unknown; payload?: unknown }
  return { ...message, event: typeof event === 'string' ? event : '', encoding: 'json', payload: Buffer.from(JSON.stringify(payload)) }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })
/** It is put into the text of others as it stands: it has to be whole. */
function isJsonText(bytes: Buffer): boolean {
  try {
    JSON.parse(UTF8.decode(bytes))
    return true
  } catch {
    return false
  }
}

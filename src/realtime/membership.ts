import type { Principal } from '../core/principal.ts'
import { identityOf, type SqlIdentity } from '../core/session.ts'
import type { ChannelName, Member } from './channels.ts'
import type { ClientDeps, Subscriber, Subscription } from './client.ts'
import type { Message, Version } from './frames.ts'
import type { JoinConfig } from './join.ts'
import type { Rights } from './rights.ts'

/** No timer waits longer; what lasts longer is looked at again. */
const LONGEST_MS = 2 ** 31 - 1

/** What a membership needs of the connection that it belongs to. */
interface Connection {
  send(frame: string | Buffer): void
  sendMessage(message: Message): void
  /** Its token has ended. */
  lapse(membership: Membership): void
}

/** One client in one channel, as the user whom its token names, or the key of its socket. */
export class Membership implements Member {
  readonly #client: Connection
  readonly #deps: ClientDeps
  readonly #name: string
  readonly channel: ChannelName
  readonly joinRef: string | null
  readonly config: JoinConfig
  readonly presenceKey: string
  #subscription: Subscription | null = null
  #identity: SqlIdentity
  #rights: Rights
  #lapse: Disposable | null = null
  /** Raised with each token: what was begun for one before is over. */
  #turn = 0
  #ended = false

  constructor(
    client: Connection,
    deps: ClientDeps,
    of: {
      readonly channel: ChannelName
      readonly name: string
      readonly joinRef: string | null
      readonly config: JoinConfig
      readonly principal: Principal
      readonly rights: Rights
    },
  ) {
    this.#client = client
    this.#deps = deps
    this.#name = of.name
    this.channel = of.channel
    this.joinRef = of.joinRef
    this.config = of.config
    this.presenceKey = of.config.presenceKey || deps.newId()
    this.#identity = identityOf(of.principal)
    this.#rights = of.rights
    this.#watch(of.principal)
  }

  get version(): Version {
    return this.#deps.version
  }
  get wantsPresence(): boolean {
    return this.config.presence && this.#rights.presence.read
  }
  /** What it may do in its channel, as its user is now. */
  get rights(): Rights {
    return this.#rights
  }
  get turn(): number {
    return this.#turn
  }
  get ended(): boolean {
    return this.#ended
  }

  enter(): void {
    this.#deps.channels.join(this.channel, this)
  }

  /** @returns false when the client left meanwhile: then the subscription is ended */
  hold(subscription: Subscription, turn: number): boolean {
    if (this.#ended || turn !== this.#turn) subscription.end()
    else this.#subscription = subscription
    return !this.#ended
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#lapse?.[Symbol.dispose]()
    this.#subscription?.end()
    this.#deps.channels.leave(this.channel, this)
  }

  /** Who asks for the row changes of this channel, as its user is now. */
  subscriber(): Subscriber {
    const turn = this.#turn
    return {
      identity: this.#identity,
      asked: this.config.changes,
      change: (ids, data) => {
        if (turn === this.#turn) this.#change(ids, data)
      },
      system: (status, message) => {
        if (turn === this.#turn) this.system(status, message)
      },
    }
  }

  /** Another token of its user: row changes are told by the new one alone from the moment that it holds. */
  async become(principal: Principal, rights: Rights): Promise<void> {
    this.#watch(principal)
    this.#rights = rights
    const identity = identityOf(principal)
    if (JSON.stringify(identity) === JSON.stringify(this.#identity)) return
    this.#identity = identity
    if (this.config.changes.length === 0) return
    const turn = ++this.#turn
    this.#subscription?.end()
    this.#subscription = null
    const subscription = await this.#deps.subscribe(this.subscriber())
    if (this.hold(subscription, turn)) await subscription.live
  }

  #watch(principal: Principal): void {
    this.#lapse?.[Symbol.dispose]()
    this.#lapse = null
    if (principal.kind !== 'user' || this.#ended) return
    const leftMs = principal.expiresAtMs - this.#deps.clock.now()
    this.#lapse = this.#deps.clock.timer(Math.max(0, Math.min(leftMs, LONGEST_MS)), () => {
      if (leftMs > LONGEST_MS) this.#watch(principal)
      else this.#client.lapse(this)
    })
  }

  send(frame: string | Buffer): void {
    if (!this.#ended) this.#client.send(frame)
  }

  sendEvent(event: string, payload: unknown): void {
    if (!this.#ended) this.#client.sendMessage({ joinRef: null, ref: null, topic: this.channel.topic, event, payload })
  }

  #change(ids: readonly number[], data: string): void {
    const payload = `{"ids":[${ids.join(',')}],"data":${data}}`
    const topic = JSON.stringify(this.channel.topic)
    this.send(
      this.version === '2.0.0'
        ? `[null,null,${topic},"postgres_changes",${payload}]`
        : `{"topic":${topic},"event":"postgres_changes","payload":${payload},"ref":null,"join_ref":null}`,
    )
  }

  system(status: 'ok' | 'error', message: string): void
  system(extension: 'system' | 'postgres_changes', status: 'ok' | 'error', message: string): void
  system(...said: [string, string] | [string, string, string]): void {
    const [extension, status, message] = said.length === 3 ? said : (['postgres_changes', ...said] as const)
    this.sendEvent('system', { extension, status, message, channel: this.#name })
  }
}

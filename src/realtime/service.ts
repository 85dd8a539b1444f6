import type { Databases } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Principal } from '../core/principal.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Socket, UpgradeContext } from '../core/route.ts'
import { identityOf } from '../core/session.ts'
import type { Clock } from '../lib/clock.ts'
import { ChangeFeed } from './changes/feed.ts'
import { Channels } from './channels.ts'
import type { SharedRates } from './client.ts'
import type { RealtimeConfig } from './config.ts'
import type { Heard } from './heard.ts'
import type { Said } from './notices.ts'
import { Rate } from './rate.ts'
import { rightsIn, writableOf } from './rights.ts'
import { Client } from './socket.ts'

export interface RealtimeDeps {
  readonly databases: Databases
  readonly config: RealtimeConfig
  /** Whom a token speaks for in a project. @throws MayflyError token_invalid, token_expired, token_refused */
  readonly verifyToken: (project: ProjectRef, token: string) => Promise<Principal>
  /** Begins to hear what SQL says in the channels of a project. */
  readonly hear: (project: string, take: (said: Said) => void) => Pick<Heard, 'ready' | typeof Symbol.asyncDispose>
  readonly newId: () => string
  readonly clock: Clock
  readonly log: Log
}

/** What of one project is connected here. */
interface Connected {
  readonly clients: Set<Client>
  readonly rates: SharedRates
  /** Of its own, so that no row of somebody's closes the channels of clients. Told once until there is room again. */
  readonly said: { readonly rate: Rate; isPastIt: boolean }
  /** From the first client on, and for a while after the last. */
  heard: ReturnType<RealtimeDeps['hear']> | null
  resting: Disposable | null
}

export interface RealtimeNumbers {
  readonly sockets: number
  readonly channels: number
  readonly received: number
  readonly delivered: number
  readonly cut: number
}

const GOING_AWAY = 1001

/** The sockets of all projects on this node, and what goes between them. */
export class Realtime implements AsyncDisposable {
  readonly #deps: RealtimeDeps
  readonly #channels = new Channels()
  readonly #projects = new Map<string, Connected>()
  readonly #feeds = new Map<string, ChangeFeed>()
  #received = 0
  #cut = 0

  constructor(deps: RealtimeDeps) {
    this.#deps = deps
  }

  /** @throws MayflyError too_many_sockets; not_allowed for a function without a role */
  admit({ principal, project }: UpgradeContext): void {
    identityOf(principal)
    const open = this.#projects.get(project.ref)?.clients.size ?? 0
    if (open >= this.#deps.config.sockets) throw new MayflyError('too_many_sockets', 'Too many connected users')
  }

  accept({ principal, project, query }: UpgradeContext, socket: Socket): void {
    const { clock, log, newId } = this.#deps
    const connected = this.#of(project.ref)
    connected.resting?.[Symbol.dispose]()
    connected.heard ??= this.#deps.hear(project.ref, (said) => this.#hear(project.ref, connected, said))
    const client = new Client(
      {
        project: project.ref,
        principal,
        verify: (token) => this.#deps.verifyToken(project.ref, token),
        version: query.get('vsn') === '2.0.0' ? '2.0.0' : '1.0.0',
        channels: this.#channels,
        rates: connected.rates,
        subscribe: (subscriber) => this.#feedOf(project.ref).subscribe(subscriber),
        rightsIn: (identity, topic) => rightsIn(this.#deps.databases, project.ref, identity, topic),
        heard: () => connected.heard?.ready ?? null,
        newId,
        clock,
        log,
        onReceived: () => void this.#received++,
        onCut: () => void this.#cut++,
      },
      socket,
    )
    connected.clients.add(client)
    socket.onClose(() => {
      connected.clients.delete(client)
      if (connected.clients.size > 0 || this.#projects.get(project.ref) !== connected) return
      connected.resting = clock.timer(LIMITS.realtimeIdleSlot.value, () => {
        const { heard } = connected
        connected.heard = null
        void heard?.[Symbol.asyncDispose]()
      })
    })
  }

  /**
   * Hands broadcasts from outside of any socket to the members of their channels: all of them or, when it throws, none.
   * @throws MayflyError too_many_messages
   */
  publish(project: string, all: readonly Said[]): void {
    if (all.length > this.#deps.config.messages)
      throw new MayflyError(
        'too_many_messages',
        `Too many messages to broadcast, please reduce the batch size: ${this.#deps.config.messages} a second are taken`,
      )
    if (!this.#of(project).rates.messages.take(all.length)) throw new MayflyError('too_many_messages', 'Too many messages per second')
    this.#received += all.length
    for (const one of all) this.#tell(project, one)
  }

  /** What SQL says: whoever made its transaction cannot be refused any more. */
  #hear(project: string, { said }: Connected, message: Said): void {
    if (!said.rate.take()) {
      if (!said.isPastIt)
        this.#deps.log.warn({ project, perSecond: this.#deps.config.messages }, 'SQL says more in channels than a second takes: the rest is lost')
      said.isPastIt = true
      return
    }
    said.isPastIt = false
    this.#received++
    this.#tell(project, message)
  }

  #tell(project: string, { isPrivate, broadcast }: Said): void {
    this.#channels.broadcast({ project, topic: broadcast.topic, isPrivate }, broadcast, null)
  }

  /**
   * Of these private channels those that somebody may send to. Each that has to be asked for counts as a join.
   * @throws MayflyError too_many_joins; key_missing for who is nobody, whatever the channels
   */
  async writableOf(project: ProjectRef, principal: Principal, topics: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    const identity = identityOf(principal)
    if (identity.role === 'service_role' || topics.size === 0) return topics
    if (!this.#of(project).rates.joins.take(topics.size)) throw new MayflyError('too_many_joins', 'Too many private channels per second')
    return await writableOf(this.#deps.databases, project, identity, [...topics])
  }

  get numbers(): RealtimeNumbers {
    let sockets = 0
    for (const { clients } of this.#projects.values()) sockets += clients.size
    return { sockets, channels: this.#channels.members, received: this.#received, delivered: this.#channels.delivered, cut: this.#cut }
  }

  /** How many sockets a project has. */
  connectedTo(ref: string): number {
    return this.#projects.get(ref)?.clients.size ?? 0
  }

  /** A project goes, or rests: nobody is connected to it any more. */
  async dropProject(ref: string, why = 'the project is gone'): Promise<void> {
    const connected = this.#projects.get(ref)
    this.#projects.delete(ref)
    connected?.resting?.[Symbol.dispose]()
    for (const client of connected?.clients ?? []) client.close(GOING_AWAY, why)
    await connected?.heard?.[Symbol.asyncDispose]()
    const feed = this.#feeds.get(ref)
    this.#feeds.delete(ref)
    await feed?.[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const ref of new Set([...this.#projects.keys(), ...this.#feeds.keys()])) await this.dropProject(ref)
  }

  #feedOf(ref: string): ChangeFeed {
    const { databases, newId, clock, log } = this.#deps
    let feed = this.#feeds.get(ref)
    if (!feed) {
      feed = new ChangeFeed({ project: ref, databases, newId, clock, log, onCut: () => void this.#cut++ })
      this.#feeds.set(ref, feed)
    }
    return feed
  }

  #of(ref: string): Connected {
    const { clock, config } = this.#deps
    let connected = this.#projects.get(ref)
    if (!connected) {
      connected = {
        heard: null,
        resting: null,
        clients: new Set(),
        rates: { joins: new Rate(clock, config.joins), messages: new Rate(clock, config.messages) },
        said: { rate: new Rate(clock, config.messages), isPastIt: false },
      }
      this.#projects.set(ref, connected)
    }
    return connected
  }
}

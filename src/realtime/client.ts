import type { Log } from '../core/log.ts'
import type { Principal } from '../core/principal.ts'
import type { SqlIdentity } from '../core/session.ts'
import type { Clock } from '../lib/clock.ts'
import type { Channels } from './channels.ts'
import type { Version } from './frames.ts'
import type { Asked } from './join.ts'
import type { Rate } from './rate.ts'
import type { Rights } from './rights.ts'

/** Who wants the row changes of a project. */
export interface Subscriber {
  readonly identity: SqlIdentity
  readonly asked: readonly Asked[]
  /** @param data  the change as JSON */
  change(ids: readonly number[], data: string): void
  system(status: 'ok' | 'error', message: string): void
}
export interface Subscription {
  /** Resolves when changes are delivered from now on. */
  readonly live: Promise<void>
  end(): void
}

/** What the sockets of one project share. */
export interface SharedRates {
  readonly joins: Rate
  readonly messages: Rate
}

export interface ClientDeps {
  readonly project: string
  /** Whom the key of the socket speaks for. */
  readonly principal: Principal
  /** Whom a token speaks for. @throws MayflyError token_invalid, token_expired, token_refused */
  readonly verify: (token: string) => Promise<Principal>
  readonly version: Version
  readonly channels: Channels
  readonly rates: SharedRates
  /** @throws MayflyError realtime_unavailable when the database cannot stream changes */
  readonly subscribe: (subscriber: Subscriber) => Promise<Subscription>
  /** What somebody may do in a private channel; null when nothing. @throws DatabaseError when the database is away */
  readonly rightsIn: (identity: SqlIdentity, topic: string) => Promise<Rights | null>
  /** While what SQL says in channels is about to be heard; null when that is so, or is tried again later. */
  readonly heard: () => Promise<void> | null
  readonly newId: () => string
  readonly clock: Clock
  readonly log: Log
  readonly onReceived: () => void
  readonly onCut: () => void
}

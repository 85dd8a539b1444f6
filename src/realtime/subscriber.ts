import type { SqlIdentity } from '../core/session.ts'
import type { Asked } from './join.ts'

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

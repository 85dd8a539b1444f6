import { type Database, DatabaseError, type Databases } from '../../backends/database/database.ts'
import { Replication } from '../../backends/database/replication.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Log } from '../../core/log.ts'
import { asIdentity, type SqlIdentity } from '../../core/session.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Asked } from '../join.ts'
import type { Subscriber, Subscription } from '../client.ts'
import { PUBLICATION, selectAbility, selectCanonical, selectPublished, selectRights } from '../store.ts'
import { type Binding, deliver, type Registered, type Registry, TooFarBehind } from './delivery.ts'
import { type Bound, FilterError, parseFilter } from './filter.ts'
import { type Change, Decoder, type Relation } from './pgoutput.ts'
import { Tables } from './tables.ts'

export interface FeedDeps {
  readonly project: string
  readonly databases: Databases
  readonly newId: () => string
  readonly clock: Clock
  readonly log: Log
  /** A reader was too far behind and lost changes. */
  readonly onCut: () => void
}

interface Queued {
  readonly change: Change
  readonly bytes: number
  /** How long after its commit the server sent it, by the server's own clock. */
  readonly sentAfterMs: number
  readonly receivedAt: number
}

const BATCH = 500
const FIRST_RETRY_MS = 250
const LAST_RETRY_MS = 10_000

/**
 * The row changes of one project: a replication slot that is there while somebody listens and a minute longer, and
 * for every change the question to PostgreSQL, who may see it.
 */
export class ChangeFeed implements Registry, AsyncDisposable {
  readonly #deps: FeedDeps
  readonly #registered = new Map<Subscriber, Registered>()
  /** Who asked for a table, by `schema.table`, either of which may be `*`. */
  readonly #byTable = new Map<string, Set<Registered>>()
  #bindings = 0
  #tables: Tables | null = null
  #running: { readonly stop: AbortController; readonly done: Promise<void> } | null = null
  #closing: Disposable | null = null
  #live = Promise.withResolvers<void>()
  #disposed = false

  constructor(deps: FeedDeps) {
    this.#deps = deps
  }

  /** Is there a slot, or an attempt at one? */
  get open(): boolean {
    return this.#running !== null
  }

  /** @throws MayflyError realtime_unavailable; DatabaseError when the database is away */
  async subscribe(subscriber: Subscriber): Promise<Subscription> {
    const { databases, project } = this.#deps
    const database = await databases.openProject(project)
    await this.#requireAbility(database)
    if (this.#disposed) throw new MayflyError('realtime_unavailable', 'the project is gone')
    if (this.#bindings + subscriber.asked.length > LIMITS.realtimeSubscriptions.value)
      throw new MayflyError('too_many_channels', 'Too many subscriptions to row changes in this project')
    this.#bindings += subscriber.asked.length
    this.#tables ??= new Tables(database.sql)
    let ended = false
    const begin = async () => {
      const bindings = await this.#bind(subscriber)
      if (ended || this.#disposed) return
      this.#register({ subscriber, who: JSON.stringify(subscriber.identity), bindings })
      this.#start()
      await this.#live.promise
    }
    const live = begin()
    live.catch(() => {})
    return {
      live,
      end: () => {
        if (ended) return
        ended = true
        this.#bindings -= subscriber.asked.length
        this.#forget(subscriber)
        if (this.#registered.size === 0) this.#closeLater()
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#registered.clear()
    this.#byTable.clear()
    await this.#stop()
  }

  #register(registered: Registered): void {
    this.#registered.set(registered.subscriber, registered)
    for (const { asked } of registered.bindings) {
      const name = nameOf(asked.schema, asked.table)
      this.#byTable.set(name, (this.#byTable.get(name) ?? new Set()).add(registered))
    }
  }

  #forget(subscriber: Subscriber): void {
    const registered = this.#registered.get(subscriber)
    this.#registered.delete(subscriber)
    for (const { asked } of registered?.bindings ?? []) {
      const name = nameOf(asked.schema, asked.table)
      const those = this.#byTable.get(name)
      if (registered) those?.delete(registered)
      if (those?.size === 0) this.#byTable.delete(name)
    }
  }

  /** Whoever asked for this table, each once. */
  interestedIn({ schema, name }: Relation): ReadonlySet<Registered> {
    const found = new Set<Registered>()
    for (const one of [nameOf(schema, name), nameOf(schema, '*'), nameOf('*', name), nameOf('*', '*')])
      for (const registered of this.#byTable.get(one) ?? []) found.add(registered)
    return found
  }

  /** Does it still ask for changes? */
  has(registered: Registered): boolean {
    return this.#registered.get(registered.subscriber) === registered
  }

  async #requireAbility(database: Database): Promise<void> {
    const [able] = await selectAbility(database.sql)
    if (able?.walLevel !== 'logical')
      throw new MayflyError('realtime_unavailable', `row changes cannot be streamed: wal_level of PostgreSQL is ${able?.walLevel}, not logical`)
    if (!able.mayReplicate) throw new MayflyError('realtime_unavailable', 'row changes cannot be streamed: the role of --database-url lacks REPLICATION')
    if (!able.published) throw new MayflyError('realtime_unavailable', `row changes cannot be streamed: there is no publication ${PUBLICATION}`)
  }

  /** @throws MayflyError bad_request for what cannot be subscribed to */
  async #bind(subscriber: Subscriber): Promise<Binding[]> {
    const { databases, project } = this.#deps
    const roles = await databases.openRoles(project)
    const bindings: Binding[] = []
    for (const asked of subscriber.asked) {
      try {
        bindings.push({ asked, conditions: await this.#conditions(roles, subscriber.identity, asked) })
      } catch (error) {
        const why = error instanceof FilterError ? error.message : error instanceof DatabaseError && /^22/.test(error.sqlState) ? error.message : null
        if (why === null) throw error
        const { event, schema, table, filter } = asked
        throw new MayflyError(
          'bad_request',
          `Unable to subscribe to changes with given parameters. ${why}: [event: ${event}, schema: ${schema}, table: ${table}, filter: ${filter ?? ''}]`,
        )
      }
    }
    return bindings
  }

  async #conditions(roles: Database, identity: SqlIdentity, asked: Asked): Promise<Bound[]> {
    const everyTable = asked.table === '*' || asked.schema === '*'
    if (everyTable) {
      if (asked.filter !== null) throw new FilterError('a filter needs a table')
      return []
    }
    const database = await this.#deps.databases.openProject(this.#deps.project)
    const columns = await selectPublished(database.sql, asked.schema, asked.table)
    const [first] = columns
    if (!first) throw new FilterError(`the table is not in the publication ${PUBLICATION}`)
    if (asked.filter === null) return []
    const parsed = parseFilter(asked.filter)
    const types = await (this.#tables as Tables).types(columns.map(({ typeOid }) => typeOid))
    return await asIdentity(roles, identity, async (tx) => {
      const [rights] = await selectRights(tx, first.oid)
      const bound: Bound[] = []
      for (const condition of parsed) {
        const type = types.get(columns.find(({ column }) => column === condition.column)?.typeOid ?? 0)
        // A column that may not be read is as unknown as one that is not there.
        if (!type || !rights?.columns.includes(condition.column)) throw new FilterError(`the column ${condition.column} is not known`)
        const asWritten = ['is', 'like', 'ilike'].includes(condition.operator)
        const values = asWritten ? condition.values : (await selectCanonical(tx, type.sql, condition.values)).map(({ text }) => text)
        bound.push({ ...condition, values, type })
      }
      return bound
    })
  }

  #start(): void {
    this.#closing?.[Symbol.dispose]()
    this.#closing = null
    if (this.#running) return
    const stop = new AbortController()
    this.#running = { stop, done: this.#run(stop.signal) }
  }

  #closeLater(): void {
    if (!this.#running || this.#closing) return
    this.#closing = this.#deps.clock.timer(LIMITS.realtimeIdleSlot.value, () => {
      this.#closing = null
      if (this.#registered.size === 0) void this.#stop()
    })
  }

  async #stop(): Promise<void> {
    this.#closing?.[Symbol.dispose]()
    this.#closing = null
    const running = this.#running
    this.#running = null
    if (!running) return
    running.stop.abort()
    this.#live = Promise.withResolvers()
    await running.done
  }

  /** Streams, and begins again with a gap when the stream is lost. */
  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log, project } = this.#deps
    let pause = FIRST_RETRY_MS
    for (let first = true; !signal.aborted; first = false) {
      const from = clock.monotonic()
      let said = false
      try {
        await this.#stream(signal, () => {
          said = true
          this.#live.resolve()
          if (!first) this.#tell('ok', 'Subscribed to PostgreSQL')
        })
      } catch (error) {
        if (signal.aborted) return
        const why = error instanceof Error ? error.message : String(error)
        log.warn({ project, error: why }, 'the stream of row changes ended; it begins again')
        if (said) {
          this.#live = Promise.withResolvers()
          this.#tell(
            'error',
            error instanceof TooFarBehind ? `Changes were lost: ${why}` : 'Changes may have been lost: the connection to the database broke off',
          )
        }
        if (error instanceof TooFarBehind) this.#deps.onCut()
      }
      if (clock.monotonic() - from > LAST_RETRY_MS) pause = FIRST_RETRY_MS
      await clock.sleep(pause, signal).catch(() => {})
      pause = Math.min(pause * 2, LAST_RETRY_MS)
    }
  }

  #tell(status: 'ok' | 'error', message: string): void {
    for (const { subscriber } of this.#registered.values()) subscriber.system(status, message)
  }

  /** Ends by an error, also when it is stopped. */
  async #stream(signal: AbortSignal, onLive: () => void): Promise<never> {
    const { databases, project, clock, newId } = this.#deps
    const connection = await databases.projectConnection(project)
    const decoder = new Decoder((relation) => this.interestedIn(relation).size > 0)
    const ended = Promise.withResolvers<never>()
    ended.promise.catch(() => {})
    const onAbort = () => ended.reject(new Error('the feed is closed'))
    signal.addEventListener('abort', onAbort)
    const queue: Queued[] = []
    let queuedBytes = 0
    let working = false
    let replication: Replication | null = null
    const isLate = ({ sentAfterMs, receivedAt }: Queued) => sentAfterMs + clock.monotonic() - receivedAt > LIMITS.realtimeLag.value
    const work = async () => {
      working = true
      while (queue.length > 0 && !signal.aborted) {
        const batch = queue.splice(0, BATCH)
        const [head] = batch as [Queued]
        if (isLate(head)) throw new TooFarBehind()
        const changes = batch.map(({ change }) => change)
        await deliver({ databases, project, clock, tables: this.#tables as Tables, isLate: () => isLate(head), registry: this }, changes, signal)
        for (const { bytes } of batch) queuedBytes -= bytes
        if (queuedBytes < LIMITS.realtimeChangeBuffer.value / 2) replication?.resume()
      }
      working = false
    }
    try {
      replication = await Replication.open(
        connection,
        {
          slot: `mayfly_${newId().replaceAll('-', '')}`,
          publication: PUBLICATION,
          clock,
          onMessage: (message, sentAt) => {
            const change = decoder.read(message)
            if (!change) return
            queue.push({ change, bytes: message.length, sentAfterMs: sentAt - change.committedAt, receivedAt: clock.monotonic() })
            queuedBytes += message.length
            if (queuedBytes > LIMITS.realtimeChangeBuffer.value) replication?.pause()
            if (!working) work().catch((error: unknown) => ended.reject(error))
          },
          onEnd: (error) => ended.reject(error),
        },
        signal,
      )
      onLive()
      return await ended.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      // A queue that is still being worked on finds nothing more.
      queue.length = 0
      await replication?.[Symbol.asyncDispose]()
    }
  }
}

const nameOf = (schema: string, table: string) => JSON.stringify([schema, table])

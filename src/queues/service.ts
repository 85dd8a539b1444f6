import type { Database, Tx } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import type { QueueSpec } from '../core/queue-spec.ts'
import type { Clock } from '../lib/clock.ts'
import { GroupCommit } from '../lib/group-commit.ts'
import { Known } from './known.ts'
import { type Message, newMessage, type Outgoing, receivedMessage, ROW_BYTES, type Sent } from './message.ts'
import { Moves } from './moves.ts'
import { heldBy } from './receipt.ts'
import { DEFAULTS, differencesOf, isQueueName, type QueueSettings } from './settings.ts'
import {
  changeVisibility,
  copyQueues,
  deleteMessages,
  deleteQueue,
  type Depth,
  type Held,
  insertMessages,
  insertQueue,
  type NewMessage,
  type Peeked,
  type QueueRow,
  receiveMessages,
  selectHidden,
  selectMessages,
  selectNextVisible,
  selectQueues,
  unreceive,
  updateQueue,
} from './store.ts'
import { Stored } from './stored.ts'
import { Sweep } from './sweep.ts'

export type { Message, Outgoing, Sent } from './message.ts'

const GROUP = 500
/** What a bell did not tell of is found by looking. */
const LOOK_MS = 1_000

export type QueueInfo = QueueRow

export interface QueuesDeps {
  readonly database: Database
  /** @throws MayflyError storage_full */
  readonly admitSpace: () => void
  readonly projectBytes: number
  readonly mostQueues: number
  readonly newId: () => string
  readonly crash: Crash
  readonly clock: Clock
  readonly log: Log
}

interface Sending {
  readonly message: NewMessage
  stored: boolean
}

/**
 * The queues of projects. A message that was taken is on disk before its sender hears of it; it is received at least
 * once, until whoever received it last says that he is done, it is given up to a dead-letter queue, or its time is over.
 * The one process that has this room is the only one that changes queues: so what it knows of them is all there is.
 */
export class Queues implements AsyncDisposable {
  readonly #deps: QueuesDeps
  readonly #known = new Known()
  readonly #stored = new Stored()
  readonly #send: GroupCommit<Sending>
  readonly #done: GroupCommit<Held>
  readonly #stop = new AbortController()
  readonly moves: Moves
  readonly #sweep: Sweep

  constructor(deps: QueuesDeps) {
    this.#deps = deps
    this.#send = new GroupCommit(GROUP, async (sendings) => {
      const stored = new Set(
        (
          await insertMessages(
            deps.database.sql,
            sendings.map(({ message }) => message),
          )
        ).map(({ id }) => id),
      )
      for (const sending of sendings) sending.stored = stored.has(sending.message.id)
      deps.crash('afterSendCommit')
    })
    this.#done = new GroupCommit(GROUP, async (held) => {
      for (const { queueId, bytes } of await deleteMessages(deps.database.sql, held).catch((error: unknown) => this.#doubt(error)))
        this.#count(queueId, -1, -bytes)
      deps.crash('afterDeleteCommit')
    })
    this.moves = new Moves({
      ...deps,
      queueOf: (id) => this.#known.byId(id),
      arrived: (sourceId, moved) => this.#moved(sourceId, moved),
      stop: this.#stop.signal,
    })
    this.#sweep = new Sweep({ ...deps, known: this.#known, stored: this.#stored, stop: this.#stop.signal })
  }

  async start(): Promise<void> {
    for (const row of await selectQueues(this.#deps.database.sql)) this.#known.keep(row)
    await this.#sweep.start()
    await this.moves.start()
  }

  /** @throws MayflyError queue_not_found */
  get(project: ProjectRef, name: string): QueueInfo {
    const found = this.#known.find(project, name)
    if (!found) throw new MayflyError('queue_not_found', `there is no queue ${JSON.stringify(String(name).slice(0, 100))} in this project`)
    return found
  }

  find(project: ProjectRef, name: string): QueueInfo | null {
    return this.#known.find(project, name)
  }

  /** By name. */
  list(project: ProjectRef): readonly QueueInfo[] {
    return this.#known.list(project)
  }

  /** The one there is, when it is said in the same words. @throws MayflyError bad_request, queue_exists, queues_full, project_not_found */
  async create(project: ProjectRef, name: string, settings: QueueSettings, tags: Readonly<Record<string, string>> = {}): Promise<QueueInfo> {
    if (!isQueueName(name)) throw new MayflyError('bad_request', 'the name of a queue is 1 to 80 letters, digits, `-` and `_`')
    const before = this.find(project, name)
    if (before) return sameAs(before, settings)
    this.#deps.admitSpace()
    if (this.#known.countOf(project) >= this.#deps.mostQueues) throw new MayflyError('queues_full', `a project has at most ${this.#deps.mostQueues} queues`)
    this.#checkDead(project, name, settings)
    const [row] = await insertQueue(this.#deps.database.sql, this.#deps.newId(), project, name, settings, tags)
    if (!row) {
      const other = this.find(project, name)
      if (other) return sameAs(other, settings)
      throw new MayflyError('project_not_found', `there is no project ${project}`)
    }
    this.#known.keep(row)
    return row
  }

  /** Makes it, or makes the one there is equal to this. @throws MayflyError bad_request, queue_not_found, queues_full, project_not_found */
  async ensure(project: ProjectRef, name: string, spec: QueueSpec): Promise<{ queue: QueueInfo; changed: boolean }> {
    const before = this.find(project, name)
    if (!before) return { queue: await this.create(project, name, spec as QueueSettings), changed: true }
    if (differencesOf(before.settings, spec).length === 0) return { queue: before, changed: false }
    const { deadLetterOf } = before.settings
    await this.change(before, { ...(spec as QueueSettings), ...(deadLetterOf === undefined ? {} : { deadLetterOf }) })
    return { queue: this.get(project, name), changed: true }
  }

  /** @throws MayflyError queue_not_found, bad_request */
  async change(queue: QueueInfo, settings: QueueSettings, tags = queue.tags): Promise<void> {
    this.#checkDead(queue.project, queue.name, settings)
    const [changed] = await updateQueue(this.#deps.database.sql, queue.id, settings, tags)
    if (!changed) throw new MayflyError('queue_not_found', `there is no queue ${queue.name} in this project`)
    this.#known.keep({ ...queue, settings, tags, modifiedAt: changed.modifiedAt })
    this.#known.ring(queue.id)
  }

  /** With all that is in it, as SQS does; or only when nothing is. @throws MayflyError queue_not_empty */
  async remove(queue: QueueInfo, { evenFull = true } = {}): Promise<void> {
    const [gone] = await deleteQueue(this.#deps.database.sql, queue.id, evenFull)
    if (!gone && !evenFull) throw new MayflyError('queue_not_empty', `the queue ${queue.name} has messages`)
    this.#known.forget(queue)
    await this.#sweep.empty(queue)
    this.#stored.forget(queue.id)
    // What was on its way meanwhile is found by the next count.
    this.#stored.doubt()
  }

  /** All that was sent by now goes. */
  async purge(queue: QueueInfo): Promise<void> {
    await this.#sweep.empty(queue)
  }

  /** Whatever is in it, little of it is read. */
  async depth(queue: QueueInfo): Promise<Depth> {
    const hidden = await selectHidden(this.#deps.database.sql, queue.id)
    const { messages, bytes } = this.#stored.of(queue.id)
    return { ...hidden, visible: Math.max(0, messages - hidden.inFlight - hidden.delayed), bytes }
  }

  async isEmpty(queue: QueueInfo): Promise<boolean> {
    return (await selectNextVisible(this.#deps.database.sql, queue.id)).length === 0
  }

  /** The first, untouched, each with the beginning of its body. */
  peek(queue: QueueInfo, limit: number): Promise<Peeked[]> {
    return selectMessages(this.#deps.database.sql, queue.id, limit, LIMITS.shownPayload.value)
  }

  /**
   * Resolves when they are on disk.
   * @returns the id of each, or why it was not taken
   * @throws MayflyError queue_storage_full, storage_full
   */
  async send(queue: QueueInfo, messages: readonly Outgoing[]): Promise<string[]> {
    const bytes = messages.reduce((sum, one) => sum + one.bytes + ROW_BYTES, 0)
    this.#admit(queue, bytes)
    const counted = this.#stored.sending({ id: queue.id, project: queue.project, messages: messages.length, bytes })
    const sendings = messages.map((one): Sending => ({ message: newMessage(this.#deps.newId(), queue, one), stored: false }))
    try {
      await Promise.all(sendings.map((sending) => this.#send.add(sending)))
      counted.over(true)
    } catch (error) {
      counted.over(false)
      throw this.#doubted(error)
    }
    if (sendings.some(({ stored }) => !stored)) throw new MayflyError('queue_not_found', `the queue ${queue.name} was removed meanwhile`)
    this.#known.ring(queue.id)
    return sendings.map(({ message }) => message.id)
  }

  /**
   * Puts one into a transaction of somebody else's; it can be received when that has committed.
   * @throws MayflyError payload_too_large, queue_storage_full, storage_full, queue_not_found; nothing is written then
   */
  async sendIn(tx: Tx, queue: QueueInfo, one: Outgoing): Promise<Sent> {
    const most = queue.settings.maxMessageBytes ?? DEFAULTS.maxMessageBytes
    if (one.bytes > most) throw new MayflyError('payload_too_large', `the message has ${one.bytes} bytes; the queue ${queue.name} takes ${most}`)
    const message = newMessage(this.#deps.newId(), queue, one)
    this.#admit(queue, message.bytes)
    if ((await insertMessages(tx, [message])).length === 0) throw new MayflyError('queue_not_found', `the queue ${queue.name} was removed meanwhile`)
    return {
      id: message.id,
      committed: () => {
        this.#count(queue.id, 1, message.bytes)
        this.#known.ring(queue.id)
      },
    }
  }

  /** What is there, or what comes within `waitMs`; nothing when nobody waits for it any more. */
  async receive(
    queue: QueueInfo,
    asked: { readonly most: number; readonly visibilitySeconds?: number | undefined; readonly waitMs: number },
    signal: AbortSignal,
  ): Promise<Message[]> {
    const { clock, database, crash } = this.#deps
    const until = clock.monotonic() + asked.waitMs
    const given = AbortSignal.any([signal, this.#stop.signal])
    for (;;) {
      if (given.aborted) return []
      const now = this.#known.byId(queue.id)
      if (!now) return []
      const rung = new AbortController()
      const bell = this.#known.bell(queue.id).wait(clock, LOOK_MS, AbortSignal.any([given, rung.signal]))
      try {
        const deadTo = this.#deadOf(now)
        const rows = await receiveMessages(database.sql, {
          queueId: queue.id,
          most: asked.most,
          visibilitySeconds: asked.visibilitySeconds ?? now.settings.visibilitySeconds ?? DEFAULTS.visibilitySeconds,
          retentionSeconds: now.settings.retentionSeconds ?? DEFAULTS.retentionSeconds,
          dead: deadTo,
        })
        const { dead = 0, deadBytes = 0 } = rows[0] ?? {}
        const deadId = deadTo?.queueId
        if (dead > 0 && deadId !== undefined) {
          this.#count(queue.id, -dead, -deadBytes)
          this.#count(deadId, dead, deadBytes)
          this.#known.ring(deadId)
        }
        const messages = rows.flatMap((row) => (row.id === null ? [] : [receivedMessage(queue.id, { ...row, id: row.id }, this.#nameOf(row.sourceId))]))
        if (messages.length > 0) {
          crash('afterReceiveCommit')
          return messages
        }
        if (dead > 0) continue
        const left = until - clock.monotonic()
        if (left <= 0) return []
        const next = (await selectNextVisible(database.sql, queue.id))[0]?.ms ?? LOOK_MS
        using _soon = clock.timer(Math.max(1, Math.min(left, next > 0 ? next : LOOK_MS, LOOK_MS)), () => rung.abort())
        await bell
      } finally {
        rung.abort()
      }
    }
  }

  /** Resolves when that is on disk. @throws MayflyError receipt_invalid */
  async done(queue: QueueInfo, receipt: string): Promise<void> {
    await this.#done.add(this.#held(queue, receipt))
  }

  /** Seen again after so many seconds, 0 for at once. @throws MayflyError receipt_invalid, message_not_in_flight */
  async hide(queue: QueueInfo, receipt: string, seconds: number): Promise<void> {
    const [found] = await changeVisibility(this.#deps.database.sql, this.#held(queue, receipt), seconds)
    if (!found?.inFlight) throw new MayflyError('message_not_in_flight', 'the message is not held by this receipt any more')
    if (seconds === 0) this.#known.ring(queue.id)
  }

  /** Seen again at once, as if they had not been received. What another has received by now stays his. */
  async giveBack(queue: QueueInfo, receipts: readonly string[]): Promise<void> {
    await unreceive(
      this.#deps.database.sql,
      receipts.map((receipt) => this.#held(queue, receipt)),
    )
    this.#known.ring(queue.id)
  }

  /** A copy of a project has its queues; the messages stay whose they are. */
  async cloneProject(from: ProjectRef, to: ProjectRef): Promise<void> {
    const { sql } = this.#deps.database
    await copyQueues(sql, from, to)
    for (const row of await selectQueues(sql)) if (row.project === to) this.#known.keep(row)
  }

  /** A project goes; its rows went with it. */
  async dropProject(project: ProjectRef): Promise<void> {
    for (const queue of this.list(project)) await this.remove(queue)
    this.#known.forgetProject(project)
    this.#stored.forgetProject(project)
  }

  /** The queues that give up messages to this one. */
  sourcesOf(queue: QueueInfo): readonly QueueInfo[] {
    return this.list(queue.project as ProjectRef).filter((one) => one.settings.deadLetter?.queue === queue.name)
  }

  byId(id: string): QueueInfo | null {
    return this.#known.byId(id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new MayflyError('shutting_down', 'the node is stopping'))
    await Promise.allSettled([this.#sweep[Symbol.asyncDispose](), this.#send.settled(), this.#done.settled(), this.moves.settled()])
  }

  /** @throws MayflyError queue_storage_full, storage_full */
  #admit({ project }: QueueInfo, bytes: number): void {
    this.#deps.admitSpace()
    if (this.#stored.bytesOf(project) + bytes > this.#deps.projectBytes)
      throw new MayflyError('queue_storage_full', `the messages of a project may take ${this.#deps.projectBytes} bytes`)
  }

  #held(queue: QueueInfo, receipt: string): Held {
    const held = heldBy(receipt)
    if (held?.queueId !== queue.id) throw new MayflyError('receipt_invalid', 'this is no receipt of a message of this queue')
    return held
  }

  #deadOf(queue: QueueInfo): { queueId: string; maxReceives: number } | null {
    const { deadLetter } = queue.settings
    const to = deadLetter && this.#known.find(queue.project, deadLetter.queue)
    return deadLetter && to ? { queueId: to.id, maxReceives: deadLetter.maxReceives } : null
  }

  #checkDead(project: string, name: string, { deadLetter }: QueueSettings): void {
    if (!deadLetter) return
    const target = this.#known.find(project, deadLetter.queue)
    if (!target) throw new MayflyError('queue_not_found', `the dead-letter queue ${deadLetter.queue} does not exist`)
    const { deadLetterOf } = target.settings
    if (target.name === name) throw new MayflyError('bad_request', 'a queue cannot be its own dead-letter queue')
    if (deadLetterOf === 'none' || (deadLetterOf && !deadLetterOf.includes(name)))
      throw new MayflyError('bad_request', `the queue ${target.name} does not take dead letters of ${name}`)
  }

  #nameOf(queueId: string | null): string | null {
    return queueId === null ? null : (this.#known.byId(queueId)?.name ?? null)
  }

  #count(queueId: string, messages: number, bytes: number): void {
    const queue = this.#known.byId(queueId)
    if (queue) this.#stored.add(queue, messages, bytes)
  }

  /** What a statement that failed has done is not known. */
  #doubted(error: unknown): unknown {
    this.#stored.doubt()
    return error
  }

  #doubt(error: unknown): never {
    throw this.#doubted(error)
  }

  #moved(sourceId: string, moved: readonly { readonly queueId: string; readonly bytes: number }[]): void {
    for (const { queueId, bytes } of moved) {
      this.#count(sourceId, -1, -bytes)
      this.#count(queueId, 1, bytes)
    }
    for (const id of new Set(moved.map(({ queueId }) => queueId))) this.#known.ring(id)
  }
}

/** A queue is made once; made again it has to be the same. */
function sameAs(queue: QueueInfo, settings: QueueSettings): QueueInfo {
  for (const [name, value] of Object.entries(settings)) {
    const has = queue.settings[name as keyof QueueSettings] ?? DEFAULTS[name as keyof typeof DEFAULTS]
    if (JSON.stringify(has) !== JSON.stringify(value)) throw new MayflyError('queue_exists', `the queue ${queue.name} exists with another ${name}`)
  }
  return queue
}

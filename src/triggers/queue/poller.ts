import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import { eventContent, eventReply } from '../../invoke/index.ts'
import { within } from '../../lib/within.ts'
import { lambdaRecord, type Message, QUEUE_DEFAULTS, type QueueInfo } from '../../queues/index.ts'
import type { SourceHost } from '../event-source.ts'
import { type Consumer, failuresOf } from './consumer.ts'

const RECEIVED_AT_ONCE = 10
const WAIT_MS = 20_000
const LOOK_MS = 1_000
const RETRY_MS = 1_000
const RETRY_MAX_MS = 30_000
const PATIENCE_MS = 10_000
const CLOSE_MS = 4_000
/** What its queue hides for a shorter time is hidden so long at first: it is renewed in time on a busy machine, too. */
const LEAST_HIDDEN_SECONDS = 10
/** Of an event, beside its records. */
const FRAME_BYTES = 100
/** What did not come to user code for one of these is tried again, with the messages held meanwhile. */
const PASSING = new Set(['too_many_invocations', 'sandbox_unavailable', 'storage_full'])

interface Held {
  readonly message: Message
  readonly record: string
}

/** Messages that nobody else sees while they are in hand. */
class Batch implements Disposable {
  readonly queue: QueueInfo
  readonly hiddenSeconds: number
  readonly held = new Map<string, Held>()
  readonly #host: SourceHost
  readonly #stop = new AbortController()
  bytes = FRAME_BYTES

  constructor(host: SourceHost, queue: QueueInfo, hiddenSeconds: number) {
    this.#host = host
    this.queue = queue
    this.hiddenSeconds = hiddenSeconds
    void this.#renew()
  }

  add(message: Message): void {
    const record = JSON.stringify(lambdaRecord(message, this.queue.name, this.#host.region))
    this.held.set(message.id, { message, record })
    this.bytes += Buffer.byteLength(record) + 1
  }

  /** Parts that an event can hold each. */
  parts(): Held[][] {
    const parts: Held[][] = []
    let bytes = Number.POSITIVE_INFINITY
    for (const one of this.held.values()) {
      const more = Buffer.byteLength(one.record) + 1
      if (bytes + more > LIMITS.invocationBody.value) {
        parts.push([])
        bytes = FRAME_BYTES
      }
      parts.at(-1)?.push(one)
      bytes += more
    }
    return parts
  }

  async done({ message }: Held): Promise<void> {
    this.held.delete(message.id)
    await this.#host.queues.done(this.queue, message.receipt)
  }

  /** Seen again when its queue says so, or at once. */
  async giveBack({ message }: Held, when: 'later' | 'now'): Promise<void> {
    this.held.delete(message.id)
    // As it is by now: a poll is long.
    const { settings } = this.#host.queues.find(this.queue.project as ProjectRef, this.queue.name) ?? this.queue
    const own = settings.visibilitySeconds ?? QUEUE_DEFAULTS.visibilitySeconds
    if (when === 'later' && own === this.hiddenSeconds) return
    await this.#hide(message, when === 'now' ? 0 : own)
  }

  async giveAllBack(): Promise<void> {
    await Promise.all([...this.held.values()].map((one) => this.giveBack(one, 'now')))
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
  }

  async #renew(): Promise<void> {
    const { signal } = this.#stop
    for (;;) {
      await this.#host.clock.sleep((this.hiddenSeconds * 1000) / 3, signal).catch(() => {})
      if (signal.aborted) return
      await Promise.all([...this.held.values()].map(({ message }) => this.#hide(message, this.hiddenSeconds)))
    }
  }

  async #hide(message: Message, seconds: number): Promise<void> {
    try {
      await this.#host.queues.hide(this.queue, message.receipt, seconds)
    } catch (error) {
      // Purged, or with another by now; else it is seen again when its time is over.
      this.#host.log.debug({ queue: this.queue.name, error: (error as Error).message }, 'a message could not be hidden')
    }
  }
}

/** Takes messages of one queue for one function, in batches; several run at once. */
export class Poller implements AsyncDisposable {
  readonly #host: SourceHost
  readonly #consumer: Consumer
  readonly #stop = new AbortController()
  readonly #end = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #loop: Promise<void>

  constructor(host: SourceHost, consumer: Consumer) {
    this.#host = host
    this.#consumer = consumer
    this.#loop = this.#poll()
  }

  /** Takes no more; what runs goes on. Resolves when all of it has ended. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#loop
    await Promise.all(this.#running)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const stopped = this.stop()
    await within(this.#host.clock, CLOSE_MS, stopped)
    this.#end.abort(new MayflyError('shutting_down', 'the node is stopping'))
    await stopped
  }

  async #poll(): Promise<void> {
    const { clock, log } = this.#host
    const { signal } = this.#stop
    let failures = 0
    while (!signal.aborted) {
      try {
        if (this.#running.size >= this.#consumer.parallelism) {
          await Promise.race(this.#running)
          continue
        }
        const batch = await this.#collect(signal)
        failures = 0
        if (batch) this.#begin(batch)
      } catch (error) {
        if (signal.aborted) return
        if (failures === 0) log.warn({ queue: this.#consumer.queueName, error: (error as Error).message }, 'a queue could not be read; it is tried again')
        await clock.sleep(Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** Math.min(10, failures++)), signal).catch(() => {})
      }
    }
  }

  #begin(batch: Batch): void {
    const run = this.#handle(batch)
      .catch((error: Error) => this.#host.log.warn({ queue: batch.queue.name, error: error.message }, 'messages could not be settled; they come again'))
      .finally(() => {
        batch[Symbol.dispose]()
        this.#running.delete(run)
      })
    this.#running.add(run)
  }

  /** A full batch, or what came until its window is over; null when nothing is there. */
  async #collect(signal: AbortSignal): Promise<Batch | null> {
    const { queues, clock } = this.#host
    const { project, queueName, batchSize, windowSeconds } = this.#consumer
    const queue = queues.find(project, queueName)
    if (!queue) {
      await clock.sleep(LOOK_MS, signal).catch(() => {})
      return null
    }
    const visibilitySeconds = Math.max(LEAST_HIDDEN_SECONDS, queue.settings.visibilitySeconds ?? QUEUE_DEFAULTS.visibilitySeconds)
    const take = (most: number, waitMs: number) => queues.receive(queue, { most: Math.min(RECEIVED_AT_ONCE, most), visibilitySeconds, waitMs }, signal)
    const first = await take(batchSize, WAIT_MS)
    if (first.length === 0) return null
    const until = clock.monotonic() + windowSeconds * 1000
    const batch = new Batch(this.#host, queue, visibilitySeconds)
    try {
      for (const message of first) batch.add(message)
      while (batch.held.size < batchSize && batch.bytes < LIMITS.invocationBody.value && !signal.aborted) {
        const left = until - clock.monotonic()
        if (left <= 0) break
        for (const message of await take(batchSize - batch.held.size, left)) batch.add(message)
      }
    } catch (error) {
      await batch.giveAllBack()
      batch[Symbol.dispose]()
      throw error
    }
    return batch
  }

  async #handle(batch: Batch): Promise<void> {
    for (const part of batch.parts()) {
      if (this.#stop.signal.aborted) break
      const failed = await this.#run(part)
      if (failed === 'not run') break
      const isDone = (one: Held) => failed !== 'all' && !failed.has(one.message.id)
      await Promise.all(part.map((one) => (isDone(one) ? batch.done(one) : batch.giveBack(one, 'later'))))
    }
    await batch.giveAllBack()
  }

  async #run(part: readonly Held[]): Promise<ReadonlySet<string> | 'all' | 'not run'> {
    const { clock, crash, invoke, log, newId, recorded } = this.#host
    const { project, functionName, qualifier, queueName, reportsFailures } = this.#consumer
    const payload = Buffer.from(`{"Records":[${part.map(({ record }) => record).join(',')}]}`)
    const [only] = part.length === 1 ? part : []
    const invocation = {
      project,
      functionName,
      qualifier,
      traceId: only?.message.traceHeader ?? null,
      clientContext: null,
      depth: 0,
      patienceMs: PATIENCE_MS,
      bytesIn: () => payload.length,
      content: async (kind: Parameters<typeof eventContent>[0]) => eventContent(kind, payload),
      handed: () => void setImmediate(() => setImmediate(() => crash('duringRun'))),
    }
    for (let refusals = 0; ; refusals++) {
      try {
        const outcome = await invoke({ id: newId(), ...invocation }, this.#end.signal)
        const reply = await eventReply(outcome).catch(() => null)
        const { error } = await outcome.over
        await recorded()
        crash('afterRunBeforeSettle')
        // What ends while the sandboxes are being closed says nothing about the function.
        if (this.#end.signal.aborted && (reply === null || reply.errorType !== null)) return 'not run'
        if (reply === null || reply.errorType !== null || error !== null) return 'all'
        return reportsFailures ? (failuresOf(reply.payload, new Set(part.map(({ message }) => message.id))) ?? 'all') : new Set()
      } catch (error) {
        if (this.#stop.signal.aborted) return 'not run'
        const { message, code } = error as MayflyError
        log.debug({ queue: queueName, function: functionName, error: message }, 'messages did not come to their function')
        if (!(error instanceof MayflyError && PASSING.has(code))) return 'all'
        await clock.sleep(Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** Math.min(10, refusals)), this.#stop.signal).catch(() => {})
        if (this.#stop.signal.aborted) return 'not run'
      }
    }
  }
}

import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import { eventContent, eventReply } from '../../invoke/index.ts'
import { within } from '../../lib/within.ts'
import { depthOf, lambdaRecord, type Message, QUEUE_DEFAULTS, type QueueInfo } from '../../queues/index.ts'
import type { SourceHost } from '../event-source.ts'
import { isTooDeep, tooDeep } from '../too-deep.ts'
import { type Consumer, failuresOf, filterOf, hiddenAfter } from './consumer.ts'

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

  /** What is not of the filters of the consumer is done. */
  async add(messages: readonly Message[], wants: (record: Readonly<Record<string, unknown>>) => boolean): Promise<void> {
    const unwanted: Held[] = []
    for (const message of messages) {
      const shown = lambdaRecord(message, this.queue.name, this.#host.region)
      const one = { message, record: JSON.stringify(shown) }
      if (wants(shown)) {
        this.held.set(message.id, one)
        this.bytes += Buffer.byteLength(one.record) + 1
      } else unwanted.push(one)
    }
    await Promise.all(unwanted.map((one) => this.done(one)))
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

  /** It failed: seen again when its queue says so, or who takes it. */
  async failed({ message }: Held, retryAfter: Consumer['retryAfter']): Promise<void> {
    this.held.delete(message.id)
    if (retryAfter !== null) return await this.#hide(message, hiddenAfter(retryAfter, message.receiveCount))
    // As it is by now: a poll is long.
    const { settings } = this.#host.queues.find(this.queue.project as ProjectRef, this.queue.name) ?? this.queue
    const own = settings.visibilitySeconds ?? QUEUE_DEFAULTS.visibilitySeconds
    if (own !== this.hiddenSeconds) await this.#hide(message, own)
  }

  /** What did not run is seen again at once, and does not count as received: it comes no nearer to the dead-letter queue. */
  async giveAllBack(): Promise<void> {
    const all = [...this.held.values()].map(({ message }) => message)
    this.held.clear()
    if (all.length > 0)
      await this.#host.queues.giveBack(
        this.queue,
        all.map(({ receipt }) => receipt),
      )
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
  readonly #wants: (record: Readonly<Record<string, unknown>>) => boolean
  readonly #stop = new AbortController()
  readonly #end = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #loop: Promise<void>

  constructor(host: SourceHost, consumer: Consumer) {
    this.#host = host
    this.#consumer = consumer
    this.#wants = filterOf(consumer.filters)
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
      await batch.add(first, this.#wants)
      while (batch.held.size < batchSize && batch.bytes < LIMITS.invocationBody.value && !signal.aborted) {
        const left = until - clock.monotonic()
        if (left <= 0) break
        await batch.add(await take(batchSize - batch.held.size, left), this.#wants)
      }
    } catch (error) {
      await batch.giveAllBack()
      batch[Symbol.dispose]()
      throw error
    }
    if (batch.held.size > 0) return batch
    batch[Symbol.dispose]()
    return null
  }

  async #handle(batch: Batch): Promise<void> {
    await this.#giveUpLoops(batch)
    const parts = batch.parts()
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      if (this.#stop.signal.aborted) break
      if (await this.#isPaused()) {
        await batch.giveAllBack()
        await this.#host.clock.sleep(LOOK_MS, this.#stop.signal).catch(() => {})
        return
      }
      await this.#host.queue.turnOf(this.#consumer, this.#stop.signal).catch(() => {})
      if (this.#stop.signal.aborted) break
      const failed = await this.#run(part)
      if (failed === 'not run') break
      if (failed === 'all' && part.length > 1 && this.#consumer.bisect) {
        const half = Math.ceil(part.length / 2)
        parts.unshift(part.slice(0, half), part.slice(half))
        continue
      }
      const isDone = (one: Held) => failed !== 'all' && !failed.has(one.message.id)
      await Promise.all(part.map((one) => (isDone(one) ? batch.done(one) : batch.failed(one, this.#consumer.retryAfter))))
    }
    await batch.giveAllBack()
  }

  /** What too many functions stand before becomes dead letters of this one, and is out of its queue then. */
  async #giveUpLoops(batch: Batch): Promise<void> {
    const { control, loopers, newId, queue } = this.#host
    const { project, functionName } = this.#consumer
    const deep = [...batch.held.values()].filter(({ message }) => isTooDeep(depthOf(message.traceHeader)))
    if (deep.length === 0 || (await loopers(project)).has(functionName)) return
    const letters = deep.map(({ message, record }) => ({
      id: newId(),
      project,
      functionName,
      payload: Buffer.from(`{"Records":[${record}]}`),
      ...tooDeep(depthOf(message.traceHeader)),
    }))
    const entered = await control.transaction((tx) => queue.enqueueIn(tx, [], letters))
    entered.committed()
    await Promise.all(deep.map((one) => batch.done(one)))
  }

  async #isPaused(): Promise<boolean> {
    const { functionId } = this.#consumer
    return (await this.#host.queue.pausedOf([functionId])).has(functionId)
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
      depth: Math.max(...part.map(({ message }) => depthOf(message.traceHeader))),
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
        crash('afterRunBeforeRecord')
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

import type { Database } from '../backends/database/database.ts'
import type { Log } from '../core/log.ts'
import type { Known } from './known.ts'
import { DEFAULTS } from './settings.ts'
import { deleteSent, type QueueRow, selectNow, selectStored } from './store.ts'
import type { Stored } from './stored.ts'

const SWEEP_MS = 30_000
const SWEEP_BATCH = 5_000

export interface SweepDeps {
  readonly database: Database
  readonly known: Known
  readonly stored: Stored
  readonly stop: AbortSignal
  readonly log: Log
}

/** Takes out what is too old and what a queue left that went itself, and counts anew what is stored where that is in doubt. */
export class Sweep implements AsyncDisposable {
  readonly #deps: SweepDeps
  #sweeping: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(deps: SweepDeps) {
    this.#deps = deps
  }

  /** Resolves when what is stored is counted: before anything comes or goes. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.#soon(), SWEEP_MS)
    this.#timer.unref()
    await this.#count()
    void this.#soon()
  }

  /** All that was sent to a queue by now goes. */
  async empty(queue: QueueRow): Promise<void> {
    await this.#emptyUntil(queue, await selectNow(this.#deps.database.sql))
  }

  /** `stop` is to be aborted before: it ends between two batches. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#timer) clearInterval(this.#timer)
    await this.#sweeping
  }

  async #emptyUntil(queue: QueueRow, before: Date): Promise<void> {
    const { database, stored, stop } = this.#deps
    for (;;) {
      const gone = await deleteSent(database.sql, queue.id, before, SWEEP_BATCH)
      stored.add(queue, -gone.messages, -gone.bytes)
      if (gone.messages < SWEEP_BATCH || stop.aborted) return
    }
  }

  #soon(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = null
    })
    return this.#sweeping
  }

  async #sweep(): Promise<void> {
    const { database, known, stored, stop, log } = this.#deps
    try {
      const now = (await selectNow(database.sql)).getTime()
      for (const queue of known.all()) {
        if (stop.aborted) return
        await this.#emptyUntil(queue, new Date(now - (queue.settings.retentionSeconds ?? DEFAULTS.retentionSeconds) * 1000))
      }
      if (!stored.isSure) await this.#count()
    } catch (error) {
      if (!stop.aborted) log.warn({ error: (error as Error).message }, 'old messages could not be removed')
    }
  }

  async #count(): Promise<void> {
    const { database, known, stored } = this.#deps
    const now = await selectNow(database.sql)
    const gone: string[] = []
    await stored.recount(async () =>
      (await selectStored(database.sql)).flatMap(({ queueId, messages, bytes }) => {
        const queue = known.byId(queueId)
        if (!queue) gone.push(queueId)
        return queue ? [{ id: queueId, project: queue.project, messages: Number(messages), bytes: Number(bytes) }] : []
      }),
    )
    // What a queue left that went in a former life.
    for (const queueId of gone) while ((await deleteSent(database.sql, queueId, now, SWEEP_BATCH)).messages === SWEEP_BATCH);
  }
}

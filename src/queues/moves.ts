import type { Database } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Clock } from '../lib/clock.ts'
import { endMove, insertMove, type Move, moveMessages, type QueueRow, selectMoves } from './store.ts'

const BATCH = 500
const SHOWN = 10
const RETRY_MS = 1_000

export interface MovesDeps {
  readonly database: Database
  readonly newId: () => string
  readonly queueOf: (id: string) => QueueRow | null
  /** Told what went from a queue, and where to. */
  readonly arrived: (sourceId: string, moved: readonly { readonly queueId: string; readonly bytes: number }[]) => void
  readonly stop: AbortSignal
  readonly clock: Clock
  readonly log: Log
}

/** Brings messages of a dead-letter queue back to where they came from, or to another queue. One that was begun is finished by the next life. */
export class Moves {
  readonly #deps: MovesDeps
  readonly #running = new Map<string, Promise<void>>()

  constructor(deps: MovesDeps) {
    this.#deps = deps
  }

  async start(): Promise<void> {
    for (const move of await selectMoves(this.#deps.database.sql, {}, 10_000)) this.#begin(move)
  }

  /** @returns its id. @throws MayflyError move_running */
  async begin(source: QueueRow, target: QueueRow | null, perSecond: number | null): Promise<string> {
    const { database, newId } = this.#deps
    const id = newId()
    const [made] = await insertMove(database.sql, id, source.projectId, source.id, target?.id ?? null, perSecond)
    if (!made) throw new MayflyError('move_running', `messages of the queue ${source.name} are being moved already`)
    const [move] = await selectMoves(database.sql, { id }, 1)
    if (move) this.#begin(move)
    return id
  }

  /** What it has moved by now; null when there is none that runs. */
  async cancel(id: string): Promise<Move | null> {
    const [ended] = await endMove(this.#deps.database.sql, id, 'CANCELLED', null)
    return ended ? ((await selectMoves(this.#deps.database.sql, { id }, 1))[0] ?? null) : null
  }

  of(source: QueueRow): Promise<Move[]> {
    return selectMoves(this.#deps.database.sql, { sourceId: source.id }, SHOWN)
  }

  async find(id: string): Promise<Move | null> {
    return (await selectMoves(this.#deps.database.sql, { id }, 1))[0] ?? null
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#running.values())
  }

  #begin(move: Move): void {
    const done = this.#run(move).finally(() => this.#running.delete(move.id))
    this.#running.set(move.id, done)
  }

  async #run(move: Move): Promise<void> {
    const { clock, database, arrived, stop, log } = this.#deps
    while (!stop.aborted) {
      try {
        const began = clock.monotonic()
        const moved = await moveMessages(database.sql, move, move.perSecond === null ? BATCH : Math.min(BATCH, move.perSecond))
        arrived(move.sourceId, moved)
        if (moved.length === 0) {
          await endMove(database.sql, move.id, 'COMPLETED', null)
          return
        }
        if (move.perSecond !== null) await clock.sleep(Math.max(0, began + (1000 * moved.length) / move.perSecond - clock.monotonic()), stop).catch(() => {})
      } catch (error) {
        log.warn({ error: (error as Error).message }, 'messages could not be moved; it is tried again')
        await clock.sleep(RETRY_MS, stop).catch(() => {})
      }
    }
  }
}

import { type HeldSession, NoSession, type SessionPool } from '../backends/database/session-pool.ts'
import type { Clock } from '../lib/clock.ts'
import { DataError } from './errors.ts'
import { Handover, Left, TakenTooSlowly } from './handover.ts'
import { FETCHES, type PiecesQuery } from './query/pieces.ts'
import type { Snapshot } from './schema/snapshot.ts'
import { type Answer, answerOf, cancelling, checkEnd, COMMIT, openingOf, RESPONSE, ROLLBACK, type Setting } from './transaction.ts'

export interface StreamBounds {
  /** How long who reads may take nothing. */
  readonly idleMs: number
  /** How long all of it may take. */
  readonly wholeMs: number
}

export interface StreamAsked {
  /** Refuses before anything of the answer is told. */
  readonly judge: (answer: Answer) => void
  readonly isHeadOnly: boolean
  /** Let go of when the session is free. */
  readonly held: Disposable
  readonly signal: AbortSignal
}

export interface StreamDeps {
  readonly pool: SessionPool
  readonly clock: Pick<Clock, 'timer'>
  readonly bounds: StreamBounds
  /** Ends what a session runs, from another one. */
  readonly cancel: (pid: number) => Promise<void>
  /** Told when the bounds ended it. */
  readonly onCut: (why: string) => void
}

/** What is fetched at once is about so much. */
const CHUNK = 1024 * 1024

/**
 * A request that only reads, as one transaction that lasts until its answer is taken: what it tells first and the rows are
 * of one moment. No more of the answer is held than a few pieces.
 * @returns breaks where the database does, the bounds are met or the signal fires; it ends well only after COMMIT did
 * @throws DataError PGRST003; DatabaseError
 */
export async function stream(
  { pool, clock, bounds, cancel, onCut }: StreamDeps,
  snapshot: Snapshot,
  setting: Setting,
  query: PiecesQuery,
  { judge, isHeadOnly, held, signal }: StreamAsked,
): Promise<AsyncIterable<Uint8Array>> {
  const opened = Promise.withResolvers<AsyncIterable<Uint8Array>>()
  const handover = new Handover<Uint8Array>(clock, bounds.idleMs)
  const onAbort = () => handover.break(signal.reason)
  const work = pool.use(async (session) => {
    using _held = held
    signal.throwIfAborted()
    await using _leaving = cancelling(session, cancel, signal, clock)
    signal.addEventListener('abort', onAbort, { once: true })
    using _late = clock.timer(bounds.wholeMs, () => handover.break(new TakenTooSlowly(`not all was taken in ${bounds.wholeMs} ms`)))
    try {
      const { answer, before } = await opening(session, snapshot, setting, query, isHeadOnly)
      judge(answer)
      if (isHeadOnly) {
        await committed(session, setting)
        handover.end(new Uint8Array())
        opened.resolve(handover)
        return
      }
      opened.resolve(handover)
      const last = await pour(session, query, before, handover)
      await committed(session, setting)
      handover.end(last)
    } catch (error) {
      await session.flight([ROLLBACK])
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  })
  work.catch((error: unknown) => {
    held[Symbol.dispose]() // where no session came
    opened.reject(error instanceof NoSession ? new DataError('PGRST003', 'Timed out acquiring connection from connection pool.') : error)
    if (error instanceof TakenTooSlowly) onCut(error.message)
    if (!(error instanceof Left)) handover.break(error)
  })
  return await opened.promise
}

async function committed(session: HeldSession, setting: Setting): Promise<void> {
  const [ended] = await session.flight([setting.rollsBack ? ROLLBACK : COMMIT])
  checkEnd(ended, setting)
}

async function opening(
  session: HeldSession,
  snapshot: Snapshot,
  setting: Setting,
  query: PiecesQuery,
  isHeadOnly: boolean,
): Promise<{ answer: Answer; before: string }> {
  const first = openingOf(snapshot, setting, 'repeatable read')
  const settled = await session.flight([...first, query.head, ...(query.estimate ? [query.estimate] : []), RESPONSE, ...(isHeadOnly ? [] : [query.open])])
  const answer = answerOf(settled, first.length, { estimate: query.estimate, tellsResponse: false })
  return { answer, before: (answer.row as unknown as { before: string }).before }
}

/** @returns what is to be told when all went well */
async function pour(session: HeldSession, { between, after, nothing, coding }: PiecesQuery, before: string, handover: Handover<Uint8Array>): Promise<Buffer> {
  let isFirst = true
  let size = 0
  for (;;) {
    const [settled] = await session.flight([FETCHES[size] as (typeof FETCHES)[number]])
    if (settled?.error) throw settled.error
    const rows = (settled?.result?.rows ?? []) as unknown as readonly { begins: boolean; piece: string }[]
    if (rows.length === 0) break
    const marks = Buffer.byteLength(isFirst ? before : '') + rows.length * between.length
    const made = Buffer.allocUnsafeSlow(rows.reduce((sum, { piece }) => sum + piece.length, marks))
    // One buffer for all: what is allocated for each waits to be swept, and that is most of what an answer costs.
    let at = 0
    for (const { begins, piece } of rows) {
      if (begins) at += made.write(isFirst ? before : between, at)
      isFirst = false
      at += made.write(piece, at, coding)
    }
    const chunk = made.subarray(0, at)
    // As many as bring about a chunk, if the next are like these.
    const fits = (CHUNK / Math.max(chunk.length, 1)) * rows.length
    size = fits >= 256 ? Math.min(size + 1, 2) : fits >= 64 ? Math.min(size + 1, 1) : 0
    await handover.give(chunk)
  }
  return Buffer.from(isFirst ? (nothing ?? before + after) : after)
}

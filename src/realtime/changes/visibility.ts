import type { Sql } from '../../backends/database/database.ts'
import type { Clock } from '../../lib/clock.ts'
import { selectSnapshot } from '../store.ts'

const LONGEST_MS = 5_000
const CYCLE = 1n << 32n

/**
 * Waits until what these transactions changed can be read. PostgreSQL streams a change once its commit is on disk, a
 * moment before others see it: who asked at once would find that a row is not there, and tell nobody.
 */
export async function untilVisible(sql: Sql, xids: ReadonlySet<number>, clock: Clock, signal: AbortSignal): Promise<void> {
  const deadline = clock.monotonic() + LONGEST_MS
  for (let pause = 1; !signal.aborted; pause = Math.min(pause * 2, 50)) {
    const [now] = await selectSnapshot(sql)
    if (!now || isVisible(xids, BigInt(now.xmax), new Set(now.running.map(BigInt)))) return
    if (clock.monotonic() > deadline) return
    await clock.sleep(pause, signal).catch(() => {})
  }
}

/** @param xids  the lower halves of transaction numbers, as the stream has them */
export function isVisible(xids: ReadonlySet<number>, xmax: bigint, running: ReadonlySet<bigint>): boolean {
  for (const low of xids) {
    // The whole number is the one nearest to what is going on now.
    let xid = xmax - (xmax % CYCLE) + BigInt(low)
    if (xid - xmax > CYCLE / 2n) xid -= CYCLE
    else if (xmax - xid > CYCLE / 2n) xid += CYCLE
    if (xid >= xmax || running.has(xid)) return false
  }
  return true
}

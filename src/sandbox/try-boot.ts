import { promises as fs } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { silentLog } from '../core/log.ts'
import type { Clock } from '../lib/clock.ts'
import { Booting, POOL_TMP_MB } from './booting.ts'
import { Endings } from './endings.ts'
import type { Driver, Problem, RuntimeName } from './types.ts'

/** Boots one sandbox of each runtime that is installed, and ends it: what does not start is told. */
export async function tryRuntimes(driver: Driver, runtimes: readonly RuntimeName[], clock: Clock): Promise<Problem[]> {
  const folder = await fs.mkdtemp(path.join(tmpdir(), 'mayfly-doctor-'))
  // As in a data directory: what lies above is ours alone, and slots are made for who launches sandboxes.
  const slots = path.join(folder, 'slots')
  const closing = new AbortController()
  const endings = new Endings(silentLog)
  const problems: Problem[] = []
  const booting = new Booting({ driver, slots, clock, log: silentLog, closing: closing.signal, endings, leave: () => {} })
  try {
    for (const runtime of runtimes.filter((one) => driver.runs(one))) {
      try {
        await booting.end(await booting.start({ runtime, driver: null, tmpMb: POOL_TMP_MB }, 'now'))
      } catch (error) {
        const { cause } = error as Error
        const why = cause instanceof Error ? cause.message : (error as Error).message
        problems.push({
          what: `runtime ${runtime}`,
          why: `a sandbox of it does not start: ${why.trim().slice(-300)}`,
          todo: 'Functions of this runtime cannot run until that is mended.',
        })
      }
    }
  } finally {
    // What was begun ahead of a next call would be made in the folder while that is removed.
    closing.abort()
    booting.close()
    await endings.over()
    await fs.rm(folder, { recursive: true, force: true })
  }
  return problems
}

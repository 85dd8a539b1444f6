import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Database } from './backends/database/database.ts'
import type { Config } from './config.ts'
import { InvocationCounters } from './core/counters.ts'
import { Journal } from './core/journal.ts'
import type { Log } from './core/log.ts'
import type { LogEntry } from './core/meter.ts'
import { MiB } from './lib/bytes.ts'
import type { Clock } from './lib/clock.ts'
import { Logs } from './observe/index.ts'
import { type MeterEntry, readPriceList, Usage } from './usage/index.ts'

/**
 * Stores what the workers of a former life wrote: before the executions that nobody ended are told from the others, and
 * also of workers that this life has not.
 */
export async function storeFormerJournals(
  data: string,
  deps: { readonly database: Database; readonly clock: Clock; readonly log: Log; readonly config: Config },
): Promise<void> {
  const { database, clock, log, config } = deps
  const home = path.join(data, 'journal')
  for (const process of (await fs.readdir(home)).filter((name) => /^worker-\d+$/.test(name))) {
    await using opened = new AsyncDisposableStack()
    const common = { database, clock, log, process }
    const lines = opened.use(await Journal.open<LogEntry>(path.join(home, process, 'logs'), log))
    const meters = opened.use(await Journal.open<MeterEntry>(path.join(home, process, 'meters'), log))
    const { retentionDays, projectLogMb } = config.observe
    const logs = opened.use(new Logs({ ...common, journal: lines, retentionDays, projectBytes: projectLogMb * MiB }))
    const prices = readPriceList(config.usage.prices)
    const usage = opened.use(new Usage({ ...common, ...config.usage, journal: meters, counters: new InvocationCounters(), prices }))
    await Promise.all([logs.start(), usage.start()])
  }
}

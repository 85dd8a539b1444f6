import { promises as fs } from 'node:fs'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock } from './lib/clock.ts'

const LAG_RESOLUTION_MS = 20

/** How late timers fire: Node watches that outside of JavaScript. Reading begins anew. */
export function watchEventLoop() {
  const histogram = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS })
  histogram.enable()
  // What is measured holds the pause between two looks as well.
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - LAG_RESOLUTION_MS / 1e3)
  return {
    read: () => {
      const seen = [0.5, 0.99, 1].map((quantile) => ({ quantile, seconds: histogram.count === 0 ? 0 : late(histogram.percentile(quantile * 100)) }))
      histogram.reset()
      return seen
    },
    [Symbol.dispose]: () => void histogram.disable(),
  }
}

/** What this process takes of the machine. */
export function ownNumbers(clock: Clock) {
  const { rss, heapUsed } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  return { residentBytes: rss, heapBytes: heapUsed, cpuSeconds: (user + system) / 1e6, startedAt: clock.now() - process.uptime() * 1000 }
}

/** The size of the files of a folder; one that goes meanwhile counts nothing. */
export async function bytesBelow(folder: string): Promise<number> {
  let bytes = 0
  for (const name of await fs.readdir(folder)) bytes += (await fs.stat(path.join(folder, name)).catch(() => null))?.size ?? 0
  return bytes
}

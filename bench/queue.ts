import { cpus, loadavg } from 'node:os'
import { needPrograms } from './installed.ts'
import { deep } from './queue-deep.ts'
import { enqueues } from './queue-enqueue.ts'
import { openQueuePlace } from './queue-place.ts'
import { drains, latencies } from './queue-runs.ts'

// The queue of invocations beside pgbench, graphile-worker and pg-boss on the same PostgreSQL, and BullMQ on a Redis that syncs each write; prints ratios.
// Usage: npm run bench:queue [-- enqueue|latency|drain|--deep] [rounds and seconds, 3 and 2 when not said]. Takes pgbench and wrk of Debian
// (postgresql-contrib, wrk) and, for BullMQ, redis-server; the peers come from npm. `--deep [depths]` puts ten million entries on disk, and runs only when it is asked for.

const [only = null, rounds = '3', seconds = '2'] = process.argv.slice(2)
const wants = (name: string) => only === null || only === name

needPrograms({ pgbench: 'postgresql-contrib', wrk: 'wrk' })

const load = () => loadavg()[0]?.toFixed(1)
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}, load ${load()}\n`)
const place = await openQueuePlace()
try {
  if (wants('enqueue')) await enqueues(place, Number(rounds), Number(seconds))
  if (wants('latency')) await latencies(place)
  if (wants('drain')) await drains(place, Number(rounds), Number(seconds))
  if (only === '--deep') await deep(place, process.argv.length > 3 ? process.argv.slice(3).map(Number) : [1_000_000, 10_000_000])
} finally {
  await place.close()
}
process.stdout.write(`load at the end ${load()}\n`)

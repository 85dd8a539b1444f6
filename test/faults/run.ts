import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { type FaultsResult, keepResult, runFaults, tableOf } from './faults.ts'
import { inWorld } from './world.ts'

// npm run faults -- --events 100000 --seed 7: a node of its own is sent events of every kind and struck by faults; then what
// was acknowledged is compared with what was executed. --minutes: it sends no longer. --only: faults whose
// name begins so. --short: what `npm test` does. --database external: with another's
// PostgreSQL behind a proxy that cuts connections. --result: a file for programs. --keep: its folder stays.
const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '100000' },
    minutes: { type: 'string', default: '120' },
    seed: { type: 'string' },
    faults: { type: 'string' },
    only: { type: 'string' },
    senders: { type: 'string', default: '8' },
    database: { type: 'string', default: 'embedded' },
    'drain-seconds': { type: 'string', default: '300' },
    short: { type: 'boolean', default: false },
    result: { type: 'string' },
    keep: { type: 'boolean', default: false },
    /** Given by itself: where the recorder stands. */
    outside: { type: 'string' },
  },
})
const say = (line: string) => void process.stdout.write(`${line}\n`)
const seed = Number(values.seed ?? process.env.MAYFLY_TEST_SEED ?? Math.floor(Math.random() * 1_000_000))
const events = Number(values.events)

function tell({ struck, skipped, problems, refusals, seconds, unmetered, ...result }: FaultsResult): void {
  say(`\n${new Date().toISOString()}, ${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, seed ${seed}, ${values.database} PostgreSQL`)
  say(`sent for ${seconds.sending.toFixed(0)} s, then drained and compared in ${seconds.draining.toFixed(0)} s`)
  say(`faults: ${[...struck].map(([name, times]) => `${name} ${times} ×`).join(', ')}`)
  for (const [name, why] of skipped) say(`not done: ${name}: ${why}`)
  if (refusals.size > 0) say(`refused: ${[...refusals].map(([what, times]) => `${what} ${times} ×`).join(', ')}`)
  say(tableOf(result))
  if (unmetered > 0) say(`${unmetered} executions of the instant before the power was cut are not metered`)
  for (const problem of problems) say(`✖ ${problem}`)
  say(problems.length === 0 ? 'nothing is lost' : `${problems.length} problems; the same again: --seed ${seed}`)
}

async function here(): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-faults-'))
  const ended = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ended.abort(new Error(`ended by ${name}`)))
  try {
    const result = await runFaults({
      folder,
      events,
      minutes: Number(values.minutes),
      seed,
      faults: values.short ? null : Number(values.faults ?? Math.max(12, Math.round(events / 2_500))),
      only: values.only ?? null,
      database: values.database === 'external' ? 'external' : 'embedded',
      senders: Number(values.senders),
      drainMs: Number(values['drain-seconds']) * 1000,
      outside: values.outside ?? null,
      say,
      signal: ended.signal,
    })
    tell(result)
    if (values.result !== undefined) keepResult(values.result, result)
    if (values.keep) say(`kept: ${folder}`)
    return result.problems.length === 0 ? 0 : 1
  } finally {
    if (!values.keep) rmSync(folder, { recursive: true, force: true })
  }
}

if (values.outside !== undefined) process.exitCode = await here()
else {
  say(`seed ${seed}`)
  const given = process.argv.slice(2).filter((one, n, all) => one !== '--seed' && all[n - 1] !== '--seed')
  const again = (outside: string) => [process.execPath, ...process.execArgv, process.argv[1] as string, ...given, '--seed', String(seed), '--outside', outside]
  process.exitCode = (await inWorld(again)) ?? (await here())
}

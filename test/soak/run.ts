import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { descriptorsTable, ONCE, Soak, tableOf, timesOf } from './soak.ts'

// npm run soak -- --calls 100000 --minutes 480 --kills 10 --at-once 8 --workers 0 --looks 10 --once 120: a node of its own is called, deployed to and killed;
// at the end it holds what it held at the start, each call had its outcome and each execution its meter. Where its minutes are over before its calls it says so and fails.
const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '100000' },
    minutes: { type: 'string', default: '480' },
    kills: { type: 'string', default: '10' },
    'at-once': { type: 'string', default: '8' },
    workers: { type: 'string', default: '0' },
    looks: { type: 'string', default: '10' },
    once: { type: 'string', default: String(ONCE) },
  },
})
const say = (line: string) => void process.stdout.write(`${line}\n`)
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-soak-'))
const from = performance.now()
try {
  const { calls, looks, descriptors, outcomes, took, processorMs, problems } = await Soak.run({
    folder,
    calls: Number(values.calls),
    minutes: Number(values.minutes),
    atOnce: Number(values['at-once']),
    workers: Number(values.workers),
    nodeKills: Number(values.kills),
    looks: Number(values.looks),
    once: Number(values.once),
    say,
  })
  say(
    `\n${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}, ${((performance.now() - from) / 60_000).toFixed(1)} minutes`,
  )
  say(`outcomes: ${JSON.stringify(outcomes)}`)
  say(tableOf(looks))
  say(`descriptors of which there were not always as many:\n${descriptorsTable(descriptors)}`)
  say(timesOf(took))
  const each = processorMs / calls
  const all =
    calls >= Number(values.calls) ? problems : [...problems, `${calls} of ${values.calls} calls: ${values.minutes} minutes were not enough (--minutes)`]
  say(`${each.toFixed(1)} ms of processor a call: 100000 take at least ${((each * 100_000) / 60_000 / cpus().length).toFixed(0)} minutes here`)
  for (const problem of all) say(`✖ ${problem}`)
  say(all.length === 0 ? `${calls} calls, flat` : `${all.length} problems`)
  process.exitCode = all.length === 0 ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

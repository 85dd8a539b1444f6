import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { startMayfly, zipOf } from '../test/acceptance/harness.ts'
import type { Answers, Begin } from './fairness-burst.ts'
import { pause, show, timed } from './measure.ts'

// One project calls, two calls at once, while another calls with a hundred and twenty: more than the node lets run. Rounds with and
// without that burst take turns, on the same node in the same minute; prints the ratio of what the calls of the first take: beside
// a burst of a function that waits, of one that computes, and of one that was never called. The burst's clients are a process of
// their own. Usage: npm run bench:fairness [waits] [computes] [cold]

const SLOTS = 40
const CALLERS = 120
const ROUNDS = 8
const CALLS = 30
const AT_ONCE = 2
const OWN_MS = 5
const THEIR_MS = 100
const COMPUTE_MS = 20
const SETTLE_MS = 500
const WARM_MS = 5_000
const REST_MS = 1_500
const CODE = `exports.fetch = async (request) => {
  const ms = Number(new URL(request.url).searchParams.get('ms'))
  const end = process.cpuUsage().user + ms * 1000
  if (process.env.AWS_LAMBDA_FUNCTION_NAME === 'computes') while (process.cpuUsage().user < end);
  else await new Promise((done) => setTimeout(done, ms))
  return new Response('fine')
}`

const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)
const node = await startMayfly(path.join(folder, 'data'), ['--empty', '--invoke-concurrency', String(SLOTS), '--invoke-wait-ms', '5000'])
const { url, project } = node.ready
try {
  const zip = await zipOf({ 'index.js': CODE })
  const artefact = createHash('sha256').update(zip).digest('hex')
  const manage = async (method: string, at: string, key: string, body?: string | Uint8Array<ArrayBuffer>): Promise<Record<string, unknown>> => {
    const response = await fetch(`${url}/api/v1/${at}`, { method, headers: { authorization: `Bearer ${key}` }, ...(body === undefined ? {} : { body }) })
    if (!response.ok) throw new Error(`${method} ${at}: ${response.status} ${await response.text()}`)
    return JSON.parse((await response.text()) || '{}') as Record<string, unknown>
  }
  const operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
  const made = await manage('POST', 'projects', operator, JSON.stringify({ ref: 'loud' }))
  const loud = (made.keys as { secretKey: string }).secretKey
  const put = async (ref: string, key: string, name: string) => {
    await manage('PUT', `projects/${ref}/artefacts/${artefact}`, key, new Uint8Array(zip))
    const spec = { runtime: 'nodejs24.x', handler: 'index.fetch', memory: 128, timeout: 20, artefact }
    await manage('PUT', `projects/${ref}/functions/${name}`, key, JSON.stringify(spec))
  }
  await put(project.ref, project.secretKey, 'own')
  for (const name of ['waits', 'computes']) await put('loud', loud, name)
  const own = async () => {
    const response = await fetch(`${url}/functions/v1/own?ms=${OWN_MS}`, { headers: { apikey: project.secretKey } })
    if ((await response.text()) !== 'fine') throw new Error(`it answered ${response.status}`)
  }
  const clients = fork(path.join(import.meta.dirname, 'fairness-burst.ts'), [`${url}/p/loud`, loud, String(CALLERS)])
  const burst = async (begin: Begin | 'end'): Promise<Answers> => {
    clients.send(begin)
    return ((await once(clients, 'message')) as [Answers])[0]
  }
  for (let n = 0; n < 200; n++) await own()
  const asked = process.argv.slice(2)
  for (const kind of ['waits', 'computes', 'cold'].filter((one) => asked.length === 0 || asked.includes(one))) {
    const isCold = kind === 'cold'
    const ms = kind === 'computes' ? COMPUTE_MS : THEIR_MS
    if (!isCold) {
      await burst({ name: kind, ms })
      await pause(WARM_MS)
      await burst('end')
    }
    const times: Record<'alone' | 'beside', number[]> = { alone: [], beside: [] }
    const answers = new Map<string, number>()
    let burstMs = 0
    for (let round = 0; round < ROUNDS; round++) {
      for (const how of ['alone', 'beside'] as const) {
        const isBeside = how === 'beside'
        const name = isCold ? `cold-${round}` : kind
        if (isBeside && isCold) await put('loud', loud, name)
        const begun = performance.now()
        if (isBeside) await burst({ name, ms })
        if (!isCold) await pause(SETTLE_MS)
        const each = async () => {
          for (let n = 0; n < CALLS; n++) times[how].push(await timed(own))
        }
        await Promise.all(Array.from({ length: AT_ONCE }, each))
        if (isBeside) for (const [answer, count] of Object.entries(await burst('end'))) answers.set(answer, (answers.get(answer) ?? 0) + count)
        if (isBeside) burstMs += performance.now() - begun
        if (isBeside && isCold) await manage('DELETE', `projects/loud/functions/${name}`, loud)
        // Its sandboxes end, or are frozen.
        if (isBeside) await pause(REST_MS)
      }
    }
    const alone = show(`${AT_ONCE} at once`, times.alone)
    const beside = show(`beside ${CALLERS} of ${isCold ? 'a function never called' : `a function that ${kind}`}`, times.beside)
    process.stdout.write(
      `→ beside ÷ alone: p50 ${(beside.p50 / alone.p50).toFixed(2)}, p99 ${(beside.p99 / alone.p99).toFixed(2)}  (at most 2); the burst was answered ${(((answers.get('200') ?? 0) / burstMs) * 1_000).toFixed(1)} times a second, in all ${JSON.stringify(Object.fromEntries(answers))}\n`,
    )
  }
  clients.disconnect()
} finally {
  await node.stop()
  rmSync(folder, { recursive: true, force: true })
}

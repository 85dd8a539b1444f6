import http from 'node:http'
import { pause, show, spread, middle } from './measure.ts'
import { graphileWorker } from './queue-peers.ts'
import { EVENT, now, type QueuePlace } from './queue-place.ts'

const SAMPLES = 200

/** From the moment before the call that hands an event in until the handler's own code begins, one at a time. */
export async function latencies(place: QueuePlace): Promise<void> {
  const { control, connection, kept, node, operatorToken } = place
  using agent = disposable(new http.Agent({ keepAlive: true, maxSockets: 1 }))
  const route = new URL(`/api/v1/projects/${node.ready.project.ref}/functions/telling/invoke?async=1`, node.ready.url)
  const headers = { authorization: `Bearer ${operatorToken}`, 'content-type': 'application/json' }
  const peer = await graphileWorker(connection, kept)
  let began = (_at: number): void => {}
  const stop = await peer.work(1, () => began(now()))
  const theirs = async () => {
    const started = new Promise<number>((resolve) => {
      began = resolve
    })
    const from = now()
    await peer.add(EVENT)
    return (await started) - from
  }
  const ours = async () => {
    const from = now()
    const { invocation } = JSON.parse(await posted(route, agent.of, headers, JSON.stringify(EVENT))) as { invocation: string }
    for (;;) {
      const [kept] = await control.sql<{ payload: Buffer }>`select payload from mayfly.kept_result where id = ${invocation}`
      if (kept) return (JSON.parse(kept.payload.toString()) as { began: number }).began - from
      await pause(3)
    }
  }
  try {
    const times: [number[], number[]] = [[], []]
    for (let round = -20; round < SAMPLES; round++) {
      const pair = [await theirs(), await ours()] as const
      if (round >= 0) for (const at of [0, 1] as const) times[at].push(pair[at])
    }
    const base = show('graphile-worker, addJob → task', times[0])
    const from = show('Mayfly, over HTTP → isolated handler', times[1])
    process.stdout.write(`→ latency ÷ graphile-worker: p50 ${(from.p50 / base.p50).toFixed(2)}, p99 ${(from.p99 / base.p99).toFixed(2)}  (aims 1, 1)\n`)
  } finally {
    await stop()
    await peer.stop()
  }
}

const disposable = (of: http.Agent) => ({ of, [Symbol.dispose]: () => of.destroy() })

/** Without what a browser's `fetch` does around a request, which takes longer than the node. */
const posted = (url: URL, agent: http.Agent, headers: http.OutgoingHttpHeaders, body: string): Promise<string> =>
  new Promise((answered, failed) => {
    const request = http.request(url, { agent, method: 'POST', headers: { ...headers, 'content-length': Buffer.byteLength(body) } }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => (response.statusCode === 202 ? answered(text) : failed(new Error(`${url}: ${response.statusCode} ${text}`))))
    })
    request.on('error', failed)
    request.end(body)
  })

const DRAINED = 3_000
const CONCURRENCY = 16

/** What stands in the queue when its function goes on until nothing does, beside one-row claims of pgbench. */
export async function drains(place: QueuePlace, rounds: number, seconds: number): Promise<void> {
  const { control, connection, kept, manage, queue, entryOf, pgbench } = place
  await control.script(
    'create schema if not exists bench; create table bench.claims (id bigint generated always as identity primary key, payload bytea not null)',
  )
  const rates = { pgbench: [] as number[], ours: [] as number[], batched: [] as number[], graphile: [] as number[] }
  const claimed = async () => {
    await control.script('truncate bench.claims')
    await control.sql`insert into bench.claims (payload) select ${Buffer.from(JSON.stringify(EVENT))} from generate_series(1, ${seconds * 30_000})`
    await control.script('vacuum analyze bench.claims')
    const rate = pgbench(
      'claim',
      'delete from bench.claims where id = (select id from bench.claims order by id limit 1 for update skip locked) returning payload;',
      seconds,
    )
    const [left] = await control.sql`select from bench.claims limit 1`
    if (!left) throw new Error('pgbench came to the end of its rows')
    return rate
  }
  const ours = async () => {
    const { functionId } = entryOf('worker')
    await manage('POST', '/functions/worker/pause')
    await Promise.all(Array.from({ length: DRAINED }, () => queue.enqueue(entryOf('worker'))))
    const from = performance.now()
    await manage('POST', '/functions/worker/resume')
    while ((await control.sql`select from mayfly.entry where function_id = ${functionId} limit 1`).length > 0) await pause(10)
    return DRAINED / ((performance.now() - from) / 1_000)
  }
  // Messages of a queue, of which a call gets ten.
  const batched = async () => {
    await manage('POST', '/functions/batched/pause')
    const messages = Array.from({ length: 10 }, () => ({ body: JSON.stringify(EVENT) }))
    for (let sent = 0; sent < DRAINED; sent += 10 * CONCURRENCY)
      await Promise.all(Array.from({ length: Math.min(CONCURRENCY, (DRAINED - sent) / 10) }, () => manage('POST', '/queues/bench/messages', { messages })))
    const left = async () => Number((await control.sql<{ n: string }>`select count(*) as n from mayfly.message`)[0]?.n)
    await manage('POST', '/functions/batched/resume')
    // Who is paused looks now and then whether it still is.
    let there = DRAINED
    for (; there === DRAINED; there = await left()) await pause(2)
    const from = performance.now()
    while ((await left()) > 0) await pause(10)
    return there / ((performance.now() - from) / 1_000)
  }
  // Started for each of its turns: the server has not sessions for all of them at once.
  const graphile = async () => {
    const peer = await graphileWorker(connection, kept)
    await Promise.all(Array.from({ length: DRAINED }, () => peer.add(EVENT)))
    let left = DRAINED
    let isOver = () => {}
    const over = new Promise<void>((resolve) => {
      isOver = resolve
    })
    const from = performance.now()
    const stop = await peer.work(CONCURRENCY, () => --left === 0 && isOver())
    await over
    const rate = DRAINED / ((performance.now() - from) / 1_000)
    await stop()
    await peer.stop()
    return rate
  }
  for (let round = -1; round < rounds; round++) {
    const measured = { pgbench: await claimed(), ours: await ours(), batched: await batched(), graphile: await graphile() }
    if (round >= 0) for (const whose of ['pgbench', 'ours', 'batched', 'graphile'] as const) rates[whose].push(measured[whose])
  }
  process.stdout.write(`drain: pgbench, claim one and delete      ${spread(rates.pgbench)}\n`)
  process.stdout.write(`drain: Mayfly, isolated handlers          ${spread(rates.ours)}\n`)
  process.stdout.write(`drain: graphile-worker, tasks in process  ${spread(rates.graphile)}\n`)
  process.stdout.write(`drain: Mayfly, messages, ten a call       ${spread(rates.batched)}\n`)
  const ratio = (of: readonly number[], ours = rates.ours) => middle(ours.map((rate, round) => rate / (of[round] as number))).toFixed(2)
  process.stdout.write(`→ drained ÷ pgbench ${ratio(rates.pgbench)} (aim 1), ÷ graphile-worker ${ratio(rates.graphile)}\n`)
  process.stdout.write(
    `→ messages in batches of ten ÷ pgbench ${ratio(rates.pgbench, rates.batched)}, ÷ graphile-worker ${ratio(rates.graphile, rates.batched)}\n`,
  )
}

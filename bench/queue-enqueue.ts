import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { middle, pause, spread } from './measure.ts'
import { bullmq, CALLERS, graphileWorker, pgBoss, type QueuePeer } from './queue-peers.ts'
import { EVENT, type QueuePlace } from './queue-place.ts'
import { wrk } from './wrk.ts'

/** Answers a second to so many callers, each of whom waits for his answer. */
export async function rateOf(add: () => Promise<unknown>, seconds: number): Promise<number> {
  const from = performance.now()
  const until = from + seconds * 1_000
  let done = 0
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      for (; performance.now() < until; done++) await add()
    }),
  )
  return done / ((performance.now() - from) / 1_000)
}

/** In process and over HTTP beside one-row commits of pgbench and each peer, in turn. */
export async function enqueues(place: QueuePlace, rounds: number, seconds: number): Promise<void> {
  const { control, queue, connection, folder, kept, entryOf } = place
  await control.script('create schema bench; create table bench.one_row (id bigint generated always as identity primary key, payload bytea not null)')
  const row = `insert into bench.one_row (payload) values ('${JSON.stringify(EVENT)}');`
  const script = path.join(folder, 'enqueue.lua')
  const route = `/api/v1/projects/${place.node.ready.project.ref}/functions/intake/invoke?async=1`
  writeFileSync(
    script,
    `wrk.headers["authorization"] = "Bearer ${place.operatorToken}"\nwrk.headers["content-type"] = "application/json"\nrequest = function() return wrk.format("POST", "${route}", nil, '${JSON.stringify(EVENT)}') end`,
  )
  const overHttp = () => {
    const measured = wrk(place.node.ready.url, CALLERS, null, seconds, script)
    if (measured.refused > 0) throw new Error(`${measured.refused} events were refused`)
    return measured.rate
  }
  const peers = await thoseThere([
    { name: 'graphile-worker addJob', aim: 5, start: () => graphileWorker(connection, kept) },
    { name: 'pg-boss send', aim: 5, start: () => pgBoss(connection, kept) },
    { name: 'BullMQ add, appendfsync always', aim: 1, start: () => bullmq(folder, kept) },
  ])
  const turns: readonly { readonly name: string; readonly rate: () => Promise<number> | number }[] = [
    { name: 'pgbench, one row a commit', rate: () => place.pgbench('one-row', row, seconds) },
    { name: 'Mayfly, in process', rate: () => rateOf(() => queue.enqueue(entryOf('intake')), seconds) },
    { name: 'Mayfly, over HTTP', rate: overHttp },
    ...peers.map(({ name, start }) => ({ name, rate: () => rateOfPeer(start, seconds) })),
  ]
  const rates = new Map<string, number[]>(turns.map(({ name }) => [name, []]))
  for (let round = -1; round < rounds; round++)
    for (const { name, rate } of turns) {
      const measured = await rate()
      // Whoever is measured first would be measured cold.
      if (round >= 0) rates.get(name)?.push(measured)
      await pause(100)
    }
  for (const [name, all] of rates) process.stdout.write(`enqueue: ${name.padEnd(30)} ${spread(all)}\n`)
  for (const ours of ['Mayfly, in process', 'Mayfly, over HTTP'])
    for (const { name, aim } of [{ name: 'pgbench, one row a commit', aim: 1.2 }, ...peers]) {
      const ratios = (rates.get(ours) ?? []).map((rate, round) => rate / (rates.get(name)?.[round] as number))
      process.stdout.write(`→ ${ours} ÷ ${name} ${middle(ratios).toFixed(2)} (${ratios.map((one) => one.toFixed(2)).join(', ')}; aim ${aim})\n`)
    }
}

/** Started for each of its turns: the server has not sessions for all of them at once. */
async function rateOfPeer(start: () => Promise<QueuePeer>, seconds: number): Promise<number> {
  const { add, stop } = await start()
  try {
    await rateOf(() => add(EVENT), 0.3)
    return await rateOf(() => add(EVENT), seconds)
  } finally {
    await stop()
  }
}

interface Startable {
  readonly name: string
  readonly aim: number
  readonly start: () => Promise<QueuePeer>
}

/** Those that can be had; each is missing alone. */
async function thoseThere(peers: readonly Startable[]): Promise<Startable[]> {
  const there: Startable[] = []
  for (const peer of peers)
    try {
      await (await peer.start()).stop()
      there.push(peer)
    } catch (error) {
      process.stdout.write(`left out: ${peer.name}: ${(error as Error).message}\n`)
    }
  return there
}

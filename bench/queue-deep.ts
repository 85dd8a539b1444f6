import { randomUUID } from 'node:crypto'
import { statfsSync } from 'node:fs'
import type { Row, Tx } from '../src/backends/database/database.ts'
import { deleteEntries, insertEntries, leaseDue, selectWaitingFunctions } from '../src/invoke/store.ts'
import { middle, ms } from './measure.ts'
import type { QueuePlace } from './queue-place.ts'

const FUNCTIONS = 10
const SAMPLES = 30
/** What ten million entries, their indexes and the log of writing them take. */
const DISK_BYTES = 16 * 2 ** 30
const PIECE = 500_000
/** So many are taken from the head and end, as in a minute of work, and the table is vacuumed once, as it is by itself. */
const TAKEN = 50_000
const AT_ONCE = 1_000

interface Explained {
  readonly Plan: Readonly<Record<string, unknown>>
  readonly 'Planning Time': number
  readonly 'Execution Time': number
}

interface Cost {
  readonly ms: number
  readonly pages: number
}

/** What the queue's own statements cost with a million entries behind the head, and with ten: rolled back, so that each is asked the same. */
export async function deep(place: QueuePlace, depths: readonly number[]): Promise<void> {
  const node = place.node.pid()
  // It would make dead letters of what nobody's functions have waiting, and be measured with it.
  process.kill(node, 'SIGSTOP')
  try {
    await measured(place, depths)
  } finally {
    process.kill(node, 'SIGCONT')
  }
}

async function measured(place: QueuePlace, depths: readonly number[]): Promise<void> {
  const { control, folder } = place
  const { bavail, bsize } = statfsSync(folder)
  if (bavail * bsize < DISK_BYTES) throw new Error(`${folder}: ten million entries take ${DISK_BYTES / 2 ** 30} GiB of disk for a while`)
  const ids = Array.from({ length: FUNCTIONS }, (_, n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`)
  const costs: Record<string, Cost>[] = []
  let there = 0
  for (const depth of depths) {
    for (; there < depth; there += Math.min(PIECE, depth - there)) await fill(place, ids, Math.min(PIECE, depth - there))
    await control.script('vacuum analyze mayfly.entry, mayfly.entry_payload')
    await control.script('checkpoint')
    const [size] = await control.sql<{ mb: string }>`
      select (pg_total_relation_size('mayfly.entry'::regclass) + pg_total_relation_size('mayfly.entry_payload'::regclass)) / 1048576 as mb`
    process.stdout.write(`${depth} entries of ${FUNCTIONS} functions, ${size?.mb} MB\n`)
    const cost = await costOf(place, ids)
    await take(place, ids)
    await control.script('vacuum mayfly.entry, mayfly.entry_payload')
    there -= TAKEN
    for (const [what, one] of Object.entries(await costOf(place, ids))) cost[`${what}, ${TAKEN} ended`] = one
    for (const [what, { ms: took, pages }] of Object.entries(cost)) process.stdout.write(`  ${what.padEnd(36)} ${ms(took)}, ${pages} pages\n`)
    costs.push(cost)
  }
  const [few, many] = [costs[0], costs.at(-1)]
  if (!few || !many || few === many) return
  for (const [what, { ms: took, pages }] of Object.entries(many)) {
    const base = few[what] as Cost
    process.stdout.write(
      `→ ${what}: ${depths.at(-1)} ÷ ${depths[0]} entries: time ${(took / base.ms).toFixed(2)}, pages ${(pages / base.pages).toFixed(2)}  (aim 1)\n`,
    )
  }
}

/** Due by now in the order in which they came, as what an hour of trouble leaves. Nobody's functions: the node that holds the tables must not run them. */
async function fill({ control, node }: QueuePlace, ids: readonly string[], count: number): Promise<void> {
  await control.sql`
    with came as (
      insert into mayfly.entry (id, function_id) select uuidv7(), (${ids}::uuid[])[1 + n % ${ids.length}::int] from generate_series(1, ${count}) as n returning id)
    insert into mayfly.entry_payload (entry_id, project, function_name, depth, payload) select id, ${node.ready.project.ref}, 'deep', 0, '{"order":4711}' from came`
}

/** Claims and ends the first of all functions. */
async function take({ control }: QueuePlace, ids: readonly string[]): Promise<void> {
  const free = { functions: ids, slots: ids.map(() => AT_ONCE / ids.length) }
  for (let taken = 0; taken < TAKEN; ) {
    const leased = await leaseDue(control.sql, randomUUID(), free, 60_000)
    if (leased.length === 0) throw new Error('nothing is left to be taken')
    await deleteEntries(control.sql, leased)
    taken += leased.length
  }
}

async function costOf({ control, node }: QueuePlace, ids: readonly string[]): Promise<Record<string, Cost>> {
  const of: Record<string, Cost[]> = {}
  class Undone extends Error {}
  for (let sample = -3; sample < SAMPLES; sample++) {
    await control
      .transaction(async (tx) => {
        const holder = randomUUID()
        const free = { functions: ids, slots: ids.map(() => 2) }
        const add = async (what: string, work: (asked: Tx) => Promise<unknown>) => {
          const cost = await explained(tx, work)
          if (sample >= 0) of[what] = [...(of[what] ?? []), cost]
        }
        await add('look for functions', selectWaitingFunctions)
        await add('claim 20', (asked) => leaseDue(asked, holder, free, 60_000))
        const running = await tx<{ id: string; attempt: number }>`select id, attempt from mayfly.entry where leased_until is not null and leased_by = ${holder}`
        await add('end 20', (asked) => deleteEntries(asked, running))
        const entry = {
          project: node.ready.project.ref,
          functionName: 'deep',
          traceId: null,
          clientContext: null,
          depth: 0,
          payload: Buffer.from('{"order":4711}'),
        }
        await add('enqueue 20', (asked) =>
          insertEntries(
            asked,
            Array.from({ length: 20 }, (_, n) => ({ ...entry, id: randomUUID(), functionId: ids[n % ids.length] as string })),
          ),
        )
        throw new Undone()
      })
      .catch((error: unknown) => {
        if (!(error instanceof Undone)) throw error
      })
    // What was rolled back is dead, and in nobody's way in the life of a queue.
    await control.script('vacuum mayfly.entry, mayfly.entry_payload')
  }
  return Object.fromEntries(
    Object.entries(of).map(([what, all]) => [what, { ms: middle(all.map((one) => one.ms)), pages: middle(all.map((one) => one.pages)) }]),
  )
}

/** The statements of `work` as PostgreSQL runs them, with what each took; `work` itself is answered with no rows. */
async function explained(tx: Tx, work: (asked: Tx) => Promise<unknown>): Promise<Cost> {
  let [took, pages] = [0, 0]
  const ask = async <R extends object = Row>(strings: TemplateStringsArray, ...values: readonly unknown[]): Promise<R[]> => {
    const texts = [`explain (analyze, buffers, format json) ${strings[0]}`, ...strings.slice(1)]
    const [row] = await tx<{ 'QUERY PLAN': readonly Explained[] }>(Object.assign(texts, { raw: texts }), ...values)
    const plan = row?.['QUERY PLAN'][0] as Explained
    took += plan['Planning Time'] + plan['Execution Time']
    pages += Number(plan.Plan['Shared Hit Blocks']) + Number(plan.Plan['Shared Read Blocks'])
    return []
  }
  await work(Object.assign(ask, { inTransaction: true as const }))
  return { ms: took, pages }
}

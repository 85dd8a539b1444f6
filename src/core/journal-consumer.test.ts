import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Database, Tx } from '../backends/database/database.ts'
import { SimulatedClock } from '../lib/simulated-clock.ts'
import { JournalConsumer } from './journal-consumer.ts'
import { Journal } from './journal.ts'
import { silentLog } from './log.ts'

const settle = async () => {
  for (let n = 0; n < 10; n++) await turn()
}

/** A database that takes each position; it may be away, or let its first transaction wait. */
function fake() {
  const state = { isAway: false, held: null as Promise<void> | null }
  const sql = async (parts: TemplateStringsArray) => (parts.join('').trim().startsWith('select') ? [] : [{}])
  const transaction = async <R>(work: (tx: Tx) => Promise<R>): Promise<R> => {
    await state.held
    if (state.isAway) throw new Error('away')
    return await work(sql as unknown as Tx)
  }
  return { state, database: { sql, transaction } as unknown as Database }
}

describe('JournalConsumer', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-consumer-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  async function open(stack: AsyncDisposableStack, database: Database) {
    const [stored, clock] = [[] as number[], new SimulatedClock()]
    const journal = stack.use(await Journal.open<{ n: number }>(folder, silentLog))
    const store = async (_: Tx, values: readonly { n: number }[]) => void stored.push(...values.map(({ n }) => n))
    const consumer = new JournalConsumer<{ n: number }>({ name: 'main', journal, database, clock, log: silentLog, store })
    await consumer.start()
    stack.use(consumer)
    // From here on what is written is read from memory.
    journal.append({ n: 0 })
    await consumer.catchUp()
    const write = (n: number) => {
      journal.append({ n })
      journal.flush()
    }
    /** How often somebody was woken meanwhile. */
    const pass = async (ms: number): Promise<number> => {
      let woken = 0
      await settle()
      for (const until = clock.monotonic() + ms; clock.nextAt !== null && clock.nextAt <= until; woken++) {
        clock.advance(clock.nextAt - clock.monotonic())
        await settle()
      }
      return woken
    }
    await pass(1_000)
    return { consumer, stored, write, pass }
  }

  it('stores what is written a moment later, and wakes nobody while nothing is', async () => {
    await using stack = new AsyncDisposableStack()
    const { stored, write, pass } = await open(stack, fake().database)
    assert.equal(await pass(59_000), 0)
    write(1)
    await pass(200)
    assert.deepEqual(stored, [0, 1])
    await pass(200)
    assert.equal(await pass(59_000), 0)
    for (const n of [2, 3]) write(n)
    await pass(200)
    assert.deepEqual(stored, [0, 1, 2, 3])
  })

  it('comes again each second while the database is away', async () => {
    await using stack = new AsyncDisposableStack()
    const { state, database } = fake()
    const { stored, write, pass } = await open(stack, database)
    state.isAway = true
    write(1)
    await pass(5_000)
    assert.deepEqual(stored, [0])
    state.isAway = false
    await pass(1_200)
    assert.deepEqual(stored, [0, 1])
  })

  it("finds what was written while it waited for another's move, which had read before", async () => {
    await using stack = new AsyncDisposableStack()
    const { state, database } = fake()
    const { consumer, stored, write, pass } = await open(stack, database)
    const held = Promise.withResolvers<void>()
    state.held = held.promise
    await settle()
    write(1)
    const caughtUp = consumer.catchUp()
    await settle()
    // The round is rung for by the first, and comes to wait for the same move behind the second.
    write(2)
    await pass(200)
    held.resolve()
    await caughtUp
    await pass(1_500)
    assert.deepEqual(stored, [0, 1, 2])
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { DataError } from './errors.ts'
import { Gate } from './gate.ts'

/** A clock that stands until it is moved. */
function still() {
  let now = 0
  const timers = new Set<{ at: number; fire: () => void }>()
  return {
    monotonic: () => now,
    timer: (ms: number, fire: () => void) => {
      const timer = { at: now + ms, fire }
      timers.add(timer)
      return { [Symbol.dispose]: () => void timers.delete(timer) }
    },
    move: async (ms: number) => {
      now += ms
      for (const timer of [...timers]) if (timer.at <= now && timers.delete(timer)) timer.fire()
      await nextTurn()
    },
  }
}
const never = new AbortController().signal

describe('the gate to the sessions of a project', () => {
  const open = (more: Partial<ConstructorParameters<typeof Gate>[0]> = {}) => {
    const clock = still()
    const entered: string[] = []
    const gate = new Gate({ max: 2, waitMs: 1_000, maxWaiting: 10, clock, ...more })
    const enter = async (party: string, signal = never) => {
      const turn = await gate.enter(party, signal)
      entered.push(party)
      return turn
    }
    return { clock, entered, enter }
  }

  it('lets one have all sessions while nobody else asks', async () => {
    const { enter, entered } = open()
    await Promise.all([enter('a'), enter('a')])
    assert.deepEqual(entered, ['a', 'a'])
  })
  it('has each in turn, whoever asked for more before', async () => {
    const { enter, entered } = open({ max: 1 })
    const first = await enter('a')
    const turns = [enter('a'), enter('a'), enter('a'), enter('b'), enter('c')]
    first[Symbol.dispose]()
    await Promise.all(turns.map(async (turn) => (await turn)[Symbol.dispose]()))
    assert.deepEqual([...entered.slice(0, 4)].toSorted(), ['a', 'a', 'b', 'c'])
  })
  it('keeps a session for others than whose requests are slow', async () => {
    const { enter, entered, clock } = open()
    const slow = [await enter('a'), await enter('a')]
    const behind = [enter('a'), enter('a')]
    await clock.move(600)
    slow[0]?.[Symbol.dispose]()
    await nextTurn()
    assert.deepEqual(entered, ['a', 'a'])
    const other = await enter('b')
    assert.deepEqual(entered, ['a', 'a', 'b'])
    other[Symbol.dispose]()
    slow[1]?.[Symbol.dispose]()
    await Promise.all(behind)
    assert.equal(entered.length, 5)
  })
  it('says so when none comes free in time, when too many wait, and when who waits has left', async () => {
    const { enter, clock } = open({ max: 1, maxWaiting: 4 })
    const isLate = (error: unknown) => error instanceof DataError && error.code === 'PGRST003'
    const held = await enter('a')
    const late = assert.rejects(enter('a'), isLate)
    const leaving = new AbortController()
    const left = assert.rejects(enter('a', leaving.signal), { name: 'AbortError' })
    await assert.rejects(enter('a'), isLate)
    leaving.abort()
    await left
    const other = enter('b')
    const another = assert.rejects(enter('c'), isLate)
    held[Symbol.dispose]()
    await other
    await clock.move(1_001)
    await Promise.all([late, another])
  })
})

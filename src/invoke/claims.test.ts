import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Database } from '../backends/database/database.ts'
import { noCrash } from '../core/crash.ts'
import { systemClock } from '../lib/clock.ts'
import { Claims, type Placed } from './claims.ts'
import { Places } from './places.ts'
import { Rates } from './rate.ts'
import type { LeasedEntry } from './store.ts'

const F = 'f'
const entries = (count: number) => Array.from({ length: count }, (_, n) => ({ id: String(n), functionId: F }) as LeasedEntry)

/** A queue without an end of calls of one function, in as many places as it says. */
function claimsOf({ most, rate }: { readonly most: number; readonly rate?: number }) {
  const places = new Places(most)
  const rates = new Rates(() => 0)
  const began: Placed[] = []
  const looks: number[] = []
  const sql = (async (strings: TemplateStringsArray, ...values: unknown[]) => {
    if (strings.join('').includes('with recursive waiting')) return [{ functionId: F, project: 'p', functionName: 'f', dueMs: -1 }]
    return entries((values[1] as number[])[0] ?? 0)
  }) as Database['sql']
  const claims = new Claims({
    database: { sql } as Database,
    clock: { ...systemClock, monotonic: () => 0 },
    crash: noCrash,
    holder: 'h',
    leaseMs: 1,
    places,
    rates,
    freeOf: () => Number.POSITIVE_INFINITY,
    ownOf: async () => ({ maxAttempts: null, maxAgeSeconds: null, ...(rate === undefined ? {} : { rate }) }),
    mayRefill: () => true,
    isStopped: () => false,
    begin: ({ functionId }, isRated) => {
      if (isRated) rates.began(functionId)
      began.push({ functionId, hasPlace: true })
    },
    lookAgain: () => looks.push(began.length),
  })
  return { claims, places, began, looks }
}

describe('claims', () => {
  it('let others begin in the places of what ends, and give what does not end its place again', async () => {
    const { claims, places, began, looks } = claimsOf({ most: 3 })
    assert.equal(await claims.look(), 0)
    assert.deepEqual([began.length, places.left], [3, 0])
    const refill = claims.refill(began.slice(0, 2))
    assert.ok(refill.lease)
    assert.equal(places.left, 0, 'they are taken while it is under way')
    refill.begin(entries(2))
    assert.deepEqual([began.length, places.left, looks], [5, 0, []], 'what is full needs no look')
    const failing = claims.refill(began.slice(2))
    failing.failed()
    assert.deepEqual([places.left, began.slice(2).every(({ hasPlace }) => hasPlace)], [0, true])
    claims.refill(began.slice(2, 4)).begin(entries(1))
    assert.deepEqual([places.left, looks], [1, [6]], 'where less was there than asked for somebody looks')
  })
  it('hold a rate, though two claims of a function are under way at once', async () => {
    const { claims, places, began } = claimsOf({ most: 8, rate: 4 })
    places.take('other', 6)
    await claims.look()
    assert.equal(began.length, 2)
    const refill = claims.refill(began.slice())
    assert.ok(refill.lease, 'two more may begin in this second')
    places.giveBack('other', 6)
    await claims.look()
    refill.begin(entries(2))
    assert.equal(began.length, 4)
    assert.equal(places.left, 6)
  })
})

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import type { Database } from '../backends/database/database.ts'
import { noCrash } from '../core/crash.ts'
import { systemClock } from '../lib/clock.ts'
import { Intake } from './intake.ts'
import { Places } from './places.ts'

describe('Intake', () => {
  const of = (sql: () => Promise<unknown>) => {
    const places = new Places(8)
    const seen = { left: 0, begun: 0 }
    const transaction = async (work: (tx: unknown) => Promise<unknown>) => await work(sql)
    const intake = new Intake({
      database: { sql, transaction } as unknown as Database,
      holder: randomUUID(),
      leaseMs: 60_000,
      places,
      crash: noCrash,
      clock: systemClock,
      mayTake: () => true,
      isReserved: () => false,
      stored: () => {},
      begin: () => void seen.begun++,
      left: () => void seen.left++,
    })
    return { intake, places, seen }
  }
  const entry = (functionId: string = randomUUID()) => ({
    id: randomUUID(),
    project: 'demo',
    functionId,
    functionName: 'f',
    traceId: null,
    clientContext: null,
    depth: 0,
    payload: Buffer.from('{}'),
  })
  const OWN = { maxAttempts: null, maxAgeSeconds: null }

  it('says when places are free again that nothing came to: what waits for one is looked for at once', async () => {
    const { intake, places, seen } = of(() => Promise.reject(new Error('the database is away')))
    await assert.rejects(intake.add(entry(), OWN, null), /away/)
    assert.deepEqual([places.left, seen.left, seen.begun, intake.taking.size], [8, 1, 0, 0])
  })
  it('says so of the place of an event that was sent before, too', async () => {
    const functionId = randomUUID()
    const first = randomUUID()
    const { intake, places, seen } = of(() => Promise.resolve([{ functionId, key: 'k', invocationId: first }]))
    assert.equal(await intake.add(entry(functionId), OWN, 'k'), first)
    assert.deepEqual([places.left, seen.left, seen.begun, intake.taking.size], [8, 1, 0, 0])
  })
})

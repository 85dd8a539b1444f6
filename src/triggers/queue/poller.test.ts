import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { noCrash } from '../../core/crash.ts'
import { LIMITS } from '../../core/limits.ts'
import { silentLog } from '../../core/log.ts'
import type { ProjectRef } from '../../core/project.ts'
import { VirtualClock } from '../../lib/virtual-clock.ts'
import type { Message, QueueInfo } from '../../queues/index.ts'
import type { SourceHost } from '../event-source.ts'
import type { Consumer } from './consumer.ts'
import { Poller } from './poller.ts'

const CONSUMER: Consumer = {
  ...{ id: 't', project: 'demo' as ProjectRef, queueName: 'q', functionId: 'f', functionName: 'work', qualifier: null },
  ...{ batchSize: 10, windowSeconds: 0, parallelism: 1, retryAfter: null, bisect: false, reportsFailures: true, filters: [] },
}
const AT = new Date(0)

/** A queue in memory, and a function whose runs the test ends. */
class Bench {
  readonly clock = new VirtualClock()
  readonly waiting: Message[] = []
  readonly hidden: { readonly receipt: string; readonly seconds: number; readonly at: number }[] = []
  readonly done: string[] = []
  readonly givenBack: string[] = []
  readonly runs: { readonly bodies: readonly string[]; readonly at: number; readonly end: (error?: string) => void }[] = []
  paused = false
  turn: () => Promise<void> = async () => {}
  #sent = 0

  send(...bodies: string[]): void {
    for (const body of bodies) {
      const id = `m${this.#sent++}`
      this.waiting.push({
        id,
        receipt: id,
        body,
        attributes: null,
        receiveCount: 1,
        sentAt: AT,
        firstReceivedAt: AT,
        traceHeader: null,
        sender: 'me',
        source: null,
      })
    }
  }

  poller(changes: Partial<Consumer> = {}, visibilitySeconds = 30): Poller {
    const queue = { id: 'q', project: 'demo', name: 'q', settings: { visibilitySeconds } } as QueueInfo
    const { clock } = this
    const host = {
      queues: {
        find: () => queue,
        receive: async (_queue: QueueInfo, { most, waitMs }: { readonly most: number; readonly waitMs: number }, signal: AbortSignal) => {
          for (const end = clock.monotonic() + waitMs; this.waiting.length === 0 && clock.monotonic() < end && !signal.aborted; )
            await clock.sleep(100, signal).catch(() => {})
          return signal.aborted ? [] : this.waiting.splice(0, most)
        },
        hide: async (_queue: QueueInfo, receipt: string, seconds: number) => void this.hidden.push({ receipt, seconds, at: clock.monotonic() }),
        done: async (_queue: QueueInfo, receipt: string) => void this.done.push(receipt),
        giveBack: async (_queue: QueueInfo, receipts: readonly string[]) => void this.givenBack.push(...receipts),
      },
      queue: { pausedOf: async () => new Map(this.paused ? [['f', AT]] : []), turnOf: () => this.turn() },
      invoke: async ({ content }: { readonly content: (kind: 'lambda') => Promise<{ readonly payload: Uint8Array }> }) => {
        const { Records } = JSON.parse(Buffer.from((await content('lambda')).payload).toString()) as { Records: { body: string }[] }
        const ended = Promise.withResolvers<string | undefined>()
        this.runs.push({ bodies: Records.map(({ body }) => body), at: clock.monotonic(), end: (error) => ended.resolve(error) })
        const error = await ended.promise
        const result = error === undefined ? { kind: 'event', payload: Buffer.from('null') } : { kind: 'error', payload: Buffer.from('{}'), errorType: error }
        return { result, over: Promise.resolve({ error: null }) }
      },
      recorded: async () => {},
      newId: () => 'id',
      region: 'us-east-1',
      crash: noCrash,
      clock,
      log: silentLog,
    }
    return new Poller(host as unknown as SourceHost, { ...CONSUMER, ...changes })
  }

  async ended(poller: Poller): Promise<void> {
    const stopped = poller.stop()
    for (const { end } of this.runs) end()
    await this.clock.pass(2_000)
    await stopped
  }
}

describe('a poller of a queue', () => {
  it('hides what is in hand again and again while its function runs, and no more when that has ended', async () => {
    const bench = new Bench()
    bench.send('a', 'b')
    const poller = bench.poller({}, 12)
    await bench.clock.pass(13_000)
    assert.deepEqual(
      bench.hidden.map(({ receipt, seconds, at }) => [receipt, seconds, at]),
      [4_000, 8_000, 12_000].flatMap((at) => ['m0', 'm1'].map((receipt) => [receipt, 12, at])),
    )
    bench.runs[0]?.end()
    await bench.clock.pass(20_000)
    assert.deepEqual([bench.hidden.length, bench.done], [6, ['m0', 'm1']])
    await bench.ended(poller)
  })

  it('hides what failed for as long as its consumer says, twice as long each time, else as long as the queue', async () => {
    for (const [retryAfter, seconds] of [
      [null, [3, 3]],
      [0, [0, 0]],
      [{ least: 2, most: 60 }, [2, 60]],
    ] as const) {
      const bench = new Bench()
      bench.send('first', 'last')
      const [, last] = bench.waiting
      assert.ok(last)
      bench.waiting[1] = { ...last, receiveCount: 90 }
      const poller = bench.poller({ retryAfter }, 3)
      await bench.clock.pass(500)
      bench.runs[0]?.end('Boom')
      await bench.clock.pass(500)
      assert.deepEqual(
        bench.hidden.map((one) => one.seconds),
        seconds,
      )
      await bench.ended(poller)
    }
  })

  it('waits for a batch to fill until its window is over, and no longer than it takes to fill', async () => {
    const bench = new Bench()
    const poller = bench.poller({ batchSize: 3, windowSeconds: 5 })
    bench.send('a')
    await bench.clock.pass(4_000)
    assert.equal(bench.runs.length, 0)
    bench.send('b')
    await bench.clock.pass(1_500)
    assert.deepEqual(bench.runs[0]?.bodies, ['a', 'b'])
    bench.runs[0]?.end()
    await bench.clock.pass(1_000)
    bench.send('c', 'd', 'e', 'f')
    await bench.clock.pass(200)
    assert.deepEqual(bench.runs[1]?.bodies, ['c', 'd', 'e'])
    await bench.ended(poller)
  })

  it('runs as many batches at once as it may', async () => {
    const bench = new Bench()
    const poller = bench.poller({ batchSize: 1, parallelism: 2 })
    bench.send('a', 'b', 'c')
    await bench.clock.pass(1_000)
    assert.deepEqual([bench.runs.length, bench.waiting.length], [2, 1])
    bench.runs[0]?.end()
    await bench.clock.pass(1_000)
    assert.deepEqual(
      bench.runs.map(({ bodies }) => bodies),
      [['a'], ['b'], ['c']],
    )
    await bench.ended(poller)
  })

  it('gives no run more than an event may have; of parts of a batch each ends by itself', async () => {
    const bench = new Bench()
    const poller = bench.poller({ batchSize: 10 })
    bench.send(...Array.from({ length: 10 }, (_, n) => `${n}`.padEnd(1_000_000, 'x')))
    await bench.clock.pass(500)
    assert.ok((bench.runs[0]?.bodies.length ?? 0) * 1_000_000 < LIMITS.invocationBody.value)
    bench.runs[0]?.end('Boom')
    await bench.clock.pass(500)
    bench.runs[1]?.end()
    await bench.clock.pass(500)
    assert.deepEqual(
      bench.runs.map(({ bodies }) => bodies.map((body) => body[0])),
      [
        ['0', '1', '2', '3', '4', '5'],
        ['6', '7', '8', '9'],
      ],
    )
    assert.deepEqual([bench.done, bench.givenBack], [['m6', 'm7', 'm8', 'm9'], []])
    await bench.ended(poller)
  })

  it('runs a batch that fails as a whole again in halves where it is to, until what fails stands alone', async () => {
    for (const [bisect, runs, done, hidden] of [
      [true, ['abcde', 'abc', 'ab', 'c', 'de'], ['m0', 'm1', 'm3', 'm4'], ['m2']],
      [false, ['abcde'], [], ['m0', 'm1', 'm2', 'm3', 'm4']],
    ] as const) {
      const bench = new Bench()
      bench.send('a', 'b', 'c', 'd', 'e')
      const poller = bench.poller({ bisect, retryAfter: 7 }, 30)
      await bench.clock.pass(500)
      for (let n = 0; n < bench.runs.length; n++) {
        bench.runs[n]?.end(bench.runs[n]?.bodies.includes('c') ? 'Boom' : undefined)
        await bench.clock.pass(500)
      }
      assert.deepEqual(
        bench.runs.map(({ bodies }) => bodies.join('')),
        runs,
      )
      assert.deepEqual([bench.done, bench.hidden.filter(({ seconds }) => seconds === 7).map(({ receipt }) => receipt), bench.givenBack], [done, hidden, []])
      await bench.ended(poller)
    }
  })

  it('gives back what did not run: when its function is paused, and when it is to stop', async () => {
    const bench = new Bench()
    const poller = bench.poller({ parallelism: 2 })
    bench.paused = true
    bench.send('a')
    await bench.clock.pass(500)
    assert.deepEqual([bench.runs.length, bench.givenBack], [0, ['m0']])
    bench.paused = false
    const turn = Promise.withResolvers<void>()
    bench.turn = () => turn.promise
    bench.send('b')
    await bench.clock.pass(2_000)
    assert.equal(bench.runs.length, 0, 'its turn has not come')
    const stopped = poller.stop()
    turn.resolve()
    await bench.clock.pass(2_000)
    await stopped
    assert.deepEqual([bench.runs.length, bench.givenBack], [0, ['m0', 'm1']])
  })
})

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
// @ts-expect-error what runs in a sandbox has no types
import { RunningCall, run, runConcurrently, withdrawTrace } from './running.mjs'

const TRACE = '_X_AMZN_TRACE_ID'
const call = (id: number) => new RunningCall(id, { kind: 'event', remainingMs: 1000, context: { traceId: `trace-${id}` } })
const running = (id: number, work: () => Promise<unknown>) =>
  new Promise((done, failed) =>
    run(
      call(id),
      () => work().then(done),
      null,
      (_: unknown, error: unknown) => failed(error),
    ),
  )

describe('the trace in the environment', () => {
  after(() => {
    runConcurrently(false)
    withdrawTrace()
  })

  it('is that of the call, and nowhere before the first', async () => {
    assert.equal(process.env[TRACE], undefined)
    assert.equal(await running(1, async () => process.env[TRACE]), 'trace-1')
    assert.equal(await running(2, async () => process.env[TRACE]), 'trace-2')
  })

  it('is what code writes there, for that call', async () => {
    const work = async () => {
      process.env[TRACE] = 'own'
      return process.env[TRACE]
    }
    assert.equal(await running(3, work), 'own')
    assert.equal(await running(4, async () => process.env[TRACE]), 'trace-4')
  })

  it('is its own for each of several calls at once', async () => {
    runConcurrently(true)
    const slow = async () => {
      await delay(20)
      return process.env[TRACE]
    }
    assert.deepEqual(await Promise.all([running(6, slow), running(7, slow)]), ['trace-6', 'trace-7'])
  })

  it('is of no matter to the calls of code that froze what is behind the environment', () => {
    const code = `
      import { RunningCall, run } from ${JSON.stringify(path.join(import.meta.dirname, 'running.mjs'))}
      Object.freeze(Object.getPrototypeOf(process.env))
      const call = new RunningCall(1, { kind: 'event', remainingMs: 1000, context: { traceId: 'trace' } })
      run(call, async () => console.log('ran', process.env.${TRACE}), null, (_, error) => console.log(error))`
    assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' }), 'ran undefined\n')
  })
})

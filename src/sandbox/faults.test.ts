import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../lib/clock.ts'
import { runcVersion } from './drivers/oci-runtimes.ts'
import { eventOf, never, PoolFixture, silent, until } from './pool-fixture.ts'
import { type Driver, LoadError, type LogSink, type Sandboxes, type SandboxProcess, type SandboxSpec, StartInterrupted } from './types.ts'

const isolated = process.getuid?.() === 0 && (await runcVersion()) !== null
const sleepsAtLoad = (ms: number) => `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${ms}); exports.handler = async () => 'loaded'`
const CODE = {
  hello: `let n = 0; exports.handler = async () => ++n`,
  sleep: `exports.handler = async (event) => { await new Promise((done) => setTimeout(done, event.ms)); return event.ms }`,
  slow: sleepsAtLoad(400),
  slower: sleepsAtLoad(8_000),
  slowThenEver: sleepsAtLoad(400).replace("async () => 'loaded'", '() => new Promise(() => setInterval(() => {}, 1000))'),
  prints: `console.log('loading'); let n = 0; exports.handler = async () => ++n`,
  broken: `throw new Error('does not load')`,
}

/** A driver whose starts wait for the test, and that counts what it gave and what came back. */
function gated() {
  const gates: { background: boolean; open: () => void }[] = []
  const alive = new Set<string>()
  let aliveAtDispose = -1
  let most = 0
  let now = 0
  const around = (real: Driver): Partial<Driver> => ({
    // What is made ahead of its program would be started beside what a test counts.
    holds: false,
    start: async (options) => {
      most = Math.max(most, ++now)
      await new Promise<void>((open) => gates.push({ background: options.background, open }))
      const started = await real.start(options)
      now--
      alive.add(started.id)
      return changed(started, { kill: () => started.kill().finally(() => alive.delete(started.id)) })
    },
    [Symbol.asyncDispose]: async () => {
      aliveAtDispose = alive.size
      await real[Symbol.asyncDispose]()
    },
  })
  /** Lets what waits at the gate through, now and from now on. */
  const openAll = () => {
    for (const gate of gates) gate.open()
    gates.push = (...more) => {
      for (const gate of more) gate.open()
      return 0
    }
  }
  return { around, gates, alive, openAll, aliveAtDispose: () => aliveAtDispose, most: () => most }
}

/** The same sandbox with some of its ways replaced. */
const changed = (real: SandboxProcess, ways: Partial<SandboxProcess>): SandboxProcess =>
  new Proxy(real, {
    get: (target, name) => {
      const value: unknown = Reflect.get(ways, name) ?? Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

for (const name of ['process', ...(isolated ? ['runc'] : [])] as ('process' | 'runc')[]) {
  describe(`faults of sandboxes by ${name}`, { timeout: 120_000 }, () => {
    const fixture = new PoolFixture(name, CODE)
    const { open, specOf, call, stateOf } = {
      open: fixture.open.bind(fixture),
      specOf: fixture.specOf.bind(fixture),
      call: fixture.call.bind(fixture),
      stateOf: fixture.stateOf.bind(fixture),
    }
    let pool: Sandboxes
    before(async () => {
      await fixture.openFirst()
      pool = fixture.pool
    })
    after(() => fixture[Symbol.asyncDispose]())

    const coldOf = (spec: SandboxSpec) =>
      pool.acquire(spec, silent, never).then(
        () => assert.fail('it loaded'),
        (error: unknown) => (error instanceof LoadError ? error.cold : error),
      )
    /** How long it takes until the promise settles; what it settles with is asked elsewhere. */
    const msUntil = async (work: PromiseLike<unknown>) => {
      const from = systemClock.monotonic()
      await Promise.resolve(work).catch(() => {})
      return systemClock.monotonic() - from
    }

    test('closing does not wait for a refill that stands in its pause', async () => {
      let starts = 0
      const start = () => {
        starts++
        return Promise.reject(new Error('no room'))
      }
      const closing = await open({ poolSize: 1 }, { around: () => ({ start }) })
      // After the third a pause of two seconds begins.
      await until(() => starts === 3)
      assert.ok((await msUntil(closing[Symbol.asyncDispose]())) < 5_000)
    })

    test('a start that a signal to all of the node interrupts is tried again, so that its call is answered; not without end', async () => {
      let starts = 0
      let most = 2
      const around = (real: Driver): Partial<Driver> => ({
        holds: false,
        start: (options) => (++starts > most ? real.start(options) : Promise.reject(new StartInterrupted('SIGINT'))),
      })
      await using some = await open({ poolSize: 0 }, { around })
      assert.equal((await call(specOf('hello'), null, silent, some)).value, 1)
      assert.equal(starts, 3)
      most = 1_000
      starts = 0
      await assert.rejects(call(specOf('prints'), null, silent, some), { code: 'sandbox_unavailable' })
      assert.equal(starts, 3)
    })

    test('what code asks of the platform while it loads for a call stands behind that call', async () => {
      fixture.addCode(
        'asks',
        `import { connect } from 'node:net'
        const { hostname, port } = new URL(process.env.RELAY)
        await new Promise((resolve) => connect(Number(port), hostname).on('error', resolve).on('close', resolve))
        export const handler = async () => 'asked'`,
      )
      const depths: number[] = []
      const spec = fixture.specOf('asks', {
        environment: { RELAY: '{relay}' },
        openRelay: (connection, _, depth) => {
          depths.push(depth())
          connection.destroy()
        },
      })
      const asked = eventOf('x')
      const deep = { ...asked, context: { ...asked.context, depth: 7 } }
      using lease = await fixture.pool.acquire(spec, silent, never, deep)
      await lease.run(deep, silent, never)
      await lease.finished
      assert.deepEqual(depths, [7])
    })

    test('closing ends what is starting or loading, and tells its caller', async () => {
      const { around, alive, gates, openAll, aliveAtDispose } = gated()
      const closing = await open({ poolSize: 0 }, { around })
      const loading = closing.acquire(specOf('slower'), silent, never)
      loading.catch(() => {})
      await until(() => gates.length === 1)
      gates[0]?.open()
      await until(() => alive.size === 1)
      await systemClock.sleep(200)
      const starting = closing.acquire(specOf('hello'), silent, never)
      starting.catch(() => {})
      await until(() => gates.length === 2)
      const closed = closing[Symbol.asyncDispose]()
      await assert.rejects(starting, { code: 'shutting_down' })
      await assert.rejects(loading, { code: 'shutting_down' })
      openAll()
      await closed
      assert.equal(aliveAtDispose(), 0)
    })

    test('a call that waits for a start takes a sandbox of its version that becomes free meanwhile', async () => {
      const { around, alive, gates, openAll } = gated()
      await using small = await open({ poolSize: 0 }, { around })
      const first = call(specOf('sleep'), { ms: 400 }, silent, small)
      await until(() => gates.length === 1)
      gates[0]?.open()
      await until(() => small.status().sandboxes.length === 1)
      const [second, third] = [call(specOf('sleep'), { ms: 1 }, silent, small), call(specOf('sleep'), { ms: 2 }, silent, small)]
      await until(() => gates.length === 3)
      const { id } = await first
      assert.deepEqual(
        [await second, await third].map((one) => [one.id, one.cold, one.initMs, one.value]),
        [
          [id, null, 0, 1],
          [id, null, 0, 2],
        ],
      )
      openAll()
      await until(() => alive.size === 1) // nobody wants what was started
    })

    test('so many are started at once as the setting says', async () => {
      const { around, openAll, gates, most } = gated()
      await using small = await open({ poolSize: 0, starts: 2 }, { around })
      const calls = ['a', 'b', 'c', 'd', 'e'].map((key) => call(specOf('hello', { key }), {}, silent, small))
      await until(() => gates.length === 2)
      openAll()
      assert.deepEqual(new Set((await Promise.all(calls)).map((one) => one.id)).size, 5)
      assert.equal(most(), 2)
    })

    test('a caller who leaves during the start is told at once, and the pool gets what was started', async () => {
      const { around, gates, openAll } = gated()
      await using small = await open({ poolSize: 1 }, { around })
      const leaving = new AbortController()
      const waiting = small.acquire(specOf('hello'), silent, leaving.signal)
      await until(() => gates.length === 2)
      leaving.abort(new Error('left'))
      await assert.rejects(waiting, /left/)
      gates.find((gate) => !gate.background)?.open()
      await until(() => small.status().generic === 1)
      assert.equal((await call(specOf('hello'), {}, silent, small)).value, 1)
      openAll()
    })

    test('a caller who leaves during the load is told at once, and its sandbox ends', async () => {
      const { around, alive, openAll } = gated()
      openAll()
      await using small = await open({ poolSize: 0 }, { around })
      const leaving = new AbortController()
      const waiting = small.acquire(specOf('slower'), silent, leaving.signal)
      await until(() => alive.size === 1)
      await systemClock.sleep(200)
      leaving.abort(new Error('left'))
      assert.ok((await msUntil(waiting)) < 1_000)
      await assert.rejects(waiting, /left/)
      await until(() => alive.size === 0)
      assert.deepEqual(small.status().sandboxes, [])
    })

    describe('a load that takes longer than 10 s (loadTime)', () => {
      // The 10 s are 150 ms here, so that 400 ms are too long.
      const sleep = (ms: number, signal?: AbortSignal) => systemClock.sleep(ms === 10_000 ? 150 : ms, signal)
      const lines = () => {
        const all: string[] = []
        return { all, log: { ...silent, platform: (line: string) => void all.push(line) } satisfies LogSink }
      }

      test('is begun anew in another sandbox, in the time of the call that waits for it', async () => {
        await using small = await open({ poolSize: 0 }, { clock: { ...systemClock, sleep } })
        const { all, log } = lines()
        const { cold, waitMs, initMs, value, spentMs } = await (async () => {
          using lease = await small.acquire(specOf('slow', { timeoutMs: 5_000 }), log, never)
          const result = await lease.run(eventOf({}), log, never)
          return { ...lease, value: result.kind === 'event' ? Buffer.from(result.payload).toString() : result.kind }
        })()
        assert.deepEqual([cold, initMs, value], ['first-call', 0, '"loaded"'])
        assert.ok(spentMs >= 400 && spentMs < 2_000, String(spentMs))
        assert.ok(waitMs >= 150, `the load that was given up is among what it waited: ${waitMs}`)
        assert.match(all.join(), /^INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: timeout$/)
        assert.equal(small.status().sandboxes.length, 1)
      })

      test('ends the call when its time is over in the second load too', async () => {
        await using small = await open({ poolSize: 0 }, { clock: { ...systemClock, sleep } })
        const { log } = lines()
        await assert.rejects(small.acquire(specOf('slower', { timeoutMs: 300 }), log, never), (error: unknown) => {
          assert.ok(error instanceof LoadError)
          assert.deepEqual([error.errorType, error.told, error.cold], ['Sandbox.Timedout', 'Task timed out after 0.30 seconds', 'first-call'])
          assert.ok(error.waitMs >= 150, String(error.waitMs))
          assert.ok((error.spentMs ?? 0) >= 290 && (error.spentMs ?? 0) < 1_000, String(error.spentMs))
          return true
        })
        await until(() => small.status().sandboxes.length === 0)
      })

      test('leaves the call only what it has not used of its time', async () => {
        await using small = await open({ poolSize: 0 }, { clock: { ...systemClock, sleep } })
        using lease = await small.acquire(specOf('slowThenEver', { timeoutMs: 900 }), silent, never)
        const from = systemClock.monotonic()
        const result = await lease.run(eventOf({}), silent, never)
        assert.equal(result.kind === 'error' && result.errorType, 'Sandbox.Timedout')
        assert.ok(systemClock.monotonic() - from < 600, 'at least 400 ms of 900 went by in the load')
      })
    })

    test('the deadline ends a call whose sandbox stands frozen, and nothing of it stays', async () => {
      const made: SandboxProcess[] = []
      const around = (driver: Driver): Partial<Driver> => ({
        holds: false,
        start: async (options) => {
          const sandbox = await driver.start(options)
          made.push(sandbox)
          return sandbox
        },
      })
      await using own = await open({ poolSize: 0 }, { around })
      const spec = specOf('hello', { timeoutMs: 500 })
      await call(spec, {}, silent, own)
      const [sandbox] = made
      await until(() => stateOf(own.status().sandboxes[0]?.id ?? '', own) === 'frozen')
      using lease = await own.acquire(spec, silent, never)
      await sandbox?.freeze()
      const late = await lease.run(eventOf({}), silent, never)
      assert.match(JSON.stringify(late.kind === 'error' ? late.errorType : late), /Sandbox\.Timedout/)
      assert.equal((await lease.finished).error?.type, 'Sandbox.Timedout')
      await until(() => own.status().sandboxes.length === 0)
      assert.equal((await call(spec, {}, silent, own)).cold, 'sandbox-lost')
    })

    test('one that does not thaw is ended, and the call gets another', async () => {
      let broken = false
      const stuck = (real: Driver): Partial<Driver> => ({
        start: async (options) => {
          const started = await real.start(options)
          return changed(started, { thaw: () => (broken ? Promise.reject(new Error('it does not thaw')) : started.thaw()) })
        },
      })
      await using small = await open({}, { around: stuck })
      const spec = specOf('hello', { concurrency: 2 })
      const first = await call(spec, {}, silent, small)
      await until(() => stateOf(first.id, small) === 'frozen')
      broken = true
      const both = await Promise.all([call(spec, {}, silent, small), call(spec, {}, silent, small)])
      for (const one of both) assert.notEqual(one.id, first.id)
      assert.equal(both[0]?.cold, 'sandbox-lost')
      assert.equal(stateOf(first.id, small), undefined)
    })

    test('reuse never: behind each call the next sandbox is loaded, within the memory', async () => {
      const spec = specOf('prints', { reuse: 'never' })
      const printed: string[] = []
      const log: LogSink = { write: (_stream, bytes) => void printed.push(Buffer.from(bytes).toString()), lost: () => {} }
      const spare = () => pool.status().sandboxes.find(({ key, state }) => key === spec.key && state === 'frozen')
      const ids: string[] = []
      for (let round = 0; round < 3; round++) {
        const ready = spare()
        const { id, cold, initMs, value } = await call(spec, {}, log)
        assert.deepEqual([cold, value, ids.includes(id)], ['reuse-never', 1, false])
        if (round > 0) assert.deepEqual([id, initMs], [ready?.id, 0])
        ids.push(id)
        assert.equal(printed.filter((line) => line.includes('loading')).length, round + 1)
        await until(() => spare() !== undefined)
        assert.equal(pool.status().sandboxes.filter(({ key }) => key === spec.key).length, 1)
      }
      pool.retire(spec.key)
      await until(() => !pool.status().sandboxes.some(({ key }) => key === spec.key))
      await using small = await open({ poolSize: 0, memoryMb: 200 })
      // The next one is to come 25 ms behind the beginning of the call, and has no memory until that is over.
      let most = 0
      let isOver = false
      const lasting = call(specOf('sleep', { reuse: 'never' }), { ms: 300 }, silent, small).finally(() => {
        isOver = true
      })
      for (; !isOver; await systemClock.sleep(5)) most = Math.max(most, small.status().sandboxes.length)
      assert.deepEqual([(await lasting).value, most], [300, 1])
    })

    test('a version that is retired while it loads serves the calls that it has, and ends', async () => {
      const running = call(specOf('slow'))
      await systemClock.sleep(200)
      pool.retire('slow-1')
      const { value, id } = await running
      assert.equal(value, 'loaded')
      await until(() => stateOf(id) === undefined)
      // As does a call that had found its version before that was retired.
      const late = await call(specOf('slow'))
      await until(() => stateOf(late.id) === undefined)
    })

    test('code that does not load was never there: the reason for being cold stays what it was', async () => {
      assert.equal(await coldOf(specOf('broken')), 'first-call')
      assert.equal(await coldOf(specOf('broken')), 'first-call')
      const { identity } = specOf('hello')
      assert.equal((await call(specOf('hello'))).cold, 'first-call')
      const next = specOf('broken', { key: 'hello-2', identity })
      assert.equal(await coldOf(next), 'new-version')
      assert.deepEqual((await Promise.all([coldOf(next), coldOf(next)])).toSorted(), ['new-version', 'scale-out'])
      assert.equal((await call(specOf('hello', { key: 'hello-3', identity }))).cold, 'new-version')
    })
  })
}

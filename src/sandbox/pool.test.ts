import assert from 'node:assert/strict'
import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'
import { getEventListeners } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { queryObjects } from 'node:v8'
import { crc32 } from 'node:zlib'
import { LIMITS } from '../core/limits.ts'
import { MiB } from '../lib/bytes.ts'
import { systemClock } from '../lib/clock.ts'
import { runcVersion } from './drivers/oci-runtimes.ts'
import { eventOf, never, PoolFixture, silent, until } from './pool-fixture.ts'
import { type Call, type Driver, LoadError, type LogSink, type Sandboxes, type SandboxProcess } from './types.ts'

const httpOf = (headers: [string, string][]): Call => {
  const { context } = eventOf({})
  return { kind: 'http', context, method: 'GET', url: 'http://f/', headers, body: null }
}
const hashOf = (code: string): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(crc32(CODE[code] ?? ''))
  return bytes
}

const isolated = process.getuid?.() === 0 && (await runcVersion()) !== null

/** Code for which a compile cache is worth its way. */
const LARGE = `exports.large = '${'x'.repeat(20_000)}'; `
const CODE: Record<string, string> = {
  midway: `exports.fetch = async () => new Response(new ReadableStream({ async pull(to) { to.enqueue(new Uint8Array(10)); await new Promise((done) => setTimeout(done, 100)); process.exit(5) } }))`,
  hello: `let n = 0; exports.handler = async (event) => ({ n: ++n, event })`,
  changed: `exports.handler = async () => 'changed'`,
  loop: `exports.handler = async (event) => { if (event.loop) for (;;); return 'fine' }`,
  sleep: `exports.handler = async (event) => { await new Promise((done) => setTimeout(done, event.ms)); return event.ms }`,
  exit: `exports.handler = async (event) => { if (event.exit !== undefined) process.exit(event.exit); return 'fine' }`,
  broken: `console.log('before the fall'); throw new Error('does not load')`,
  together: `let most = 0, now = 0; exports.handler = async (event) => { most = Math.max(most, ++now); await new Promise((done) => setTimeout(done, 100)); now--; if (event.die) process.exit(3); return most }`,
  pending: `exports.fetch = async (request, environment, context) => { context.waitUntil(new Promise(() => setTimeout(() => process.exit(4), 100))); return new Response('answered') }`,
  echo: `exports.fetch = async (request) => new Response(String(request.headers.get('a').length))`,
  counts: `const v8 = require('v8'); exports.handler = async (event) => event.count ? { promises: v8.queryObjects(Promise, { format: 'count' }), controllers: v8.queryObjects(AbortController, { format: 'count' }) } : null`,
  cached: `${LARGE}exports.origin = 'cached'; exports.handler = async () => exports.origin`,
  source: `${LARGE}exports.origin = 'source'; exports.handler = async () => exports.origin`,
  print: `exports.handler = async () => { const line = 'x'.repeat(65535) + '\\n'; for (let i = 0; i < 1600; i++) { process.stdout.write(line); if (i % 16 === 0) await new Promise(setImmediate) } return 'printed' }`,
  frames: `const fs = require('fs'); exports.handler = async () => { fs.writeSync(3, Buffer.alloc(64, 0xff)); await new Promise((done) => setTimeout(done, 5000)) }`,
  hog: `exports.handler = async () => { const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1)) }`,
  statfs: `const fs = require('fs'); exports.handler = async () => { const { bsize, blocks, files } = fs.statfsSync('/tmp'); return { mb: (bsize * blocks) / 1048576, files, options: fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\\n').map((line) => line.split(' ')).find((parts) => parts[4] === '/tmp')[5].replace(',relatime', '') } }`,
  tmp: `const fs = require('fs'); exports.handler = async () => { let bytes = 0; try { for (;;) { fs.appendFileSync('/tmp/full', Buffer.alloc(1 << 20)); bytes += 1 << 20 } } catch (error) { fs.unlinkSync('/tmp/full'); return { code: error.code, mb: bytes >> 20 } } }`,
  forks: `const { spawn } = require('child_process'); exports.handler = async () => { let ok = 0, bad = 0; await Promise.all(Array.from({ length: 200 }, () => new Promise((done) => { const c = spawn('/bin/sleep', ['30'], { stdio: 'ignore' }); c.on('spawn', () => { ok++; done() }); c.on('error', () => { bad++; done() }) }))); return { ok, bad } }`,
  filler: `const fs = require('fs'); const fill = (write) => { let n = 0; try { for (;;) write(n++) } catch (error) { return { code: error.code, n } } }
const bytes = fill(() => fs.appendFileSync('/cache/full', Buffer.alloc(1 << 20))); fs.rmSync('/cache/full', { force: true })
const files = fill((n) => fs.mkdirSync('/cache/' + n)); for (let n = 10; n < files.n; n++) fs.rmSync('/cache/' + n, { recursive: true, force: true }); if (files.n > 1) fs.writeFileSync('/cache/met', JSON.stringify({ bytes, files }))
exports.handler = async () => 'fine'`,
  linker: `try { require('fs').symlinkSync('/etc/passwd', '/cache/link') } catch {} exports.handler = async () => 'fine'`,
  forge: `${LARGE}const fs = require('fs'); exports.handler = async (event) => { const out = {}; for (const at of event.paths) { try { fs.mkdirSync(at, { recursive: true }); fs.writeFileSync(at + '/forged', 'x'); out[at] = 'written' } catch (error) { out[at] = error.code } } try { const dir = '/fn/cache'; const walk = (d) => { for (const e of fs.readdirSync(d, { withFileTypes: true })) { if (e.isDirectory()) walk(d + '/' + e.name); else { try { fs.closeSync(fs.openSync(d + '/' + e.name, 'r+')); out.open = 'written' } catch (error) { out.open = error.code } } } }; walk(dir) } catch (error) { out.open ??= error.code } return out }`,
}

for (const name of ['process', ...(isolated ? ['runc'] : [])] as ('process' | 'runc')[]) {
  describe(`sandboxes by ${name}`, { timeout: 240_000 }, () => {
    const fixture = new PoolFixture(name, CODE)
    const { data } = fixture
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

    test('the first call is cold, the next finds its sandbox, also when that stood frozen', async () => {
      const first = await call(specOf('hello'), { a: 1 })
      assert.equal(first.cold, 'first-call')
      assert.deepEqual(first.value, { n: 1, event: { a: 1 } })
      const second = await call(specOf('hello'))
      assert.deepEqual([second.cold, second.id, second.value.n], [null, first.id, 2])
      await until(() => stateOf(first.id) === 'frozen')
      const third = await call(specOf('hello'))
      assert.deepEqual([third.cold, third.id, third.value.n], [null, first.id, 3])
    })

    test('a call that was sent ahead runs for whoever asked for it alone: given back instead, the sandbox ends with it', async () => {
      const spec = specOf('hello', { key: 'sent-ahead', concurrency: 2 })
      const asked = eventOf({ a: 1 })
      const lease = await pool.acquire(spec, silent, never, asked)
      lease[Symbol.dispose]()
      await until(() => stateOf(lease.sandboxId) === undefined)
      using next = await pool.acquire(spec, silent, never, asked)
      // Another object is another call; the one that was sent is heard of by nobody but its own.
      const other = await next.run(eventOf({ b: 2 }), silent, never)
      assert.deepEqual(JSON.parse(Buffer.from((other as { payload: Uint8Array }).payload).toString()), { n: 2, event: { b: 2 } })
      const wrapped = specOf('hello', { key: 'wrapped', environment: { AWS_LAMBDA_EXEC_WRAPPER: '/nowhere' } })
      await assert.rejects(pool.acquire(wrapped, silent, never, asked), { errorType: 'Runtime.InvalidEntrypoint' })
    })

    test('an idle sandbox is frozen when it has been so long, not a second later', async () => {
      const spec = specOf('hello', { key: 'freezes' })
      for (let round = 0; round < 3; round++) {
        const { id } = await call(spec)
        const from = systemClock.monotonic()
        await until(() => stateOf(id) === 'frozen')
        const took = systemClock.monotonic() - from
        assert.ok(took >= 40 && took < 600, `frozen after ${took} ms; 50 are set`)
      }
    })

    test('a new version gets a new sandbox; the old one ends when it is retired', async () => {
      const before = await call(specOf('hello'))
      const next = await call(specOf('changed', { key: 'hello-2', identity: { ...specOf('hello').identity } }))
      assert.deepEqual([next.cold, next.value], ['new-version', 'changed'])
      pool.retire('hello-1')
      await until(() => stateOf(before.id) === undefined)
    })

    test('a call under way survives that its version is retired', async () => {
      const running = call(specOf('sleep'), { ms: 300 })
      await until(() => pool.status().sandboxes.some((sandbox) => sandbox.key === 'sleep-1' && sandbox.busy === 1))
      pool.retire('sleep-1')
      assert.equal((await running).value, 300)
      await until(() => !pool.status().sandboxes.some((sandbox) => sandbox.key === 'sleep-1'))
    })

    test('a restart ends the sandboxes of a spec that holds no more, and what is still being made of it', async () => {
      const was = specOf('hello', { key: 'again', environment: { A: '1' } })
      const before = await call(was)
      const loading = call(specOf('sleep', { key: 'later', environment: { A: '1' } }), { ms: 300 })
      pool.restart(was)
      const next = await call({ ...was, environment: { A: '2' } })
      assert.deepEqual([next.cold, next.id === before.id], ['new-version', false])
      assert.equal((await loading).value, 300)
      await until(() => stateOf(before.id) === undefined)
      // One that is on its way serves the call that asked for it and no other.
      const other = specOf('sleep', { key: 'coming' })
      const first = call(other, { ms: 10 })
      pool.restart(other)
      const { id } = await first
      await until(() => stateOf(id) === undefined)
      assert.notEqual((await call({ ...other })).id, id)
    })

    test('a runtime that is not installed any more is told by its name, and none is started in vain', async () => {
      let starts = 0
      const around = (driver: Driver): Partial<Driver> => ({
        runs: (runtime) => runtime === 'nodejs24.x',
        start: (options) => {
          if (options.runtime !== 'nodejs24.x') starts++
          return driver.start(options)
        },
      })
      await using other = await fixture.open({ poolSize: 1 }, { around })
      const spec = specOf('hello', { key: 'gone', runtime: 'python3.x' })
      await other.prepare(spec)
      await assert.rejects(other.acquire(spec, silent, never), { code: 'sandbox_unavailable', message: /python3\.x is not installed/ })
      assert.equal(starts, 0)
    })

    test('a call that never ends gets its timeout, and the next one a fresh sandbox', async () => {
      const spec = specOf('loop', { timeoutMs: 1_000 })
      const neighbour = call(specOf('sleep', { key: 'neighbour' }), { ms: 200 })
      const late = await call(spec, { loop: true })
      assert.deepEqual(late.value, { errorType: 'Sandbox.Timedout', errorMessage: 'RequestId: id-1 Error: Task timed out after 1.00 seconds' })
      assert.equal(late.end.error?.type, 'Sandbox.Timedout')
      const next = await call(spec)
      assert.equal(next.value, 'fine')
      assert.notEqual(next.id, late.id)
      assert.equal(next.cold, 'sandbox-lost')
      assert.equal((await neighbour).value, 200)
    })

    test('an exit is Lambda’s error, with its status', async () => {
      assert.deepEqual((await call(specOf('exit'), { exit: 0 })).value, {
        errorType: 'Runtime.ExitError',
        errorMessage: 'RequestId: id-1 Error: Runtime exited without providing a reason',
      })
      assert.equal((await call(specOf('exit'), { exit: 7 })).value.errorMessage, 'RequestId: id-1 Error: Runtime exited with error: exit status 7')
      assert.equal((await call(specOf('exit'))).value, 'fine')
    })

    test('code that does not load is the caller’s to know, with what it printed', async () => {
      const printed: string[] = []
      const log: LogSink = { write: (_stream, bytes) => void printed.push(Buffer.from(bytes).toString()), lost: () => {} }
      await assert.rejects(
        pool.acquire(specOf('broken'), log, never),
        (error) => error instanceof LoadError && /does not load/.test(Buffer.from(error.payload).toString()),
      )
      assert.match(printed.join(''), /before the fall/)
      assert.ok(!pool.status().sandboxes.some((sandbox) => sandbox.key === 'broken-1'))
    })

    test('four calls run in one sandbox; its death is said to each', async () => {
      const spec = specOf('together', { concurrency: 4 })
      const { id } = await call(spec)
      const all = await Promise.all([1, 2, 3, 4].map(() => call(spec)))
      assert.deepEqual(new Set(all.map((one) => one.id)), new Set([id]))
      assert.equal(Math.max(...all.map((one) => one.value)), 4)
      const dead = await Promise.allSettled([1, 2, 3].map((i) => call(spec, { die: i === 1 })))
      assert.ok(dead.every((one) => one.status === 'fulfilled' || one.reason.code === 'sandbox_lost'))
      assert.ok(dead.some((one) => one.status === 'rejected'))
      assert.equal((await call(spec)).value, 1)
    })

    test('calls that come together have no more sandboxes made than they need; code that does not load says so to each', async () => {
      const spec = specOf('together', { key: 'burst', concurrency: 4 })
      const all = await Promise.all(Array.from({ length: 8 }, () => call(spec)))
      // Fewer where the first is free again before the second is there.
      assert.ok(new Set(all.map((one) => one.id)).size <= 2)
      const broken = specOf('broken', { key: 'broken-burst', concurrency: 8 })
      const failed = await Promise.allSettled(Array.from({ length: 4 }, () => pool.acquire(broken, silent, never)))
      assert.ok(failed.every((one) => one.status === 'rejected' && one.reason instanceof LoadError && /does not load/.test(one.reason.errorMessage)))
    })

    test('a body that its sandbox does not end is no success', async () => {
      using lease = await pool.acquire(specOf('midway'), silent, never)
      const { context } = eventOf({})
      const result = await lease.run({ kind: 'http', context, method: 'GET', url: 'http://f/', headers: [], body: null }, silent, never)
      assert.ok(result.kind === 'http')
      await assert.rejects(async () => {
        for await (const _ of result.body);
      })
      assert.partialDeepStrictEqual((await lease.finished).error, { type: 'Runtime.ExitError', message: 'Runtime exited with error: exit status 5' })
    })

    test('an exit while waitUntil is pending is an error of the call, whose answer was whole', async () => {
      using held = await pool.acquire(specOf('pending'), silent, never)
      const result = await held.run(httpOf([]), silent, never)
      assert.ok(result.kind === 'http')
      const parts: Uint8Array[] = []
      for await (const part of result.body) parts.push(part)
      assert.equal(Buffer.concat(parts).toString(), 'answered')
      assert.partialDeepStrictEqual((await held.finished).error, { type: 'Runtime.ExitError', message: 'Runtime exited with error: exit status 4' })
      await until(() => stateOf(held.sandboxId) === undefined)
    })

    test('headers that do not fit are the caller’s to know; the sandbox never hears of them', async () => {
      const spec = specOf('echo')
      const ask = async (headers: [string, string][]) => {
        using lease = await pool.acquire(spec, silent, never)
        const result = await lease.run(httpOf(headers), silent, never)
        assert.ok(result.kind === 'http')
        for await (const _ of result.body);
        return { id: lease.sandboxId, status: result.status, end: await lease.finished }
      }
      const before = await ask([['a', 'b']])
      await assert.rejects(ask([['a', '"'.repeat(40_000)]]), { code: 'payload_too_large', message: /65532/ })
      await until(() => stateOf(before.id) !== 'busy')
      const after = await ask([['a', '"'.repeat(30_000)]])
      assert.deepEqual([after.id, after.status, after.end.error], [before.id, 200, null])
    })

    test('a thousand warm calls leave nothing on their sandbox, on neither side', async () => {
      let ways: SandboxProcess | null = null
      const seen = (real: Driver): Partial<Driver> => ({
        start: async (options) => {
          const process = await real.start(options)
          // What is made ahead of the next comes later.
          ways ??= process
          return process
        },
      })
      await using own = await open({ poolSize: 0, freezeMs: 60_000 }, { around: seen })
      const signal = new AbortController().signal
      const spec = specOf('counts')
      const once = async () => {
        using lease = await own.acquire(spec, silent, signal)
        const result = await lease.run(eventOf({}), silent, signal)
        await lease.finished
        return result
      }
      const count = async () => {
        const { control, relay } = ways as unknown as SandboxProcess
        const listeners = [control, relay].map((stream) => stream.eventNames().reduce((sum, event) => sum + stream.listenerCount(event), 0))
        const inside = await call(spec, { count: true }, silent, own)
        return {
          listeners: [...listeners, getEventListeners(signal, 'abort').length],
          inside: inside.value,
          promises: queryObjects(Promise, { format: 'count' }),
        }
      }
      for (let i = 0; i < 100; i++) await once()
      const before = await count()
      for (let i = 0; i < 1_000; i++) await once()
      const after = await count()
      assert.deepEqual(after.listeners, before.listeners)
      for (const [was, is] of [
        [before.promises, after.promises],
        [before.inside.promises, after.inside.promises],
        [before.inside.controllers, after.inside.controllers],
      ])
        assert.ok(is < was + 50, `${was} before, ${is} after`)
    })

    test('reuse never: each call has a sandbox of its own', async () => {
      const spec = specOf('hello', { key: 'once', reuse: 'never' })
      const [one, two] = [await call(spec), await call(spec)]
      assert.notEqual(one.id, two.id)
      assert.deepEqual([one.value.n, two.value.n], [1, 1])
      await until(() => stateOf(two.id) === undefined)
    })

    test('hostile frames end the sandbox, not the node', async () => {
      const hostile = await call(specOf('frames'))
      assert.equal(hostile.value.errorType, 'Runtime.ProtocolError')
      await until(() => stateOf(hostile.id) === undefined)
    })

    test('100 MB of printing are taken or counted', async () => {
      let bytes = 0
      const log: LogSink = { write: (_stream, part) => void (bytes += part.byteLength), lost: (lost) => void (bytes += lost) }
      assert.equal((await call(specOf('print', { timeoutMs: 60_000 }), {}, log)).value, 'printed')
      assert.equal(bytes, 1600 * 65_536)
    })

    test('a waiting caller who leaves gets the signal’s reason, and nothing stays behind', async () => {
      await using empty = await open({ poolSize: 0 })
      const leaving = new AbortController()
      const waiting = empty.acquire(specOf('hello', { key: 'left' }), silent, leaving.signal)
      leaving.abort(new Error('left'))
      await assert.rejects(waiting, /left/)
      assert.deepEqual(empty.status().sandboxes, [])
      assert.equal((await call(specOf('hello', { key: 'left' }), {}, silent, empty)).value.n, 1)
    })

    test('what a sandbox says before anybody listens is not lost', async () => {
      const slow = (real: Driver): Partial<Driver> => ({
        start: async (options) => {
          const started = await real.start(options)
          await systemClock.sleep(500)
          return started
        },
      })
      await using late = await open({ poolSize: 0 }, { around: slow })
      assert.equal((await call(specOf('hello'), {}, silent, late)).value.n, 1)
    })

    test('past the memory budget the oldest idle one goes, then a call is refused with the number', async () => {
      await using small = await open({ poolSize: 0, memoryMb: 300, freezeMs: 60_000 })
      const first = await call(specOf('sleep', { key: 'a' }), { ms: 1 }, silent, small)
      const held = [await small.acquire(specOf('sleep', { key: 'b' }), silent, never), await small.acquire(specOf('sleep', { key: 'c' }), silent, never)]
      assert.equal(stateOf(first.id, small), undefined)
      await assert.rejects(small.acquire(specOf('sleep', { key: 'd' }), silent, never), { code: 'too_many_invocations', message: /300 MB/ })
      for (const lease of held) lease[Symbol.dispose]()
      // Several at once do not slip through together.
      const crowd = await Promise.allSettled(['e', 'f', 'g', 'h'].map((key) => small.acquire(specOf('sleep', { key }), silent, never)))
      assert.equal(crowd.filter((one) => one.status === 'fulfilled').length, 2)
      for (const one of crowd) if (one.status === 'fulfilled') one.value[Symbol.dispose]()
    })

    test('what is idle for long goes, and the next call says why it was cold', async () => {
      await using brief = await open({ poolSize: 0, idleMs: 1_000 })
      const first = await call(specOf('hello', { key: 'idle' }), {}, silent, brief)
      await until(() => stateOf(first.id, brief) === undefined)
      assert.equal((await call(specOf('hello', { key: 'idle' }), {}, silent, brief)).cold, 'idle-drop')
    })

    test('closing ends every sandbox and removes its folder, whatever runs', async () => {
      const closing = await open({})
      const running = call(specOf('sleep', { key: 'closing' }), { ms: 8_000 }, silent, closing)
      await until(() => closing.status().sandboxes.length === 1)
      await closing[Symbol.asyncDispose]()
      assert.equal((await running).value.errorType, 'Runtime.ExitError')
      await assert.rejects(fs.readdir(path.join(fixture.folder, 'sandboxes', 'slots')), { code: 'ENOENT' })
      await assert.rejects(closing.acquire(specOf('hello'), silent, never), { code: 'shutting_down' })
      await closing[Symbol.asyncDispose]()
    })

    if (name === 'runc') {
      test('memory, /tmp and processes are held by the kernel', async () => {
        const hog = await call(specOf('hog', { timeoutMs: 30_000 }))
        assert.deepEqual([hog.value.errorType, /signal: killed/.test(hog.value.errorMessage)], ['Runtime.ExitError', true])
        const tmp = await call(specOf('tmp', { tmpMb: 16, timeoutMs: 30_000 }))
        assert.deepEqual(tmp.value, { code: 'ENOSPC', mb: 16 })
        const forks = await call(specOf('forks', { timeoutMs: 30_000, memoryMb: 512 }))
        assert.ok(forks.value.ok < LIMITS.sandboxProcesses.value && forks.value.bad > 60, JSON.stringify(forks.value))
        assert.equal((await call(specOf('exit'))).value, 'fine')
      })

      test('a sandbox that waited gets the size of /tmp that its version asks for', async () => {
        let forCalls = 0
        const around = (real: Driver): Partial<Driver> => ({
          start: (options) => {
            if (!options.background) forCalls++
            return real.start(options)
          },
        })
        await using own = await open({}, { around })
        for (const tmpMb of [64, 512, 2_048, 10_240]) {
          await until(() => own.status().generic > 0)
          const { value } = await call(specOf('statfs', { key: `statfs-${tmpMb}`, tmpMb }), {}, silent, own)
          assert.deepEqual([value.mb, value.files > 60_000, value.options], [tmpMb, true, 'rw,nosuid,nodev'])
        }
        assert.equal(forCalls, 0)
      })

      test('a deploy leaves a compile cache that a live sandbox reads and cannot write', async () => {
        const spec = specOf('forge', { environment: { SECRET: 'x' } })
        const built = await pool.build(spec)
        assert.deepEqual([built.ok, built.handlerKind, built.error], [true, 'lambda', null])
        const { value } = await call(spec, { paths: ['/fn/cache', '/fn/code', '/var/task', '/cache'] })
        assert.ok(
          Object.values(value).every((code) => ['EROFS', 'EACCES', 'ENOENT', 'EPERM'].includes(code as string)),
          JSON.stringify(value),
        )
        assert.ok(['EROFS', 'EACCES'].includes(value.open), JSON.stringify(value))
        assert.equal((await pool.build(specOf('broken', { key: 'broken-2' }))).ok, false)
      })

      test('a live sandbox runs what the compile cache holds', async () => {
        // V8 believes an entry whose hash of the source is right: with that of other code forged into it, what runs tells where it came from.
        const spec = (key: string, code: string) => specOf(code, { key, identity: specOf('cached').identity })
        for (const key of ['forged', 'honest']) assert.equal((await pool.build(spec(key, 'cached'))).ok, true)
        const folder = path.join(data, '1', 'cache', 'forged')
        const [entry] = (await fs.readdir(folder, { recursive: true, withFileTypes: true })).filter((one) => one.isFile())
        assert.ok(entry)
        const at = path.join(entry.parentPath, entry.name)
        const bytes = await fs.readFile(at)
        const hash = bytes.subarray(0, 32).indexOf(hashOf('cached'))
        assert.notEqual(hash, -1)
        hashOf('source').copy(bytes, hash)
        await fs.chmod(at, 0o644)
        await fs.writeFile(at, bytes)
        assert.equal((await call(spec('honest', 'source'))).value, 'source')
        assert.equal((await call(spec('forged', 'source'))).value, 'cached')
      })

      test('another version of the same code takes the compile cache over, and keeps it when the first goes', async () => {
        const spec = (key: string) => specOf('cached', { key })
        assert.equal((await pool.build(spec('first'))).ok, true)
        assert.equal(await pool.adopt(spec('second'), 'first'), true)
        assert.equal(await pool.adopt(spec('third'), 'never-built'), false)
        const files = async (key: string) =>
          (await fs.readdir(path.join(data, '1', 'cache', key), { recursive: true, withFileTypes: true }).catch(() => [])).filter((one) => one.isFile()).length
        const made = await files('first')
        assert.ok(made > 0)
        pool.retire('first')
        await until(() => !existsSync(path.join(data, '1', 'cache', 'first')))
        assert.equal(await files('second'), made)
        assert.equal((await call(spec('second'))).value, 'cached')
      })

      test('what was started ahead serves the next call warm, which hears what it printed; what does not load says so', async () => {
        const spec = specOf('hello', { key: 'ahead' })
        assert.equal(pool.hasLoaded(spec), false)
        await pool.start(spec)
        assert.equal(pool.hasLoaded(spec), true)
        assert.equal((await call(spec)).cold, null)
        await assert.rejects(pool.start(specOf('broken', { key: 'ahead-broken' })), LoadError)
        assert.equal(pool.hasLoaded(specOf('broken', { key: 'ahead-broken' })), false)
        const all = pool.status().sandboxes.length
        await pool.start(specOf('hello', { key: 'ahead-huge', memoryMb: 1_000_000 }))
        assert.equal(pool.status().sandboxes.length, all, 'where there is no room it is left to the call')
      })

      test('what code writes at deploy is bounded by the kernel; what fits is kept, and it runs without its cache too', async () => {
        const caches = path.join(data, '1', 'cache')
        const filler = specOf('filler')
        assert.deepEqual(await pool.build(filler).then(({ ok, error }) => [ok, error]), [true, null])
        const met = JSON.parse(await fs.readFile(path.join(caches, 'filler-1', 'met'), 'utf8'))
        assert.deepEqual(met, {
          bytes: { code: 'ENOSPC', n: LIMITS.compileCache.value / MiB + 1 },
          files: { code: 'ENOSPC', n: LIMITS.compileCacheFiles.value }, // Node's own folder is one of them
        })
        assert.equal((await call(filler)).value, 'fine')
        const linker = specOf('linker')
        assert.deepEqual(await pool.build(linker).then(({ ok, error }) => [ok, error]), [true, null])
        assert.equal((await fs.readdir(caches)).includes('linker-1'), false)
        assert.equal((await call(linker)).value, 'fine')
      })
    }
  })
}

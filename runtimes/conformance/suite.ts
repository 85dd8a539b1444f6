import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { describe } from 'node:test'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { encode, FLAG, LOG_WINDOW, MAX_PAYLOAD, RELAY, SANDBOX_WINDOW, SAYS, STREAM_WINDOW, TELLS, u32 } from './frames.ts'
import { Guest, type HttpCall } from './guest.ts'
import { type Code, type Feature, type HandlerName, LOAD_FAULTS, type LoadFault, type Runtime } from './runtime.ts'
import type { Column } from './table.ts'

const KiB = 1024
const MiB = 1024 * KiB

/** What a process has of its own, in bytes. */
const ownMemory = (pid: number): number => Number(/^Anonymous:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1]) * KiB

/** What runtimes/PROTOCOL.md asks of a runtime, on a real process of it; a runtime is done when it passes. */
export function runtimeConformance(name: string, runtime: Runtime, column: Column): void {
  const start = async (handler: HandlerName, changes: Readonly<Record<string, unknown>> = {}) => {
    const guest = await Guest.start(runtime)
    await guest.load(runtime.handler(handler), changes)
    return guest
  }
  const without = (feature: Feature) => (runtime.features.includes(feature) ? null : `it does not say ${feature}`)
  const one = runtime.calls === 'one' ? 'it takes one call at a time' : null
  const own = (environment: object) => Object.fromEntries(Object.entries(environment).filter(([key]) => !runtime.adds.includes(key)))

  describe(`${name} keeps the frame protocol`, { concurrency: 2, timeout: 60_000 }, () => {
    describe('beginning', () => {
      const it = column.group('beginning')
      it('says hello first and once: version, features, the port of its relay', async () => {
        await using guest = await Guest.start(runtime)
        const hello = JSON.parse((await guest.hears(SAYS.hello)).payload.toString())
        assert.equal(hello.version, 1)
        assert.equal(typeof hello.runtime, 'string')
        assert.deepEqual(hello.features.toSorted(), runtime.features.toSorted())
        if (runtime.features.includes('relay')) assert.ok(hello.relayPort > 0)
        await guest.still(() => guest.said.length)
        assert.equal(guest.said.length, 1)
      })

      it('leaves nothing behind of warming: no variable, no file, no handler, no frame, no credit', async () => {
        await using guest = await Guest.start(runtime)
        guest.write(encode(TELLS.warm, 0, 0, Buffer.from('{"rounds":30}')))
        await guest.hears(SAYS.warmed)
        assert.equal(guest.said.length, 2)
        assert.deepEqual(readdirSync(guest.temporary), [])
        await guest.load(runtime.handler('environment'), { environment: { ONLY: 'this' } })
        const { atLoad } = (await guest.ask(null)) as { atLoad: object }
        assert.deepEqual(own(atLoad), { ONLY: 'this' })
        assert.deepEqual([guest.own.out, guest.own.err], ['', ''])
      })

      it('runs the handler that it was given, not one it warmed with', async () => {
        await using guest = await Guest.start(runtime)
        guest.write(encode(TELLS.warm, 0, 0, Buffer.from('{"rounds":3}')))
        await guest.hears(SAYS.warmed)
        guest.specialise(runtime.loadFault('the handler is not in the code'))
        await guest.hears(SAYS.loadError)
      })

      it('has the whole environment that it was given and no other, in several frames, with {relay} replaced', async () => {
        const environment = { PLAIN: 'a', EMPTY: '', UMLAUT: 'größer → 東京', RELAY: '{relay}/x and {relay}', LONG: 'é'.repeat(50_000) }
        await using guest = await start('environment', { environment })
        const { relayPort } = JSON.parse((await guest.hears(SAYS.hello)).payload.toString())
        const origin = `http://127.0.0.1:${relayPort}`
        const expected = { ...environment, RELAY: runtime.features.includes('relay') ? `${origin}/x and ${origin}` : environment.RELAY }
        const { atLoad, atCall } = (await guest.ask(null)) as { atLoad: object; atCall: Record<string, string> }
        assert.deepEqual(own(atLoad), expected)
        const { _X_AMZN_TRACE_ID: trace, ...rest } = atCall
        assert.deepEqual(own(rest), expected)
        assert.equal(trace, 'trace')
      })

      it('tells the handler what specialise and call say of it', async () => {
        const environment = {
          AWS_LAMBDA_FUNCTION_NAME: 'f',
          AWS_LAMBDA_FUNCTION_VERSION: '7',
          AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128',
          AWS_LAMBDA_LOG_GROUP_NAME: '/group',
          AWS_LAMBDA_LOG_STREAM_NAME: 'stream',
        }
        const custom = { a: 1, b: 'é한\x7f\n' }
        await using guest = await start('context', { environment })
        const call = await guest.done(guest.event(null, { clientContext: JSON.stringify({ custom }) }))
        const { remainingMs, ...told } = call.json as { remainingMs: number }
        assert.ok(remainingMs > 1000 && remainingMs <= 5000, String(remainingMs))
        assert.deepEqual(told, {
          functionName: 'f',
          functionVersion: '7',
          functionArn: 'arn:f:live',
          memoryMb: 128,
          logGroup: '/group',
          logStream: 'stream',
          invocationId: 'id-1',
          clientContext: { custom },
        })
      })

      it('has its environment before its code is in place: done ends the fields, an empty frame with fin lets it load', async () => {
        await using guest = await Guest.start(runtime)
        guest.specialise(runtime.handler('environment'), { environment: { A: 'b' } }, (frames) => {
          frames[5] = FLAG.done
          guest.write(frames)
        })
        await guest.still(() => guest.said.length)
        assert.equal(guest.said.length, 1)
        guest.write(encode(TELLS.specialise, FLAG.fin, 0))
        await guest.hears(SAYS.loaded)
        assert.deepEqual(own(((await guest.ask(null)) as { atLoad: object }).atLoad), { A: 'b' })
      })

      it('says which kind of handler it loaded', async () => {
        await using guest = await Guest.start(runtime)
        assert.equal(await guest.load(runtime.handler('echo')), 'lambda')
        if (!runtime.features.includes('fetch')) return
        await using another = await Guest.start(runtime)
        assert.equal(await another.load(runtime.handler('fetchEcho')), 'fetch')
      })

      /** With a call right behind its load. */
      const behind = async (code: Code, kind: 'event' | 'http') => {
        const guest = await Guest.start(runtime)
        guest.specialise(code, {}, (frames) => {
          guest.control.cork()
          guest.write(frames)
          assert.equal(kind === 'event' ? guest.event({ n: 1 }) : guest.http(), 1)
          guest.control.uncork()
        })
        return guest
      }
      it('runs a call that came behind its load, after it has said loaded', without('ahead'), async () => {
        await using guest = await behind(runtime.handler('echo'), 'event')
        assert.deepEqual((await guest.done(1)).json, { n: 1 })
        assert.deepEqual(await guest.ask({ n: 2 }), { n: 2 })
      })
      it('forgets a call behind its load that does not suit its handler', without('ahead'), async () => {
        await using guest = await behind(runtime.handler('echo'), 'http')
        await guest.hears(SAYS.loaded)
        assert.deepEqual(await guest.ask({ n: 2 }), { n: 2 })
        assert.equal(guest.stream(1).frames.length, 0)
      })
      it('says of a call behind a load that fails nothing but the load error', without('ahead'), async () => {
        await using guest = await behind(runtime.loadFault('the handler is not in the code'), 'event')
        await guest.hears(SAYS.loadError)
        await guest.still(() => guest.said.length)
        assert.equal(guest.stream(1).frames.length, 0)
      })

      it('sends what is logged while code loads as nobody’s, before loaded', async () => {
        await using guest = await start('loadLogs')
        assert.match(guest.own.out, /loading/)
      })

      it('has written its compile cache down when a build is loaded', without('compile-cache'), async () => {
        await using guest = await Guest.start(runtime)
        const cachePath = join(guest.folder, 'cache')
        mkdirSync(cachePath)
        await guest.load(runtime.handler('echo'), { cachePath, build: true })
        const written = readdirSync(cachePath, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
        assert.ok(written.length > 0)
      })

      const faults = [
        ...Object.entries(LOAD_FAULTS).map(([what, errorType]) => ({
          what,
          code: runtime.loadFault(what as LoadFault),
          errorType: errorType ?? runtime.errorType,
        })),
        ...Object.entries(runtime.furtherFaults).map(([what, code]) => ({ what, code, errorType: code.errorType })),
      ]
      const ownFault = column.own('beginning')
      for (const { what, code, errorType } of faults) {
        const check = what in LOAD_FAULTS ? it : ownFault
        check(`says a load error: ${what}`, async () => {
          await using guest = await Guest.start(runtime)
          guest.specialise(code)
          const error = JSON.parse((await guest.hears(SAYS.loadError)).payload.toString())
          assert.equal(error.errorType, errorType)
          assert.equal(typeof error.errorMessage, 'string')
          const trace = error.trace ?? error.stackTrace ?? []
          assert.ok(trace.every((line: unknown) => typeof line === 'string'))
          if (errorType === runtime.errorType) assert.match(error.errorMessage, /at load/)
        })
      }
    })

    describe('events', () => {
      const it = column.group('events')
      it('are taken inline and in pieces, and answered inline and in pieces', async () => {
        await using guest = await start('echo')
        for (const event of [
          null,
          1,
          'größer → 東京',
          { a: [1, { b: null }] },
          'x'.repeat(MAX_PAYLOAD - 2),
          'x'.repeat(MAX_PAYLOAD - 1),
          'é'.repeat(2 * MiB),
        ]) {
          const call = await guest.done(guest.event(event))
          assert.equal(call.outcome, 'result')
          assert.equal(call.body, 'whole')
          assert.deepEqual(call.json, event)
          assert.equal(call.outgoing, STREAM_WINDOW, 'every byte of the event is credited')
          const first = call.frames[0]
          const inline = Buffer.byteLength(JSON.stringify(event)) <= MAX_PAYLOAD
          assert.equal(first !== undefined && (first.flags & FLAG.fin) !== 0, inline)
          if (one) continue
          assert.ok((call.frames.at(-1)?.flags ?? 0) & FLAG.done, 'nothing is pending: the last frame says so')
          assert.ok(!call.frames.some((frame) => frame.type === SAYS.done))
        }
      })

      it('that are no JSON are an error of their call alone', async () => {
        await using guest = await start('echo')
        const { id, frames } = guest.rawEventFrames(Buffer.from('{"a":'))
        guest.write(Buffer.concat(frames))
        const call = await guest.done(id)
        assert.equal(call.error.errorType, 'Runtime.UnmarshalError')
        assert.equal(await guest.ask('on'), 'on')
      })

      it('whose result is no JSON are an error of their call alone', async () => {
        await using guest = await start('strange')
        for (let i = 0; i < 2; i++) assert.equal((await guest.done(guest.event(null))).error.errorType, 'Runtime.MarshalError')
      })

      it('get what the handler throws, within one frame however long it is', async () => {
        await using guest = await start('throws')
        for (const message of ['short', 'größer → 東京'.repeat(20_000)]) {
          const call = await guest.done(guest.event({ message }))
          assert.equal(call.outcome, 'error')
          assert.equal(call.error.errorType, runtime.errorType)
          assert.equal(call.error.errorMessage.slice(0, 10), message.slice(0, 10))
          assert.ok(Array.isArray(call.error.trace ?? call.error.stackTrace))
          assert.ok(one || (call.frames.at(-1)?.flags ?? 0) & FLAG.done)
        }
      })

      it('run at the same time where concurrency allows it, each with its own logs', one, async () => {
        await using guest = await start('sleep', { concurrency: 10 })
        const ids = Array.from({ length: 10 }, (_, i) => guest.event({ name: `n${i}`, ms: 1_000 + ((i * 7) % 10) * 5 }))
        await guest.until('all to have begun', () => ids.every((id) => guest.stream(id).out.includes('begin')))
        assert.ok(ids.every((id) => !guest.stream(id).done))
        for (const [i, id] of ids.entries()) {
          const call = await guest.done(id)
          assert.equal(call.json, `n${i}`)
          assert.deepEqual(
            call.out
              .trim()
              .split('\n')
              .map((line) => line.split('\t').at(-1)),
            [`begin n${i}`, `end n${i}`],
          )
        }
        assert.equal(guest.own.out, '')
      })
    })

    describe('memory', () => {
      const it = column.group('memory')
      it('keeps nothing of calls that are over, also of what they had in the environment', async () => {
        await using guest = await start('echo')
        const calls = async (count: number) => {
          for (let n = 0; n < count; n++) {
            const traceId = `${count}-${n}`.padStart(56 * KiB, 'x')
            await guest.done(guest.event(n, { traceId }))
            guest.calls.clear()
          }
        }
        await calls(200)
        const before = ownMemory(guest.child.pid as number)
        await calls(700)
        const grown = ownMemory(guest.child.pid as number) - before
        // What the calls were told is 38 MiB.
        assert.ok(grown < 20 * MiB, `${(grown / MiB).toFixed(1)} MiB more after 700 calls`)
      })
    })

    describe('credit', () => {
      const it = column.group('credit')
      it('of a stream is 256 KiB: the result stops there and goes on when more is granted', async () => {
        await using guest = await start('big')
        guest.withhold = { data: true }
        const id = guest.event({ bytes: MiB })
        const call = guest.stream(id)
        await guest.until('the window to be used', () => call.held > STREAM_WINDOW - MAX_PAYLOAD)
        assert.ok((await guest.still(() => call.held)) <= STREAM_WINDOW)
        assert.equal(call.done, false)
        guest.grant(id, MAX_PAYLOAD)
        await guest.until('it to go on', () => call.held > STREAM_WINDOW - MAX_PAYLOAD)
        await guest.still(() => call.held)
        guest.withhold = {}
        guest.grant(id)
        assert.equal((await guest.done(id)).bytes.length, MiB + 2)
      })

      it('of a sandbox is 4 MiB for all calls together', one, async () => {
        await using guest = await start('big', { concurrency: 20 })
        guest.withhold = { data: true }
        const ids = Array.from({ length: 20 }, () => guest.event({ bytes: 400 * KiB }))
        const held = () => SANDBOX_WINDOW - guest.sandboxIncoming
        // A runtime may leave room for those that come later.
        await guest.until('the window to be used', () => held() > SANDBOX_WINDOW / 2)
        assert.ok((await guest.still(held)) <= SANDBOX_WINDOW)
        // Frames that are no data pass all the same.
        assert.equal((await guest.done(guest.event({ bytes: 5 }))).json, 'xxxxx')
        guest.withhold = {}
        for (const id of ids) guest.grant(id)
        for (const id of ids) assert.equal((await guest.done(id)).bytes.length, 400 * KiB + 2)
      })

      it('is whole again after each call: many large results do not use it up', async () => {
        await using guest = await start('big')
        guest.write(encode(TELLS.credit, 0, 99, u32(0)))
        for (let i = 0; i < 12; i++) assert.equal((await guest.done(guest.event({ bytes: MiB }))).bytes.length, MiB + 2)
        assert.equal(guest.sandboxIncoming, SANDBOX_WINDOW)
      })
    })

    describe('logs', () => {
      const it = column.group('logs')
      it('say whose they are, by which output, and carry any bytes', async () => {
        await using guest = await start('logs')
        for (const text of ['one', 'größer → 東京\n', 'x'.repeat(200 * KiB)]) {
          const call = await guest.done(guest.event({ out: text, err: `!${text}` }))
          assert.equal(call.out, text)
          assert.equal(call.err, `!${text}`)
        }
      })

      it('are dropped past 1 MiB, counted, and never waited for; with credit they go on', async () => {
        await using guest = await start('flood')
        guest.withhold = { logs: true }
        for (let i = 0; i < 2; i++) {
          const call = await guest.done(guest.event({ pieces: 48, bytes: MAX_PAYLOAD }))
          assert.equal(call.logBytes + call.lost, 3 * MiB)
          if (i === 0) assert.ok(call.logBytes > LOG_WINDOW - MAX_PAYLOAD && call.logBytes <= LOG_WINDOW, String(call.logBytes))
          else assert.ok(call.logBytes < MAX_PAYLOAD)
        }
        guest.grantLogs(LOG_WINDOW - guest.logsIncoming)
        const call = await guest.done(guest.event({ pieces: 4, bytes: 1000 }))
        assert.deepEqual([call.logBytes, call.lost], [4000, 0])
      })

      it('that are lost are counted for the call that lost them', one, async () => {
        await using guest = await start('flood', { concurrency: 3 })
        guest.withhold = { logs: true }
        const ids = [20, 30, 40].map((pieces) => ({ pieces, id: guest.event({ pieces, bytes: MAX_PAYLOAD }) }))
        for (const { id, pieces } of ids) {
          const call = await guest.done(id)
          assert.equal(call.logBytes + call.lost, pieces * MAX_PAYLOAD)
        }
      })
    })

    describe('ends', () => {
      const it = column.group('ends')
      it('with descriptor 3, within a second, also when timers of the code run', async () => {
        for (const handler of ['echo', 'busy'] as const) {
          await using guest = await start(handler)
          assert.equal((await guest.done(guest.event(null))).json, null)
          await endsWithin(guest, 1000)
        }
        await using guest = await start('sleep')
        guest.event({ name: 'n', ms: 60_000 })
        await guest.until('it to have begun', () => guest.stream(1).out !== '')
        await endsWithin(guest, 1000)
      })

      it('with descriptor 3 before there was any code', async () => {
        await using guest = await Guest.start(runtime)
        await endsWithin(guest, 1000)
      })

      it('with exiting as its last frame, and the code in it, when the code exits', async () => {
        for (const code of [0, 3, 255]) {
          await using guest = await start('exit')
          const id = guest.event({ bytes: 10, ms: 0, code })
          const exit = await guest.last()
          assert.equal(exit.code, code)
          assert.equal(guest.said.at(-1)?.type, SAYS.exiting)
          assert.equal(guest.said.at(-1)?.payload.readUInt32LE(0), code)
          assert.match(guest.stream(id).out, /last words/)
          assert.equal(guest.stream(id).outcome, null)
        }
      })

      it('with whole frames in order, also when the host had not read for a while', async () => {
        for (const ms of [0, 50]) {
          await using guest = await start('exit')
          guest.control.pause()
          const id = guest.event({ bytes: 900 * KiB, ms, code: 7 })
          await delay(250)
          guest.control.resume()
          const exit = await guest.last()
          assert.equal(exit.code, 7)
          const call = guest.stream(id)
          assert.equal(call.out.length + call.lost, 900 * KiB + 'last words\n'.length)
          assert.match(call.out, /last words\n$/)
          assert.equal(guest.said.at(-1)?.type, SAYS.exiting)
        }
      })

      for (const [handler, what, how] of [
        ['uncaught', 'an error that nobody caught', runtime.uncaught],
        ['rejects', 'a failed task that nobody waited for', runtime.rejected],
      ] as const) {
        it(`with ${what} as the error of every call that runs, and then exiting`, async () => {
          await using guest = await start(handler, { concurrency: one ? 1 : 2 })
          // Late enough that all run by then.
          const ids = Array.from({ length: one ? 1 : 2 }, () => guest.event({ message: 'mine', ms: 500 }))
          const exit = await guest.last()
          assert.equal(exit.code, how.exitCode)
          for (const id of ids) {
            const call = guest.stream(id)
            assert.equal(call.error.errorType, how.errorType)
            assert.match(call.error.errorMessage, /mine/)
            assert.ok(call.done)
          }
          assert.equal(guest.said.at(-1)?.payload.readUInt32LE(0), how.exitCode)
        })
      }
    })

    describe('http', () => {
      const it = column.group('http', without('fetch'))
      const fetchOf = (guest: Guest, path: string, rest: HttpCall = {}) => guest.http({ url: `http://localhost${path}`, ...rest })

      it('has the request as it was, and answers with status, headers, body', async () => {
        await using guest = await start('fetchEcho')
        const id = guest.http({
          method: 'PUT',
          url: 'https://example.test/a%20b?c=d&c=e',
          headers: [
            ['x-given', 'one'],
            ['x-given', 'two'],
          ],
          hasBody: true,
        })
        guest.body(id, Buffer.from('größer'))
        guest.end(id)
        const call = await guest.done(id)
        assert.equal(call.head.status, 201)
        const headers = call.head.headers
        const one = (name: string) => headers.find(([key]) => key === name)?.[1]
        assert.deepEqual([one('x-method'), one('x-url'), one('x-given')], ['PUT', 'https://example.test/a%20b?c=d&c=e', 'one, two'])
        assert.deepEqual(
          headers.filter(([key]) => key === 'set-cookie').map(([, value]) => value),
          ['a=1', 'b=2'],
        )
        assert.equal(call.text, 'größer')
        assert.equal(call.body, 'whole')
        assert.equal(call.outgoing, STREAM_WINDOW)
        for (const method of ['GET', 'HEAD', 'DELETE', 'PATCH']) {
          const bare = await guest.done(guest.http({ method }))
          assert.equal(bare.head.headers.find(([key]) => key === 'x-method')?.[1], method)
          assert.equal(bare.text, '')
        }
      })

      it('has no body where the head has fin; the last frame says done', async () => {
        await using guest = await start('fetchPlain')
        const none = await guest.done(fetchOf(guest, '/none'))
        assert.equal(none.frames.length, 1)
        assert.equal(none.frames[0]?.flags, FLAG.fin | FLAG.done)
        const big = await guest.done(fetchOf(guest, '/big?1000000'))
        assert.equal(big.bytes.length, 1_000_000)
        assert.equal(big.frames.at(-1)?.type, SAYS.end)
        assert.equal(big.frames.at(-1)?.flags, FLAG.fin | FLAG.done)
      })

      it('stops its body at the window of its stream; others pass it', async () => {
        await using guest = await start('fetchPlain', { concurrency: 2 })
        guest.withhold = { data: true }
        const id = fetchOf(guest, '/big?2000000')
        const call = guest.stream(id)
        await guest.until('the window to be used', () => call.held > STREAM_WINDOW - MAX_PAYLOAD)
        assert.ok((await guest.still(() => call.held)) <= STREAM_WINDOW)
        assert.equal((await guest.done(fetchOf(guest, '/big?1000'))).bytes.length, 1000)
        guest.withhold = {}
        guest.grant(id)
        assert.equal((await guest.done(id)).bytes.length, 2_000_000)
      })

      it('takes turns with others: two large bodies come side by side', async () => {
        await using guest = await start('fetchPlain', { concurrency: 2 })
        const [one, two] = [fetchOf(guest, '/big?4000000'), fetchOf(guest, '/big?4000000')].map((id) => guest.stream(id))
        assert.ok(one && two)
        await guest.until('the first to end', () => one.done || two.done)
        assert.ok(Math.min(one.bytes.length, two.bytes.length) > 2_000_000)
        await guest.until('both to end', () => one.done && two.done)
      })

      it('is an error of the call where the handler throws before its head, or answers what is no response', async () => {
        await using guest = await start('fetchThrows')
        const before = await guest.done(fetchOf(guest, '/before'))
        assert.deepEqual([before.error.errorType, before.error.errorMessage], [runtime.errorType, 'before'])
        for (const path of ['/not', '/error']) {
          const call = await guest.done(fetchOf(guest, path))
          assert.equal(call.outcome, 'error', path)
          assert.ok(call.frames.at(-1)?.flags === FLAG.done)
        }
      })

      it('ends its body without fin where it breaks off after its head', async () => {
        await using guest = await start('fetchThrows')
        const call = await guest.done(fetchOf(guest, '/after'))
        assert.deepEqual([call.head.status, call.body, call.text], [200, 'broken', 'some'])
        assert.match(call.err + call.out, /after/, 'the log says why')
      })

      it('reads a body of many windows, whole or broken off', async () => {
        await using guest = await start('fetchReads')
        const bytes = Buffer.alloc(3 * MiB, 'x')
        for (const whole of [true, false]) {
          const id = fetchOf(guest, '/all', { method: 'POST', hasBody: true })
          for (let at = 0; at < bytes.length; ) {
            await guest.until('credit', () => guest.stream(id).outgoing > 0)
            at += guest.body(id, bytes.subarray(at))
          }
          guest.end(id, whole)
          const call = await guest.done(id)
          assert.equal(call.text, whole ? String(bytes.length) : 'broke off')
          assert.equal(call.outgoing, STREAM_WINDOW)
        }
      })

      it('grants credit for a request only as its reader takes it', async () => {
        await using guest = await start('fetchEcho')
        guest.withhold = { data: true }
        const id = guest.http({ method: 'POST', hasBody: true })
        const call = guest.stream(id)
        let sent = 0
        const push = () => (sent += guest.body(id, Buffer.alloc(STREAM_WINDOW)))
        for (let i = 0; i < 100 && sent < 2 * MiB; i++) {
          push()
          await delay(2)
        }
        await guest.still(() => call.held)
        // What came out, what the guest may hold, and a few pieces under way between the two streams.
        const allowed = STREAM_WINDOW + STREAM_WINDOW + 4 * MAX_PAYLOAD
        assert.ok(sent <= allowed, `${sent} bytes were taken, though the answer stands at ${call.held}`)
        guest.withhold = {}
        guest.grant(id)
        while (sent < 2 * MiB) {
          await guest.until('credit', () => call.outgoing > 0)
          push()
        }
        guest.end(id)
        assert.equal((await guest.done(id)).bytes.length, sent)
      })

      it('grants nothing for a body that nobody reads while the call runs, and all of it when it is over', async () => {
        await using guest = await start('fetchReads')
        for (const method of ['POST', 'GET']) {
          const id = fetchOf(guest, '/never', { method, hasBody: true })
          const call = guest.stream(id)
          guest.body(id, Buffer.alloc(STREAM_WINDOW))
          await delay(150)
          assert.equal(call.outgoing, 0)
          assert.equal((await guest.done(id)).text, 'unread')
          await guest.until('credit for what was dropped', () => call.outgoing === STREAM_WINDOW)
          // What was under way is credited too.
          guest.body(id, Buffer.alloc(MAX_PAYLOAD))
          guest.end(id)
          await guest.until('credit for what came too late', () => call.outgoing === STREAM_WINDOW)
        }
      })

      it('takes at once what comes of a body that its reader gave up', async () => {
        await using guest = await start('fetchReads')
        const id = fetchOf(guest, '/cancel', { method: 'POST', hasBody: true })
        const call = guest.stream(id)
        for (let i = 0; i < 200; i++) guest.body(id, Buffer.alloc(1000))
        await guest.until('credit', () => call.outgoing === STREAM_WINDOW)
        assert.equal(call.done, false)
        guest.body(id, Buffer.alloc(STREAM_WINDOW))
        await guest.until('credit', () => call.outgoing === STREAM_WINDOW)
        guest.end(id)
        assert.equal((await guest.done(id)).text, 'given up')
      })

      for (const [path, last] of [
        ['/none', SAYS.head],
        ['/body', SAYS.end],
        ['/throw', SAYS.callError],
        ['/reject', SAYS.end],
        ['/with', SAYS.end],
      ] as const) {
        it(`is done only when what waitUntil was given has settled: ${path}`, async () => {
          await using guest = await start('fetchWaits')
          const id = fetchOf(guest, path)
          const call = guest.stream(id)
          await guest.until('its outcome', () => call.outcome !== null)
          // What a guest says of a call behind its done is a fault: so this line stood before it.
          await guest.done(id)
          assert.match(call.out, /settled/)
          const frames = call.frames.map((frame) => frame.type)
          assert.ok(frames.at(-1) === SAYS.done || path === '/with', `the last frame is ${frames.at(-1)}`)
          // A small body may come with its head.
          assert.ok(frames.includes(last) || (last === SAYS.end && call.body === 'whole'))
          if (path === '/reject') assert.match(call.err + call.out, /mine/)
        })
      }

      it('hears by the signal of the request that nobody waits any more', async () => {
        await using guest = await start('fetchAborts')
        const id = fetchOf(guest, '/head')
        const call = guest.stream(id)
        await guest.until('it to wait', () => call.out.includes('waiting'))
        guest.cancel(id)
        await guest.done(id)
        assert.match(call.out, /aborted/)
        assert.equal(call.head.status, 200)
      })

      it('gives its body up when nobody waits any more, also where it stands still or has no credit', async () => {
        await using guest = await start('fetchAborts')
        guest.withhold = { data: true }
        for (const path of ['/body', '/full']) {
          const id = fetchOf(guest, path)
          const call = guest.stream(id)
          await guest.until('some of its body', () => call.held >= (path === '/full' ? STREAM_WINDOW : 4))
          guest.cancel(id)
          await guest.done(id)
          assert.equal(call.body, 'broken')
          assert.match(call.out, /aborted/)
          guest.grant(id)
        }
        // A cancel may cross the end of its call.
        guest.cancel(1)
        guest.cancel(99)
        const again = fetchOf(guest, '/body')
        guest.cancel(again)
        await guest.done(again)
      })
    })

    describe('relay', () => {
      const it = column.group('relay', without('relay'))
      const connect = async (guest: Guest, port?: number) => {
        const before = guest.relays.size
        const { relayPort } = JSON.parse((await guest.hears(SAYS.hello)).payload.toString())
        const socket = net.connect({ host: '127.0.0.1', port: port ?? relayPort, allowHalfOpen: true })
        const seen = { text: '', bytes: 0, ended: false, error: null as Error | null, closed: false }
        socket.on('data', (chunk) => {
          seen.bytes += chunk.length
          if (seen.bytes < MiB) seen.text += chunk
        })
        socket.on('end', () => (seen.ended = true))
        socket.on('error', (error) => (seen.error = error))
        socket.on('close', () => (seen.closed = true))
        await once(socket, 'connect')
        await guest.until('open', () => guest.relays.size === before + 1)
        const id = Math.max(...guest.relays.keys())
        const stream = guest.relays.get(id)
        assert.ok(stream)
        return { socket, seen, id, stream }
      }
      const hang = (one: { socket: net.Socket }) => ({ ...one, [Symbol.dispose]: () => void one.socket.destroy() })

      it('makes each connection a stream with an id of its own, data both ways, half a close at a time', async () => {
        await using guest = await Guest.start(runtime)
        using one = hang(await connect(guest))
        const { socket, seen, id, stream } = one as typeof one & Awaited<ReturnType<typeof connect>>
        socket.write('question')
        await guest.until('the data', () => stream.text === 'question')
        socket.end()
        await guest.until('the end', () => stream.body === 'whole')
        assert.equal(stream.done, false)
        guest.relayData(id, Buffer.from('answer'))
        await guest.until('the answer', () => seen.text === 'answer')
        assert.equal(seen.ended, false)
        guest.relay.write(encode(RELAY.end, FLAG.fin, id))
        await guest.until('the close', () => seen.closed)
        assert.equal(seen.error, null)
        const next = await connect(guest)
        assert.ok(next.id > id)
        next.socket.destroy()
        await guest.until('the end of the second', () => guest.relays.get(next.id)?.done === true || guest.relays.get(next.id)?.body === 'whole')
      })

      it('is half closed by the host too', async () => {
        await using guest = await Guest.start(runtime)
        const { socket, seen, id, stream } = await connect(guest)
        guest.relayData(id, Buffer.from('all'))
        guest.relay.write(encode(RELAY.end, FLAG.fin, id))
        await guest.until('the end', () => seen.ended)
        assert.equal(seen.text, 'all')
        socket.write('still')
        await guest.until('the data', () => stream.text === 'still')
        socket.end('.')
        await guest.until('the end', () => stream.body === 'whole')
        assert.equal(stream.text, 'still.')
      })

      it('resets the connection when the host resets the stream, and the other way round', async () => {
        await using guest = await Guest.start(runtime)
        const { seen, id } = await connect(guest)
        guest.relayData(id, Buffer.from('half an ans'))
        await guest.until('the data', () => seen.text !== '')
        guest.relay.write(encode(RELAY.reset, 0, id))
        await guest.until('the close', () => seen.closed)
        assert.equal((seen.error as NodeJS.ErrnoException | null)?.code, 'ECONNRESET', 'what broke off does not look whole')
        const other = await connect(guest)
        other.socket.resetAndDestroy()
        await guest.until('the reset', () => other.stream.done)
        // What comes for a stream that is over is nothing.
        guest.relay.write(encode(RELAY.data, 0, other.id, Buffer.from('late')))
        guest.relay.write(encode(RELAY.credit, 0, other.id, u32(4)))
        guest.relay.write(encode(RELAY.end, FLAG.fin, other.id))
        guest.relay.write(encode(RELAY.reset, 0, other.id))
        const third = await connect(guest)
        third.socket.destroy()
      })

      it('brings all that came before the end, though a reset follows it', async () => {
        await using guest = await Guest.start(runtime)
        const { socket, seen, id } = await connect(guest)
        socket.pause()
        socket.end()
        const sent = await fill(guest, id)
        guest.relay.write(Buffer.concat([encode(RELAY.end, FLAG.fin, id), encode(RELAY.reset, 0, id)]))
        await delay(50)
        socket.resume()
        await guest.until('the close', () => seen.closed)
        assert.deepEqual([seen.bytes, seen.error], [sent, null])
      })

      it('stops at the window of the stream towards the host, and goes on', async () => {
        await using guest = await Guest.start(runtime)
        guest.withhold = { relay: true }
        const { socket, id, stream } = await connect(guest)
        const other = await connect(guest)
        socket.end(Buffer.alloc(2 * MiB, 'x'))
        await guest.until('the window to be used', () => stream.held > STREAM_WINDOW - MAX_PAYLOAD)
        assert.ok((await guest.still(() => stream.held)) <= STREAM_WINDOW)
        other.socket.write('passes')
        await guest.until('the other', () => other.stream.text === 'passes')
        guest.withhold = {}
        guest.grantRelay(id)
        await guest.until('all of it', () => stream.body === 'whole')
        assert.equal(stream.bytes.length, 2 * MiB)
        other.socket.destroy()
      })

      it('grants as the connection takes: a reader that stands still stops the host', async () => {
        await using guest = await Guest.start(runtime)
        const { socket, seen, id, stream } = await connect(guest)
        socket.pause()
        const sent = await fill(guest, id)
        assert.ok(sent < 64 * MiB, 'the guest takes without end what nobody reads')
        assert.equal(stream.outgoing, 0)
        socket.resume()
        await guest.until('all of it', () => seen.bytes === sent)
        await guest.until('credit', () => stream.outgoing === STREAM_WINDOW)
        socket.destroy()
      })

      it('is open on the further ports that specialise names', async () => {
        await using guest = await Guest.start(runtime)
        const port = await freePort()
        await guest.load(runtime.handler('echo'), { relayPorts: [port] })
        const { socket, stream } = await connect(guest, port)
        socket.end('x')
        await guest.until('the data', () => stream.text === 'x' && stream.body === 'whole')
      })
    })

    describe('frames', () => {
      const it = column.group('frames')
      it('are understood byte by byte', async () => {
        await using guest = await Guest.start(runtime)
        const bytes: Buffer[] = []
        guest.specialise(runtime.handler('echo'), {}, (frames) => bytes.push(frames))
        bytes.push(...guest.eventFrames({ a: 'größer' }).frames)
        const pieces = guest.rawEventFrames(Buffer.from('{"b":[1]}'), {}, true)
        bytes.push(...pieces.frames)
        // A call comes after loaded; the end of what is loaded is waited for within.
        const [specialise, ...calls] = bytes
        await byteByByte(guest, specialise as Buffer)
        await guest.hears(SAYS.loaded)
        await byteByByte(guest, calls[0] as Buffer)
        if (one) await guest.done(1)
        await byteByByte(guest, Buffer.concat(calls.slice(1)))
        assert.deepEqual((await guest.done(1)).json, { a: 'größer' })
        assert.deepEqual((await guest.done(pieces.id)).json, { b: [1] })
      })

      it('are understood however they are cut and however many come at once', async () => {
        await using guest = await start('echo', { concurrency: one ? 1 : 100 })
        const events = fc.array(fc.tuple(fc.jsonValue(), fc.boolean(), fc.nat(3)), { minLength: 1, maxLength: 20 })
        const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 10 })
        await fc.assert(
          fc.asyncProperty(events, cuts, fc.boolean(), async (asked, sizes, atOnce) => {
            const calls = asked.map(([value, inPieces, times]) => {
              const event = times === 0 ? value : { value, long: 'é'.repeat(times * 10_000) }
              return { event, ...guest.rawEventFrames(Buffer.from(JSON.stringify(event)), {}, inPieces) }
            })
            for (const together of one ? calls.map((call) => [call]) : [calls]) {
              const bytes = Buffer.concat(together.flatMap((call) => call.frames))
              if (atOnce) guest.write(bytes)
              else {
                // Small pieces at the front, where heads and bodies meet; then larger ones.
                for (let at = 0, i = 0; at < bytes.length; i++) {
                  const size = (sizes[i % sizes.length] as number) * (i < 40 ? 1 : 200)
                  guest.write(bytes.subarray(at, at + size))
                  at += size
                  if (i % 2 === 0) await turn()
                }
              }
              for (const { id, event } of together) assert.deepEqual((await guest.done(id)).json, JSON.parse(JSON.stringify(event)))
            }
          }),
          { numRuns: 40, interruptAfterTimeLimit: 3_000, markInterruptAsFailure: false },
        )
      })

      it('of two hundred calls in one write are each answered once', one, async () => {
        await using guest = await start('echo', { concurrency: 200 })
        const calls = Array.from({ length: 200 }, (_, i) => ({ i, ...guest.eventFrames({ i }) }))
        guest.write(Buffer.concat(calls.flatMap((call) => call.frames)))
        for (const { id, i } of calls) assert.deepEqual((await guest.done(id)).json, { i })
      })
    })
  })
}

async function endsWithin(guest: Guest, ms: number): Promise<void> {
  const from = performance.now()
  guest.control.destroy()
  const ended = await Promise.race([guest.exited, delay(ms, null, { ref: false })])
  assert.ok(ended, `it still runs ${Math.round(performance.now() - from)} ms after descriptor 3 was closed`)
  assert.equal(ended.signal, null)
}

async function byteByByte(guest: Guest, bytes: Buffer): Promise<void> {
  for (const byte of bytes) {
    guest.write(Buffer.from([byte]))
    await turn()
  }
}

/** Sends to a connection that reads nothing until it takes no more: the kernel's own buffers hold some megabytes. */
async function fill(guest: Guest, id: number): Promise<number> {
  let sent = 0
  for (let quiet = 0; quiet < 30 && sent < 64 * MiB; quiet++) {
    const more = guest.relayData(id, Buffer.alloc(STREAM_WINDOW))
    sent += more
    if (more > 0) quiet = 0
    await delay(5)
  }
  return sent
}

async function freePort(): Promise<number> {
  const server = net.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

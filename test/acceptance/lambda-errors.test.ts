import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { DeleteFunctionCommand, UpdateFunctionCodeCommand, UpdateFunctionConfigurationCommand } from '@aws-sdk/client-lambda'
import { zipOf } from './harness.ts'
import { lambdaNode } from './lambda-fixture.ts'

// These take half a minute of waiting: they wait beside the other tests of this file.
type Called = Awaited<ReturnType<typeof call>>
let lateLoads: Promise<[Called, Called]>
const {
  at,
  create,
  invoke: call,
} = lambdaNode(async () => {
  // At deploy, where nothing stands in the environment, it loads at once.
  const late = (ms: number) =>
    `if (process.env.AWS_LAMBDA_FUNCTION_NAME) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${ms}); export const handler = async () => 'loaded'`
  await create('init-late', late(11_000), { timeout: 30 })
  await create('init-never', late(60_000), { timeout: 3 })
  lateLoads = Promise.all([call('init-late'), failsWith('init-never', failsAt('Sandbox.Timedout', 'Task timed out after 3.00 seconds'), /Status: timeout\t$/)])
  lateLoads.catch(() => {}) // told by the test that waits for it
})

/** An error whose payload is exactly this; `ID` stands for the id of the request. */
async function failsWith(name: string, payload: string, report: RegExp, event: unknown = {}) {
  const reply = await call(name, event)
  assert.deepEqual([reply.status, reply.error, reply.text], [200, 'Unhandled', payload.replace('ID', reply.id)])
  assert.match(reply.report, report)
  return reply
}
const failsAt = (type: string, message: string) => JSON.stringify({ errorType: type, errorMessage: `RequestId: ID Error: ${message}` })

describe('errors of functions, byte for byte as clients of Lambda see them', () => {
  // One function that fails as its event says, and counts its calls, so that a process that went on is told from a fresh one.
  before(() =>
    create(
      'fails',
      `let n = 0
      const acts = {
        throw: () => { throw new RangeError('mine') },
        text: () => { throw 'boom' },
        nothing: () => { throw undefined },
        object: () => { throw { code: 7 } },
        unreadable: () => { const error = new Error('x'); Object.defineProperty(error, 'message', { get() { throw new Error('no') } }); throw error },
        hang: () => new Promise(() => { setInterval(() => {}, 1000) }),
        spin: () => { for (;;); },
        exit: ({ code }) => process.exit(code),
        abort: () => process.abort(),
        kill: () => process.kill(process.pid, 'SIGKILL'),
        memory: () => { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)) },
        large: () => 'x'.repeat(7 << 20),
        cycle: () => { const a = {}; a.a = a; return a },
        count: () => n,
      }
      export const handler = async (event) => { n += 1; return acts[event.act](event) }`,
      { timeout: 1 },
    ),
  )
  const count = async () => Number((await call('fails', { act: 'count' })).text)
  /** The next call after this one is the first of its process. */
  const isReset = async () => assert.equal(await count(), 1)

  it('what is thrown: type, message, trace in this order; the process goes on', async () => {
    const before = await count()
    const thrown = await call('fails', { act: 'throw' })
    assert.deepEqual([thrown.status, thrown.error], [200, 'Unhandled'])
    assert.match(thrown.text, /^\{"errorType":"RangeError","errorMessage":"mine","trace":\["RangeError: mine"," {4}at Object\.throw \(file:/)
    assert.match(thrown.report, /Status: error\tError Type: RangeError\t$/)
    assert.match(thrown.log, /\tERROR\tInvoke Error \t\{"errorType":"RangeError","errorMessage":"mine","stack":\["RangeError: mine"/)
    await failsWith('fails', '{"errorType":"string","errorMessage":"boom","trace":[]}', /Error Type: string/, { act: 'text' })
    await failsWith('fails', '{"errorType":"undefined","errorMessage":"undefined","trace":[]}', /Error Type: undefined/, { act: 'nothing' })
    await failsWith('fails', '{"errorType":"object","errorMessage":"[object Object]","trace":[]}', /Error Type: object/, { act: 'object' })
    const unreadable = 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack'
    await failsWith('fails', JSON.stringify({ errorType: 'handled', errorMessage: unreadable }), /Error Type: handled/, { act: 'unreadable' })
    assert.equal(await count(), before + 6)
  })

  for (const act of ['hang', 'spin']) {
    it(`time that is over (${act}): told within 200 ms of the limit, the sandbox is reset`, async () => {
      await count() // so that it is warm
      // On a machine that has other things to do, the best of three tells.
      let least = Number.POSITIVE_INFINITY
      for (let round = 0; round < 3 && least >= 1_200; round++) {
        const late = await failsWith('fails', failsAt('Sandbox.Timedout', 'Task timed out after 1.00 seconds'), /Status: timeout\t$/, { act })
        assert.match(late.log, new RegExp(`^\\d{4}-\\S+Z ${late.id} Task timed out after 1.00 seconds$`, 'm'))
        assert.match(late.report, /\tDuration: 1\d{3}\.\d\d ms\tBilled Duration: 1\d{3} ms\t/)
        await isReset()
        least = Math.min(least, late.ms)
      }
      assert.ok(least >= 990 && least < 1_200, `${least} ms`)
    })
  }

  it('a result that is too large, or no JSON; the process goes on', async () => {
    await isReset().catch(() => {})
    const before = await count()
    const large = 'Response payload size exceeded maximum allowed payload size (6291556 bytes).'
    await at.aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'fails', Timeout: 10 }))
    const fresh = await count()
    assert.ok(before >= 1 && fresh === 1)
    await failsWith('fails', JSON.stringify({ errorMessage: large, errorType: 'Function.ResponseSizeTooLarge' }), /Function.ResponseSizeTooLarge/, {
      act: 'large',
    })
    const cycle = await call('fails', { act: 'cycle' })
    assert.equal(cycle.error, 'Unhandled')
    assert.match((JSON.parse(cycle.text) as { errorMessage: string }).errorMessage, /^Unable to stringify response body/)
    assert.equal(await count(), 4)
  })

  // Behind the test above, which gave it ten seconds: to fill its memory may take longer than one.
  it('a process that ends: in order, with a code, by a signal, for want of memory', async () => {
    await failsWith('fails', failsAt('Runtime.ExitError', 'Runtime exited without providing a reason'), /Error Type: Runtime.ExitError/, {
      act: 'exit',
      code: 0,
    })
    await isReset()
    await failsWith('fails', failsAt('Runtime.ExitError', 'Runtime exited with error: exit status 127'), /Runtime.ExitError/, { act: 'exit', code: 127 })
    await isReset()
    for (const [act, signal, why] of [
      ['abort', 'aborted', ''],
      ['kill', 'killed', ''],
      ['memory', 'killed', ', for want of more than its 128 MB of memory; it gets more by `memory`'],
    ] as const) {
      const told = `Runtime exited with error: signal: ${signal}`
      const ended = await failsWith('fails', failsAt('Runtime.ExitError', told), /Error Type: Runtime.ExitError/, { act })
      assert.match(ended.log, new RegExp(`${ended.id} ${told}${why}\\n`))
      assert.equal(ended.report.includes('\tMax Memory Used: 128 MB\t'), act === 'memory', ended.report)
      await isReset()
    }
  })
})

describe('errors of loading', () => {
  const loads = async (name: string, code: string) => {
    await create(name, code)
    const reply = await call(name)
    assert.deepEqual([reply.status, reply.error], [200, 'Unhandled'])
    return { ...reply, value: JSON.parse(reply.text) as { errorType: string; errorMessage: string; trace?: string[] } }
  }

  it('are told to the call that asked for the load, each time anew', async () => {
    const thrown = await loads('init-throws', 'console.log("loading"); throw new TypeError("not today")')
    assert.deepEqual([thrown.value.errorType, thrown.value.errorMessage, thrown.value.trace?.[0]], ['TypeError', 'not today', 'TypeError: not today'])
    assert.match(thrown.log, /\tundefined\tERROR\tUncaught Exception \t\{"errorType":"TypeError","errorMessage":"not today","stack":\["TypeError: not today",/)
    assert.match(thrown.log, /loading[\s\S]*^INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: error\tError Type: TypeError$/m)
    assert.match(thrown.report, /\tInit Duration: [\d.]+ ms\t.*Status: error\tError Type: TypeError\t$/)
    assert.match((await call('init-throws')).log, /loading/)
    const missing = await loads('init-import', 'import "nothing-like-this"; export const handler = 1')
    assert.deepEqual([missing.value.errorType, /^Error: Cannot find/.test(missing.value.errorMessage)], ['Runtime.ImportModuleError', true])
    assert.equal((await loads('init-syntax', 'export const = 1')).value.errorType, 'Runtime.UserCodeSyntaxError')
    assert.deepEqual((await loads('init-handler', 'export const other = 1')).value.errorType, 'Runtime.HandlerNotFound')
  })

  it('of a process that ends carry the id of the request', async () => {
    await create('init-exits', 'if (process.env.AWS_LAMBDA_FUNCTION_NAME) process.exit(3); export const handler = async () => 1')
    const ended = await failsWith('init-exits', failsAt('Runtime.ExitError', 'Runtime exited with error: exit status 3'), /Error Type: Runtime.ExitError/)
    assert.match(ended.log, /^INIT_REPORT .*Status: error\tError Type: Runtime.ExitError$/m)
  })

  it('a load of more than 10 s is begun anew in the time of the call', async () => {
    const [loaded, never] = await lateLoads
    assert.equal(loaded.text, '"loaded"')
    for (const one of [loaded, never]) {
      assert.match(one.log, /^INIT_REPORT Init Duration: 10\d{3}\.\d\d ms\tPhase: init\tStatus: timeout$/m)
      assert.doesNotMatch(one.report, /Init Duration/)
    }
    const durations = [loaded, never].map(({ report }) => Number(/\tDuration: ([\d.]+) ms/.exec(report)?.[1]))
    assert.ok((durations[0] ?? 0) >= 11_000 && (durations[0] ?? 0) < 15_000, 'the second load counts as part of the call')
    assert.ok((durations[1] ?? 0) >= 3_000 && (durations[1] ?? 0) < 4_000)
    assert.equal((await call('init-late')).report.includes('Cold Start'), false, 'and is not done again')
  })
})

describe('functions that change while calls run', () => {
  const returns = (value: number) => `export const handler = async (event) => { await new Promise((done) => setTimeout(done, event.ms ?? 5)); return ${value} }`
  const deploy = async (value: number) =>
    await at.aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'moving', ZipFile: await zipOf({ 'index.mjs': returns(value) }) }))

  it('ten deploys under eight callers: no call fails, each sees the newest or the one before, and none goes back', async () => {
    await create('moving', returns(0), { timeout: 20 })
    let deployed = 0
    let isOver = false
    const failures: unknown[] = []
    let calls = 0
    const callers = Array.from({ length: 8 }, async () => {
      let last = 0
      while (!isOver) {
        const least = deployed
        try {
          const reply = await call('moving')
          calls++
          const value = Number(reply.text)
          if (reply.error || value < least || value < last) failures.push([reply.text, least, last])
          last = value
        } catch (error) {
          failures.push(String(error))
        }
        await new Promise((resolve) => setTimeout(resolve, 400))
      }
    })
    for (let value = 1; value <= 10; value++) {
      await deploy(value)
      deployed = value
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    isOver = true
    await Promise.all(callers)
    assert.deepEqual(failures, [])
    assert.ok(calls > 40, `${calls} calls`)
  })

  it('a call that runs ends on the version it began with, whether that is updated or deleted', async () => {
    await deploy(20)
    await call('moving', { ms: 0 })
    const old = call('moving', { ms: 2_000 })
    await new Promise((resolve) => setTimeout(resolve, 500))
    await deploy(21)
    assert.equal((await call('moving', { ms: 0 })).text, '21')
    assert.equal((await old).text, '20')
    const last = call('moving', { ms: 2_000 })
    await new Promise((resolve) => setTimeout(resolve, 500))
    await at.aws.send(new DeleteFunctionCommand({ FunctionName: 'moving' }))
    await assert.rejects(call('moving'), { name: 'ResourceNotFoundException' })
    assert.equal((await last).text, '21')
  })
})

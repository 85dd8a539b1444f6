import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { DeleteFunctionCommand } from '@aws-sdk/client-lambda'
import { mayfly } from './harness.ts'
import { lambdaNode } from './lambda-fixture.ts'

const { at, create, invoke } = lambdaNode()

describe('functions that misbehave', () => {
  // A neighbour that must answer whatever the others do.
  before(() => create('neighbour', 'export const handler = async () => "here"'))
  const neighbourAnswers = async () => assert.equal((await invoke('neighbour')).text, '"here"')

  const rows: [name: string, code: string, type: string, message: RegExp, log: RegExp, more?: { timeout?: number; memory?: number; file?: string }][] = [
    ['throws', 'export const handler = async () => { throw new TypeError("mine") }', 'TypeError', /^mine$/, /Invoke Error/],
    ['throws what is no error', 'export const handler = async () => { throw "boom" }', 'string', /^boom$/, /Invoke Error/],
    [
      'rejects later, unheard',
      'export const handler = () => new Promise(() => { Promise.reject(new Error("unheard")) })',
      'Runtime.UnhandledPromiseRejection',
      /unheard/,
      /Unhandled Promise Rejection/,
    ],
    [
      'throws outside the call',
      'export const handler = () => new Promise(() => { setTimeout(() => { throw new Error("outside") }, 1) })',
      'Error',
      /outside/,
      /Uncaught Exception/,
    ],
    [
      'exits in order',
      'export const handler = async () => process.exit(0)',
      'Runtime.ExitError',
      /Runtime exited without providing a reason/,
      /Error Type: Runtime.ExitError/,
    ],
    ['exits with a code', 'export const handler = async () => process.exit(7)', 'Runtime.ExitError', /exit status 7/, /exit status 7/],
    ['aborts', 'export const handler = async () => process.abort()', 'Runtime.ExitError', /signal: aborted/, /signal: aborted/],
    [
      'loops without end',
      'export const handler = () => { for (;;); }',
      'Sandbox.Timedout',
      /Task timed out after 1.00 seconds/,
      /Task timed out after 1.00 seconds[\s\S]*Status: timeout/,
      { timeout: 1 },
    ],
    [
      'never answers',
      'export const handler = () => new Promise(() => { setInterval(() => {}, 1000) })',
      'Sandbox.Timedout',
      /Task timed out after 1.00 seconds/,
      /Status: timeout/,
      { timeout: 1 },
    ],
    [
      'eats memory',
      'export const handler = () => { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)) }',
      'Runtime.ExitError',
      /signal: killed/,
      /signal: killed/,
    ],
    ['returns a cycle', 'export const handler = async () => { const a = {}; a.a = a; return a }', 'Runtime.MarshalError', /circular/, /Invoke Error/],
    ['returns a BigInt', 'export const handler = async () => 1n', 'Runtime.MarshalError', /BigInt/, /Invoke Error/],
    [
      'returns more than invocationReply',
      'export const handler = async () => "x".repeat(7 * 1024 * 1024)',
      'Function.ResponseSizeTooLarge',
      /6291556 bytes/,
      /ResponseSizeTooLarge/,
      { memory: 256 },
    ],
    ['has no handler', 'export const other = 1', 'Runtime.HandlerNotFound', /index.handler is undefined or not exported/, /END RequestId/],
    [
      'cannot be loaded',
      'import "nothing-like-this"; export const handler = 1',
      'Runtime.ImportModuleError',
      /Cannot find package 'nothing-like-this'/,
      /END RequestId/,
    ],
    ['is no JavaScript', 'export const handler = (', 'Runtime.UserCodeSyntaxError', /SyntaxError/, /END RequestId/],
    ['throws while it loads', 'throw new Error("at load")', 'Error', /at load/, /END RequestId/],
    ['exits while it loads', 'process.exit(3)', 'Runtime.ExitError', /exit status 3/, /END RequestId/],
    [
      'takes a callback',
      'export const handler = (event, context, callback) => callback(null, 1)',
      'Runtime.CallbackHandlerDeprecated',
      /promise/,
      /END RequestId/,
    ],
    [
      'writes garbage to its control descriptor',
      'import fs from "node:fs"; export const handler = async () => { fs.writeSync(3, Buffer.alloc(4096, 255)); await new Promise((r) => setTimeout(r, 500)) }',
      'Runtime.ProtocolError',
      /broke the protocol/,
      /Runtime.ProtocolError/,
    ],
    [
      'forges a second result',
      'import fs from "node:fs"; export const handler = async () => { const f = Buffer.alloc(14); f.writeUInt32LE(2, 0); f[4] = 4; f[5] = 3; f.writeUInt32LE(99, 8); f.write("{}", 12); fs.writeSync(3, f); await new Promise((r) => setTimeout(r, 500)) }',
      'Runtime.ProtocolError',
      /call 99/,
      /Runtime.ProtocolError/,
    ],
    [
      'writes garbage to its relay',
      'import fs from "node:fs"; export const handler = async () => { fs.writeSync(4, Buffer.alloc(4096, 255)); await new Promise((r) => setTimeout(r, 500)) }',
      'Runtime.ProtocolError',
      /broke the protocol/,
      /Runtime.ProtocolError/,
    ],
  ]
  for (const [name, code, type, message, log, more] of rows) {
    it(`${name}: the caller is told, the neighbour answers, the next call finds a fresh process`, async () => {
      const id = `bad-${name.replaceAll(/[^a-z]+/gi, '-')}`
      await create(id, code, more)
      const [reply] = await Promise.all([invoke(id, {}), neighbourAnswers()])
      assert.deepEqual([reply.status, reply.error], [200, 'Unhandled'])
      const error = reply.value as { errorType: string; errorMessage: string }
      assert.equal(error.errorType, type, reply.text.slice(0, 300))
      assert.match(error.errorMessage, message)
      assert.match(reply.log, log)
      assert.equal((await invoke(id)).error, 'Unhandled', 'the next one ends the same way')
      await neighbourAnswers()
      await at.aws.send(new DeleteFunctionCommand({ FunctionName: id }))
    })
  }

  it('floods its descriptors with frames that mean nothing: the neighbour answers meanwhile, and so does it', async () => {
    const code = `import fs from 'node:fs'
      const frame = (type, stream, payload = '') => { const f = Buffer.alloc(12 + payload.length); f.writeUInt32LE(payload.length, 0); f[4] = type; f.writeUInt32LE(stream, 8); f.write(payload, 12, 'latin1'); return f }
      const write = (fd, bytes) => { for (let at = 0; at < bytes.length; ) try { at += fs.writeSync(fd, bytes, at) } catch (error) { if (error.code !== 'EAGAIN') throw error } }
      let stream = 1_000_000
      const FLOODS = {
        logs: () => write(3, Buffer.concat(Array.from({ length: 5000 }, (_, i) => frame(11, i + 1000)))),
        credits: () => write(3, Buffer.concat(Array.from({ length: 5000 }, () => frame(10, 1, '\\0\\0\\x04\\0')))),
        connections: () => write(4, Buffer.concat(Array.from({ length: 2500 }, () => [frame(20, ++stream), frame(21, stream)]).flat())),
        requests: () => write(4, Buffer.concat(Array.from({ length: 800 }, () => [frame(20, ++stream), frame(6, stream, 'GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n'), frame(21, stream)]).flat())),
      }
      export const handler = async ({ what }) => { for (let i = 0; i < 60; i++) FLOODS[what](); return what }`
    await create('floods', code, { timeout: 60 })
    for (const what of ['logs', 'credits', 'connections', 'requests']) {
      let over = false
      const flooding = invoke('floods', { what }).finally(() => {
        over = true
      })
      do await neighbourAnswers()
      while (!over)
      assert.equal((await flooding).text, JSON.stringify(what))
    }
    await neighbourAnswers()
  })

  it('says that it ends and goes on, or answers and goes on: nothing of it runs for anybody', async () => {
    const frames = `import fs from 'node:fs'
      const say = (type, flags, stream, payload) => { const f = Buffer.alloc(12 + payload.length); f.writeUInt32LE(payload.length, 0); f[4] = type; f[5] = flags; f.writeUInt32LE(stream, 8); f.write(payload, 12, 'latin1'); fs.writeSync(3, f) }
      let calls = 0\n`
    await create('ends', `${frames} export const handler = async () => { say(14, 0, 0, '\\0\\0\\0\\0'); for (;;); }`, { timeout: 60 })
    assert.match((await invoke('ends', {})).text, /Runtime exited without providing a reason/)
    // Its own answer, then a second one that no call is there for.
    await create('early', `${frames} export const handler = async () => { say(4, 3, ++calls, '"early"'); return 'late' }`)
    for (let n = 0; n < 3; n++) {
      const reply = await invoke('early', {})
      assert.ok(reply.text === '"early"' || reply.error === 'Unhandled', reply.text)
      assert.doesNotMatch(reply.text, /late/)
    }
    await neighbourAnswers()
  })

  it('prints 100 MB: head and tail are kept, the rest is counted, nobody waits', async () => {
    await create(
      'loud',
      'const line = "x".repeat(1023) + "\\n"; export const handler = async () => { process.stdout.write("first\\n"); for (let i = 0; i < 102400; i++) process.stdout.write(line); await new Promise((r) => setTimeout(r, 200)); process.stdout.write("last\\n"); return "done" }',
      { timeout: 60 },
    )
    const [reply] = await Promise.all([invoke('loud', {}), neighbourAnswers()])
    assert.equal(reply.text, '"done"')
    const lines = mayfly(['logs', 'loud', '--json', '-n', '10000', '--data', at.node.data])
      .stdout.trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { text: string }).text)
    assert.ok(lines.includes('first') && lines.includes('last'))
    const dropped = Number(/(\d+) bytes .*dropped/.exec(lines.join('\n'))?.[1])
    assert.ok(dropped > 98 * 1024 * 1024, `${dropped} dropped`)
    assert.ok(lines.join('\n').length < 1.1 * 1024 * 1024)
  })

  it('forks without end, fills /tmp, opens files without end: each is stopped by its limit, and given back', async () => {
    await create(
      'greedy',
      `import { spawn } from 'node:child_process'; import fs from 'node:fs'
      export const handler = async ({ what }) => {
        if (what === 'fork') { const all = []; let failed = 0; for (let i = 0; i < 400; i++) { const c = spawn('/bin/sleep', ['60'], { stdio: 'ignore' }); c.on('error', () => failed++); all.push(c) } await new Promise((r) => setTimeout(r, 300)); return { started: all.filter((c) => c.pid).length } }
        if (what === 'files') { const all = []; let n = 0; try { for (; n < 5000; n++) all.push(fs.openSync('/dev/null')) } catch (e) { for (const fd of all) fs.closeSync(fd); return { n, code: e.code } } }
        if (what === 'inodes') { let n = 0; try { for (; n < 200000; n++) fs.closeSync(fs.openSync('/tmp/f' + n, 'w')) } catch (e) { for (let i = 0; i < n; i++) fs.unlinkSync('/tmp/f' + i); return { n, code: e.code } } }
        if (what === 'tmp') { const fd = fs.openSync('/tmp/big', 'w'); const b = Buffer.alloc(1 << 20, 1); let n = 0; try { for (; n < 2000; n++) fs.writeSync(fd, b) } catch (e) { return { n, code: e.code } } }
      }`,
      { memory: 1024, timeout: 30 },
    )
    const forks = (await invoke('greedy', { what: 'fork' })).value as { started: number }
    assert.ok(forks.started > 10 && forks.started < 130, `${forks.started} started`)
    const files = (await invoke('greedy', { what: 'files' })).value as { n: number; code: string }
    assert.deepEqual([files.code, files.n < 1100], ['EMFILE', true])
    const inodes = (await invoke('greedy', { what: 'inodes' })).value as { n: number; code: string }
    assert.deepEqual([inodes.code, inodes.n < 66_000], ['ENOSPC', true])
    const tmp = (await invoke('greedy', { what: 'tmp' })).value as { n: number; code: string }
    assert.deepEqual([tmp.code, tmp.n <= 512], ['ENOSPC', true])
    await neighbourAnswers()
  })
})

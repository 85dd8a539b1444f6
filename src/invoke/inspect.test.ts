import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { Project } from '../core/project.ts'
import type { Socket, Upgrade, UpgradeContext } from '../core/route.ts'
import type { Version } from '../functions/index.ts'
import { SimulatedClock } from '../lib/simulated-clock.ts'
import { type Inspected, LoadError, type SandboxSpec } from '../sandbox/index.ts'
import { inspectUpgrades } from './inspect.ts'

const project = { ref: 'demo' } as Project

/** A debugger and a sandbox, with the room between them. */
function world(inspect: (() => Promise<Inspected>) | null = null) {
  const clock = new SimulatedClock()
  const sandbox = { frames: [] as string[], buffered: 0, listens: true, disposed: 0, said: (_: string) => {}, over: () => {} }
  const inspected: Inspected = {
    sandboxId: 's-1',
    get buffered() {
      return sandbox.buffered
    },
    send: (frame) => void sandbox.frames.push(frame),
    listen: (on) => {
      sandbox.listens = on
    },
    onFrame: (take) => {
      sandbox.said = take
    },
    onClose: (take) => {
      sandbox.over = take
    },
    [Symbol.dispose]: () => void sandbox.disposed++,
  }
  const client = { frames: [] as (string | Uint8Array)[], buffered: 0, closed: null as [number, string] | null, said: (_: string) => {} }
  const gone = new AbortController()
  const socket: Socket = {
    get buffered() {
      return client.buffered
    },
    send: (frame) => void client.frames.push(frame),
    close: (code, reason) => {
      client.closed ??= [code, reason]
    },
    cut: () => {},
    listen: () => {},
    onFrame: (take) => {
      client.said = take
    },
    onClose: () => {},
  }
  const [row] = inspectUpgrades({
    functions: { resolve: async () => ({}) as Version },
    sandboxes: { inspect: inspect ?? (async () => inspected) },
    specs: { of: () => ({}) as SandboxSpec },
    clock,
    log: silentLog,
  }) as [Upgrade]
  const context = (query: string): UpgradeContext => ({
    id: '1',
    principal: { kind: 'operator', id: 'o' },
    project,
    query: new URLSearchParams(query),
    headers: {},
    closed: gone.signal,
  })
  const open = async () => {
    const one = context('function=f')
    await row.admit(one)
    row.accept(one, socket)
  }
  return { clock, sandbox, client, row, context, gone, open }
}

test('what either side says comes to the other; when the client leaves the sandbox is let go', async () => {
  const { sandbox, client, open, gone, clock } = world()
  await open()
  client.said('{"id":1}')
  sandbox.said('{"id":1,"result":{}}')
  assert.deepEqual([sandbox.frames, client.frames], [['{"id":1}'], ['{"id":1,"result":{}}']])
  gone.abort()
  assert.equal(sandbox.disposed, 1)
  assert.deepEqual(clock.waiting, [], 'nothing waits for it')
})

test('a client that leaves before its sandbox is there leaves nothing behind', async () => {
  const { sandbox, row, context, gone } = world()
  const asked = row.admit(context('function=f'))
  gone.abort()
  await asked
  assert.equal(sandbox.disposed, 1)
})

test('a sandbox that ends is told', async () => {
  const { sandbox, client, open } = world()
  await open()
  sandbox.over()
  assert.equal(client.closed?.[0], 1001)
})

test('inspectTime: so long and no longer', async () => {
  const { clock, client, open } = world()
  await open()
  clock.advance(LIMITS.inspectTime.value - 1)
  assert.equal(client.closed, null)
  clock.advance(1)
  assert.match(client.closed?.[1] ?? '', /time of a debugger is over/)
})

test('inspectFrame: so much may wait for the sandbox, and not a byte more', async () => {
  const { client, sandbox, open, row } = world()
  assert.equal(row.frameBytes, LIMITS.inspectFrame.value)
  await open()
  sandbox.buffered = LIMITS.inspectFrame.value - 2
  client.said('{}')
  assert.deepEqual([client.closed, sandbox.frames], [null, ['{}']])
  client.said('{ }')
  assert.equal(client.closed?.[0], 1013)
})

test('a debugger that takes nothing is not sent more: the sandbox is not heard until it does', async () => {
  const { clock, client, sandbox, open } = world()
  await open()
  client.buffered = 2 ** 21
  sandbox.said('x')
  assert.equal(sandbox.listens, false)
  clock.advance(1_000)
  assert.equal(sandbox.listens, false)
  client.buffered = 0
  clock.advance(1_000)
  assert.equal(sandbox.listens, true)
})

test('a name that is missing, and code that does not load, are told as such', async () => {
  const { row, context } = world()
  await assert.rejects(async () => await row.admit(context('')), { code: 'bad_request' })
  const broken = world(() => Promise.reject(new LoadError('SyntaxError', Buffer.from('{"errorMessage":"Unexpected token"}'))))
  await assert.rejects(async () => await broken.row.admit(broken.context('function=f')), {
    code: 'not_inspectable',
    message: /"f" does not load: Unexpected token/,
  })
})

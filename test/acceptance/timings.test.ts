import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, SPARE, startMayfly } from './harness.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

interface Execution {
  readonly id: string
  readonly attempt: number
  readonly outcome: string | null
  readonly cold: string | null
  readonly durationMs: number
  readonly queueMs: number | null
  readonly waitMs: number
  readonly initMs: number
  readonly runMs: number
  readonly responseMs: number | null
}

const FUNCTIONS: Readonly<Record<string, object>> = {
  // Loading takes 300 ms, a call as long as it is told.
  plain: { timeout: 20, async: { maxAttempts: 2 } },
  // Its head after 150 ms, its last byte 400 ms later.
  streams: { timeout: 20 },
  breaks: { timeout: 20 },
}
const CODE: Readonly<Record<string, string>> = {
  plain: `
await new Promise((resolve) => setTimeout(resolve, 300))
let calls = 0
export const handler = async (event) => {
  await new Promise((resolve) => setTimeout(resolve, event.ms ?? 0))
  if (event.failOnce && calls++ === 0) throw new Error('not yet')
}`,
  streams: `
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
export default { fetch: async () => {
  await pause(150)
  return new Response(new ReadableStream({ async start(to) {
    to.enqueue(Buffer.from('first '))
    await pause(400)
    to.enqueue(Buffer.from('last'))
    to.close()
  } }))
} }`,
  breaks: `
await new Promise((resolve) => setTimeout(resolve, 200))
throw new Error('it does not load')`,
}

describe('where the time of an invocation went', () => {
  let folder = ''
  let node: RunningMayfly
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'), ['--empty', ...SPARE])
    for (const [name, more] of Object.entries(FUNCTIONS)) {
      mkdirSync(path.join(folder, name))
      writeFileSync(path.join(folder, name, 'index.mjs'), CODE[name] as string)
      writeFileSync(path.join(folder, name, 'mayfly.json'), JSON.stringify({ name, memory: 128, ...more }))
      const deployed = mayfly(['deploy', path.join(folder, name), '--data', node.data])
      assert.equal(deployed.code, 0, deployed.stderr)
    }
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })
  const listed = (name: string, ...args: string[]) =>
    (JSON.parse(mayfly(['invocations', name, '--json', '--data', node.data, ...args]).stdout) as { invocations: Execution[] }).invocations
  const invoke = (name: string, event: object, ...args: string[]) => mayfly(['invoke', name, '--data', JSON.stringify(event), '--data', node.data, ...args])

  it('says of a cold call why, and how long it loaded; of the next that it was warm', () => {
    for (const ms of [120, 0]) assert.equal(invoke('plain', { ms }).code, 0)
    const [warm, cold] = listed('plain') as [Execution, Execution]
    assert.equal(warm.cold, null)
    assert.deepEqual([warm.initMs, warm.queueMs, cold.queueMs], [0, null, null], 'nobody queued them')
    // Counted from when the node hears that it has loaded, which on a busy machine is after the call has begun.
    assert.ok(cold.runMs >= 60 && cold.runMs < 5_000, `run ${cold.runMs}`)
    assert.equal(cold.cold, 'first-call')
    assert.ok(cold.initMs >= 299 && cold.initMs < 10_000, `init ${cold.initMs}`)
    for (const one of [warm, cold]) {
      assert.ok(Math.abs(one.runMs + (one.responseMs ?? Number.NaN) - one.durationMs) < 0.001, 'run and response are the duration')
      assert.ok(one.waitMs >= 0 && one.waitMs < 20_000)
    }
  })
  it('parts the answer on its way from the run that made it', async () => {
    const reply = await fetch(`${node.ready.project.url}/functions/v1/streams`, { headers: { apikey: node.ready.project.publishableKey } })
    assert.equal(await reply.text(), 'first last')
    const [one] = listed('streams') as [Execution]
    assert.equal(one.outcome, 'ok')
    assert.ok(one.runMs >= 149 && one.runMs < 5_000, `run ${one.runMs}`)
    assert.ok(one.responseMs !== null && one.responseMs >= 250 && one.responseMs < 5_000, `response ${one.responseMs}`)
  })
  it('says how long an event was in the queue before each attempt', async () => {
    const queued = invoke('plain', { failOnce: true }, '--async', '--json')
    const { invocation } = JSON.parse(queued.stdout) as { invocation: string }
    const own = () => listed('plain').filter((one) => one.id === invocation && one.outcome !== null)
    for (let n = 0; n < 150 && own().length < 2; n++) await pause(100)
    const [second, first] = own() as [Execution, Execution]
    assert.deepEqual([first?.attempt, first?.outcome, second?.attempt, second?.outcome], [1, 'error', 2, 'ok'])
    assert.ok(first.queueMs !== null && first.queueMs >= 0 && first.queueMs < 5_000, `${first.queueMs}`)
    assert.ok(second.queueMs !== null && second.queueMs >= first.queueMs + first.durationMs, 'the attempt before is among it')
  })
  it('counts what did not load as loading alone', () => {
    assert.equal(invoke('breaks', {}).code, 6)
    const [one] = listed('breaks') as [Execution]
    assert.deepEqual([one.outcome, one.runMs, one.responseMs], ['error', 0, 0])
    assert.ok(one.cold !== null && one.initMs >= 199 && one.initMs < 10_000, `${one.cold} ${one.initMs}`)
  })
  it('shows it as a table, as many as asked for; what is not there is said', () => {
    const { stdout } = mayfly(['invocations', 'streams', '--data', node.data])
    assert.match(stdout, /^STARTED +OUTCOME +START +QUEUE +SANDBOX +INIT +RUN +RESPONSE +MEMORY +VERSION +INVOCATION$/m)
    assert.match(stdout, /^\d{4}-\S+Z +ok +(warm|cold: \S+) +[\d.]+ ms .*\d+\/128 MB +\$LATEST +\S{36}$/m)
    assert.match(mayfly(['invocations', 'plain', '--data', node.data]).stdout, / \(attempt 2\)$/m)
    assert.match(mayfly(['invocations', 'breaks', '--data', node.data]).stdout, /^\S+Z +error +cold: /m)
    assert.equal(listed('plain', '-n', '2').length, 2)
    assert.equal(mayfly(['invocations', 'absent', '--data', node.data]).code, 5)
    assert.deepEqual(
      ['0', 'x'].map((n) => mayfly(['invocations', 'plain', '-n', n, '--data', node.data]).code),
      [2, 2],
    )
  })
  it('shows the sandboxes: of each function, those that wait, their memory, and why others ended', async () => {
    const pool = () =>
      JSON.parse(mayfly(['sandboxes', '--json', '--data', node.data]).stdout) as {
        waiting: { runtime: string; wanted: number }[]
        memory: { usedMb: number; budgetMb: number }
        ended: Record<string, number>
        sandboxes: { project: string; functionName: string; version: string; calls: number; memoryMb: number; limitMb: number; state: string }[]
      }
    const before = pool()
    const plain = before.sandboxes.filter((one) => one.functionName === 'plain')
    assert.equal(
      plain.reduce((sum, one) => sum + one.calls, 0),
      4,
    )
    const [one] = plain
    assert.deepEqual([one?.project, one?.version, one?.limitMb], ['demo', '$LATEST', 128])
    assert.ok(one && one.memoryMb > 0 && one.memoryMb <= 128)
    assert.ok(before.memory.usedMb > 0 && before.memory.usedMb <= before.memory.budgetMb)
    assert.ok(before.waiting.some(({ runtime, wanted }) => runtime === 'nodejs24.x' && wanted > 0))
    const { stdout } = mayfly(['sandboxes', '--data', node.data])
    assert.match(stdout, /^FUNCTION +VERSION +RUNTIME +BY +STATE +FOR +CALLS +USED +CHARGED +LIMIT +SANDBOX$/m)
    assert.match(stdout, /^demo\/plain +\$LATEST +nodejs24\.x +\w+ +(ready|frozen|freezing) +\d+ s +\d+ +\d+ MB +\d+ MB +128 MB +s-\d+$/m)
    assert.match(stdout, /^waiting {2}nodejs24\.x: \d+ of \d+$/m)
    assert.match(stdout, /^ended {4}idle-drop: 0, memory: 0, pressure: 0, retired: \d+, used: 0, timeout: 0, lost: 0$/m)
    assert.equal(mayfly(['rm', 'streams', '--data', node.data]).code, 0)
    for (let n = 0; n < 50 && (pool().ended.retired ?? 0) === before.ended.retired; n++) await pause(100)
    assert.equal(pool().ended.retired, (before.ended.retired ?? 0) + 1)
  })
  it('adds it up in the metrics', async () => {
    const token = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    const page = await (await fetch(`${node.ready.url}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text()
    const of = (part: string, suffix: string) => Number(new RegExp(`^mayfly_invocation_part_seconds_${suffix}{part="${part}"} (.*)$`, 'm').exec(page)?.[1])
    assert.equal(of('queue', 'count'), 2)
    assert.equal(of('run', 'count'), 6)
    assert.ok(of('response', 'sum') >= 0.25, 'the stream')
    assert.match(page, /^mayfly_pool_size{runtime="nodejs24\.x"} [1-9]/m)
    assert.match(page, /^mayfly_function_sandboxes{project="demo",function="plain",state="(ready|frozen)"} [1-9]/m)
    for (const what of ['charged', 'used', 'limit'])
      assert.match(page, new RegExp(`^mayfly_function_sandboxes_memory_bytes{project="demo",function="plain",of="${what}"} [1-9]`, 'm'))
    assert.match(page, /^mayfly_sandboxes_ended_total{reason="retired"} [1-9]/m)
    assert.ok(of('init', 'count') >= 1 && of('init', 'sum') >= 0.199, 'what did not load')
  })
})

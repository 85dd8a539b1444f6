import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { InvokeCommand, type LambdaClient } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

/** What the calls of one sandbox tell each other; `meet` ends when so many are in it. */
const SHARED = `
const seen = []
let waiting = []
const pause = (ms) => new Promise((done) => setTimeout(done, ms))
const meet = (count) => new Promise((done) => { waiting.push(done); if (waiting.length >= count) { for (const go of waiting) go(); waiting = [] } })
export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url)
    const ask = (name) => searchParams.get(name)
    if (ask('seen')) return Response.json(seen)
    const left = new Promise((done) => request.signal.addEventListener('abort', () => done(seen.push(ask('hears')))))
    if (ask('hears')) seen.push('waits')
    if (ask('meet')) await meet(Number(ask('meet')))
    if (ask('dies')) process.exit(3)
    await Promise.race([left, pause(Number(ask('ms') ?? 0))])
    return Response.json({ pid: process.pid, started })
  },
}
const started = Math.random()
`
const EVENTS = `
const seen = []
export const handler = async (event) => {
  if (event.seen) return seen
  seen.push('began')
  await new Promise((done) => setTimeout(done, event.ms))
  seen.push('ended')
}
`

let folder = ''
let node: RunningMayfly
let aws: LambdaClient

before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'))
  aws = awsOf(node.ready)
  for (const [name, code, settings] of [
    ['shared', SHARED, { concurrency: 16, timeout: 20 }],
    ['events', EVENTS, { concurrency: 4, timeout: 20 }],
  ] as const) {
    const at = path.join(folder, name)
    mkdirSync(at)
    writeFileSync(path.join(at, 'index.mjs'), code)
    writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify({ name, ...settings }))
    const { code: status, stderr } = mayfly(['deploy', at, '--data', node.data])
    assert.equal(status, 0, stderr)
  }
})
after(async () => {
  aws?.destroy()
  await node?.stop()
  removeFolder(folder)
})

const { signal: never } = new AbortController()
const call = (query: string, signal = never) => {
  const { url, publishableKey } = node.ready.project
  return fetch(`${url}/functions/v1/shared?${query}`, { headers: { apikey: publishableKey }, signal })
}
const seen = async (): Promise<string[]> => (await (await call('seen=1')).json()) as string[]
const eventsSeen = async (): Promise<string[]> => {
  const { Payload } = await aws.send(new InvokeCommand({ FunctionName: 'events', Payload: '{"seen":true}' }))
  return JSON.parse(Buffer.from(Payload ?? []).toString()) as string[]
}
async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await isSo()) return
    await new Promise((done) => setTimeout(done, 50))
  }
  assert.fail('it did not come to be so')
}

describe('calls that share a sandbox', () => {
  it('a client that leaves is heard of by its own call alone; by the Lambda API the call runs on', async () => {
    await call('ms=0')
    const leaving = new AbortController()
    const left = call('hears=left&ms=15000', leaving.signal)
    const stays = call('hears=stays&ms=500')
    await until(async () => (await seen()).length === 2)
    leaving.abort()
    await assert.rejects(left)
    assert.equal((await stays).status, 200)
    await until(async () => (await seen()).includes('left'))
    assert.deepEqual(await seen(), ['waits', 'waits', 'left'])

    await aws.send(new InvokeCommand({ FunctionName: 'events', Payload: '{"ms":0}' }))
    const gone = new AbortController()
    const invoked = aws.send(new InvokeCommand({ FunctionName: 'events', Payload: '{"ms":500}' }), { abortSignal: gone.signal })
    await until(async () => (await eventsSeen()).length === 3)
    gone.abort()
    await assert.rejects(invoked)
    await until(async () => (await eventsSeen()).length === 4)
  })

  it('are billed for its time once, in equal parts', async () => {
    const before = await total()
    const both = await Promise.all([call('meet=2&ms=400'), call('meet=2&ms=400')])
    const [one, other] = (await Promise.all(both.map((response) => response.json()))) as [{ started: number }, { started: number }]
    assert.equal(one.started, other.started)
    await until(async () => (await total()).length === before.length + 2)
    const own = (await total()).slice(0, 2)
    const sum = (of: 'billedMs' | 'durationMs') => own.reduce((all, execution) => all + execution[of], 0)
    // From when they have met each has half of what passes; what passed before is the first one's alone.
    assert.ok(sum('billedMs') <= sum('durationMs') - 390, JSON.stringify(own))
    assert.ok(sum('billedMs') >= 390, JSON.stringify(own))
  })

  it('end together when it dies: each caller is told to send it again, and none pays', async () => {
    const before = await total()
    const three = await Promise.all([call('meet=3&ms=10000'), call('meet=3&ms=10000'), call('meet=3&dies=1')])
    for (const response of three) {
      assert.equal(response.status, 503)
      assert.equal(((await response.json()) as { code: string }).code, 'sandbox_lost')
    }
    assert.equal((await call('ms=0')).status, 200)
    await until(async () => (await total()).length === before.length + 4)
    assert.deepEqual(
      (await total()).slice(1, 4).map(({ outcome, billedMs }) => [outcome, billedMs]),
      Array.from({ length: 3 }, () => ['cut', 0]),
    )
  })
})

interface Execution {
  readonly outcome: string | null
  readonly billedMs: number
  readonly durationMs: number
}
/** Those of `shared` that are over, the newest first. */
async function total(): Promise<Execution[]> {
  const { url, secretKey, ref } = node.ready.project
  const response = await fetch(`${url}/api/v1/projects/${ref}/functions/shared/invocations?limit=500`, { headers: { apikey: secretKey } })
  const { invocations } = (await response.json()) as { invocations: Execution[] }
  return invocations.filter(({ outcome }) => outcome !== null)
}

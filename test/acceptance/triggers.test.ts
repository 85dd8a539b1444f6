import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { PutFunctionRecursionConfigCommand } from '@aws-sdk/client-lambda'
import { createClient } from '@supabase/supabase-js'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const until = async (what: () => boolean | Promise<boolean>, ms = 30_000) => {
  for (const end = Date.now() + ms; Date.now() < end; await pause(100)) if (await what()) return
  assert.fail('it did not come to that')
}
interface Letter {
  readonly id: string
  readonly function: string
  readonly reason: string
  readonly attempts: number
}

describe('objects that start functions', () => {
  let folder = ''
  let data = ''
  let node: RunningMayfly
  // Says where the node that runs is to die.
  let dies = ''
  const start = () => startMayfly(data, ['--empty', '--invoke-max-attempts', '2', '--invoke-queue-concurrency', '4'], { MAYFLY_TEST_CRASH_AT: dies })
  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    dies = path.join(folder, 'dies')
    node = await start()
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  const call = async (method: string, at: string, body?: object | Buffer) => {
    const response = await fetch(`${node.ready.url}/api/v1/projects/demo${at}`, {
      method,
      headers: { authorization: `Bearer ${node.ready.project.secretKey}` },
      ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    })
    const text = await response.text()
    assert.ok(response.ok, `${method} ${at}: ${response.status} ${text}`)
    return (text === '' ? {} : JSON.parse(text)) as Record<string, never>
  }
  const deploy = async (name: string, code: string, more: object = {}) => {
    const zip = await zipOf({ 'index.mjs': code })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await call('PUT', `/artefacts/${artefact}`, zip)
    await call('PUT', `/functions/${name}`, { artefact, ...more })
  }
  const watch = (name: string, ...triggers: object[]) => call('PUT', `/functions/${name}/triggers`, { triggers: triggers.map((object) => ({ object })) })
  const storage = () => createClient(node.ready.project.url, node.ready.project.secretKey).storage
  const bucket = async (name: string) => {
    const { error } = await storage().createBucket(name, { public: true })
    assert.equal(error, null)
  }
  const upload = async (where: string, key: string, what: string = key) => {
    const { error } = await storage().from(where).upload(key, Buffer.from(what), { contentType: 'text/plain', upsert: true })
    assert.equal(error, null)
  }
  const remove = async (where: string, key: string) => {
    const { error } = await storage().from(where).remove([key])
    assert.equal(error, null)
  }
  /** What the function said, in order, without what is put before it: time, invocation, level. */
  const said = async (name: string): Promise<string[]> => {
    const { lines } = (await call('GET', `/functions/${name}/logs?limit=5000`)) as unknown as { lines: { text: string; source: string }[] }
    return lines.filter(({ source }) => source === 'stdout').map(({ text }) => text.split('\t').slice(3).join('\t'))
  }
  const letters = async (name: string) => ((await call('GET', `/dead-letters?function=${name}`)) as unknown as { deadLetters: Letter[] }).deadLetters
  const queue = async () => (await call('GET', '/queue')) as unknown as { waiting: number; running: number; entries: { function: string; state: string }[] }
  const idle = () =>
    until(async () => {
      const { waiting, running } = await queue()
      return waiting + running === 0
    })

  const TELL = `export const handler = async ({ Records: [record] }) => {
    const { bucket, object } = record.s3
    const key = decodeURIComponent(object.key.replaceAll('+', ' '))
    console.log(JSON.stringify([record.eventSource, record.eventName, bucket.name, key, object.size ?? null, object.eTag ?? null, record.requestParameters.sourceIPAddress]))
  }`
  const heard = async (name: string) => (await said(name)).map((line) => JSON.parse(line) as unknown[])

  it('runs a function with the event of S3 for exactly the keys it asks for, once each', async () => {
    await bucket('in')
    await deploy('tell', TELL)
    await watch('tell', { bucket: 'in', events: ['created', 'removed'], suffix: ['.jpg'] })
    const right = ['a.jpg', 'B.JPG', '깊은/사진 1+2.jpg']
    for (const key of [...right, 'c.png', 'jpg', 'd.jpg.txt']) await upload('in', key)
    await until(async () => (await heard('tell')).length >= right.length)
    await remove('in', 'a.jpg')
    await remove('in', 'c.png')
    await until(async () => (await heard('tell')).length >= right.length + 1)
    await idle()
    const md5 = (text: string) => createHash('md5').update(text).digest('hex')
    assert.deepEqual(
      (await heard('tell')).map((one) => JSON.stringify(one)).toSorted(),
      [
        ...right.map((key) => ['aws:s3', 'ObjectCreated:Put', 'in', key, Buffer.byteLength(key), md5(key), '127.0.0.1']),
        ['aws:s3', 'ObjectRemoved:Delete', 'in', 'a.jpg', null, null, '127.0.0.1'],
      ]
        .map((one) => JSON.stringify(one))
        .toSorted(),
    )
    assert.deepEqual(await letters('tell'), [])
  })
  it('stops when its triggers go', async () => {
    await watch('tell')
    const before = (await heard('tell')).length
    await upload('in', 'late.jpg')
    await pause(1_500)
    assert.equal((await heard('tell')).length, before)
  })
  it('ends a function that writes into its own bucket with a dead letter that says recursion', async () => {
    await bucket('loop')
    await deploy(
      'loop',
      `export const handler = async () => {
        console.log('round')
        const key = String(Math.random())
        const to = process.env.MAYFLY_URL + '/storage/v1/object/loop/' + key
        const reply = await fetch(to, { method: 'POST', headers: { authorization: 'Bearer ' + process.env.MAYFLY_KEY, 'content-type': 'text/plain' }, body: 'x' })
        if (!reply.ok) throw new Error(await reply.text())
      }`,
    )
    await watch('loop', { bucket: 'loop' })
    await upload('loop', 'first')
    await until(async () => (await letters('loop')).length > 0)
    await idle()
    assert.deepEqual(
      (await letters('loop')).map(({ reason, attempts }) => [reason, attempts]),
      [['recursion', 0]],
    )
    assert.equal((await said('loop')).length, 16)
  })
  it('lets a function go round that says it may', async () => {
    await bucket('rounds')
    await deploy(
      'rounds',
      `export const handler = async (event) => {
        const round = Number(event.Records[0].s3.object.key) + 1
        console.log('round ' + round)
        if (round === 20) return
        const to = process.env.MAYFLY_URL + '/storage/v1/object/rounds/' + round
        const reply = await fetch(to, { method: 'POST', headers: { authorization: 'Bearer ' + process.env.MAYFLY_KEY, 'content-type': 'text/plain' }, body: 'x' })
        if (!reply.ok) throw new Error(await reply.text())
      }`,
    )
    const aws = awsOf(node.ready)
    await aws.send(new PutFunctionRecursionConfigCommand({ FunctionName: 'rounds', RecursiveLoop: 'Allow' }))
    aws.destroy()
    await watch('rounds', { bucket: 'rounds' })
    await upload('rounds', '0')
    await until(async () => (await said('rounds')).some((text) => text.includes('round 20')))
    assert.deepEqual(await letters('rounds'), [])
  })
  it('lets a run end on its version when the function is deployed anew, and begins the next on the new one', async () => {
    await bucket('versions')
    const code = (version: string) => `export const handler = async () => {
      console.log('begin ${version}')
      await new Promise((resolve) => setTimeout(resolve, 1_500))
      console.log('end ${version}')
    }`
    await deploy('versions', code('one'))
    await watch('versions', { bucket: 'versions' })
    await upload('versions', 'a')
    await until(async () => (await queue()).entries.some((entry) => entry.function === 'versions' && entry.state === 'running'))
    await pause(500)
    await deploy('versions', code('two'))
    await upload('versions', 'b')
    await idle()
    await until(async () => (await said('versions')).length >= 4)
    assert.deepEqual((await said('versions')).toSorted(), ['begin one', 'begin two', 'end one', 'end two'])
  })
  it('tells a function of an object that is gone by the time it runs: its 404 is its own', async () => {
    await bucket('gone')
    await deploy(
      'gone',
      `let first = true
      export const handler = async ({ Records: [{ s3 }] }) => {
        await new Promise((resolve) => setTimeout(resolve, 1_000))
        const reply = await fetch(process.env.MAYFLY_URL + '/storage/v1/object/gone/' + s3.object.key, { headers: { authorization: 'Bearer ' + process.env.MAYFLY_KEY } })
        console.log(s3.object.key, reply.ok ? 'there' : 'gone')
      }`,
    )
    await watch('gone', { bucket: 'gone' })
    await upload('gone', 'stays')
    await upload('gone', 'goes')
    await remove('gone', 'goes')
    await idle()
    await until(async () => (await said('gone')).length >= 2)
    assert.deepEqual((await said('gone')).toSorted(), ['goes gone', 'stays there'])
    assert.deepEqual(await letters('gone'), [])
  })
  it('tries as often as the function says, and shows, replays and removes what was given up', async () => {
    await bucket('fails')
    await deploy('fails', "export const handler = async () => { throw new RangeError('not today') }", { async: { maxAttempts: 1 } })
    await watch('fails', { bucket: 'fails' })
    await upload('fails', 'a')
    await until(async () => (await letters('fails')).length === 1)
    const [letter] = await letters('fails')
    assert.deepEqual([letter?.reason, letter?.attempts], ['attempts', 1])
    const { payload, encoding } = (await call('GET', `/dead-letters/${letter?.id}`)) as unknown as { payload: string; encoding: string }
    assert.equal(encoding, 'text')
    assert.equal((JSON.parse(payload) as { Records: { s3: { object: { key: string } } }[] }).Records[0]?.s3.object.key, 'a')

    await deploy('fails', TELL, { async: { maxAttempts: 1 } })
    const replayed = mayfly(['dlq', 'replay', String(letter?.id), '--data', data, '--json'])
    assert.equal(replayed.code, 0, replayed.stderr)
    await until(async () => (await heard('fails')).length === 1)
    assert.deepEqual(await letters('fails'), [])
    assert.equal(mayfly(['dlq', 'replay', String(letter?.id), '--data', data]).code, 5, 'it is gone')

    await deploy('fails', "export const handler = async () => { throw new RangeError('never') }", { async: { maxAttempts: 1 } })
    await upload('fails', 'b')
    await until(async () => (await letters('fails')).length === 1)
    const removed = mayfly(['dlq', 'rm', String((await letters('fails'))[0]?.id), '--data', data])
    assert.equal(removed.code, 0, removed.stderr)
    assert.deepEqual(await letters('fails'), [])
    assert.equal(mayfly(['dlq', 'rm', '--data', data]).code, 2)
  })
  it('buries what waits for a function that is deleted', async () => {
    await bucket('deleted')
    // What failed waits to be tried again, on a slow machine as on a quick one.
    await deploy('deleted', "export const handler = async () => { throw new RangeError('not yet') }", { async: { maxAttempts: 100 } })
    await watch('deleted', { bucket: 'deleted' })
    for (let n = 0; n < 3; n++) await upload('deleted', String(n))
    await call('DELETE', '/functions/deleted')
    await idle()
    assert.ok((await letters('deleted')).length > 0)
    for (const { reason } of await letters('deleted')) assert.equal(reason, 'function_gone')
  })

  for (const point of ['afterRelay', 'afterLease', 'duringRun', 'afterRunBeforeSettle']) {
    it(`loses no event when the node dies at ${point}`, async () => {
      if (point === 'afterRelay') {
        await bucket('deaths')
        await deploy('deaths', TELL)
        await watch('deaths', { bucket: 'deaths' })
      }
      const before = (await heard('deaths')).length
      writeFileSync(dies, point)
      const pid = node.pid()
      const exit = once(node.child, 'exit')
      // The node may die before it has answered, but not before it has committed: the relay reads nothing else.
      await upload('deaths', point).catch(() => {})
      await exit
      assert.equal(existsSync(`/proc/${pid}`), false, 'it really died')
      rmSync(dies)
      node = await start()
      await idle()
      await until(async () => (await heard('deaths')).length > before)
      await idle()
      const mine = (await heard('deaths')).filter(([, , , key]) => key === point)
      // What had begun when the node died runs again; what had not, runs once.
      if (point === 'afterRelay' || point === 'afterLease') assert.equal(mine.length, 1)
      else assert.ok(mine.length >= 1 && mine.length <= 2, `${mine.length} runs`)
      assert.deepEqual(await letters('deaths'), [])
    })
  }
})

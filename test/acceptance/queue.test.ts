import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { CreateFunctionCommand, InvokeCommand, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const until = async (what: () => boolean | Promise<boolean>, ms = 30_000) => {
  for (const end = Date.now() + ms; Date.now() < end; await pause(100)) if (await what()) return
  assert.fail('it did not come to that')
}

describe('invocations that nobody waits for', () => {
  let folder = ''
  let data = ''
  let node: RunningMayfly
  const start = () => startMayfly(data, ['--empty', '--invoke-max-attempts', '2'])
  const create = async (name: string, code: string) => {
    const aws = awsOf(node.ready)
    const Code = { ZipFile: await zipOf({ 'index.mjs': code }) }
    await aws.send(new CreateFunctionCommand({ FunctionName: name, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Timeout: 10, Code }))
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: name })
    aws.destroy()
  }
  const send = async (name: string, event: unknown) => {
    const aws = awsOf(node.ready)
    const reply = await aws.send(new InvokeCommand({ FunctionName: name, InvocationType: 'Event', Payload: Buffer.from(JSON.stringify(event)) }))
    aws.destroy()
    return reply
  }
  const logOf = (name: string): string[] =>
    mayfly(['logs', name, '-n', '5000', '--json', '--data', data])
      .stdout.trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { text: string }).text)
  const ran = (name: string) => new Set(logOf(name).flatMap((text) => /ran (\d+)/.exec(text)?.[1] ?? []))
  const deadLetters = (...args: string[]) =>
    (
      JSON.parse(mayfly(['dlq', 'ls', ...args, '--json', '--data', data]).stdout) as {
        deadLetters: { id: string; function: string; reason: string; attempts: number; errorType: string }[]
      }
    ).deadLetters
  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    node = await start()
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  it('answers Event with 202 and nothing else, then runs it; so does the command line', async () => {
    await create('quiet', "export const handler = async (event, context) => { console.log('ran', event.n, context.awsRequestId) }")
    const reply = await send('quiet', { n: 1 })
    assert.equal(reply.StatusCode, 202)
    assert.equal(reply.Payload?.length ?? 0, 0)
    const queued = mayfly(['invoke', 'quiet', '--async', '--data', '{"n":2}', '--data', data, '--json'])
    assert.equal(queued.code, 0, queued.stderr)
    const { invocation } = JSON.parse(queued.stdout) as { invocation: string }
    await until(() => ran('quiet').size === 2)
    assert.ok(
      logOf('quiet').some((text) => text.includes(`ran 2 ${invocation}`)),
      'the id that was given is the one it ran under',
    )
    await assert.rejects(send('absent', {}), { name: 'ResourceNotFoundException' })
  })
  it('tries again what fails, and lists it with its reason when it is given up', async () => {
    await create('broken', "export const handler = async () => { throw new TypeError('not today') }")
    await send('broken', {})
    await until(() => deadLetters('broken').length === 1)
    const [letter] = deadLetters('broken')
    assert.deepEqual([letter?.function, letter?.reason, letter?.attempts, letter?.errorType], ['broken', 'attempts', 2, 'TypeError'])
    assert.equal(logOf('broken').filter((text) => text === `START RequestId: ${letter?.id} Version: $LATEST`).length, 2)
    assert.match(mayfly(['dlq', 'ls', '--data', data]).stdout, /broken +attempts +2 +TypeError: not today +[0-9a-f-]{36}/)
    assert.match(mayfly(['dlq', 'ls', 'quiet', '--data', data]).stdout, /No invocation was given up/)
    assert.equal(mayfly(['dlq', 'drop', '--data', data]).code, 2)
  })
  it('loses nothing over kill -9 at random moments, and spends no attempt on them', async () => {
    await create('slow', "export const handler = async (event) => { await new Promise((r) => setTimeout(r, 100)); console.log('ran', event.n) }")
    const acknowledged = new Set<string>()
    let n = 0
    for (let life = 0; life < 3; life++) {
      const sending = (async () => {
        for (let i = 0; i < 40; i++) {
          const mine = String(n++)
          await send('slow', { n: mine })
          acknowledged.add(mine)
        }
      })().catch(() => {}) // the node dies under some: they were not acknowledged
      const before = acknowledged.size
      await until(() => acknowledged.size >= before + 7)
      await pause(Math.random() * 600)
      await node.kill()
      await sending
      node = await start()
    }
    await until(() => {
      const seen = ran('slow')
      return [...acknowledged].every((one) => seen.has(one))
    }, 60_000)
    assert.deepEqual(deadLetters('slow'), [])
    const { usage } = JSON.parse(mayfly(['usage', '--json', '--data', data]).stdout) as {
      usage: { functionName: string; executions: number; errors: number }[]
    }
    const slow = usage.filter((one) => one.functionName === 'slow')
    assert.ok(slow.reduce((sum, one) => sum + one.executions, 0) >= acknowledged.size, 'each run is metered')
    assert.equal(
      slow.reduce((sum, one) => sum + one.errors, 0),
      0,
      'a run that was cut is no error of the function',
    )
  })
})

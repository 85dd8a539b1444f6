import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { InvokeCommand } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const asRoot = process.getuid?.() === 0

describe('a node whose disk runs full', { skip: asRoot ? false : 'a small file system is mounted by root' }, () => {
  let folder = ''
  let data = ''
  let node: RunningMayfly
  const filler = () => path.join(data, 'filler')
  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    mkdirSync(data)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=900m,mode=711', 'small', data])
    mkdirSync(path.join(folder, 'hello'))
    writeFileSync(path.join(folder, 'hello', 'index.ts'), 'export const handler = async () => ({ hello: 1 })\n')
    node = await startMayfly(data)
  })
  after(async () => {
    await node?.stop()
    execFileSync('umount', ['-l', data])
    removeFolder(folder)
  })

  const freeMb = () => {
    const { bavail, bsize } = statfsSync(data)
    return (bavail * bsize) / 1024 / 1024
  }
  /** Leaves so many MiB, and waits until the node has seen it. */
  const leave = async (mb: number, state: string) => {
    rmSync(filler(), { force: true })
    if (mb < freeMb()) execFileSync('fallocate', ['--length', String(Math.floor(freeMb() - mb) * 1024 * 1024), filler()])
    for (let tried = 0; tried < 50; tried++) {
      if (((await health()).disk as { state: string }).state === state) return
      await delay(100)
    }
    assert.fail(`the node does not see that its disk is ${state}`)
  }
  const health = async () => (await (await fetch(`${node.ready.url}/health`)).json()) as Record<string, unknown>
  const call = async () => {
    const response = await fetch(`${node.ready.project.url}/functions/v1/hello`, { headers: { apikey: node.ready.project.publishableKey } })
    return { status: response.status, text: await response.text() }
  }
  const deploy = (name: string) => mayfly(['deploy', path.join(folder, 'hello'), '--name', name, '--data', data])

  const store = async (method: string, at: string, body?: string | Uint8Array) => {
    const headers = { apikey: node.ready.project.secretKey }
    const response = await fetch(`${node.ready.project.url}/storage/v1${at}`, { method, headers, ...(body === undefined ? {} : { body: body as string }) })
    const text = await response.text()
    return { status: response.status, text, code: text.startsWith('{') ? (JSON.parse(text) as { code?: string }).code : undefined }
  }
  const blobs = () => readdirSync(path.join(data, 'blobs'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length

  it('keeps a tenth of a small file system free, and a ballast in it', async () => {
    assert.deepEqual(deploy('hello').code, 0)
    assert.deepEqual(await call(), { status: 200, text: '{"hello":1}' })
    const disk = (await health()).disk as { state: string; reserveMb: number }
    assert.deepEqual([disk.state, disk.reserveMb], ['ok', 90])
    assert.equal(existsSync(path.join(data, 'ballast')), true)
    assert.equal((await store('POST', '/bucket', '{"id":"box"}')).status, 200)
    assert.equal((await store('POST', '/object/box/first', 'kept')).status, 200)
  })
  it('keeps nothing of an upload that finds the disk full', async () => {
    await leave(100, 'ok')
    const before = blobs()
    const large = Buffer.alloc(50 * 1024 * 1024, 1)
    const replies = await Promise.all([1, 2, 3].map((n) => store('POST', `/object/box/large-${n}`, large)))
    const refused = replies.filter(({ status }) => status !== 200)
    assert.ok(refused.length > 0)
    for (const { status, code } of refused) assert.deepEqual([status, code], [507, 'storage_full'])
    assert.equal(blobs(), before + 3 - refused.length)
    for (const n of [1, 2, 3]) await store('DELETE', `/object/box/large-${n}`)
    assert.equal((await store('GET', '/object/box/first')).text, 'kept')
    await leave(200, 'ok')
  })
  it('refuses a deploy below the reserve with its numbers, and runs what is there', async () => {
    await leave(70, 'low')
    const refused = deploy('second')
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /has \d\d MiB free; below 90 MiB nothing new is kept/)
    const queued = mayfly(['invoke', 'hello', '--async', '--data', data])
    assert.equal(queued.code, 1)
    assert.match(queued.stderr, /below 90 MiB nothing new is kept/)
    const upload = await store('POST', '/object/box/second', 'x')
    assert.deepEqual([upload.status, upload.code], [507, 'storage_full'])
    assert.equal((await call()).status, 200)
  })
  it('runs nothing below half of it, but reads and deletes', async () => {
    await leave(30, 'full')
    // Another process of the node hears of it a moment later.
    let refused = await call()
    for (let tried = 0; tried < 100 && refused.status !== 507; tried++) {
      await delay(100)
      refused = await call()
    }
    assert.equal(refused.status, 507)
    const { code, message, hint } = JSON.parse(refused.text) as Record<string, string>
    assert.equal(code, 'storage_full')
    assert.match(`${message} ${hint}`, /has \d\d MiB free; below 45 MiB nothing runs Free space/)
    const byLambda = awsOf(node.ready).send(new InvokeCommand({ FunctionName: 'hello' }))
    await assert.rejects(byLambda, (error: Error & { $metadata?: { httpStatusCode?: number } }) => {
      assert.deepEqual([error.name, error.$metadata?.httpStatusCode], ['ServiceException', 500])
      return /nothing runs/.test(error.message)
    })
    assert.match(mayfly(['ls', '--data', data]).stdout, /hello/)
    assert.match(node.stderr(), /"disk":"full".*a file system is full/)
    const report = mayfly(['doctor', '--json', '--data', data])
    assert.equal((JSON.parse(report.stdout) as { disk: { state: string } }).disk.state, 'full')
    assert.equal((await store('GET', '/object/box/first')).text, 'kept')
    assert.equal((await store('DELETE', '/object/box/first')).status, 200)
    assert.equal(mayfly(['rm', 'hello', '--data', data]).code, 0)
    await leave(200, 'ok')
    assert.equal(deploy('hello').code, 0)
  })
  it('starts on a disk without a byte left by its ballast, and makes it again when there is space', async () => {
    await node.kill()
    rmSync(filler(), { force: true })
    execFileSync('sh', ['-c', 'cat /dev/zero > "$1" 2>/dev/null; true', 'sh', filler()])
    assert.ok(freeMb() < 1)
    node = await startMayfly(data)
    assert.equal(existsSync(path.join(data, 'ballast')), false)
    assert.equal(deploy('second').code, 1)
    assert.equal(mayfly(['rm', 'hello', '--data', data]).code, 0)
    await leave(300, 'ok')
    // Seen first, made then.
    for (let tried = 0; tried < 50 && !existsSync(path.join(data, 'ballast')); tried++) await delay(100)
    assert.equal(existsSync(path.join(data, 'ballast')), true)
  })
})

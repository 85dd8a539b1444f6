import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const skip = process.getuid?.() === 0 ? false : 'a small file system is mounted by root'

describe('a disk that is suddenly full', { skip }, () => {
  let folder = ''
  let data = ''
  let node: RunningMayfly
  const filler = () => path.join(folder, 'small', 'filler')
  const fill = () => execFileSync('sh', ['-c', 'cat /dev/zero >> "$1" 2>/dev/null; true', 'sh', filler()])
  before(() => {
    folder = makeFolder()
    mkdirSync(path.join(folder, 'small'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=900m,mode=711', 'small', path.join(folder, 'small')])
    data = path.join(folder, 'small', 'data')
    mkdirSync(path.join(folder, 'hello'))
    writeFileSync(path.join(folder, 'hello', 'index.ts'), 'export const handler = async () => (console.log("x".repeat(500)), "hello")')
  })
  after(async () => {
    rmSync(filler(), { force: true })
    await node?.stop()
    execFileSync('umount', ['-l', path.join(folder, 'small')])
    removeFolder(folder)
  })

  it('is told before anything is made, in one sentence', () => {
    fill()
    const { code, stderr } = mayfly(['up', '--port', '0', '--empty', '--data', data])
    assert.equal(code, 1)
    assert.match(stderr, /^The (disk of the )?data directory .* (full disk|MiB free)/)
    assert.doesNotMatch(stderr, /\n\s+at /)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
    rmSync(filler())
  })

  // The node's log lies on that disk too.
  it('is met while calls run: they are answered or refused by name, and each that was answered counts once', async () => {
    node = await startMayfly(data)
    const { ready } = node
    assert.equal(mayfly(['deploy', path.join(folder, 'hello'), '--data', data]).code, 0)
    const answers = new Map<string, number>()
    let stop = false
    const call = async () => {
      const response = await fetch(`${ready.url}/functions/v1/hello`, { method: 'POST', headers: { apikey: ready.project.publishableKey }, body: '{}' })
      const text = await response.text()
      return response.status === 200 ? `200 ${text}` : `${response.status} ${(JSON.parse(text) as { code: string }).code}`
    }
    const caller = async () => {
      while (!stop) {
        const answer = await call()
        answers.set(answer, (answers.get(answer) ?? 0) + 1)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    const callers = Promise.all([caller(), caller()])
    const passes = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
    await passes(500)
    for (let tried = 0; tried < 12; tried++) {
      fill()
      await passes(200)
    }
    // Other code, so that it has to be sent.
    writeFileSync(path.join(folder, 'hello', 'other.ts'), `export const text = ${JSON.stringify('y'.repeat(100_000))}`)
    writeFileSync(path.join(folder, 'hello', 'index.ts'), "import { text } from './other.ts'\nexport const handler = async () => text.length")
    const deploy = mayfly(['deploy', path.join(folder, 'hello'), '--name', 'other', '--data', data])
    assert.equal(deploy.code, 1)
    assert.match(deploy.stderr, /storage_full|database_unavailable/)
    assert.equal((await fetch(`${ready.url}/health`)).status, 200)
    rmSync(filler())
    const from = performance.now()
    while ((await call().then((answer) => (answers.set(answer, (answers.get(answer) ?? 0) + 1), answer))) !== '200 hello')
      assert.ok(performance.now() - from < 20_000, `it does not come back: ${[...answers.keys()].join()}`)
    stop = true
    await callers
    const known = new Set(['200 hello', '507 storage_full', '503 storage_full', '503 database_unavailable'])
    assert.deepEqual(
      [...answers.keys()].filter((answer) => !known.has(answer)),
      [],
      node.stderr().slice(-3000),
    )
    const acknowledged = answers.get('200 hello') ?? 0
    const counted = () =>
      (JSON.parse(mayfly(['usage', '--json', '--data', data]).stdout) as { usage: { executions: number }[] }).usage.reduce(
        (sum, row) => sum + row.executions,
        0,
      )
    while (counted() < acknowledged) assert.ok(performance.now() - from < 30_000, `${counted()} of ${acknowledged} executions are counted`)
    await passes(1_500)
    assert.equal(counted(), acknowledged, [...answers].join())
    const again = mayfly(['deploy', path.join(folder, 'hello'), '--name', 'other', '--data', data])
    assert.equal(again.code, 0, again.stderr)
    assert.equal(await node.stop(), 0)
    node = await startMayfly(data, [])
    assert.equal(counted(), acknowledged, 'after a restart too')
  })
})

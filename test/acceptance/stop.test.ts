import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, processes, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

let folder = ''
before(() => {
  folder = makeFolder()
  const slow = path.join(folder, 'slow')
  mkdirSync(slow)
  writeFileSync(path.join(slow, 'index.ts'), 'export const handler = async () => (await new Promise((done) => setTimeout(done, 1500)), "whole")')
})
after(() => removeFolder(folder))

/** Stopped by a signal to all of the group while a call runs: the call ends whole, and nothing is left. */
async function stopsCleanly(node: RunningMayfly, signal: NodeJS.Signals, times: 1 | 2 = 1): Promise<number | null> {
  const { ready, data } = node
  assert.equal(mayfly(['deploy', path.join(folder, 'slow'), '--data', data]).code, 0)
  const answer = fetch(`${ready.url}/functions/v1/slow`, { method: 'POST', headers: { apikey: ready.project.secretKey }, body: '{}' })
  await new Promise((resolve) => setTimeout(resolve, 500))
  const group = node.child.pid as number
  const ended = once(node.child, 'exit')
  process.kill(-group, signal)
  if (times === 2) {
    // While the call still runs: the node waits for it.
    await new Promise((resolve) => setTimeout(resolve, 200))
    process.kill(-group, signal)
  }
  assert.equal(await (await answer).text(), 'whole', 'a call that runs is let end')
  const [code] = (await ended) as [number | null]
  assert.equal(/.*("level":50|\n\s+at ).*/.exec(node.stderr())?.[0] ?? '', '', 'no fault and no stack')
  assert.deepEqual(
    processes().filter((one) => one.args.includes(data)),
    [],
    'nothing is left running',
  )
  assert.equal(existsSync(path.join(data, 'run.json')), false)
  return code
}

describe('a signal to the whole process group', () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`${signal} to launcher and node both ends them cleanly, with exit code 0`, async () => {
      const node = await startMayfly(path.join(folder, 'data'), ['--empty'], {}, { ownGroup: true })
      assert.equal(await stopsCleanly(node, signal), 0)
    })
  }
  it('`npm start -- …` passes its options on, and Ctrl-C, even twice, ends npm and all below it', async () => {
    const node = await startMayfly(path.join(folder, 'data'), [], {}, { command: ['npm', 'start', '--silent', '--'], ownGroup: true })
    assert.equal(node.stdout(), `${JSON.stringify(node.ready)}\n`)
    await stopsCleanly(node, 'SIGINT', 2)
  })
  it('cuts calls that do not end within --drain-ms (drainTime), and ends', async () => {
    const source = path.join(folder, 'endless')
    mkdirSync(source)
    writeFileSync(path.join(source, 'index.ts'), 'export const handler = () => new Promise(() => { setInterval(() => {}, 1000) })')
    const node = await startMayfly(path.join(folder, 'data'), ['--empty', '--drain-ms', '500'])
    assert.equal(mayfly(['deploy', source, '--data', node.data]).code, 0)
    const called = fetch(`${node.ready.url}/functions/v1/endless`, { headers: { apikey: node.ready.project.secretKey } }).then(
      async (reply) => [reply.status, ((await reply.json()) as { code: string }).code],
      () => 'cut',
    )
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    const from = performance.now()
    assert.equal(await node.stop(), 0)
    const tookMs = performance.now() - from
    assert.ok(tookMs > 500 && tookMs < 8_000, `${tookMs} ms`)
    const told = await called
    assert.ok(told === 'cut' || JSON.stringify(told) === '[503,"shutting_down"]', JSON.stringify(told))
  })
})

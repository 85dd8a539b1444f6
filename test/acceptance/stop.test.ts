import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, processes, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

/** Its head tells that it runs; the rest comes later. */
const SLOW = `export default { fetch: () => new Response(new ReadableStream({ start: (to) => {
  to.enqueue(new TextEncoder().encode('who'))
  setTimeout(() => { to.enqueue(new TextEncoder().encode('le')); to.close() }, 1500)
} })) }`
const NAP = `create or replace function nap() returns text language sql as $$ select 'rested' from pg_sleep(2) $$`
/** One call answers with a head and no more, any other with nothing. */
const ENDLESS = `export default { fetch: (request) => {
  setInterval(() => {}, 1000)
  if (!request.url.endsWith('/head')) return new Promise(() => {})
  return new Response(new ReadableStream({ start: (to) => to.enqueue(new TextEncoder().encode('x')) }))
} }`

let folder = ''
before(() => {
  folder = makeFolder()
  const slow = path.join(folder, 'slow')
  mkdirSync(slow)
  writeFileSync(path.join(slow, 'index.ts'), SLOW)
})
after(() => removeFolder(folder))

/** Stopped by a signal to all of the group while a call runs: the call ends whole, and nothing is left. */
async function stopsCleanly(node: RunningMayfly, signal: NodeJS.Signals, times: 1 | 2 = 1): Promise<number | null> {
  const { ready, data } = node
  assert.equal(mayfly(['deploy', path.join(folder, 'slow'), '--data', data]).code, 0)
  const headers = { apikey: ready.project.secretKey }
  assert.equal(mayfly(['db', 'psql', '--data', data, '-c', NAP]).code, 0)
  // It runs in PostgreSQL, which must not hear what the terminal says to all.
  const rows = fetch(`${ready.url}/rest/v1/rpc/nap`, { headers }).then((reply) => reply.text())
  const answer = await fetch(`${ready.url}/functions/v1/slow`, { method: 'POST', headers, body: '{}' })
  const group = node.child.pid as number
  const ended = once(node.child, 'exit')
  process.kill(-group, signal)
  if (times === 2) {
    // While the call still runs: the node waits for it.
    await new Promise((resolve) => setTimeout(resolve, 200))
    process.kill(-group, signal)
  }
  assert.equal(await answer.text(), 'whole', 'a call that runs is let end')
  assert.equal(await rows, '"rested"', 'and so is a statement')
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
  it('SIGTERM to npm alone, as from what keeps services running, ends the node too', async () => {
    const data = path.join(folder, 'data')
    const node = await startMayfly(data, ['--empty'], {}, { command: ['npm', 'start', '--silent', '--'], ownGroup: true, asText: true })
    const pid = node.pid()
    // It keeps what it is told, and shows it to more than the operator.
    const { project, accessKey } = node.ready
    for (const secret of [project.secretKey, accessKey.secret, '#code=']) assert.ok(!`${node.stdout()}${node.stderr()}`.includes(secret), secret)
    for (const shown of [project.publishableKey, accessKey.id, node.ready.console, 'npx mayfly status']) assert.ok(node.stdout().includes(shown), shown)
    await node.stop()
    for (const end = Date.now() + 30_000; existsSync(`/proc/${pid}`) && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(existsSync(path.join(data, 'run.json')), false, 'the node took its leave')
    assert.deepEqual(
      processes().filter((one) => one.args.includes(data)),
      [],
      'nothing is left running',
    )
  })
  it('cuts calls that do not end within --drain-ms (drainTime), and ends', async () => {
    const source = path.join(folder, 'endless')
    mkdirSync(source)
    writeFileSync(path.join(source, 'index.ts'), ENDLESS)
    const node = await startMayfly(path.join(folder, 'data'), ['--empty', '--drain-ms', '500'])
    assert.equal(mayfly(['deploy', source, '--data', node.data]).code, 0)
    const call = (at: string) => fetch(`${node.ready.url}/functions/v1/endless/${at}`, { headers: { apikey: node.ready.project.secretKey } })
    const called = call('nothing').then(
      async (reply) => [reply.status, ((await reply.json()) as { code: string }).code],
      () => 'cut',
    )
    const begun = await call('head')
    const broken = begun.text().then(
      () => 'whole',
      () => 'cut',
    )
    const from = performance.now()
    assert.equal(await node.stop(), 0)
    const tookMs = performance.now() - from
    assert.ok(tookMs > 500 && tookMs < 8_000, `${tookMs} ms`)
    assert.equal(await broken, 'cut')
    const told = await called
    assert.ok(told === 'cut' || JSON.stringify(told) === '[503,"shutting_down"]', JSON.stringify(told))
  })
})

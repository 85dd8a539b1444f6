import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { makeFolder, mayfly, type Ready, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'
import { PASSWORD, type ServerOfOthers, startServerOfOthers } from './postgres-server.ts'

let folder = ''
let server: ServerOfOthers
let environment: Record<string, string>
let data = ''
let first: Ready
let executions = 0

before(async () => {
  folder = makeFolder()
  data = path.join(folder, 'data')
  server = await startServerOfOthers(folder)
  await server.make('shop')
  environment = { MAYFLY_DATABASE_URL: server.url('shop') }
})
after(async () => {
  await server?.stop()
  removeFolder(folder)
})

const call = async (ready: Ready, key = ready.project.publishableKey) => {
  const response = await fetch(`${ready.url}/functions/v1/hello`, { method: 'POST', headers: { apikey: key }, body: '{}' })
  const answer = { status: response.status, text: await response.text() }
  if (response.status === 200) executions++
  return answer
}
const countsOnce = async () => {
  const counted = () => {
    const { usage } = JSON.parse(mayfly(['usage', '--json', '--data', data]).stdout) as { usage: { executions: number }[] }
    return usage.reduce((sum, row) => sum + row.executions, 0)
  }
  assert.equal(await until(counted, (count) => count >= executions), executions, 'every execution counts once')
}
/** What `ask` says once it is `good`, or last of all. */
async function until<T>(ask: () => T | Promise<T>, good: (value: T) => boolean, ms = 10_000): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    const value = await ask()
    if (good(value) || performance.now() > deadline) return value
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
const saysNoPassword = (text: string) => {
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), 'hush']) assert.ok(!text.includes(secret), `a password in: ${text}`)
}
const refuses = (args: readonly string[], more: Record<string, string>, words: RegExp) => {
  const { code, stdout, stderr } = mayfly(['up', '--port', '0', '--empty', ...args], more)
  assert.match(stderr, words)
  assert.equal(stderr.trim().split('\n').length, 1, `one sentence: ${stderr}`)
  assert.equal(code, 1)
  saysNoPassword(stdout + stderr)
}

describe('a node on an external PostgreSQL', () => {
  let node: RunningMayfly

  it('starts with nothing inside, takes a function and runs it', async () => {
    node = await startMayfly(data, ['--empty', ...NO_SPARE], environment)
    first = node.ready
    const hello = path.join(folder, 'hello')
    mkdirSync(hello)
    writeFileSync(path.join(hello, 'index.ts'), 'export const handler = async () => "hello"')
    assert.equal(mayfly(['deploy', hello, '--data', data]).code, 0)
    assert.deepEqual(await call(first), { status: 200, text: 'hello' })
    const health = (await (await fetch(`${first.url}/health`)).json()) as { database: string }
    assert.match(health.database, /^external 18\./)
    assert.deepEqual(
      (await server.sql("select datname from pg_database where datname like 'shop%' order by 1")).map((row) => row.datname),
      ['shop', 'shop_p_demo'],
    )
  })

  it('keeps objects, by policies of its own role that is no superuser', async () => {
    const { url, secretKey, publishableKey } = first.project
    const at = (key: string) => ({ service: createClient(url, secretKey).storage.from(key), anon: createClient(url, publishableKey).storage.from(key) })
    assert.equal((await createClient(url, secretKey).storage.createBucket('box', { public: true })).error, null)
    const { service, anon } = at('box')
    assert.equal((await service.upload('한글/a.txt', 'one')).error, null)
    assert.equal((await service.upload('한글/a.txt', 'two', { upsert: true })).error, null)
    assert.equal((await anon.upload('b.txt', 'x')).error?.message, 'new row violates row-level security policy')
    assert.equal((await anon.download('한글/a.txt')).error?.message, 'Object not found')
    assert.equal(await (await service.download('한글/a.txt')).data?.text(), 'two')
    assert.equal((await service.upload('gone.txt', 'x')).error, null)
    assert.deepEqual(
      (await service.remove(['gone.txt'])).data?.map(({ name }) => name),
      ['gone.txt'],
    )
  })

  it('pauses a project by leaving its database, and copies none', async () => {
    const sessions = async () => (await server.sql("select from pg_stat_activity where datname = 'shop_p_demo'")).length
    assert.ok((await sessions()) > 0)
    assert.equal(mayfly(['projects', 'pause', 'demo', '--data', data]).code, 0)
    assert.equal(await until(sessions, (count) => count === 0), 0)
    const box = createClient(first.project.url, first.project.secretKey).storage.from('box')
    assert.equal(await (await box.download('한글/a.txt')).data?.text(), 'two')
    const { code, stderr } = mayfly(['projects', 'clone', 'demo', 'copy', '--data', data])
    assert.equal(code, 1)
    assert.match(stderr, /clone_unavailable/)
    assert.doesNotMatch(mayfly(['projects', '--json', '--data', data]).stdout, /"copy"/)
  })

  it('refuses a second node on the same database', () => {
    refuses(['--data', path.join(folder, 'second')], environment, /Another node works on the database shop already/)
  })

  it('finds the same keys and functions after a clean end, and after kill -9 in the same instant', async () => {
    assert.equal(await node.stop(), 0)
    node = await startMayfly(data, NO_SPARE, environment)
    assert.deepEqual(node.ready, first)
    assert.deepEqual(await call(first), { status: 200, text: 'hello' })
    // The record of an execution is written just after its answer; one that a kill came before counts as cut.
    await new Promise((resolve) => setTimeout(resolve, 300))
    await node.kill()
    node = await startMayfly(data, NO_SPARE, environment)
    assert.deepEqual(node.ready, first)
    assert.deepEqual(await call(first), { status: 200, text: 'hello' })
    await countsOnce()
    // Without the secret key: the next test needs one that the node has not met in this life.
    assert.equal(await (await fetch(`${first.project.url}/storage/v1/object/public/box/${encodeURIComponent('한글/a.txt')}`)).text(), 'two')
  })

  it('goes on while the server is away as far as it can, says so without a flood, and works by itself when it is back', async () => {
    const before = node.stderr().length
    assert.equal((await call(first)).status, 200)
    await server.stop()
    const awayUntil = performance.now() + 5_000
    while (performance.now() < awayUntil) {
      assert.deepEqual(await call(first), { status: 200, text: 'hello' }, 'a key and a function that are known')
      const stranger = await call(first, first.project.secretKey)
      assert.deepEqual([stranger.status, (JSON.parse(stranger.text) as { code: string }).code], [503, 'database_unavailable'])
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
    const deploy = mayfly(['deploy', path.join(folder, 'hello'), '--name', 'other', '--data', data])
    assert.equal(deploy.code, 1)
    assert.match(deploy.stderr, /database.*\(database_unavailable, request/s)
    assert.equal((await fetch(`${first.url}/health`)).status, 200)

    await server.start()
    const back = await until(
      () => call(first, first.project.secretKey),
      (answer) => answer.status === 200,
    )
    assert.equal(back.status, 200)
    await countsOnce()
    assert.equal(mayfly(['deploy', path.join(folder, 'hello'), '--name', 'other', '--data', data]).code, 0)
    const said = node.stderr().slice(before)
    assert.match(said, /PostgreSQL/)
    // Each part of each process may say that it cannot go on and that it does again, and not at each of its tries.
    const ofPart = Map.groupBy(said.split('\n').filter(Boolean), (line) => {
      const { worker, journal, source, database, msg } = JSON.parse(line) as Record<string, unknown>
      return JSON.stringify([worker, journal, source, database, msg])
    })
    for (const lines of ofPart.values()) assert.ok(lines.length <= 2, `no flood: ${said}`)
    assert.ok(ofPart.size <= 40, `no flood: ${said}`)
    assert.doesNotMatch(said, /\\n\s+at /, 'no stack')
    saysNoPassword(said)
    const lock = () => server.sql("select 1 from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory' and a.datname = 'shop'")
    assert.equal((await until(lock, (rows) => rows.length === 1)).length, 1, 'it holds its database again')
    assert.equal(await node.stop(), 0)
    saysNoPassword(node.stderr())
  })

  it('says what falls away and what the projects share', () => {
    const { code, stdout, stderr } = mayfly(['doctor', '--json'], environment)
    const report = JSON.parse(stdout) as { database: string; missing: { what: string }[]; shared: string[] }
    assert.match(report.database, /^external 18\./)
    const missing = report.missing.map((gap) => gap.what)
    for (const what of ['realtime', 'event triggers', 'closed neighbours']) assert.ok(missing.includes(what), what)
    assert.ok(report.shared.length > 0)
    const text = mayfly(['doctor'], environment)
    assert.match(text.stdout, /Shared {4}by all projects: /)
    assert.match(text.stdout, /Missing {3}realtime: /)
    assert.equal(text.code, code)
    saysNoPassword(stdout + stderr + text.stdout + mayfly(['config'], environment).stdout)
  })

  it('refuses what does not fit together in one sentence, without the password', async () => {
    refuses(['--data', data], {}, /belongs to a node on an external PostgreSQL/)
    refuses(['--data', path.join(folder, 'wrong')], { MAYFLY_DATABASE_URL: server.url('shop', `${PASSWORD}-not`) }, /does not let shop in/)
    const inside = path.join(folder, 'inside')
    await (await startMayfly(inside)).stop()
    refuses(['--data', inside], environment, /has a PostgreSQL of its own inside/)
    await server.stop()
    refuses(['--data', data], environment, new RegExp(`The PostgreSQL at 127\\.0\\.0\\.1:${server.port} cannot be used`))
    const doctor = mayfly(['doctor'], environment)
    assert.equal(doctor.code, 1)
    assert.match(doctor.stdout, /Missing {3}database: The PostgreSQL at 127\.0\.0\.1/)
    saysNoPassword(doctor.stdout + doctor.stderr)
  })
})

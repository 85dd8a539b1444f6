import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const until = async (what: () => boolean | Promise<boolean>, ms = 60_000) => {
  for (const end = Date.now() + ms; Date.now() < end; await pause(100)) if (await what()) return
  assert.fail('it did not come to that')
}

describe('schedules', () => {
  let folder = ''
  let data = ''
  let dies = ''
  let node: RunningMayfly
  const start = () => startMayfly(data, ['--empty'], { MAYFLY_TEST_CRASH_AT: dies })
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
  const deploy = async (name: string) => {
    const zip = await zipOf({ 'index.mjs': `export const handler = async (event) => { console.log(JSON.stringify(event)) }` })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await call('PUT', `/artefacts/${artefact}`, zip)
    await call('PUT', `/functions/${name}`, { artefact })
  }
  const watch = (name: string, ...schedules: object[]) => call('PUT', `/functions/${name}/triggers`, { triggers: schedules.map((schedule) => ({ schedule })) })
  interface Told {
    readonly id: string
    readonly time: string
    readonly source: string
    readonly resources: readonly string[]
  }
  const told = async (name: string): Promise<Told[]> => {
    const { lines } = (await call('GET', `/functions/${name}/logs?limit=5000`)) as unknown as { lines: { text: string; source: string }[] }
    return lines.filter(({ source }) => source === 'stdout').map(({ text }) => JSON.parse(text.split('\t').slice(3).join('\t')) as Told)
  }

  it('start a function each second by cron and by every, and once at a time, with the event of EventBridge', async () => {
    for (const name of ['cron', 'every', 'once']) await deploy(name)
    await watch('cron', { cron: '* * * * * *' })
    await watch('every', { every: 1 })
    await watch('once', { at: new Date(Date.now() + 3_000).toISOString().replace(/\.\d+Z/, 'Z') })
    const listed = mayfly(['triggers'], { MAYFLY_URL: node.ready.url, MAYFLY_KEY: node.ready.project.secretKey })
    for (const name of ['cron', 'every']) await until(async () => (await told(name)).length >= 3)
    await until(async () => (await told('once')).length >= 1)
    for (const name of ['cron', 'every']) await watch(name)
    for (const name of ['cron', 'every', 'once']) {
      const all = await told(name)
      assert.equal(new Set(all.map(({ time }) => time)).size, new Set(all.map(({ id }) => id)).size, 'a due time once')
      assert.deepEqual([all[0]?.source, all[0]?.resources], ['aws.events', [`arn:aws:events:us-east-1:000000000000:rule/${name}`]])
    }
    assert.equal((await told('once')).length, 1)
    const { triggers } = (await call('GET', '/functions/once/triggers')) as unknown as { triggers: { started: boolean; nextAt: string | null }[] }
    assert.deepEqual(
      triggers.map(({ started, nextAt }) => [started, nextAt]),
      [[true, null]],
    )
    assert.match(listed.stdout, /every\s+schedule every 1 s\s+the node, next \d{4}-/)
  })
  it('take a due time once, over kill -9 before and after its commit', async () => {
    await deploy('kept')
    await watch('kept', { every: 1, missed: 'all' })
    await until(async () => (await told('kept')).length >= 1)
    for (const point of ['beforeFiringCommit', 'afterFiring']) {
      writeFileSync(dies, point)
      if (node.child.exitCode === null && node.child.signalCode === null) await once(node.child, 'exit')
      rmSync(dies)
      node = await start()
    }
    const had = (await told('kept')).length
    await until(async () => (await told('kept')).length >= had + 2)
    await watch('kept')
    // A run that a kill cut off comes again with its id; so ids and times are one to one, and no second is left out.
    const byTime = Map.groupBy(await told('kept'), ({ time }) => time)
    for (const [time, all] of byTime) assert.equal(new Set(all.map(({ id }) => id)).size, 1, time)
    const seconds = [...byTime.keys()].map((time) => Date.parse(time) / 1_000).toSorted((a, b) => a - b)
    assert.ok(seconds.length >= 3)
  })
  it('SQL starts a function if and only if its transaction commits', async () => {
    await deploy('paid')
    const psql = (sql: string) => mayfly(['db', 'psql', '--data', data, '-c', sql])
    const made = psql(`create table orders (id int primary key);
      create function tell() returns trigger language plpgsql security definer set search_path = '' as $f$
        begin perform mayfly.invoke('paid', jsonb_build_object('id', new.id)); return new; end $f$;
      create trigger tell after insert on orders for each row execute function tell();`)
    assert.equal(made.code, 0, made.stderr)
    assert.equal(psql('begin; insert into orders values (1); rollback').code, 0)
    assert.equal(psql('insert into orders values (2)').code, 0)
    await until(async () => (await told('paid')).length >= 1)
    assert.deepEqual(await told('paid'), [{ id: 2 }])
  })
  it('rows start a function if and only if their transaction commits', async () => {
    const psql = (sql: string) => mayfly(['db', 'psql', '--data', data, '-c', sql])
    await deploy('rows')
    const done = (await call('PUT', '/functions/rows/triggers', {
      triggers: [{ row: { table: 'public.notes', events: ['insert', 'update'], columns: ['done'], when: { done: true } } }],
    })) as unknown as { triggers: { started: boolean }[] }
    assert.deepEqual(
      done.triggers.map(({ started }) => started),
      [true],
    )
    const { stdout: listed } = mayfly(['triggers', 'rows', '--data', data])
    assert.match(listed, /rows of public\.notes: insert, update \(done; \{"done":true\}\)/)
    const made = psql('create table notes (id int primary key, text text, done boolean)')
    assert.equal(made.code, 0, made.stderr)
    assert.equal(psql('begin; insert into notes values (1, null, true); rollback').code, 0)
    const inserted = await fetch(`${node.ready.url}/rest/v1/notes`, {
      method: 'POST',
      headers: { apikey: node.ready.project.secretKey, 'content-type': 'application/json' },
      body: JSON.stringify({ id: 2, text: 'a', done: false }),
    })
    assert.equal(inserted.status, 201, await inserted.text())
    assert.equal(psql("update notes set text = 'b'; update notes set done = true").code, 0)
    await until(async () => (await told('rows')).length >= 1)
    const record = { id: 2, text: 'b', done: true }
    assert.deepEqual(await told('rows'), [{ type: 'UPDATE', table: 'notes', schema: 'public', record, old_record: { ...record, done: false } }])
  })
  it('wake a project that rests', async () => {
    await deploy('dawn')
    await watch('dawn', { every: 2 })
    await until(async () => (await told('dawn')).length >= 1)
    const had = (await told('dawn')).length
    const { operatorToken } = JSON.parse(readFileSync(path.join(data, 'run.json'), 'utf8')) as { operatorToken: string }
    const rested = await fetch(`${node.ready.url}/api/v1/projects/demo/pause`, {
      method: 'POST',
      headers: { authorization: `Bearer ${operatorToken}` },
    })
    assert.equal(rested.status, 200)
    await until(async () => (await told('dawn')).length >= had + 1)
  })
})

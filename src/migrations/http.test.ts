import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { difference } from '../backends/database/compare.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { SqlSession } from '../backends/database/sql-session.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { RequestContext } from '../core/route.ts'
import { systemClock } from '../lib/clock.ts'
import { routes } from './http.ts'
import { Migrations } from './service.ts'
import { lockMigrations } from './store.ts'

const fileOf = (name: string, sql: string) => ({ name, sql, checksum: createHash('sha256').update(sql).digest('hex') })
const code = (wanted: string, says: RegExp) => (error: unknown) => {
  assert.ok(error instanceof MayflyError, String(error))
  assert.equal(error.code, wanted, error.message)
  assert.match(error.message, says)
  return true
}

describe('the routes of migrations', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let migrations: Migrations
  let asked = 0
  before(async () => {
    opened = await openTestDatabases()
    await opened.databases.ensureProject('demo')
    migrations = new Migrations({ databases: opened.databases, clock: systemClock, served: async () => ['public'], changed: async () => {}, waitMs: 100 })
  })
  after(() => opened.close())
  const ask = async (where: string, body: unknown) => {
    const route = routes({ migrations, audit: () => {} }).find(({ path }) => path === `/api/v1/projects/:ref/migrations${where}`)
    const context = {
      project: { ref: 'demo' },
      body: async (limit: number) => {
        asked = limit
        return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
      },
    }
    const reply = await route?.handle(context as unknown as RequestContext)
    return JSON.parse(String(reply?.body)) as { migrations: { name: string; state: string }[]; ran: { name: string }[] }
  }

  it('takes bodies as large as LIMITS.migrationBody', async () => {
    await ask('', {})
    assert.equal(asked, LIMITS.migrationBody.value)
  })
  const wrong: readonly (readonly [body: unknown, code: string, says: RegExp])[] = [
    ['{', 'body_not_json', /not JSON/],
    [[], 'bad_request', /object/],
    [{ run: 1 }, 'bad_request', /run: must be true or false/],
    [{ files: [{ name: '../1_a.sql', checksum: '' }] }, 'bad_request', /files\.0\.name: must be a number.*files\.0\.checksum/],
    [{ files: [fileOf('2_a.sql', ''), fileOf('1_b.sql', '')] }, 'bad_request', /1_b\.sql stands behind 2_a\.sql/],
    [{ files: [fileOf('1_a.sql', ''), fileOf('01_b.sql', '')] }, 'bad_request', /not smaller/],
    [{ files: [{ ...fileOf('1_a.sql', 'select 1'), sql: 'select 2' }] }, 'bad_request', /checksum of 1_a\.sql is not that of its text/],
  ]
  for (const [body, wanted, says] of wrong)
    it(`refuses ${JSON.stringify(body).slice(0, 60)}`, async () => await assert.rejects(ask('', body), code(wanted, says)))

  it('runs up to the first file whose text is not given', async () => {
    const [one, two] = [fileOf('1_a.sql', 'create table a ()'), fileOf('2_b.sql', 'create table b ()')]
    const { ran, migrations: list } = await ask('', { files: [one, { ...two, sql: null }], run: true })
    assert.deepEqual([ran.map(({ name }) => name), list.map(({ state }) => state)], [['1_a.sql'], ['applied', 'pending']])
    assert.deepEqual(
      (await ask('', { files: [{ ...one, sql: null }, two], run: true })).ran.map(({ name }) => name),
      ['2_b.sql'],
    )
    assert.deepEqual(
      (await ask('', { files: [one] })).migrations.map(({ name, state }) => [name, state]),
      [
        ['1_a.sql', 'applied'],
        ['2_b.sql', 'missing'],
      ],
    )
  })
  it('says so when another run does not end', async () => {
    await using other = await SqlSession.open(await opened.databases.projectConnection('demo'), 'own')
    await lockMigrations(other, 1000)
    await assert.rejects(ask('', { files: [], run: true }), code('migrations_running', /by somebody else/))
    await assert.rejects(ask('/reset', { project: 'demo' }), code('migrations_running', /by somebody else/))
  })
  it('compares beside the thread that serves, and says what it met there', async () => {
    await migrations.seed('demo', 'hand.sql', 'create table by_hand (id int primary key); create index on by_hand (id)')
    const [ownBefore, allBefore] = [process.threadCpuUsage(), process.cpuUsage()]
    const { statements } = await migrations.diff('demo', [])
    const [own, all] = [process.threadCpuUsage(ownBefore), process.cpuUsage(allBefore)]
    assert.match(statements.map(({ sql }) => sql).join(';\n'), /create table .*by_hand/is)
    // What the library takes is far more than what is asked of the databases here.
    assert.ok((own.user + own.system) * 2 < all.user + all.system, JSON.stringify({ own, all }))
    const connection = await opened.databases.ownerConnection('demo')
    await assert.rejects(
      difference(connection, { ...connection, user: 'nobody_here' }, []),
      (error) => error instanceof Error && /nobody_here/.test(error.message),
    )
  })
  it('tells what a file says while it runs', async () => {
    assert.deepEqual(await migrations.seed('demo', 'seed.sql', "do $$ begin raise notice 'at work'; end $$"), ['NOTICE: at work'])
  })
})

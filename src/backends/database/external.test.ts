import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../lib/clock.ts'
import { databasesConformance } from './conformance.ts'
import { DatabaseUnusable } from './database.ts'
import { EmbeddedDatabases } from './embedded.ts'
import { ExternalDatabases, inspectExternal } from './external.ts'
import type { Connection } from './database.ts'

const migrations = path.resolve(import.meta.dirname, '../../../migrations')
const runtimeBase = process.getuid?.() === 0 ? '/run' : tmpdir()
const said: string[] = []
const open = (url: string) =>
  ExternalDatabases.open({ url, secret: Buffer.alloc(32, 7), migrations, clock: systemClock, log: (_, message) => void said.push(message) })

/** Somebody's server: one of ours, its superuser not handed over. */
async function makeServer() {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-pg-'))
  const embedded = await EmbeddedDatabases.open({ folder: path.join(folder, 'pg'), runtimeBase, migrations, clock: systemClock, log: () => {} })
  const { host } = embedded.connection('control', 'any')
  return {
    admin: embedded.control,
    url: (user: string, database: string, password = 'se/cr:et') =>
      `postgres://${user}:${encodeURIComponent(password)}@/${database}?host=${encodeURIComponent(host)}`,
    make: async (name: string, rights: string) => {
      await embedded.control.script(`create role ${name} login password 'se/cr:et' ${rights}`)
      await embedded.control.script(`create database ${name} owner ${name}`)
    },
    close: async () => {
      await embedded[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true })
    },
  }
}

databasesConformance('external, by a role that is no superuser', async () => {
  const server = await makeServer()
  await server.make('shop', 'createdb createrole bypassrls')
  const databases = await open(server.url('shop', 'shop'))
  return {
    databases,
    connection: (ref, role): Connection => (role === 'control' ? { ...databases.connection(ref, 'owner'), database: 'shop' } : databases.connection(ref, role)),
    close: async () => {
      await databases[Symbol.asyncDispose]()
      await server.close()
    },
  }
})

describe('external PostgreSQL', () => {
  let server: Awaited<ReturnType<typeof makeServer>>
  before(async () => {
    server = await makeServer()
  })
  after(() => server?.close())
  const refuses = (url: string, words: RegExp) =>
    assert.rejects(open(url), (error) => {
      assert.ok(error instanceof DatabaseUnusable, String(error))
      assert.match(error.message, words)
      assert.doesNotMatch(error.message, /se\/cr|se%2Fcr/)
      return true
    })

  it('says what the role lacks, and what to type', async () => {
    await server.make('poor', 'createdb')
    await refuses(server.url('poor', 'poor'), /lacks CREATEROLE.*alter role "poor" CREATEROLE/s)
    const { blocking } = await inspectExternal(server.url('poor', 'poor'))
    assert.deepEqual(
      blocking.map((gap) => gap.what),
      ['CREATEROLE', 'BYPASSRLS'],
    )
  })
  it('names what falls away and what the projects share', async () => {
    await server.make('lists', 'createdb createrole bypassrls')
    const report = await inspectExternal(server.url('lists', 'lists'))
    assert.deepEqual(report.blocking, [])
    assert.deepEqual(
      report.missing.map((gap) => gap.what),
      ['realtime', 'event triggers', 'closed neighbours'],
    )
    assert.match(report.version, /^\d+\.\d+/)
    assert.ok(report.shared.some((line) => line.includes('connections')))
  })
  it('tells a wrong password, a missing database, a foreign owner, an address that nobody hears and a URL that is none', async () => {
    await server.make('proper', 'createdb createrole bypassrls')
    await refuses(server.url('proper', 'proper', 'se/cr:et-not'), /does not let proper in/)
    await refuses(server.url('proper', 'absent'), /has no database absent.*create database "absent" owner "proper"/)
    await refuses(server.url('proper', 'postgres'), /does not own the database postgres/)
    await refuses('postgres://right:se%2Fcr@127.0.0.1:1/right', /127\.0\.0\.1:1 cannot be used/)
    await refuses('postgres://right:se%2Fcr%@h:1x/right', /must look like postgres:/)
  })
  it('keeps a second node away, and lets it in when the first has ended', { timeout: 20_000 }, async () => {
    await server.make('twice', 'createdb createrole bypassrls')
    const url = server.url('twice', 'twice')
    {
      await using _first = await open(url)
      await refuses(url, /Another node works on the database twice/)
    }
    await using _second = await open(url)
  })
  it('takes its lock again after the server ended every connection, and works on', { timeout: 20_000 }, async () => {
    await server.make('lost', 'createdb createrole bypassrls')
    const url = server.url('lost', 'lost')
    await using databases = await open(url)
    const holder = async () => {
      const [row] = await server.admin.sql<{ pid: number }>`
        select pid from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory' and a.application_name = 'mayfly lock' and a.datname = 'lost'`
      return row?.pid ?? null
    }
    const first = await holder()
    await server.admin.sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = 'lost'`
    for (let now = first; now === null || now === first; now = await holder()) await systemClock.sleep(50)
    assert.deepEqual(await databases.control.sql`select 1 as n`, [{ n: 1 }])
  })
  it('finds its projects again, with the same logins, and leaves nothing of one that was removed', async () => {
    await server.make('again', 'createdb createrole bypassrls')
    const url = server.url('again', 'again')
    const long = `p${'x'.repeat(39)}`
    {
      await using databases = await open(url)
      await databases.ensureProject(long)
      await (await databases.openProject(long)).script('create table public.kept (n int)')
    }
    await using databases = await open(url)
    assert.equal((await (await databases.openProject(long)).sql`select to_regclass('public.kept') is not null as there`)[0]?.there, true)
    await databases.dropProject(long)
    assert.deepEqual(await server.admin.sql`select datname from pg_database where starts_with(datname, 'again_p_')`, [])
    assert.deepEqual(await server.admin.sql`select rolname from pg_roles where starts_with(rolname, 'again_p_')`, [])
  })
  it('tells of a migration that makes one thing twice after the second try', async () => {
    await server.make('faulty', 'superuser')
    const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-migrations-'))
    cpSync(migrations, folder, { recursive: true })
    writeFileSync(
      path.join(folder, 'project', '9000_twice.sql'),
      'create table public.t (n int); create policy one on public.t; create policy one on public.t;',
    )
    let pauses = 0
    const clock = Object.create(systemClock, { sleep: { value: (ms: number) => (pauses++, systemClock.sleep(ms)) } }) as typeof systemClock
    {
      await using databases = await ExternalDatabases.open({
        url: server.url('faulty', 'faulty'),
        secret: Buffer.alloc(32, 7),
        migrations: folder,
        clock,
        log: () => {},
      })
      await assert.rejects(databases.ensureProject('a'), /migration 9000 \(twice\) failed: policy "one" for table "t" already exists/)
      assert.equal(pauses, 1)
      await databases.dropProject('a')
    }
    rmSync(folder, { recursive: true })
  })
  it('makes projects of two nodes on one server at once, whose roles are the same', { timeout: 60_000 }, async () => {
    await server.make('near', 'superuser')
    await server.admin.script('create database far owner near')
    await using near = await open(server.url('near', 'near'))
    await using far = await open(server.url('near', 'far'))
    await Promise.all([near, far].flatMap((databases) => ['a', 'b'].map((ref) => databases.ensureProject(ref))))
    for (const databases of [near, far]) assert.deepEqual(await (await databases.openProject('b')).sql`select count(*)::int as n from auth.users`, [{ n: 0 }])
    // And surely in the middle of each other: a role that both change is held until the second waits for it.
    let refused = Promise.resolve()
    await server.admin.transaction(async (tx) => {
      await tx`alter role supabase_storage_admin connection limit -1`
      refused = far.ensureProject('d')
      const waits = async () =>
        (await server.admin.sql`select from pg_stat_activity where datname = 'far_p_d' and wait_event_type = 'Lock' and wait_event = 'transactionid'`).length >
        0
      while (!(await waits())) await systemClock.sleep(20)
    })
    await refused
    assert.deepEqual(await (await far.openProject('d')).sql`select count(*)::int as n from auth.users`, [{ n: 0 }])
    for (const databases of [near, far]) for (const ref of ['a', 'b', 'd']) await databases.dropProject(ref)
  })
})

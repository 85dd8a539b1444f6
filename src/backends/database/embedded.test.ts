import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../lib/clock.ts'
import { detectHierarchies } from '../../lib/cgroup.ts'
import { databasesConformance } from './conformance.ts'
import { DatabaseError } from './database.ts'
import { EmbeddedDatabases } from './embedded.ts'
import { migrate } from './migrate.ts'
import { runtimeFolderName, ServerError } from './server.ts'

const migrations = path.resolve(import.meta.dirname, '../../../migrations')
const runtimeBase = process.getuid?.() === 0 ? '/run' : tmpdir()
const open = (folder: string) => EmbeddedDatabases.open({ folder: path.join(folder, 'pg'), runtimeBase, migrations, clock: systemClock, log: () => {} })

databasesConformance('embedded', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-pg-'))
  const databases = await open(folder)
  return {
    databases,
    connection: (ref, role) => (role === 'control' ? databases.connection('control', 'mayfly') : databases.connection(ref, role)),
    close: async () => {
      await databases[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true })
    },
  }
})

describe('embedded PostgreSQL', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-pg-'))
  })
  after(() => rmSync(folder, { recursive: true }))
  const pidOf = (at: string, project: string) => Number(readFileSync(path.join(at, 'pg', 'projects', project, 'postmaster.pid'), 'utf8').split('\n')[0])
  const serverPid = () => Number(readFileSync(path.join(folder, 'pg', 'control', 'postmaster.pid'), 'utf8').split('\n')[0])

  it('comes back by itself after its server was killed, with all that was committed', async () => {
    await using databases = await open(folder)
    await databases.control.script('create table public.kept (n int); insert into public.kept values (1)')
    process.kill(serverPid(), 'SIGKILL')
    let rows: object[] = []
    for (let tried = 0; tried < 200 && rows.length === 0; tried++) {
      await delay(50)
      rows = await databases.control.sql`select n from public.kept`.catch(() => [])
    }
    assert.deepEqual(rows, [{ n: 1 }])
  })
  it('tells which projects had a server that did not come to its end', async () => {
    const at = path.join(folder, 'ends')
    {
      await using both = await open(at)
      for (const ref of ['one', 'two']) await both.ensureProject(ref)
      await both.pauseProject('two')
      // What a kill leaves is what stands there while it runs.
      assert.deepEqual(await both.brokenOff(), ['one'])
    }
    await using next = await open(at)
    assert.deepEqual(await next.brokenOff(), [])
  })
  it('leaves no run-time folder behind, and removes those of data that is gone, but for what still runs or just starts', async () => {
    const base = mkdtempSync(path.join(tmpdir(), 'run-'))
    chmodSync(base, 0o711)
    const data = path.join(folder, 'pg')
    const options = { folder: data, runtimeBase: base, migrations, clock: systemClock, log: () => {} }
    const left = (name: string, told: string, pid = 0, secondsAgo = 3600) => {
      mkdirSync(path.join(base, name, 's', 'control'), { recursive: true })
      writeFileSync(path.join(base, name, 'data'), told)
      const at = new Date(Date.now() - secondsAgo * 1000)
      utimesSync(path.join(base, name, 'data'), at, at)
      if (pid > 0) writeFileSync(path.join(base, name, 's', 'control', '.s.PGSQL.5432.lock'), `${pid}\n`)
    }
    left('mayfly-00000000dead', path.join(folder, 'gone'))
    left('mayfly-00000000beef', folder) // another folder stands where it was
    left('mayfly-00000000cafe', path.join(folder, 'gone'), process.pid)
    left('mayfly-00000000face', path.join(folder, 'not mounted here'), 0, 1)
    mkdirSync(path.join(base, 'mayfly-00000000feed'))
    mkdirSync(path.join(base, 'mayfly-sandboxes-x'))
    const databases = await EmbeddedDatabases.open(options)
    const others = ['mayfly-00000000cafe', 'mayfly-00000000face', 'mayfly-00000000feed', 'mayfly-sandboxes-x']
    assert.deepEqual(readdirSync(base).toSorted(), [await runtimeFolderName(data), ...others].toSorted())
    await databases[Symbol.asyncDispose]()
    assert.deepEqual(readdirSync(base).toSorted(), others.toSorted())
    rmSync(base, { recursive: true })
  })
  it('lets nobody install a language whose programs run in the server’s process', async () => {
    await using databases = await open(folder)
    await databases.ensureProject('tongues')
    await using owner = await databases.openOwner('tongues')
    for (const text of ['create extension plperl', 'create extension bool_plperl cascade', 'create language plperl', 'create extension pltcl'])
      await assert.rejects(owner.script(text), (error) => error instanceof DatabaseError && /42501|58P01|XX000/.test(error.sqlState), text)
    await owner.script('create extension pgcrypto with schema extensions; create extension citext')
    assert.deepEqual(await owner.sql`select extname from pg_extension where extname like 'pl%'`, [{ extname: 'plpgsql' }])
    await databases.dropProject('tongues')
  })
  it('opens what an older node made, whose owner had another name', async () => {
    {
      await using databases = await open(folder)
      await databases.ensureProject('aged')
      await (await databases.openProject('aged')).script('alter role postgres rename to owner')
    }
    await using later = await open(folder)
    await using owner = await later.openOwner('aged')
    assert.deepEqual(await owner.sql`select current_user::text as name`, [{ name: 'postgres' }])
    await later.dropProject('aged')
  })
  it('begins without what a comparison left that was cut off', async () => {
    {
      await using databases = await open(folder)
      await databases.ensureProject('shadow_0a1b2c3d')
    }
    const left = path.join(folder, 'pg', 'projects', 'shadow_0a1b2c3d')
    assert.ok(existsSync(left))
    await using later = await open(folder)
    assert.ok(!existsSync(left))
    await assert.rejects(later.openProject('shadow_0a1b2c3d'), /no database here/)
  })
  it('starts over a pid file that speaks of another process, and leaves none behind', async () => {
    const file = path.join(folder, 'pg', 'control', 'postmaster.pid')
    writeFileSync(file, `${process.pid}\n/nowhere\n0\n5432\n\n\n\nready\n`)
    const databases = await open(folder)
    assert.deepEqual(await databases.control.sql`select n from public.kept`, [{ n: 1 }])
    await databases[Symbol.asyncDispose]()
    assert.equal(existsSync(file), false)
    await assert.rejects(databases.openProject('none'), ServerError)
  })
  it('asks for space when there is none to start with, and takes it', {
    skip: process.getuid?.() !== 0 && 'a small file system is mounted by root',
  }, async () => {
    const small = mkdtempSync(path.join(tmpdir(), 'mayfly-pg-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200m', 'small', small])
    try {
      await (await open(small))[Symbol.asyncDispose]()
      const filler = path.join(small, 'filler')
      execFileSync('sh', ['-c', 'cat /dev/zero > "$1" 2>/dev/null; true', 'sh', filler])
      let asked = 0
      const options = { folder: path.join(small, 'pg'), runtimeBase, migrations, clock: systemClock, log: () => {} }
      const nothing = async () => (asked++, false)
      await assert.rejects(EmbeddedDatabases.open({ ...options, freeSpace: nothing }), /No space left on device/)
      const give = async () => (rmSync(filler), true)
      await using databases = await EmbeddedDatabases.open({ ...options, freeSpace: give })
      assert.deepEqual([asked, await databases.control.sql`select 1 as n`], [1, [{ n: 1 }]])
    } finally {
      execFileSync('umount', ['-l', small])
      rmSync(small, { recursive: true })
    }
  })
  it('holds the memory of a server by the kernel, and comes back after it wanted more', {
    skip: process.getuid?.() !== 0 && 'control groups are made by root',
  }, async () => {
    const bounded = mkdtempSync(path.join(tmpdir(), 'mayfly-pg-'))
    try {
      await using databases = await EmbeddedDatabases.open({
        folder: path.join(bounded, 'pg'),
        runtimeBase,
        migrations,
        clock: systemClock,
        log: () => {},
        memoryMb: 160,
      })
      await databases.ensureProject('greedy')
      const { memory } = await detectHierarchies()
      assert.ok(memory)
      assert.equal(databases.memoryMb, 160)
      const [group] = readdirSync(memory.path).filter((name) => {
        const procs = path.join(memory.path, name, 'greedy', 'cgroup.procs')
        return (
          name.startsWith('mayfly-pg-') &&
          existsSync(procs) &&
          readFileSync(procs, 'utf8')
            .split('\n')
            .includes(String(pidOf(bounded, 'greedy')))
        )
      })
      assert.ok(group, 'the server stands in a group of its own')
      const at = (file: string) => readFileSync(path.join(memory.path, group, 'greedy', file), 'utf8')
      assert.equal(at(memory.version === 2 ? 'memory.max' : 'memory.limit_in_bytes').trim(), String(160 * 1024 * 1024))
      const database = await databases.openProject('greedy')
      await database.script('create table public.kept (n int); insert into public.kept values (1)')
      await assert.rejects(database.sql`select length(string_agg(repeat(n::text, 1000000), '')) from generate_series(1, 400) as n`, DatabaseError)
      assert.match(at(memory.version === 2 ? 'memory.events' : 'memory.oom_control'), /^oom_kill [1-9]/m)
      const back = async () => {
        for (let tried = 0; tried < 200; tried++) {
          const rows = await database.sql`select n from public.kept`.catch(() => null)
          if (rows) return rows
          await delay(50)
        }
        return null
      }
      assert.deepEqual(await back(), [{ n: 1 }])
      assert.deepEqual(await databases.control.sql`select 1 as n`, [{ n: 1 }], 'the others did not notice')
      // The whole server, as when the kernel chooses the first of its processes: it stands in its group again.
      const killed = pidOf(bounded, 'greedy')
      process.kill(killed, 'SIGKILL')
      // Its backends outlive it for a moment and may still answer: only another server counts.
      const inGroup = (): number[] => (existsSync(path.join(memory.path, group, 'greedy')) ? at('cgroup.procs').split('\n').map(Number) : [])
      let now = killed
      for (let tried = 0; tried < 200; tried++) {
        await delay(50)
        now = existsSync(path.join(bounded, 'pg', 'projects', 'greedy', 'postmaster.pid')) ? pidOf(bounded, 'greedy') : killed
        if (now !== killed && inGroup().includes(now)) break
      }
      assert.notEqual(now, killed)
      assert.ok(inGroup().includes(now), 'the new server stands in the group again')
      assert.deepEqual(await back(), [{ n: 1 }])
      await databases.dropProject('greedy')
      assert.equal(existsSync(path.join(memory.path, group, 'greedy')), false)
    } finally {
      rmSync(bounded, { recursive: true })
    }
  })
  it('asks for the password that it lost instead of making another', async () => {
    const file = path.join(folder, 'pg', 'password')
    const password = readFileSync(file)
    rmSync(file)
    await assert.rejects(open(folder), /password .* is missing/)
    writeFileSync(file, password, { mode: 0o600 })
  })
  it('refuses a changed migration and a database that is newer than the code', async () => {
    await using databases = await open(folder)
    const [row] = await databases.control.sql<{ name: string; checksum: string }>`select name, checksum from mayfly.migration where number = 1`
    assert.ok(row && readdirSync(path.join(migrations, 'control')).includes(`0001_${row.name}.sql`))
    await assert.rejects(migrate(databases.control, [{ number: 1, name: row.name, text: '', checksum: 'another' }]), /newer Mayfly|was changed/)
    await assert.rejects(migrate(databases.control, []), /newer Mayfly/)
  })
})

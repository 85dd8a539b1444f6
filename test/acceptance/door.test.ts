import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import pg from 'pg'
import { WebSocket } from 'ws'
import { guestOf, serviceOf } from './data-fixture.ts'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'

/** PostgreSQL's own client, where the machine has it. */
const PSQL = '/usr/bin/psql'

describe('SQL in a project, by hand and by any PostgreSQL client', () => {
  const folder = makeFolder()
  let node: RunningMayfly
  const db = (...args: string[]) => mayfly(['db', ...args, '--data', node.data])
  const psql = (...args: string[]) => db('psql', ...args)
  const api = (method: string, at: string, key: string, body?: object) =>
    fetch(`${node.ready.url}/api/v1/projects/${at}`, {
      method,
      headers: { apikey: key, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  before(async () => {
    node = await startMayfly(path.join(folder, 'data'), ['--empty', ...NO_SPARE])
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  it('runs statements in order, and shows rows that line up, tags and notices', () => {
    const { code, stdout, stderr } = psql(
      '-c',
      `create table todos (id int generated always as identity primary key, title text, done boolean);
       insert into todos (title) values ('우유 사기'), ('🥛'), (null);
       do $$ begin raise notice 'told; by the way'; end $$; select id, title from todos order by id`,
    )
    assert.equal(code, 0, stderr)
    assert.equal(stdout, 'CREATE TABLE\nINSERT 3\nDO\n id | title\n----+-----------\n  1 | 우유 사기\n  2 | 🥛\n  3 | NULL\n(3 rows)\n')
    const args = ['db', 'psql', '--data', node.data, '-c', "do $$ begin raise notice 'told; by the way'; end $$"]
    assert.match(spawnSync(process.execPath, [path.join(ROOT, 'cli', 'main.ts'), ...args], { encoding: 'utf8' }).stderr, /NOTICE: told; by the way/)
  })

  it('stops at the first error, with its line and SQLSTATE, and exit code 1', () => {
    const file = path.join(folder, 'broken.sql')
    writeFileSync(file, "insert into todos (title) values ('kept');\n\nselect title,\n  nothing from todos;\ninsert into todos (title) values ('never');\n")
    const { code, stdout, stderr } = psql('-f', file)
    assert.equal(code, 1)
    assert.equal(stdout, 'INSERT 1\n')
    assert.match(stderr, /broken\.sql:line 4: ERROR 42703: column "nothing" does not exist\n {2}nothing from todos\n {2}\^\n/)
    assert.match(psql('-c', "select string_agg(title, ',') from todos where title in ('kept', 'never')").stdout, /kept\n\(1 row\)/)
    assert.equal(psql('-c', 'select 1', '-f', file).code, 2)
    assert.equal(psql('-f', path.join(folder, 'absent.sql')).code, 2)
    writeFileSync(file, 'create table unended (a text);\ncopy unended from stdin;\nselect 1;\n')
    assert.match(psql('-f', file).stderr, /broken\.sql:line 2: ERROR 57014: .*no data follows/)
    assert.match(psql('-c', 'select count(*) from unended; drop table unended').stdout, / {5}0\n/)
    const large = 200_000
    writeFileSync(
      file,
      `create table many (id int);\ncopy many from stdin;\n${Array.from({ length: large }, (_, n) => `${n}\n`).join('')}\\.\nselect count(*) from many;\ndrop table many;\n`,
    )
    assert.match(psql('-f', file).stdout, new RegExp(`COPY ${large}\\n[^]* ${large}\\n`))
    assert.equal(mayfly(['db', 'psql', '--data', path.join(folder, 'nowhere'), '-c', 'select 1']).code, 3)
    assert.equal(psql('--project', 'nowhere', '-c', 'select 1').code, 5)
  })
  it('reads scripts of dumps: COPY with its rows, commands behind backslashes; JSON for programs', async () => {
    const script =
      'create table pets (name text, age int);\ncopy pets from stdin;\nRex;\t3\n나비\t\\N\n\\.\n\\d pets\n\\x\nselect * from pets where age = 3;\ncopy pets to stdout;\n'
    const child = spawn(process.execPath, [path.join(ROOT, 'cli', 'main.ts'), 'db', 'psql', '--data', node.data], { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.end(script)
    let out = ''
    for await (const chunk of child.stdout.setEncoding('utf8')) out += chunk
    assert.match(out, /^CREATE TABLE\nCOPY 2\npublic\.pets\n Column \| Type {4}\| Nullable \| Default\n/)
    assert.match(out, /Row-level security is off/)
    const relations = psql('-c', '\\dt').stdout
    assert.match(relations, /public *\| pets /)
    assert.doesNotMatch(relations, /^ *(auth|storage|realtime|mayfly) /m)
    assert.match(psql('-c', '\\d auth.users').stdout, /email/)
    assert.match(out, /-\[ RECORD 1 \]\nname \| Rex;\nage {2}\| 3\n\(1 row\)\nRex;\t3\n나비\t\\N\n$/)
    const { results } = JSON.parse(psql('--json', '-c', 'select name, age from pets order by name; delete from pets').stdout) as { results: unknown[] }
    assert.deepEqual(results, [
      { tag: 'SELECT', rows: 2, columns: ['name', 'age'], values: [['Rex;', '3'], ['나비', null]] }, // biome-ignore format: rows stand side by side
      { tag: 'DELETE', rows: 2 },
    ])
  })
  it('makes tables that the API serves at once, to the roles of keys', async () => {
    assert.equal(psql('-c', "create table notes (body text); insert into notes values ('hello')").code, 0)
    for (const client of [guestOf(node.ready), serviceOf(node.ready)]) {
      const { data, error } = await client.from('notes').select('body')
      assert.deepEqual([data, error], [[{ body: 'hello' }], null])
    }
  })
  it('has a prompt: statements of several lines, dollar quotes, an error that ends nothing', async () => {
    const child = spawn('script', ['-qec', `${process.execPath} ${path.join(ROOT, 'cli', 'main.ts')} db psql --data ${node.data}`, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm' },
    })
    let out = ''
    let heard = Promise.withResolvers<void>()
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk
      heard.resolve()
      heard = Promise.withResolvers()
    })
    let isOver = false
    child.once('close', () => {
      isOver = true
      heard.resolve()
    })
    const until = async (words: RegExp) => {
      while (!words.test(out)) {
        assert.ok(!isOver, `it ended before it said ${words}: ${out}`)
        await heard.promise
      }
      out = out.slice((words.exec(out)?.index ?? 0) + (words.exec(out)?.[0].length ?? 0))
    }
    const say = (text: string) => void child.stdin.write(text)
    await until(/demo=> /)
    say('select 6 *\n')
    await until(/demo-> /)
    say('7 as answer;\n')
    await until(/ {5}42\r?\n\(1 row\)[\s\S]*demo=> /)
    say("do $x$ begin\nperform ';'; end $x$;\n")
    await until(/DO\r?\n[\s\S]*demo=> /)
    say('begin; selekt;\n')
    await until(/42601[\s\S]*demo=!> /)
    say('rollback;\n')
    await until(/ROLLBACK[\s\S]*demo=> /)
    say('select pg_sleep(300);\n')
    while ((await asked("select 1 from pg_stat_activity where query like 'select pg_sleep(300)%' and state = 'active'")) === 0) {}
    say('\u0003')
    await until(/57014[\s\S]*demo=> /)
    // Ctrl-C clears what was typed, what stands on the line too.
    say("select 'unended\nselect 'of the line")
    await until(/of the line/)
    say('\u0003')
    await until(/demo=> /)
    say("select 'cle' || 'an' as word;\n")
    await until(/ clean\r?\n\(1 row\)[\s\S]*demo=> /)
    say('\\q\n')
    assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0)
  })
  it('tells at the prompt and in a script that its session was ended, and goes', async () => {
    const child = spawn(process.execPath, [path.join(ROOT, 'cli', 'main.ts'), 'db', 'psql', '--data', node.data, '-c', 'select pg_sleep(301)'])
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk
    })
    const ended = new Promise((resolve) => child.once('close', resolve))
    while ((await asked("select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep(301)%' and state = 'active'")) === 0) {}
    assert.equal(await ended, 1)
    assert.match(said, /57P01/)
  })
  it('has a prompt that ends with what is typed, also where that came before it, whatever the terminal', () => {
    for (const TERM of ['dumb', 'xterm']) {
      const command = `${process.execPath} ${path.join(ROOT, 'cli', 'main.ts')} db psql --data ${node.data}`
      const { status, stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
        input: 'select 6 * 7 as answer;\n',
        env: { ...process.env, TERM },
        encoding: 'utf8',
        timeout: 60_000,
      })
      assert.equal(status, 0, `${TERM}: ${stdout}`)
      assert.match(stdout, / {5}42\r?\n\(1 row\)/)
    }
  })
  const asked = async (query: string) => {
    const client = new pg.Client(db('url').stdout.trim())
    await client.connect()
    const { rowCount } = await client.query(query)
    await client.end()
    return rowCount ?? 0
  }

  it('gives a connection string that any client takes: sessions, rows by COPY, another password', async () => {
    const url = db('url').stdout.trim()
    assert.match(url, /^postgresql:\/\/postgres\.demo:[\w-]{32}@127\.0\.0\.1:\d+\/postgres$/)
    assert.equal(db('url').stdout.trim(), url)
    const password = db('password').stdout.trim()
    assert.ok(url.includes(`:${password}@`))
    const client = new pg.Client(url)
    client.on('error', () => {})
    await client.connect()
    assert.deepEqual((await client.query('select current_user::text as name, count(*)::int as n from notes')).rows, [{ name: 'postgres', n: 1 }])
    if (existsSync(PSQL)) {
      const run = (...args: string[]) => promisify(execFile)(PSQL, [url, '-AtX', '-v', 'ON_ERROR_STOP=1', ...args])
      assert.match((await run('-c', '\\d notes')).stdout, /body\|text/)
      assert.match((await run('-c', '\\copy notes to stdout')).stdout, /^hello$/m)
      await assert.rejects(run('-c', '\\c two'), /does not exist/)
    }
    const over = new Promise((resolve) => client.once('end', resolve))
    const rotated = db('password', '--rotate').stdout.trim()
    await over
    assert.notEqual(rotated, password)
    await assert.rejects(new pg.Client(url).connect(), { code: '28P01' })
    await assert.doesNotReject(async () => {
      const later = new pg.Client(url.replace(password, rotated))
      await later.connect()
      await later.end()
    })
  })
  it('carries rows by COPY in both directions, more than any buffer holds, and the end of one that is given up', async () => {
    const client = new pg.Client(db('url').stdout.trim())
    await client.connect()
    const text = 'x'.repeat(1_000)
    const count = 8_000
    await client.query('create table many (n int, body text)')
    const chunks = Array.from({ length: count / 100 }, (_, at) => Array.from({ length: 100 }, (_, n) => `${at * 100 + n}\t${text}\n`).join(''))
    assert.equal((await copied(client, 'copy many from stdin', chunks)).tag, `COPY ${count}`)
    assert.deepEqual((await client.query('select count(*)::int as n, min(length(body)) as least from many')).rows, [{ n: count, least: 1_000 }])
    const out = await copied(client, 'copy (select * from many order by n) to stdout')
    assert.equal(out.tag, `COPY ${count}`)
    assert.ok(out.rows === chunks.join(''))
    // Bytes of a program's own, which no text is.
    const binary = await copied(client, 'copy (select 7::int8) to stdout binary')
    assert.match(binary.rows, /^PGCOPY\n/)
    await assert.rejects(copied(client, 'copy many from stdin', ['1\tgood\n', 'no number\tbad\n']), { code: '22P02' })
    assert.equal((await client.query('select 1 from many where body = $1', ['good'])).rowCount, 0)
    await assert.rejects(copied(client, "copy many to '/tmp/many'"), { code: '42501' })
    await assert.rejects(copied(client, "copy many from program 'id'"), { code: '42501' })
    await client.query('drop table many')
    await client.end()
  })
  it('tells who listens what others notify: sessions, functions of SQL, the prompt; at commit, in order, and in no other project', async () => {
    const url = db('url').stdout.trim()
    const [listener, speaker] = [new pg.Client(url), new pg.Client(url)]
    await Promise.all([listener.connect(), speaker.connect()])
    const heard: string[] = []
    let all = Promise.withResolvers<void>()
    listener.on('notification', ({ channel, payload }) => {
      heard.push(`${channel}: ${payload}`)
      if (payload === 'last') all.resolve()
    })
    await listener.query('listen news')
    await speaker.query("begin; notify news, '하나'; select pg_notify('news', 'two'); notify other, 'unheard'; commit")
    await speaker.query("begin; notify news, 'taken back'; rollback")
    assert.equal(psql('-c', "notify news, 'last'").code, 0)
    await all.promise
    assert.deepEqual(heard, ['news: 하나', 'news: two', 'news: last'])
    // A project's server is its own: what is said next door under the same name is not heard.
    heard.length = 0
    all = Promise.withResolvers()
    assert.equal(mayfly(['projects', 'create', 'neighbour', '--data', node.data]).code, 0)
    assert.equal(psql('--project', 'neighbour', '-c', "notify news, 'from next door'").code, 0)
    await speaker.query("notify news, 'last'")
    await all.promise
    assert.deepEqual(heard, ['news: last'])
    await Promise.all([listener.end(), speaker.end()])
  })
  it('shows where it is and what opens it to who may manage the project, and to nobody else', async () => {
    const { publishableKey, secretKey } = node.ready.project
    const rows = [['GET /api/v1/projects/:ref/database', 'GET', 'demo/database'], ['POST /api/v1/projects/:ref/database/password', 'POST', 'demo/database/password']] as const // biome-ignore format: a row each
    for (const [, method, at] of rows) {
      assert.equal((await api(method, at, publishableKey)).status, 403)
      assert.equal((await fetch(`${node.ready.url}/api/v1/projects/${at}`, { method })).status, 401)
      assert.equal((await api(method, at.replace('demo', 'nowhere'), secretKey)).status, 401)
    }
    const place = (await (await api('GET', 'demo/database', secretKey)).json()) as Record<string, unknown>
    assert.deepEqual({ ...place, port: 0 }, { host: '127.0.0.1', port: 0, tls: false, user: 'postgres.demo', database: 'postgres' })
    const shown = await api('POST', 'demo/database/password', secretKey, {})
    assert.equal(shown.headers.get('cache-control'), 'no-store')
    assert.equal((await api('POST', 'demo/database/password', secretKey, { rotate: 'yes' })).status, 400)
    // 'ws /database/v1/websocket'
    const upgraded = (key: string) =>
      fetch(`${node.ready.url}/database/v1/websocket`, {
        headers: { apikey: key, upgrade: 'websocket', connection: 'upgrade', 'sec-websocket-version': '13', 'sec-websocket-key': 'x'.repeat(22) },
      }).then(({ status }) => status, () => 0) // biome-ignore format: one line
    assert.notEqual(await upgraded(publishableKey), 101)
    assert.equal(mayfly(['db', 'psql', '--url', node.ready.url, '--key', publishableKey, '-c', 'select 1']).code, 4)
    assert.equal(mayfly(['db', 'psql', '--url', node.ready.url, '--key', secretKey, '-c', 'select 1']).code, 0)
  })
  it('takes messages of a bounded size by the API (doorFrame)', async () => {
    const closedWith = (bytes: number) =>
      new Promise<number>((resolve, reject) => {
        const ws = new WebSocket(`${node.ready.url.replace('http', 'ws')}/database/v1/websocket`, { headers: { apikey: node.ready.project.secretKey } })
        ws.once('open', () => ws.send(Buffer.alloc(bytes, 255)))
        ws.once('close', resolve)
        ws.once('error', reject)
      })
    // The one is no startup packet, but it is heard; the other is not.
    assert.deepEqual([await closedWith(1024 * 1024), await closedWith(1024 * 1024 + 1)], [1000, 1009])
  })
  it('lets a project have so many sessions (doorSessions), and tells the next', async () => {
    const url = db('url').stdout.trim()
    const clients = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const client = new pg.Client(url)
        await client.connect()
        return client
      }),
    )
    await assert.rejects(new pg.Client(url).connect(), { code: '53300' })
    assert.equal(psql('-c', 'select 1').code, 1)
    await Promise.all(clients.map((client) => client.end()))
    assert.equal(psql('-c', 'select 1').code, 0)
  })
  it('wakes a project that rests', async () => {
    assert.equal(mayfly(['projects', 'create', 'resting', '--data', node.data]).code, 0)
    const url = db('url', '--project', 'resting').stdout.trim()
    assert.equal(mayfly(['projects', 'pause', 'resting', '--data', node.data]).code, 0)
    const client = new pg.Client(url)
    await client.connect()
    assert.equal((await client.query('select 1 as n')).rows[0].n, 1)
    await client.end()
  })
})

/** One COPY by a client of PostgreSQL, as its drivers do it; pg has no words of its own for that. */
function copied(client: pg.Client, text: string, chunks: readonly string[] = []): Promise<{ readonly rows: string; readonly tag: string }> {
  return new Promise((resolve, reject) => {
    let rows = ''
    let tag = ''
    client.query({
      submit: (connection: pg.Connection) => connection.query(text),
      handleCopyInResponse: (connection: pg.Connection & { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void }) => {
        for (const chunk of chunks) connection.sendCopyFromChunk(Buffer.from(chunk))
        connection.endCopyFrom()
      },
      handleCopyData: ({ chunk }: { chunk: Buffer }) => {
        rows += chunk.toString('latin1')
      },
      handleCommandComplete: (said: { text: string }) => {
        tag = said.text
      },
      handleError: reject,
      handleReadyForQuery: () => resolve({ rows, tag }),
    } as pg.Submittable)
  })
}

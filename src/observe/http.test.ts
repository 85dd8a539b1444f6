import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { MayflyError } from '../core/errors.ts'
import { Journal } from '../core/journal.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { LogEntry, LogRecord, QuietCall } from '../core/meter.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Reply, RequestContext } from '../core/route.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { routes } from './http.ts'
import { Logs } from './service.ts'
import { ROW_BYTES } from './store.ts'

const INVOCATION = randomUUID()

describe('the log of a function', () => {
  let folder = ''
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let databases: EmbeddedDatabases
  let journal: Journal<LogEntry>
  let logs: Logs
  before(async () => {
    opened = await openTestDatabases()
    databases = opened.databases
    folder = opened.folder
    journal = await Journal.open<LogEntry>(path.join(folder, 'journal'), silentLog)
    logs = new Logs({ journal, database: databases.control, clock: systemClock, log: silentLog, retentionDays: 14, projectBytes: LIMITS.projectLog.value })
    await logs.start()
  })
  after(async () => {
    await logs[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
    await opened.close()
  })
  const write = (functionName: string, text: string | string[], more: Partial<LogRecord & { at: number }> = {}) => {
    const { at = Date.now(), ...subject } = more
    const lines = [text].flat().map((line) => ({ at, source: 'stdout' as const, text: line }))
    logs.write({ project: 'demo', functionName, version: '1', invocationId: randomUUID(), lines, ...subject })
  }
  const ask = async (functionName: string, query = '', signal = new AbortController().signal, project = 'demo'): Promise<Reply> => {
    const [route] = routes(logs, new AbortController().signal)
    const context = {
      query: new URLSearchParams(query),
      params: { ref: project, name: functionName },
      project: { id: '', ref: project as ProjectRef, name: project, state: 'active' },
      signal,
    }
    return await (route as NonNullable<typeof route>).handle(context as unknown as RequestContext)
  }
  const lines = async (functionName: string, query = '', project = 'demo') =>
    (JSON.parse((await ask(functionName, query, undefined, project)).body as string) as { lines: { seq: string; text: string; invocation: string }[] }).lines
  const texts = async (functionName: string, query = '', project = 'demo') => (await lines(functionName, query, project)).map((line) => line.text)

  it('has each line once and in order, as soon as it was written', async () => {
    for (let n = 0; n < 5; n++) write('order', `line ${n}`)
    assert.deepEqual(await texts('order'), ['line 0', 'line 1', 'line 2', 'line 3', 'line 4'])
    write('order', 'line 5')
    assert.deepEqual(await texts('order', 'limit=2'), ['line 4', 'line 5'])
  })
  it('goes on after a line without leaving any out', async () => {
    for (let n = 0; n < 6; n++) write('pages', `${n}`)
    const [first] = await lines('pages', 'limit=6')
    assert.deepEqual(await texts('pages', `after=${first?.seq}&limit=2`), ['1', '2'])
  })
  it('goes on in the middle of what was written together, and takes the last of it', async () => {
    write('chunks', ['a', 'b', 'c'])
    write('chunks', ['d', 'e'])
    const all = await lines('chunks')
    assert.deepEqual(await texts('chunks', 'limit=3'), ['c', 'd', 'e'])
    for (let n = 0; n < all.length; n++) {
      const rest = ['a', 'b', 'c', 'd', 'e'].slice(n + 1)
      assert.deepEqual(await texts('chunks', `after=${all[n]?.seq}`), rest)
      assert.deepEqual(await texts('chunks', `after=${all[n]?.seq}&limit=1`), rest.slice(0, 1))
    }
  })
  it('shows one invocation, one function, one project', async () => {
    write('mine', 'a', { invocationId: INVOCATION })
    write('mine', 'b')
    write('mine', 'c', { project: 'other', invocationId: INVOCATION })
    assert.deepEqual(await texts('mine', `invocation=${INVOCATION}`), ['a'])
    assert.deepEqual(await texts('mine', '', 'other'), ['c'])
    assert.deepEqual(await texts('yours'), [])
  })
  it('keeps a line with a zero byte, half a character and SQL in it', async () => {
    write('odd', 'a\0b')
    write('odd', "'); drop table mayfly.log_chunk; --")
    write('odd', '\ud800')
    assert.deepEqual(await texts('odd'), ['a\u{fffd}b', "'); drop table mayfly.log_chunk; --", '\u{fffd}'])
  })
  it('leaves out a line that the database refuses, and none of its neighbours', async () => {
    write('bad', 'before')
    write('bad', 'refused', { invocationId: 'none' })
    write('bad', 'behind')
    assert.deepEqual(await texts('bad'), ['before', 'behind'])
  })
  it('tells the three lines of calls that wrote nothing, beside those that wrote, of which many are one row', async () => {
    const of = { project: 'demo', functionName: 'quiet', version: '7' }
    const calls = Array.from(
      { length: 700 },
      (_, n): QuietCall => [uuidv7(n + 1), n, n + 2, 1.5, 2, 128, n === 0 ? null : 40, n === 1 ? 3 : 0, n === 1 ? 'first-call' : null],
    )
    for (const call of calls) logs.quiet(of, call)
    write('quiet', 'spoken')
    const id = (n: number) => (calls[n] as QuietCall)[0]
    const all = await lines('quiet', 'limit=5000')
    assert.equal(all.length, 700 * 3 + 1)
    assert.deepEqual(
      all
        .filter((line) => line.invocation === id(1))
        .map((line) => [line.text, (line as unknown as { at: string }).at, (line as unknown as { version: string }).version]),
      [
        [`START RequestId: ${id(1)} Version: 7`, new Date(1).toISOString(), '7'],
        [`END RequestId: ${id(1)}`, new Date(3).toISOString(), '7'],
        [
          `REPORT RequestId: ${id(1)}\tDuration: 1.50 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\tInit Duration: 3.00 ms\tCold Start: first-call\t`,
          new Date(3).toISOString(),
          '7',
        ],
      ],
    )
    const [count] = await databases.control.sql<{ rows: number }>`select count(*)::int as rows from mayfly.log_chunk where function_name = 'quiet'`
    assert.equal(count?.rows, Math.ceil(700 / 341) + 1)
    assert.deepEqual(new Set(all.map((line) => line.seq)).size, all.length)
    // Pages of any size, from either end, and of one invocation.
    assert.deepEqual(await lines('quiet', 'limit=5'), all.slice(-5))
    assert.deepEqual(await lines('quiet', 'limit=1100'), all.slice(-1100))
    for (const at of [0, 1, 2, 500, 1022, 1023, 1024, 2098])
      assert.deepEqual(await lines('quiet', `after=${all[at]?.seq}&limit=1100`), all.slice(at + 1, at + 1101), `after line ${at}`)
    assert.deepEqual(
      await lines('quiet', `invocation=${id(650).toUpperCase()}`),
      all.filter((line) => line.invocation === id(650)),
    )
    assert.deepEqual(await lines('quiet', `invocation=${id(3)}&after=${all.find((line) => line.invocation === id(3))?.seq}&limit=1`), [
      all.filter((line) => line.invocation === id(3))[1],
    ])
    assert.deepEqual(await lines('quiet', `invocation=${randomUUID()}`), [])
  })
  it('counts what calls that wrote nothing take of the room of their project, and their lines when they go', async () => {
    const of = { project: 'silent', functionName: 'f', version: '1' }
    for (let n = 0; n < 10; n++) logs.quiet(of, [uuidv7(Date.now()), Date.now(), Date.now(), 1, 1, 128, null, 0, null])
    assert.equal((await lines('f', '', 'silent')).length, 30)
    const { bytes } = await logs.volume('silent')
    assert.ok(bytes > ROW_BYTES + 10 * 60 && bytes < ROW_BYTES + 10 * 120, `${bytes} bytes`)
    const small = new Logs({ journal, database: databases.control, clock: systemClock, log: silentLog, retentionDays: 14, projectBytes: 100 })
    await small.sweep()
    const { droppedLines } = await logs.volume('silent')
    assert.deepEqual([await texts('f', '', 'silent'), droppedLines], [[], 30])
    // What still ran when the project went is not the next one's.
    await logs.dropProject('silent')
    logs.quiet(of, [uuidv7(Date.now() - 1_000), 1, 2, 1, 1, 128, null, 0, null])
    const kept = uuidv7(Date.now() + 1_000)
    logs.quiet(of, [kept, 1, 2, 1, 1, 128, null, 0, null])
    assert.deepEqual(
      (await lines('f', '', 'silent')).map((line) => line.invocation),
      [kept, kept, kept],
    )
  })
  it('follows: what is there, then what comes, until the client leaves', async () => {
    write('tail', 'old')
    const leaving = new AbortController()
    const reply = await ask('tail', 'follow=1', leaving.signal)
    const seen: string[] = []
    for await (const chunk of reply.body as AsyncIterable<Uint8Array>) {
      for (const line of Buffer.from(chunk).toString().trimEnd().split('\n')) seen.push((JSON.parse(line) as { text: string }).text)
      if (seen.length < 4) write('tail', `new ${seen.length}`)
      else leaving.abort()
    }
    assert.deepEqual(seen, ['old', 'new 1', 'new 2', 'new 3'])
  })
  it('removes what is older than its days', async () => {
    write('age', 'old', { at: Date.now() - 15 * 86_400_000 })
    write('age', 'young')
    assert.equal((await texts('age')).length, 2)
    const again = new Logs({
      journal,
      database: databases.control,
      clock: systemClock,
      log: silentLog,
      retentionDays: 14,
      projectBytes: LIMITS.projectLog.value,
    })
    await again.sweep()
    assert.deepEqual(await texts('age'), ['young'])
  })
  it('keeps of a project what may be kept (projectLog), the newest, and counts what went', async () => {
    const room = async (projectBytes: number) => {
      const small = new Logs({ journal, database: databases.control, clock: systemClock, log: silentLog, retentionDays: 14, projectBytes })
      await small.sweep()
    }
    const volume = async () => JSON.parse((await ask('bound', '', undefined, 'full')).body as string).dropped as { lines: number; bytes: number }
    const share = 1_000 + ROW_BYTES
    for (let n = 0; n < 20; n++) write(n % 2 ? 'bound' : 'other', 'x'.repeat(1_000), { project: 'full' })
    write('bound', 'neighbour', { project: 'roomy' })
    assert.equal((await lines('bound', '', 'full')).length, 10)
    assert.deepEqual([(await logs.volume('full')).bytes, await volume()], [20 * share, { lines: 0, bytes: 0 }])
    await room(20 * share)
    assert.equal((await logs.volume('full')).bytes, 20 * share, 'at the edge nothing goes')
    await room(20 * share - 1)
    assert.deepEqual(
      [(await logs.volume('full')).bytes, await volume()],
      [18 * share, { lines: 2, bytes: 2_000 }],
      'one past it the oldest go, to a twentieth below',
    )
    await room(5 * share)
    assert.deepEqual(await volume(), { lines: 16, bytes: 16_000 })
    assert.equal((await lines('bound', '', 'full')).length, 2)
    assert.deepEqual(await texts('bound', '', 'roomy'), ['neighbour'])
    const [sum] = await databases.control.sql<{ bytes: string }>`select sum(bytes + ${ROW_BYTES}) as bytes from mayfly.log_chunk where project = 'full'`
    assert.equal(Number(sum?.bytes), (await logs.volume('full')).bytes, 'the volume is what is there')
  })
  it('cuts a project back by itself once it has written too much', async () => {
    const own = await Journal.open<LogEntry>(path.join(folder, 'own'), silentLog)
    const bound = 50_000
    {
      await using small = new Logs({ journal: own, database: databases.control, clock: systemClock, log: silentLog, retentionDays: 14, projectBytes: bound })
      await databases.control.script('delete from mayfly.journal_position')
      for (let n = 0; n < 200; n++)
        small.write({
          project: 'loud',
          functionName: 'f',
          version: '1',
          invocationId: randomUUID(),
          lines: [{ at: Date.now(), source: 'stdout', text: `${n}`.padEnd(1_000) }],
        })
      await small.read({ project: 'loud', functionName: 'f', afterSeq: null, invocationId: null, limit: 1 })
    }
    await own[Symbol.asyncDispose]()
    const { bytes, droppedLines } = await logs.volume('loud')
    assert.ok(bytes <= bound && droppedLines >= 150 && droppedLines < 200, `${bytes} bytes are kept, ${droppedLines} lines went`)
    assert.match((await texts('f', '', 'loud')).at(-1) as string, /^199/)
  })
  it('keeps the volume right when old lines go, and forgets a project whole', async () => {
    write('age', 'old', { project: 'ages', at: Date.now() - 15 * 86_400_000 })
    write('age', 'young', { project: 'ages' })
    assert.equal((await lines('age', '', 'ages')).length, 2)
    await logs.sweep()
    assert.deepEqual(await logs.volume('ages'), { bytes: 5 + ROW_BYTES, droppedLines: 0, droppedBytes: 0 })
    write('age', 'not stored yet', { project: 'ages' })
    await logs.dropProject('ages')
    assert.deepEqual([await texts('age', '', 'ages'), (await logs.volume('ages')).bytes], [[], 0])
    // What still ran then is not the log of another project of this name.
    write('age', 'late', { project: 'ages', invocationId: uuidv7(Date.now() - 1_000) })
    write('age', 'new', { project: 'ages', invocationId: uuidv7(Date.now() + 1_000) })
    assert.deepEqual(await texts('age', '', 'ages'), ['new'])
  })
  it(`takes a limit up to LIMITS.logPage and none past it`, async () => {
    await ask('f', `limit=${LIMITS.logPage.value}`)
    await assert.rejects(ask('f', `limit=${LIMITS.logPage.value + 1}`), (error) => error instanceof MayflyError && error.status === 400)
  })
  for (const [functionName, query] of [
    ['f', 'limit=0'],
    ['f', 'limit=-1'],
    ['f', 'limit=1e3'],
    ['f', 'limit='],
    ['f', 'after=x'],
    ['f', 'after=9999999999999999999'],
    ['f', 'after=1%27'],
    ['f', 'invocation=x'],
    ['a\0b', ''],
    ['x'.repeat(201), ''],
  ] as const) {
    it(`refuses ${JSON.stringify(functionName.slice(0, 8))} ${query}`, () =>
      assert.rejects(ask(functionName, query), (error) => error instanceof MayflyError && error.code === 'bad_request'))
  }
})

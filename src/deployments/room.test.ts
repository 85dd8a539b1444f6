import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { type Crash, noCrash } from '../core/crash.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import { Sealer } from '../core/seal.ts'
import { Stays } from '../core/stays.ts'
import { insertProject, updateProjectState } from '../core/store.ts'
import type { QueueSpec } from '../core/queue-spec.ts'
import type { TriggerSpec } from '../core/trigger-spec.ts'
import { Artefacts, FunctionsService } from '../functions/index.ts'
import { makeZip } from '../functions/zip-fixture.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Migrations } from '../migrations/index.ts'
import { queueDifferences } from '../queues/index.ts'
import { SiteFiles, Sites } from '../sites/index.ts'
import { type Desired, type DesiredBucket, parseDocument, parseSize } from './document.ts'
import { type BucketsOfDeployment, type Change, type QueuesOfDeployment, sameTriggers, type TriggersOfDeployment, type UrlsOfDeployment } from './plan.ts'
import { Deployments } from './service.ts'

const ONE = 'one' as ProjectRef
const sha = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex')
const code =
  (wanted: string, words = /./) =>
  (error: unknown) =>
    error instanceof MayflyError && error.code === wanted && words.test(error.message)
const zipOf = (answer: number) => makeZip([{ name: 'index.js', data: `exports.handler = async () => ${answer}` }])

/** The narrow faces of two rooms, as far as a deployment sees them. */
const madeBuckets = new Map<string, DesiredBucket>()
const buckets: BucketsOfDeployment = {
  get: async (_project, name) => madeBuckets.get(name) ?? null,
  ensure: async (_project, bucket) => void madeBuckets.set(bucket.name, bucket),
}
const madeQueues = new Map<string, QueueSpec>()
/** Those that have messages. */
const full = new Set<string>()
const queues: QueuesOfDeployment = {
  differences: (_project, { name, spec }) => {
    const now = madeQueues.get(name)
    return now ? queueDifferences(now, spec) : null
  },
  ensure: async (_project, { name, spec }) => {
    assert.ok(spec.deadLetter === undefined || madeQueues.has(spec.deadLetter.queue), 'what takes dead letters is there first')
    madeQueues.set(name, spec)
  },
  isEmpty: async (_project, name) => (madeQueues.has(name) ? !full.has(name) : null),
  remove: async (_project, name) => void (full.has(name) || madeQueues.delete(name)),
}
const madeTriggers = new Map<string, readonly TriggerSpec[]>()
const triggers: TriggersOfDeployment = {
  get: async (_project, name) => madeTriggers.get(name) ?? [],
  list: async () => [...madeTriggers].flatMap(([name, list]) => list.map((spec) => ({ function: name, spec }))),
  warnings: async (_project, list) => list.flatMap(({ object, row }) => (object ? [`no ${object.bucket}`] : row ? [`no ${row.table}`] : [])),
  put: async (_project, name, list) => void (list.length > 0 ? madeTriggers.set(name, list) : madeTriggers.delete(name)),
}

const madeUrls = new Map<string, { auth: 'none' | 'iam'; stream: boolean }>()
const urls: UrlsOfDeployment = {
  get: async (_project, name) => madeUrls.get(name) ?? null,
  put: async (_project, name, url) => void (url === false ? madeUrls.delete(name) : madeUrls.set(name, url)),
}

let databases: EmbeddedDatabases
let close: () => Promise<void> = async () => {}
let functions: FunctionsService
let sites: Sites
let migrations: Migrations
let sealer: Sealer
let failing: string | null = null
let meanwhile: (() => Promise<unknown>) | null = null
/** Functions that are made now, and the most of them there were. */
const making = { now: 0, most: 0 }

const open = (crash: Crash = noCrash) =>
  new Deployments({
    control: databases.control,
    sealer,
    rooms: {
      functions: {
        find: (project, name) => functions.find(project, name),
        delete: (project, name) => functions.delete(project, name),
        warnings: (...given) => functions.warnings(...given),
        versions: functions.versions,
        aliases: functions.aliases,
        artefactBytes: (project, sha256) => functions.artefactBytes(project, sha256),
        put: async (...given) => {
          if (failing !== null && given[1].name === failing) throw new Error('the disk stumbled')
          const happens = meanwhile
          meanwhile = null
          await happens?.()
          making.most = Math.max(making.most, ++making.now)
          try {
            return await functions.put(...given)
          } finally {
            making.now--
          }
        },
      },
      buckets,
      triggers,
      urls,
      queues,
      sites,
      migrations,
    },
    clock: systemClock,
    log: silentLog,
    crash,
  })

before(async () => {
  const opened = await openTestDatabases()
  databases = opened.databases
  close = opened.close
  sealer = new Sealer(randomBytes(32))
  const id = uuidv7(systemClock.now())
  const dataKey = sealer.makeDataKey(id)
  sealer.useDataKey(id, dataKey)
  await insertProject(databases.control.sql, { id, ref: ONE, name: ONE, dataKey })
  await updateProjectState(databases.control.sql, ONE, 'active')
  const artefacts = new Artefacts({ root: path.join(opened.folder, 'artefacts') })
  await artefacts.recover()
  functions = new FunctionsService({
    control: databases.control,
    artefacts,
    sealer,
    clock: systemClock,
    log: silentLog,
    build: async () => {},
    retired: () => {},
  })
  const files = new SiteFiles(path.join(opened.folder, 'sites'))
  await files.recover()
  sites = new Sites({ control: databases.control, files, stays: new Stays(), clock: systemClock })
  await databases.ensureProject(ONE)
  migrations = new Migrations({ databases, clock: systemClock, served: async () => ['public'], changed: async () => {} })
  for (const answer of [1, 2]) await functions.storeArtefact(ONE, zipOf(answer))
  for (const text of ['page 1', 'page 2', 'style'])
    await sites.storeFile(
      ONE,
      sha(text),
      (async function* () {
        yield Buffer.from(text)
      })(),
    )
})
after(() => close())

interface Wanted {
  readonly functions?: readonly object[]
  readonly buckets?: readonly object[]
  readonly sites?: readonly object[]
  readonly queues?: readonly object[]
  readonly migrations?: readonly object[]
}
const document = (name: string, wanted: Wanted): Desired => parseDocument({ name, ...wanted }).desired
const fn = (name: string, more: object = {}) => ({ name, artefact: sha(zipOf(1)), ...more })
const page = (name: string, text: string, more: object[] = []) => ({ name, files: [{ path: 'index.html', sha256: sha(text) }, ...more] })
const told = (changes: readonly Change[]) => changes.map((one) => [one.action, one.kind, one.name, ...one.why].join(' '))
const WATCH = { object: { bucket: 'pictures', events: ['created'] } }
const state = async () => ({
  functions: (await functions.list(ONE, '', 100)).map((one) => `${one.name} ${one.artefact.slice(0, 8)} ${one.definition.memoryMb}`),
  sites: (await sites.list(ONE)).map((one) => `${one.name} ${one.artefact}`),
  buckets: [...madeBuckets.values()],
  triggers: [...madeTriggers],
  queues: [...madeQueues].toSorted(([a], [b]) => (a < b ? -1 : 1)),
})

describe('a deployment', () => {
  it('asked for at the moment at which a pass ends is reached too, however often', async () => {
    await using deployments = open()
    for (let n = 0; n < 40; n++) {
      const asked = await Promise.all([
        deployments.apply(ONE, 'often', document('often', { sites: [page('often', 'page 1')] }), 10_000),
        new Promise((resolve) => setTimeout(resolve, n % 8)).then(() =>
          deployments.apply(ONE, 'often', document('often', { sites: [page('often', 'page 2')] }), 10_000),
        ),
      ])
      assert.deepEqual(
        asked.map(({ state: reached }) => reached),
        ['reached', 'reached'],
        `round ${n}`,
      )
    }
    await deployments.apply(ONE, 'often', document('often', {}), 10_000)
    assert.deepEqual((await state()).sites, [])
  })
  it('that is replaced while it is being reached is reached as what replaced it', async () => {
    await using deployments = open()
    const other = open()
    await other[Symbol.asyncDispose]() // commits what it is asked for, and leaves the work to whoever looks
    meanwhile = () => other.apply(ONE, 'twice', document('twice', { sites: [page('twice', 'page 2')] }), 10_000)
    const asked = await deployments.apply(ONE, 'twice', document('twice', { functions: [fn('passing')] }), 10_000)
    assert.deepEqual([asked.state, asked.version, asked.reached], ['reached', 2, 2])
    assert.equal((await deployments.apply(ONE, 'twice', document('twice', {}), 10_000)).state, 'reached')
    assert.deepEqual([(await state()).sites, (await state()).functions], [[], []])
  })
  it('makes its queues, changes what is another in them, and removes what it has no more, but no messages', async () => {
    await using deployments = open()
    const plan = async (...wanted: object[]) => {
      const desired = document('mail', { queues: wanted })
      const { changes } = await deployments.plan(ONE, 'mail', desired)
      assert.equal((await deployments.apply(ONE, 'mail', desired, 10_000)).state, 'reached')
      return told(changes)
    }
    const mail = { name: 'mail', visibilitySeconds: 60, deadLetter: { queue: 'dead', maxReceives: 3 } }
    assert.deepEqual(await plan(mail, { name: 'dead' }, { name: 'brief' }), ['create queue dead', 'create queue mail', 'create queue brief'])
    // What is said as it is anyway is no change.
    assert.deepEqual(await plan(mail, { name: 'dead', delaySeconds: 0 }, { name: 'brief' }), ['same queue dead', 'same queue mail', 'same queue brief'])
    const changed = { ...mail, visibilitySeconds: 30, deadLetter: { queue: 'dead', maxReceives: 4 } }
    assert.deepEqual(await plan(changed, { name: 'dead' }, { name: 'brief' }), [
      'same queue dead',
      'update queue mail visibilitySeconds deadLetter',
      'same queue brief',
    ])
    full.add('mail')
    assert.deepEqual(await plan(), [
      'remove queue brief no longer in the project file',
      'remove queue dead no longer in the project file',
      'keep queue mail no longer in the project file a deploy removes no messages',
    ])
    assert.deepEqual([...madeQueues.keys()], ['mail'])
    full.clear()
    madeQueues.clear()
    // Two that give up messages to each other are told by who makes them.
    assert.equal(document('ring', { queues: ['a', 'b'].map((name, n) => ({ name, deadLetter: { queue: 'ba'[n], maxReceives: 1 } })) }).queues?.length, 2)
  })
  it('is planned, applied, and then changes nothing', async () => {
    await using deployments = open()
    const wanted = document('shop', {
      functions: [fn('resize', { triggers: [WATCH], environment: { SECRET: 'hidden' } }), fn('mail', { memory: 128 })],
      buckets: [{ name: 'pictures', public: true, fileSizeLimit: '10MB', allow: { anon: ['insert', 'select'] } }],
      sites: [page('shop', 'page 1', [{ path: 'style.css', sha256: sha('style') }])],
    })
    const all = ['create bucket pictures', 'create function resize', 'create trigger resize', 'create function mail', 'create site shop']
    const before = await deployments.plan(ONE, 'shop', wanted)
    assert.deepEqual([told(before.changes), before.missing, before.reached], [all, { artefacts: [], files: [] }, false])
    assert.deepEqual(await state(), { functions: [], sites: [], buckets: [], triggers: [], queues: [] }, 'a plan changes nothing')
    const reached = await deployments.apply(ONE, 'shop', wanted, 10_000)
    assert.deepEqual([reached.state, reached.version, reached.reached], ['reached', 1, 1])
    assert.deepEqual(madeBuckets.get('pictures')?.fileSizeLimit, 10_000_000)
    const after = await deployments.plan(ONE, 'shop', wanted)
    assert.deepEqual([told(after.changes), after.reached], [all.map((line) => line.replace('create', 'same')), true])
    const versions = (await functions.list(ONE, '', 10)).map((one) => one.versionId)
    const again = await deployments.apply(ONE, 'shop', wanted, 10_000)
    assert.deepEqual([again.state, again.version], ['reached', 1])
    assert.deepEqual(
      (await functions.list(ONE, '', 10)).map((one) => one.versionId),
      versions,
    )
    const [row] = await databases.control.sql<{ document: Buffer }>`select document from mayfly.deployment`
    assert.ok(!row?.document.includes('hidden'), 'environments are sealed where they are kept')
  })
  it('gives functions the addresses that are asked for, and leaves those of which nothing is said', async () => {
    await using deployments = open()
    const go = async (url?: unknown) => {
      const wanted = document('addresses', { functions: [fn('at', url === undefined ? {} : { url })] })
      const { changes } = await deployments.plan(ONE, 'addresses', wanted)
      assert.equal((await deployments.apply(ONE, 'addresses', wanted, 10_000)).state, 'reached')
      return [told(changes).filter((line) => line.includes(' url ')), madeUrls.get('at') ?? null]
    }
    const plain = { auth: 'none', stream: false }
    assert.deepEqual(await go(), [[], null])
    assert.deepEqual(await go(true), [['create url at'], plain])
    assert.deepEqual(await go({}), [['same url at'], plain])
    assert.deepEqual(await go({ auth: 'iam', stream: true }), [['update url at auth stream'], { auth: 'iam', stream: true }])
    assert.deepEqual(await go(), [[], { auth: 'iam', stream: true }])
    assert.deepEqual(await go(false), [['remove url at `url` is false'], null])
    assert.deepEqual(await go(false), [[], null])
    for (const url of ['yes', [], { auth: 'jwt' }, { cors: {} }]) assert.throws(() => document('addresses', { functions: [fn('at', { url })] }), /url/)
    assert.equal((await deployments.apply(ONE, 'addresses', document('addresses', {}), 10_000)).state, 'reached')
  })
  it('says what differs, and changes only that', async () => {
    await using deployments = open()
    const kept = (await functions.get(ONE, 'resize')).versionId
    const wanted = document('shop', {
      functions: [fn('resize', { triggers: [WATCH], environment: { SECRET: 'hidden' } }), fn('mail', { memory: 256, artefact: sha(zipOf(2)) })],
      buckets: [{ name: 'pictures', public: true, fileSizeLimit: '10MB', allow: { anon: ['select'] } }],
      sites: [page('shop', 'page 2')],
    })
    const plan = await deployments.plan(ONE, 'shop', wanted)
    assert.deepEqual(told(plan.changes), [
      'update bucket pictures allow',
      'same function resize',
      'same trigger resize',
      'update function mail code memory',
      'update site shop index.html style.css (gone)',
    ])
    assert.equal((await deployments.apply(ONE, 'shop', wanted, 10_000)).state, 'reached')
    assert.equal((await functions.get(ONE, 'resize')).versionId, kept)
    assert.equal((await functions.get(ONE, 'mail')).definition.memoryMb, 256)
  })
  it('removes what it had and has no more, but no bucket', async () => {
    await using deployments = open()
    await functions.put(ONE, (await functions.get(ONE, 'mail')).definition, {}, sha(zipOf(2)))
    await functions.create(ONE, { ...(await functions.get(ONE, 'mail')).definition, name: 'by-hand' }, {}, sha(zipOf(2)))
    const wanted = document('shop', { functions: [fn('mail', { artefact: sha(zipOf(2)) })] })
    const plan = await deployments.plan(ONE, 'shop', wanted)
    const gone = 'no longer in the project file'
    assert.deepEqual(told(plan.changes), [
      'same function mail',
      `keep bucket pictures ${gone} a deploy removes no objects`,
      `remove function resize ${gone}`,
      `remove trigger resize ${gone}`,
      `remove site shop ${gone}`,
    ])
    assert.equal((await deployments.apply(ONE, 'shop', wanted, 10_000)).state, 'reached')
    assert.deepEqual(
      (await functions.list(ONE, '', 10)).map((one) => one.name),
      ['by-hand', 'mail'],
      'what it has not made stays',
    )
    assert.deepEqual([[...madeBuckets.keys()], madeTriggers.size, (await sites.list(ONE)).length], [['pictures'], 0, 0])
    assert.deepEqual(told((await deployments.plan(ONE, 'shop', wanted)).changes), ['same function mail'])
  })
  it('does not take what another one owns', async () => {
    await using deployments = open()
    const wanted = document('other', { functions: [fn('fresh'), fn('mail')] })
    await assert.rejects(deployments.plan(ONE, 'other', wanted), code('deployment_conflict', /the function mail belongs to the deployment shop/))
    await assert.rejects(deployments.apply(ONE, 'other', wanted, 1000), code('deployment_conflict'))
    assert.equal(await functions.find(ONE, 'fresh'), null)
    await assert.rejects(deployments.get(ONE, 'other'), code('deployment_not_found'))
    assert.equal((await deployments.apply(ONE, 'other', document('other', { functions: [fn('fresh')] }), 10_000)).state, 'reached')
    await assert.rejects(
      deployments.apply(ONE, 'shop', document('shop', { functions: [fn('fresh')] }), 1000),
      code('deployment_conflict', /fresh belongs to the deployment other/),
    )
    assert.equal((await deployments.get(ONE, 'shop')).state, 'reached', 'what was refused changed nothing')
    await deployments.apply(ONE, 'other', document('other', {}), 10_000)
    assert.equal(await functions.find(ONE, 'fresh'), null)
  })
  it('refuses what was not uploaded before it changes anything', async () => {
    await using deployments = open()
    const wanted = document('lacks', { functions: [fn('lacks', { artefact: sha('never sent') })], sites: [page('lacks', 'never sent either')] })
    const { missing } = await deployments.plan(ONE, 'lacks', wanted)
    assert.deepEqual(missing, { artefacts: [sha('never sent')], files: [sha('never sent either')] })
    await assert.rejects(deployments.apply(ONE, 'lacks', wanted, 1000), code('bad_request', /2 artefacts and files were not uploaded/))
    await assert.rejects(deployments.get(ONE, 'lacks'), code('deployment_not_found'))
  })
  it('ends as failed where no repetition helps, and goes on from a later document', async () => {
    await using deployments = open()
    await databases.control.sql`update mayfly.site_file set bytes = ${LIMITS.siteBytes.value + 1} where sha256 = ${sha('page 2')}`
    const failed = await deployments.apply(ONE, 'fails', document('fails', { functions: [fn('first')], sites: [page('fails', 'page 2')] }), 10_000)
    assert.deepEqual([failed.state, failed.version, failed.reached], ['failed', 1, 0])
    // The route tells it as deployment_failed.
    assert.match(failed.error ?? '', /^site fails: files: a site may have/)
    const better = await deployments.apply(ONE, 'fails', document('fails', { functions: [fn('first')], sites: [page('fails', 'page 1')] }), 10_000)
    assert.deepEqual([better.state, better.version, better.reached, better.error], ['reached', 2, 2, null])
    await databases.control.sql`update mayfly.site_file set bytes = 6 where sha256 = ${sha('page 2')}`
  })
  it('is tried again where a fault passes, meanwhile says so, and does not wait when it is asked for again', async () => {
    await using deployments = open()
    failing = 'stumbles'
    const wanted = document('stumbles', { functions: [fn('stumbles')] })
    const waiting = await deployments.apply(ONE, 'stumbles', wanted, 300)
    assert.deepEqual([waiting.state, waiting.reached], ['applying', 0])
    assert.match((await deployments.get(ONE, 'stumbles')).error ?? '', /the disk stumbled/)
    failing = null
    assert.equal((await deployments.apply(ONE, 'stumbles', wanted, 10_000)).state, 'reached')
  })
  it('says what its triggers would wait for in vain, but for what it makes itself', async () => {
    await using deployments = open()
    const warned = async (more: Wanted) => {
      const triggers = [WATCH, { row: { table: 'public.later', events: ['insert'] } }]
      return (await deployments.plan(ONE, 'lacks', document('lacks', { functions: [fn('watches', { triggers })], ...more }))).warnings
    }
    assert.deepEqual(await warned({}), ['watches: no pictures', 'watches: no public.later'])
    assert.deepEqual(await warned({ buckets: [{ name: 'pictures' }] }), ['watches: no public.later'])
    assert.deepEqual(await warned({ migrations: [sql('1_later.sql', 'create table later ()')] }), ['watches: no pictures'])
    const one = document('lacks', { functions: [fn('watches', { triggers: [WATCH] })] }).functions[0]
    assert.ok(one)
    assert.deepEqual((await deployments.planFunction(ONE, one, null)).warnings, ['no pictures'])
    assert.deepEqual((await deployments.planFunction(ONE, { ...one, triggers: null }, null)).warnings, [])
  })
  it('makes a few functions at once, and tells the first in the file that cannot be made', async () => {
    await using deployments = open()
    making.most = 0
    const names = Array.from({ length: 12 }, (_, n) => `at-once-${n}`)
    const apply = (changed: Record<string, object> = {}) =>
      deployments.apply(ONE, 'at-once', document('at-once', { functions: names.map((name) => fn(name, changed[name])) }), 10_000)
    assert.equal((await apply()).state, 'reached')
    assert.equal(making.most, 4)
    const beyond = { layers: ['arn:aws:lambda:us-east-1:000000000000:layer:none:1'] }
    const failed = await apply({ 'at-once-5': beyond, 'at-once-4': beyond })
    assert.equal(failed.state, 'failed')
    assert.match(failed.error ?? '', /^function at-once-4: /)
  })
  it('ends at the last document when several are asked for at once', async () => {
    await using deployments = open()
    const asked = [128, 192, 256, 320].map((memory) => deployments.apply(ONE, 'many', document('many', { functions: [fn('many', { memory })] }), 10_000))
    await Promise.all(asked)
    const last = await deployments.get(ONE, 'many')
    assert.deepEqual([last.state, last.reached], ['reached', last.version])
    const plans = [128, 192, 256, 320].map(
      async (memory) => (await deployments.plan(ONE, 'many', document('many', { functions: [fn('many', { memory })] }))).reached,
    )
    assert.deepEqual((await Promise.all(plans)).filter((reached) => reached).length, 1)
    assert.equal((await functions.get(ONE, 'many')).definition.memoryMb, 128 + 64 * (await Promise.all(plans)).indexOf(true))
  })
})

const sql = (name: string, text: string) => ({ name, sql: text, checksum: sha(text) })
describe('a deployment with migrations', () => {
  it('shows those that have yet to run, runs them, and none twice', async () => {
    await using deployments = open()
    const tables = sql('1_t.sql', 'create table t (id int primary key)')
    const wanted = document('tables', { migrations: [tables, sql('2_t.sql', 'insert into t values (1)')] })
    const { changes } = await deployments.plan(ONE, 'tables', wanted)
    assert.deepEqual(
      changes.map(({ kind, name, action }) => `${action} ${kind} ${name}`),
      ['create migration 1_t.sql', 'create migration 2_t.sql'],
    )
    assert.equal((await deployments.apply(ONE, 'tables', wanted, 10_000)).state, 'reached')
    assert.equal((await deployments.apply(ONE, 'tables', wanted, 10_000)).state, 'reached')
    assert.deepEqual(await deployments.plan(ONE, 'tables', wanted), { changes: [], warnings: [], missing: { artefacts: [], files: [] }, reached: true })
    const changed = document('tables', { migrations: [{ ...tables, ...sql('1_t.sql', 'create table u ()') }] })
    await assert.rejects(deployments.plan(ONE, 'tables', changed), code('migration_changed', /1_t\.sql/))
    await assert.rejects(deployments.apply(ONE, 'tables', changed, 10_000), code('migration_changed', /1_t\.sql/))
    assert.equal((await deployments.get(ONE, 'tables')).state, 'reached', 'nothing was changed')
  })
  it('makes no function whose tables could not be made', async () => {
    await using deployments = open()
    const wanted = document('broken', { functions: [fn('of-tables')], migrations: [sql('7_x.sql', 'select 1;\nselect nowhere')] })
    const info = await deployments.apply(ONE, 'broken', wanted, 10_000)
    assert.equal(info.state, 'failed')
    assert.match(info.error ?? '', /^migration 7_x\.sql, line 2: .*SQLSTATE 42703/)
    assert.equal(await functions.find(ONE, 'of-tables'), null)
  })
})

describe('a deployment that is ended in the middle', () => {
  const MIGRATIONS = [
    sql('1_tables.sql', 'create table runs (of text)'),
    sql('2_first.sql', "insert into runs values ('first')"),
    sql('3_second.sql', "insert into runs values ('second')"),
  ]
  const first = document('ended', {
    functions: [fn('old'), fn('both')],
    buckets: [{ name: 'one' }],
    sites: [page('old-page', 'page 1'), page('both-page', 'page 1')],
    queues: [{ name: 'old-queue' }, { name: 'both-queue' }],
    migrations: MIGRATIONS.slice(0, 1),
  })
  const second = document('ended', {
    functions: [fn('both', { memory: 128, triggers: [WATCH] }), fn('new', { triggers: [WATCH] })],
    buckets: [{ name: 'one', public: true }, { name: 'two' }],
    sites: [page('both-page', 'page 2'), page('new-page', 'style')],
    queues: [{ name: 'both-queue', deadLetter: { queue: 'new-queue', maxReceives: 3 } }, { name: 'new-queue' }],
    migrations: MIGRATIONS,
  })
  it('is refused where two functions would answer the same, and a route moves from one to another', async () => {
    await using deployments = open()
    const on = (path: string): TriggerSpec => ({ http: { path, auth: 'key' } })
    const of = (name: string, ...routes: (readonly [string, string])[]) =>
      document(name, { functions: routes.map(([own, path]) => fn(own, { triggers: [on(path)] })), buckets: [], sites: [] })
    const conflict = { code: 'route_conflict', message: 'the route any method /a/{x} of r1 is the route any method /a/{y} of r2' }
    const twice = of('routes', ['r1', '/a/{x}'], ['r2', '/a/{y}'])
    await assert.rejects(deployments.plan(ONE, 'routes', twice), conflict)
    await assert.rejects(deployments.apply(ONE, 'routes', twice, 10_000), conflict)
    await deployments.apply(ONE, 'routes', of('routes', ['r1', '/a/{x}'], ['r2', '/b']), 10_000)
    await assert.rejects(deployments.plan(ONE, 'others', of('others', ['r3', '/b'])), { code: 'route_conflict' })
    const swapped = of('routes', ['r1', '/b'], ['r2', '/a/{x}'])
    assert.equal((await deployments.apply(ONE, 'routes', swapped, 10_000)).state, 'reached')
    const moved = of('routes', ['r4', '/b'])
    assert.equal((await deployments.apply(ONE, 'routes', moved, 10_000)).state, 'reached')
    await deployments.apply(ONE, 'routes', document('routes', { functions: [], buckets: [], sites: [] }), 10_000)
  })
  it('comes to the same after a start, whichever step was its last', async () => {
    const apply = async (wanted: Desired) => {
      await using deployments = open()
      assert.equal((await deployments.apply(ONE, 'ended', wanted, 10_000)).state, 'reached')
    }
    await apply(first)
    await apply(second)
    const right = await state()
    let step = 1
    for (let ended = true; ended; step++) {
      madeBuckets.delete('two')
      await migrations.reset(ONE)
      await apply(first)
      let left = step
      ended = false
      {
        const end = Promise.withResolvers<void>()
        await using deployments = open(() => {
          if (--left > 0) return
          ended = true
          end.resolve()
          throw new Error('the process ended here')
        })
        await Promise.race([deployments.apply(ONE, 'ended', second, 10_000), end.promise])
      }
      {
        await using deployments = open()
        await deployments.start()
        assert.equal((await deployments.apply(ONE, 'ended', second, 10_000)).state, 'reached')
        assert.ok((await deployments.plan(ONE, 'ended', second)).changes.every((one) => one.action === 'same'))
      }
      assert.deepEqual(await (await databases.openProject(ONE)).sql`select of from public.runs`, [{ of: 'first' }, { of: 'second' }])
      const now = await state()
      assert.deepEqual({ ...now, buckets: now.buckets.toSorted(byName) }, { ...right, buckets: right.buckets.toSorted(byName) }, `after step ${step}`)
    }
    assert.ok(step > 10, `${step} steps`)
  })
  it('goes on by itself after a start', async () => {
    {
      await using deployments = open(() => {
        throw new Error('the process ended here')
      })
      await deployments.apply(ONE, 'alone', document('alone', { functions: [fn('alone-1'), fn('alone-2')], sites: [page('alone', 'page 1')] }), 50)
    }
    assert.equal(await sites.find(ONE, 'alone'), null)
    await using deployments = open()
    await deployments.start()
    for (const deadline = performance.now() + 10_000; (await deployments.get(ONE, 'alone')).state !== 'reached'; ) {
      assert.ok(performance.now() < deadline)
      await systemClock.sleep(20)
    }
    assert.ok((await functions.find(ONE, 'alone-2')) && (await sites.find(ONE, 'alone')))
  })
})

describe('a project file', () => {
  const wrong: [string, unknown, RegExp][] = [
    ['no object', [], /must be a JSON object/],
    ['no name', {}, /^name: must be a text/],
    ['an unknown field', { name: 'x', bukets: [] }, /unknown settings: `bukets`/],
    ['a queue of a wrong name', { name: 'x', queues: [{ name: 'a b' }] }, /^queues\.a b\.name: must be 1 to 80 letters/],
    ['a wrong field of a queue', { name: 'x', queues: [{ name: 'q', retentionSeconds: 1 }] }, /^queues\.q\.retentionSeconds: must be 60 or more/],
    ['an unknown field of a queue', { name: 'x', queues: [{ name: 'q', fifo: true }] }, /^queues\.q: unknown settings: `fifo`/],
    ['two queues of a name', { name: 'x', queues: [{ name: 'q' }, { name: 'q' }] }, /two of them are named "q"/],
    ['a function without code', { name: 'x', functions: [{ name: 'f' }] }, /^functions\.f\.artefact: must be the SHA-256/],
    ['a wrong field of a function', { name: 'x', functions: [fn('f', { memory: 1 })] }, /^functions\.f\.memory: must be a whole number of MB from 64 to 10240/],
    ['an unknown field of a function', { name: 'x', functions: [fn('f', { memroy: 1 })] }, /^functions\.f: unknown settings: `memroy`/],
    [
      'a wrong trigger',
      { name: 'x', functions: [fn('f', { triggers: [{ object: {} }] })] },
      /^functions\.f\.triggers\.0\.object\.bucket: must be the name of a bucket/,
    ],
    ['two of one name', { name: 'x', functions: [fn('f'), fn('f')] }, /^functions: two of them are named "f"/],
    ['a wrong size', { name: 'x', buckets: [{ name: 'b', fileSizeLimit: '10 apples' }] }, /^buckets\.b\.fileSizeLimit: must be a size such as `10MB`/],
    ['a wrong role', { name: 'x', buckets: [{ name: 'b', allow: { everyone: ['select'] } }] }, /^buckets\.b\.allow: .*the roles are anon and authenticated/],
    ['a wrong right', { name: 'x', buckets: [{ name: 'b', allow: { anon: ['read'] } }] }, /^buckets\.b\.allow\.anon\.0: must be `select`/],
    [
      'a wrong type',
      { name: 'x', buckets: [{ name: 'b', allowedMimeTypes: ['jpeg'] }] },
      /^buckets\.b\.allowedMimeTypes\.jpeg|allowedMimeTypes\.0: must be a type/,
    ],
    ['a bucket that leads elsewhere', { name: 'x', buckets: [{ name: '../b' }] }, /must be 1 to 100 letters/],
    ['a site that is no host name', { name: 'x', sites: [page('A_b', '')] }, /it becomes a host name/],
    [
      'a path that leads out',
      { name: 'x', sites: [{ name: 's', files: [{ path: '../x', sha256: sha('') }] }] },
      /^sites\.s\.files\.0\.path: ".*" must be relative/,
    ],
  ]
  for (const [what, body, words] of wrong) it(`with ${what} is refused in words`, () => assert.throws(() => parseDocument(body), code('bad_request', words)))
  it('has up to deploymentParts functions, buckets and sites', () => {
    const many = (count: number) => ({ name: 'x', buckets: Array.from({ length: count }, (_, i) => ({ name: `b${i}` })) })
    assert.equal(parseDocument(many(LIMITS.deploymentParts.value)).desired.buckets.length, 200)
    assert.throws(() => parseDocument(many(LIMITS.deploymentParts.value + 1)), code('bad_request', /at most 200 buckets/))
  })
  it('tells sizes as people do', () => {
    for (const [text, bytes] of [
      ['10MB', 10_000_000],
      ['1.5 KiB', 1536],
      ['512', 512],
      ['2gb', 2_000_000_000],
      [7, 7],
    ] as const)
      assert.equal(parseSize(text), bytes)
    for (const text of ['', 'MB', '-1', '1e3', '0', '1.5', 0, -1, 1.5, Number.NaN, '9'.repeat(16)])
      if (text !== '1.5') assert.equal(parseSize(text), null, String(text))
  })
  it('finds no difference in the order of triggers and rights', () => {
    const trigger = (bucket: string, suffix: string[]): TriggerSpec => ({ object: { bucket, events: ['created'], suffix } })
    assert.ok(
      sameTriggers([trigger('a', ['.jpg', '.png']), trigger('b', ['.x'])], [trigger('b', ['.x']), trigger('a', ['.PNG', '.jpg']), trigger('b', ['.x'])]),
    )
    assert.ok(!sameTriggers([trigger('a', ['.jpg'])], [trigger('b', ['.jpg'])]))
    const rights = (anon: string[]) => parseDocument({ name: 'x', buckets: [{ name: 'b', allow: { anon, authenticated: [] } }] }).desired.buckets[0]?.allow
    assert.deepEqual(rights(['select', 'insert', 'select']), rights(['insert', 'select']))
  })
})

const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)

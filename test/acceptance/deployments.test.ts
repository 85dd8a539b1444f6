import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

let folder = ''
let node: RunningMayfly
/** Says where the node that runs is to die. */
let dies = ''
const start = () => startMayfly(path.join(folder, 'data'), ['--empty'], { MAYFLY_TEST_CRASH_AT: dies })

before(async () => {
  folder = makeFolder()
  dies = path.join(folder, 'dies')
  node = await start()
})
after(async () => {
  await node?.stop()
  removeFolder(folder)
})

interface Change {
  readonly kind: string
  readonly name: string
  readonly action: string
  readonly why: readonly string[]
}
interface Deployed {
  readonly deployment: string
  readonly changes: readonly Change[]
  readonly sites: readonly { name: string; url: string }[]
  readonly sentBytes: number
  readonly dryRun: boolean
}
const write = (root: string, files: Readonly<Record<string, unknown>>) => {
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
    writeFileSync(path.join(root, file), typeof content === 'string' ? content : JSON.stringify(content))
  }
}
const deploy = (root: string, ...more: string[]) => mayfly(['deploy', root, '--data', node.data, ...more])
const deployed = (root: string, ...more: string[]): Deployed => {
  const { code, stdout, stderr } = deploy(root, '--json', ...more)
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as Deployed
}
const manage = async (method: string, target: string, body: unknown = null) => {
  const response = await fetch(`${node.ready.url}/api/v1/projects/demo${target}`, {
    method,
    headers: { apikey: node.ready.project.secretKey },
    ...(body === null ? {} : { body: body instanceof Uint8Array ? (body as unknown as string) : JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, json: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> }
}
const versions = async () =>
  Object.fromEntries(((await manage('GET', '/functions')).json.functions as { name: string; versionId: string }[]).map((one) => [one.name, one.versionId]))
const told = (changes: readonly Change[]) => changes.map((one) => [one.action, one.kind, one.name, ...one.why].join(' '))
const page = (site: string, target: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const { port } = new URL(node.ready.url)
    const sent = request({ host: '127.0.0.1', port, path: target, headers: { host: `${site}.demo.localhost:${port}` } }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    sent.on('error', reject)
    sent.end()
  })

const storage = (target: string, init: RequestInit = {}) =>
  fetch(`${node.ready.project.url}/storage/v1/object/${target}`, { ...init, headers: { apikey: node.ready.project.publishableKey, ...init.headers } })
const upload = (at: string, text: string, type = 'text/plain') => storage(at, { method: 'POST', headers: { 'content-type': type }, body: text })
const read = (at: string) => storage(`public/${at}`)

const SHOP = {
  'mayfly.json': {
    $schema: '../docs/mayfly.schema.json',
    name: 'shop',
    functions: ['hello', { folder: 'watch', memory: 128, environment: { MODE: 'test' } }],
    buckets: [
      { name: 'pictures', public: true, fileSizeLimit: '1KB', allowedMimeTypes: ['text/plain'], allow: { anon: ['insert', 'select'] } },
      { name: 'inbox', allow: { anon: ['insert'] } },
    ],
    sites: [{ name: 'shop', folder: 'site', scripts: ['app.ts'] }],
  },
  'hello/index.ts': 'export const handler = async () => "hello"',
  'watch/index.ts': 'export const handler = async (event: object) => ({ mode: process.env.MODE, event })',
  'watch/mayfly.json': { name: 'watcher', memory: 512, triggers: [{ object: { bucket: 'pictures', suffix: ['.JPG', '.png'] } }] },
  'site/index.html': '<!doctype html><script type="module" src="app.js"></script>',
  'site/app.ts': "import { greet } from './greet.ts'\ndocument.title = greet('shop')",
  'site/greet.ts': 'export const greet = (name: string): string => `hello ${name}`',
  'site/images/a.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
  'site/.env': 'SECRET=1',
  'site/tsconfig.json': '{}',
  'site/node_modules/x/index.js': 'never',
}

describe('a project of functions, triggers, buckets and a site', () => {
  let root = ''
  before(() => {
    root = path.join(folder, 'shop')
    write(root, SHOP)
  })
  const ALL = [
    'create bucket pictures',
    'create bucket inbox',
    'create function hello',
    'create function watcher',
    'create trigger watcher',
    'create site shop',
  ]

  it('is planned without a change, in words too', async () => {
    const plan = deployed(root, '--dry-run')
    assert.deepEqual([told(plan.changes), plan.dryRun], [ALL, true])
    const { stdout } = deploy(root, '--dry-run')
    assert.match(stdout, /^shop: 2 functions, 2 buckets, 1 site, .*KiB$/m)
    for (const [, kind, name] of ALL.map((line) => line.split(' '))) assert.match(stdout, new RegExp(`^\\+ create +${kind} +${name}$`, 'm'))
    assert.match(stdout, /dry run/)
    assert.deepEqual(await versions(), {})
    assert.equal((await page('shop', '/')).status, 404)
  })
  it('is there after one deploy, with addresses', async () => {
    const { code, stdout, stderr } = deploy(root)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^Deployed\.$/m)
    assert.match(stdout, new RegExp(`^shop: http://shop\\.demo\\.localhost:${new URL(node.ready.url).port}/$`, 'm'))
    assert.equal(mayfly(['invoke', 'hello', '--data', node.data]).stdout, '"hello"\n')
    assert.deepEqual(JSON.parse(mayfly(['invoke', 'watcher', '--data', '{"a":1}', '--data', node.data]).stdout), { mode: 'test', event: { a: 1 } })
    const { triggers } = (await manage('GET', '/functions/watcher/triggers')).json as { triggers: { object: object }[] }
    assert.deepEqual(
      triggers.map((one) => one.object),
      [{ bucket: 'pictures', events: ['created'], suffix: ['.jpg', '.png'] }],
    )
    assert.equal((await upload('inbox/a.txt', 'x')).status, 200)
    assert.equal((await read('pictures/a.txt')).status, 400, 'nothing is there yet')
    assert.equal((await upload('pictures/a.txt', 'x'.repeat(1000))).status, 200)
    assert.equal((await read('pictures/a.txt')).status, 200)
    assert.match((await (await upload('pictures/b.txt', 'x'.repeat(1001))).text()) as string, /maximum allowed size/)
    assert.match((await (await upload('pictures/b.png', 'x', 'image/png')).text()) as string, /mime type/)
    assert.match((await page('shop', '/')).text, /app\.js/)
    assert.match((await page('shop', '/app.js')).text, /document\.title=/)
    assert.equal((await page('shop', '/images/a.svg')).status, 200)
    for (const target of ['/app.ts', '/greet.ts', '/.env', '/tsconfig.json', '/node_modules/x/index.js'])
      assert.equal((await page('shop', target)).status, 404, target)
    assert.match(mayfly(['sites', '--data', node.data]).stdout, /^shop +3 +.* http:\/\/shop\.demo\.localhost/m)
  })
  it('changes nothing the second time, from another copy of the folder too', async () => {
    const before = await versions()
    const copy = path.join(folder, 'copy')
    cpSync(root, copy, { recursive: true })
    for (const from of [root, copy]) {
      const again = deployed(from)
      assert.deepEqual([told(again.changes), again.sentBytes], [ALL.map((line) => line.replace('create', 'same')), 0])
    }
    assert.match(deploy(root).stdout, /^Nothing changes/m)
    assert.deepEqual(await versions(), before)
  })
  it('changes what was edited, says what and why, and leaves the rest', async () => {
    const before = await versions()
    write(root, { 'hello/index.ts': 'export const handler = async () => "hello again"' })
    const edited = deployed(root)
    assert.deepEqual(
      told(edited.changes).filter((line) => !line.startsWith('same')),
      ['update function hello code'],
    )
    const now = await versions()
    assert.equal(now.watcher, before.watcher)
    assert.notEqual(now.hello, before.hello)
    assert.equal(mayfly(['invoke', 'hello', '--data', node.data]).stdout, '"hello again"\n')

    write(root, { 'site/greet.ts': 'export const greet = (name: string): string => `good day ${name}`', 'site/new.txt': 'new' })
    assert.deepEqual(
      told(deployed(root).changes).filter((line) => !line.startsWith('same')),
      ['update site shop app.js new.txt'],
    )
    assert.match((await page('shop', '/app.js')).text, /good day/)

    write(root, { 'watch/mayfly.json': { name: 'watcher', timeout: 7, triggers: [{ object: { bucket: 'pictures', events: ['created', 'removed'] } }] } })
    assert.deepEqual(
      told(deployed(root).changes).filter((line) => !line.startsWith('same')),
      ['update function watcher timeout', 'update trigger watcher triggers'],
    )
    const after = await versions()
    assert.equal(after.hello, now.hello)

    const [pictures, inbox] = SHOP['mayfly.json'].buckets
    write(root, { 'mayfly.json': { ...SHOP['mayfly.json'], buckets: [{ ...pictures, fileSizeLimit: 2000, allow: { anon: ['select'] } }, inbox] } })
    assert.deepEqual(
      told(deployed(root).changes).filter((line) => !line.startsWith('same')),
      ['update bucket pictures fileSizeLimit allow'],
    )
    assert.equal((await upload('pictures/c.txt', 'x')).ok, false, 'the right is taken back')
    assert.equal((await read('pictures/a.txt')).status, 200)
    assert.deepEqual(await versions(), after)
  })
  it('brings back what was removed or changed by hand', async () => {
    assert.equal(mayfly(['rm', 'hello', '--data', node.data]).code, 0)
    assert.equal((await manage('PUT', '/functions/watcher/triggers', { triggers: [] })).status, 200)
    assert.equal((await manage('DELETE', '/sites/shop')).status, 204)
    const back = told(deployed(root).changes).filter((line) => !line.startsWith('same'))
    assert.deepEqual(back, ['create function hello', 'create trigger watcher', 'create site shop'])
    assert.equal(mayfly(['invoke', 'hello', '--data', node.data]).stdout, '"hello again"\n')
    assert.equal((await page('shop', '/')).status, 200)
  })
  it('owns what it made: another project file cannot have it', () => {
    const other = path.join(folder, 'other')
    write(other, { 'mayfly.json': { name: 'other', functions: ['hello'] }, 'hello/index.ts': 'export const handler = () => "mine"' })
    const refused = deploy(other)
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /the function hello belongs to the deployment shop.*\nGive it another name.*deployment_conflict/)
    assert.equal(mayfly(['invoke', 'hello', '--data', node.data]).stdout, '"hello again"\n')
  })
  it('removes what is in it no more, and nothing else', async () => {
    const alone = path.join(folder, 'alone')
    write(alone, { 'index.ts': 'export const handler = () => "alone"' })
    assert.equal(deploy(alone).code, 0)
    write(root, { 'mayfly.json': { name: 'shop', functions: ['hello'] } })
    const gone = 'no longer in the project file'
    const kept = (name: string) => `keep bucket ${name} ${gone} a deploy removes no objects`
    assert.deepEqual(told(deployed(root).changes), [
      'same function hello',
      kept('inbox'),
      kept('pictures'),
      `remove function watcher ${gone}`,
      `remove trigger watcher ${gone}`,
      `remove site shop ${gone}`,
    ])
    assert.equal((await read('pictures/a.txt')).status, 200, 'a bucket stays with its objects')
    assert.deepEqual(Object.keys(await versions()).toSorted(), ['alone', 'hello'])
    assert.equal((await page('shop', '/')).status, 404)
    assert.deepEqual(((await manage('GET', '/triggers')).json as { triggers: object[] }).triggers, [])
    assert.deepEqual(told(deployed(root).changes), ['same function hello'])
  })
  it('of a function with triggers in its own file needs no project', async () => {
    const own = path.join(folder, 'own-trigger')
    write(own, { 'index.ts': 'export const handler = () => 1', 'mayfly.json': { triggers: [{ object: { bucket: 'b' } }] } })
    assert.equal(deploy(own).code, 0)
    const now = async () => ((await manage('GET', '/functions/own-trigger/triggers')).json as { triggers: object[] }).triggers.length
    assert.equal(await now(), 1)
    assert.match(deploy(own).stdout, /Nothing changes/)
    write(own, { 'mayfly.json': { memory: 128 } })
    assert.equal(deploy(own).code, 0)
    assert.equal(await now(), 1, 'a file that says nothing of triggers leaves them')
    write(own, { 'mayfly.json': { memory: 128, triggers: [] } })
    assert.match(deploy(own).stdout, /^Deployed\.$/m)
    assert.equal(await now(), 0)
    assert.equal((await manage('DELETE', '/functions/own-trigger')).status, 204)
  })
})

describe('a wrong project file', () => {
  const wrong: [string, Record<string, unknown>, RegExp][] = [
    ['is no JSON', { 'mayfly.json': '{"functions":' }, /mayfly\.json is not JSON/],
    ['is no object', { 'mayfly.json': '[]' }, /must hold one JSON object/],
    ['has an unknown field', { 'mayfly.json': { functions: [], bukets: [] } }, /knows no field "bukets"/],
    ['has a name that is none', { 'mayfly.json': { name: 'a b', functions: [] } }, /name: must be 1 to 64 letters/],
    ['has functions that are no list', { 'mayfly.json': { functions: {} } }, /functions: must be a list of functions/],
    ['names a function without a folder', { 'mayfly.json': { functions: [{}] } }, /functions\.0: must be the name of a folder, or an object with "folder"/],
    ['names a folder that is not there', { 'mayfly.json': { functions: ['none'] } }, /none is not a folder/],
    ['names a folder outside', { 'mayfly.json': { functions: ['../shop/hello'] } }, /leads out of .*\.\.\/shop\/hello/],
    ['names itself', { 'mayfly.json': { functions: ['.'] } }, /tells of a project, where one of a function was to be/],
    ['has a field of a function that is none', { 'mayfly.json': { functions: [{ folder: 'f', memroy: 1 }] }, 'f/index.js': '' }, /knows no field "memroy"/],
    [
      'has a value that is none',
      { 'mayfly.json': { functions: [{ folder: 'f', memory: 1 }] }, 'f/index.js': '' },
      /functions\.f\.memory: must be a whole number of MB from 64 to 10240/,
    ],
    ['has a trigger that is none', { 'mayfly.json': { functions: [{ folder: 'f', triggers: [{}] }] }, 'f/index.js': '' }, /functions\.f\.triggers\.0/],
    ['has two functions of one name', { 'mayfly.json': { functions: ['f', { folder: 'f' }] }, 'f/index.js': '' }, /two of them are named "f"/],
    ['has a site without a folder', { 'mayfly.json': { sites: [{ name: 's' }] } }, /sites\.0\.folder: must be a text/],
    ['has a site with a name that is none', { 'mayfly.json': { sites: [{ name: 'S_1', folder: 's' }] }, 's/index.html': 'x' }, /it becomes a host name/],
    ['has a site outside', { 'mayfly.json': { sites: [{ name: 's', folder: '../../etc' }] } }, /leads out of/],
    ['has an empty site', { 'mayfly.json': { sites: [{ name: 's', folder: 's' }] }, 's/.hidden': 'x' }, /holds no file/],
    [
      'has a script that is not there',
      { 'mayfly.json': { sites: [{ name: 's', folder: 's', scripts: ['app.ts'] }] }, 's/index.html': 'x' },
      /there is no script app\.ts/,
    ],
    [
      'has a script that does not bundle',
      { 'mayfly.json': { sites: [{ name: 's', folder: 's', scripts: ['a.ts'] }] }, 's/a.ts': 'let x = (' },
      /scripts of the site s could not be bundled:\n {2}a\.ts:1:/,
    ],
    [
      'has a script in the place of a file',
      { 'mayfly.json': { sites: [{ name: 's', folder: 's', scripts: ['a.ts'] }] }, 's/a.ts': '1', 's/a.js': '2' },
      /a\.js would be written by a script/,
    ],
    [
      'has a bucket with a size that is none',
      { 'mayfly.json': { buckets: [{ name: 'b', fileSizeLimit: 'much' }] } },
      /buckets\.b\.fileSizeLimit: must be a size such as `10MB`/,
    ],
    [
      'has a bucket with a role that is none',
      { 'mayfly.json': { buckets: [{ name: 'b', allow: { all: ['select'] } }] } },
      /the roles are anon and authenticated/,
    ],
  ]
  for (const [index, [what, files, words]] of wrong.entries())
    it(`that ${what} is refused in words, and nothing is changed`, async () => {
      const root = path.join(folder, `wrong-${index}`)
      write(root, files)
      const before = await versions()
      const { code, stderr } = deploy(root)
      assert.equal(code, 1, stderr)
      assert.match(stderr, words)
      assert.doesNotMatch(stderr, /\n\s+at /)
      assert.deepEqual(await versions(), before)
    })
  it('publishes nothing that a link leads to', () => {
    const root = path.join(folder, 'linked')
    write(root, { 'mayfly.json': { sites: [{ name: 'linked', folder: 's' }] }, 's/index.html': 'x' })
    symlinkSync('/etc/passwd', path.join(root, 's', 'passwd'))
    const { code, stderr } = deploy(root)
    assert.equal(code, 1)
    assert.match(stderr, /passwd is neither a file nor a folder: a site takes no links/)
    const outside = path.join(folder, 'linked-whole')
    write(outside, { 'mayfly.json': { sites: [{ name: 'linked', folder: 's' }] } })
    symlinkSync('/etc', path.join(outside, 's'))
    const whole = deploy(outside)
    assert.equal(whole.code, 1)
    assert.match(whole.stderr, /leads out of .* by a link: s/)
  })
})

describe('the routes of deployments', () => {
  it('refuse what was not uploaded and a name that is not the one of the path, and know no deployment that never was', async () => {
    const sha256 = createHash('sha256').update('never sent').digest('hex')
    const lacking = { functions: [{ name: 'f', artefact: sha256 }] }
    assert.deepEqual((await manage('PUT', '/deployments/lacking', lacking)).json.code, 'bad_request')
    assert.deepEqual((await manage('PUT', '/deployments/a', { name: 'b' })).json.code, 'bad_request')
    assert.deepEqual((await manage('PUT', '/deployments/a', [])).json.code, 'bad_request')
    for (const name of ['lacking', 'a', '%00', '..%2f']) assert.deepEqual((await manage('GET', `/deployments/${name}`)).json.code, 'deployment_not_found', name)
    const plan = await manage('POST', '/deployments/plan', { name: 'lacking', ...lacking })
    assert.deepEqual(plan.json.missing, { artefacts: [sha256], files: [] })
  })
  it('tell a deployment that cannot be reached as deployment_failed, and where it stands', async () => {
    // Each file for itself may be that large, all together may not.
    const large = Buffer.alloc(50 * 1024 * 1024)
    const files: { path: string; sha256: string }[] = []
    const sha256 = createHash('sha256').update(large).digest('hex')
    assert.equal((await manage('PUT', `/site-files/${sha256}`, large)).status, 200)
    for (let i = 0; i < 11; i++) files.push({ path: `${i}.bin`, sha256 })
    const failed = await manage('PUT', '/deployments/large', { sites: [{ name: 'large', files }] })
    assert.deepEqual([failed.status, failed.json.code], [409, 'deployment_failed'])
    assert.match(String(failed.json.message), /^site large: files: a site may have 524288000 bytes/)
    const { deployment } = (await manage('GET', '/deployments/large')).json as { deployment: { state: string; reached: number } }
    assert.deepEqual([deployment.state, deployment.reached], ['failed', 0])
    assert.equal((await manage('PUT', '/deployments/large', {})).status, 200)
  })
})

describe('kill -9 in the middle of a deployment', () => {
  const many = Array.from({ length: 6 }, (_, i) => `part-${i}`)
  let sha256 = ''
  const body = () => ({ functions: many.map((name) => ({ name, artefact: sha256, memory: 128 })) })
  before(async () => {
    const zip = await zipOf({ 'index.mjs': 'export const handler = async () => 1' })
    sha256 = createHash('sha256').update(zip).digest('hex')
    assert.equal((await manage('PUT', `/artefacts/${sha256}`, zip)).status, 201)
  })
  for (const step of [1, 3, 6])
    it(`after its step ${step}: the next start goes on with it`, async () => {
      await manage('PUT', '/deployments/killed', {})
      assert.ok(!('part-0' in (await versions())))
      writeFileSync(dies, `afterDeployStep:${step}`)
      const gone = new Promise<void>((resolve) => node.child.once('exit', () => resolve()))
      await assert.rejects(manage('PUT', '/deployments/killed', body()), 'no answer came')
      await gone
      assert.notEqual(node.child.exitCode, 0, 'it was killed')
      rmSync(dies)
      node = await start()
      for (const deadline = performance.now() + 20_000; ; ) {
        const { deployment } = (await manage('GET', '/deployments/killed')).json as { deployment: { state: string } }
        if (deployment.state === 'reached') break
        assert.ok(performance.now() < deadline, JSON.stringify(deployment))
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      const there = await versions()
      for (const name of many) assert.ok(name in there, name)
      const plan = (await manage('POST', '/deployments/plan', { name: 'killed', ...body() })).json as { changes: Change[]; reached: boolean }
      assert.deepEqual([plan.changes.every((one) => one.action === 'same'), plan.reached], [true, true])
    })
  it('during the deploy of a folder: the same command again ends it', async () => {
    const root = path.join(folder, 'killed-folder')
    rmSync(root, { recursive: true, force: true })
    write(root, {
      'mayfly.json': {
        name: 'folder',
        functions: ['one', 'two'],
        queues: [{ name: 'mail', visibilitySeconds: 60, deadLetter: { queue: 'mail-dead', maxReceives: 3 } }, { name: 'mail-dead' }, { name: 'brief' }],
        sites: [{ name: 'folder', folder: 'site' }],
      },
      'one/index.js': 'exports.handler = async () => 1',
      'two/index.js': 'exports.handler = async () => 2',
      'site/index.html': 'folder',
    })
    writeFileSync(dies, 'afterDeployStep:2')
    const gone = new Promise<void>((resolve) => node.child.once('exit', () => resolve()))
    const cut = deploy(root)
    // A worker that had taken the connection may still say so before it ends too.
    assert.ok(cut.code === 3 || (cut.code === 1 && cut.stderr.includes('process_lost')), `${cut.code}: ${cut.stderr}`)
    await gone
    rmSync(dies)
    node = await start()
    assert.equal(deploy(root).code, 0)
    assert.equal(mayfly(['invoke', 'two', '--data', node.data]).stdout, '2\n')
    assert.equal((await page('folder', '/')).text, 'folder')
    assert.match(deploy(root).stdout, /^Nothing changes/m)
    const { queue } = (await manage('GET', '/queues/mail')).json as { queue: { settings: Record<string, unknown> } }
    assert.deepEqual([queue.settings.visibilitySeconds, queue.settings.deadLetter], [60, { queue: 'mail-dead', maxReceives: 3 }])
    // What is taken out goes with the next deploy, and messages of nobody.
    assert.equal((await manage('POST', '/queues/mail/messages', { body: 'kept' })).status, 202)
    write(root, { 'mayfly.json': { name: 'folder', functions: ['one', 'two'], queues: [{ name: 'mail-dead' }] } })
    const { code, stdout } = deploy(root)
    assert.equal(code, 0)
    assert.match(stdout, /^- remove +queue +brief/m)
    assert.match(stdout, /^! keep +queue +mail +.*a deploy removes no messages/m)
    assert.deepEqual([(await manage('GET', '/queues/brief')).status, (await manage('GET', '/queues/mail')).status], [404, 200])
  })
})

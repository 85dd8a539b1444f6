import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { createClient } from '@supabase/supabase-js'
import { copyApp, operatorOf, readLogs, runMayfly } from './cloud-fixture.ts'
import { Dev } from './dev-fixture.ts'
import { makeFolder, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'
import { type FakeRegistry, startRegistry } from './registry-fixture.ts'

const until = async (what: () => Promise<boolean>) => {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) if (await what()) return
  assert.fail('it did not come to that')
}

/** Packages that the registries have beside those of this checkout. */
function madePackages(folder: string) {
  const make = (name: string, version: string, more: object, files: Readonly<Record<string, string>>) => {
    const at = path.join(folder, `${name.replace('/', '+')}-${version}`)
    mkdirSync(at, { recursive: true })
    writeFileSync(path.join(at, 'package.json'), JSON.stringify({ name, version, ...more }))
    for (const [file, text] of Object.entries(files)) writeFileSync(path.join(at, file), text, { mode: 0o755 })
    return { [version]: at }
  }
  const pinned = (version: string) => make('pinned', version, {}, { 'index.js': `module.exports = '${version}'` })
  const copy = "#!/usr/bin/env node\nrequire('node:fs').cpSync(process.argv[2], process.argv[3], { recursive: true })\n"
  const platforms = Object.fromEntries(
    ['arm64', 'x64', 'ia32'].map((cpu) => [`native-${cpu}`, make(`native-${cpu}`, '1.0.0', { cpu: [cpu], os: ['linux'] }, {})]),
  )
  const optionalDependencies = Object.fromEntries(Object.keys(platforms).map((name) => [name, '1.0.0']))
  return {
    open: {
      pinned: { ...pinned('1.1.0'), ...pinned('1.0.0') },
      maker: make('maker', '1.0.0', { bin: { maker: 'copy.js' } }, { 'copy.js': copy }),
      native: make('native', '1.0.0', { optionalDependencies }, {}),
      ...platforms,
    },
    shop: { '@shop/price': make('@shop/price', '1.0.0', {}, { 'index.js': "module.exports = 'of the shop'" }) },
  }
}

/** Version 1.0.0 of packages, as pnpm writes it down. */
async function pnpmLock({ url }: FakeRegistry, ...names: readonly string[]): Promise<string> {
  const integrity = async (name: string) => {
    const { versions } = (await (await fetch(`${url}${name}`)).json()) as { versions: Record<string, { dist: { integrity: string } }> }
    return versions['1.0.0']?.dist.integrity
  }
  const wanted = names.map((name) => `      ${name}:\n        specifier: ${name === 'pinned' ? '^1.0.0' : '1.0.0'}\n        version: 1.0.0\n`)
  const found = await Promise.all(names.map(async (name) => `  ${name}@1.0.0:\n    resolution: {integrity: ${await integrity(name)}}\n`))
  const importers = `importers:\n  .:\n    dependencies:\n${wanted.join('')}`
  return `lockfileVersion: '9.0'\n${importers}packages:\n${found.join('')}snapshots:\n${names.map((name) => `  ${name}@1.0.0: {}\n`).join('')}`
}

/** As Yarn from version 2 on does. */
const YARN_LOCK = `__metadata:
  version: 8

"pinned@npm:^1.0.0":
  version: 1.0.0
  resolution: "pinned@npm:1.0.0"
  languageName: node
  linkType: hard

"scripted@npm:1.0.0":
  version: 1.0.0
  resolution: "scripted@npm:1.0.0"
  languageName: node
  linkType: hard

"scripts@workspace:.":
  version: 0.0.0-use.local
  resolution: "scripts@workspace:."
  dependencies:
    pinned: "npm:^1.0.0"
    scripted: "npm:1.0.0"
  languageName: unknown
  linkType: soft
`

/** The first file below a folder that holds a text. The node makes and removes some meanwhile. */
function holds(folder: string, text: string): string | null {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const at = path.join(folder, entry.name)
      const found = entry.isDirectory() ? holds(at, text) : entry.isFile() && readUnlessGone(at).includes(text) ? at : null
      if (found !== null) return found
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  return null
}
function readUnlessGone(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return Buffer.alloc(0)
  }
}

describe('an app of Azure, unchanged', () => {
  let folder = ''
  let app = ''
  let node: RunningMayfly
  let registry: FakeRegistry
  let shop: FakeRegistry
  let address = ''
  let keys: Record<string, string> = {}
  before(async () => {
    folder = makeFolder()
    const scripted = path.join(folder, 'scripted')
    mkdirSync(scripted)
    const install = `node -e "require('node:fs').writeFileSync('made.txt', 'made')"`
    writeFileSync(path.join(scripted, 'package.json'), JSON.stringify({ name: 'scripted', version: '1.0.0', scripts: { install } }))
    writeFileSync(path.join(scripted, 'index.js'), "module.exports = require('node:fs').existsSync(`${__dirname}/made.txt`) ? 'made' : 'not made'")
    const own = madePackages(path.join(folder, 'packages'))
    registry = await startRegistry({ scripted: { '1.0.0': scripted }, ...own.open })
    shop = await startRegistry(own.shop)
    node = await startMayfly(path.join(folder, 'data'), ['--empty', '--npm-registry', registry.url, '--npm-registries', new URL(shop.url).origin])
    // Without a lockfile, as its documentation's first steps leave it.
    app = copyApp('azure-shop', path.join(folder, 'azure-shop'), { lock: false, mayfly: { name: 'shop', environment: { BUS_QUEUE: 'bus' } } })
    const storage = createClient(node.ready.project.url, node.ready.project.secretKey).storage
    for (const bucket of ['photos', 'copies', 'prices']) assert.equal((await storage.createBucket(bucket)).error, null)
  })
  after(async () => {
    await node?.stop()
    await registry?.[Symbol.asyncDispose]()
    await shop?.[Symbol.asyncDispose]()
    removeFolder(folder)
  })

  const at = (...args: string[]) => runMayfly([...args, '--data', path.join(folder, 'data')])
  const logs = (name: string) => readLogs(node, name)
  const get = (where: string, init: RequestInit = {}) => fetch(`${address}${where}`, init)

  it('is found and deployed whole: its functions are those that it registers', async () => {
    const { code, stdout, stderr } = await at('deploy', app, '--json')
    assert.equal(code, 0, stderr)
    const done = JSON.parse(stdout) as { warnings: string[]; keys: Record<string, string>; changes: { kind: string; name: string; action: string }[] }
    keys = done.keys
    assert.deepEqual(Object.keys(keys), ['AZURE_FUNCTION_KEY', 'AZURE_MASTER_KEY'])
    const functions = done.changes.filter(({ kind, action }) => kind === 'function' && action === 'create').map(({ name }) => name)
    assert.deepEqual(functions.toSorted(), [
      'shop',
      'shop-again',
      'shop-flaky',
      'shop-forwards',
      'shop-nightly',
      'shop-onGrid',
      'shop-onMany',
      'shop-onNews',
      'shop-onOrder',
      'shop-onPhoto',
      'shop-onRows',
      'shop-tells',
    ])
    assert.ok(!done.warnings.some((text) => text.includes('shop-nightly')), 'the clock starts it')
    assert.ok(done.warnings.some((text) => /flaky: the schedule "%NIGHTLY%" names no time that comes/.test(text)))
    const shown = (await at('triggers')).stdout.split('\n').map((line) => line.split(/ {2,}/))
    assert.deepEqual(
      shown
        .slice(1)
        .filter(({ length }) => length > 1)
        .map((cells) => cells.map((cell) => cell.replace(/next \d{4}-\d\d-\d\dT03:00:00Z$/, 'next at three')))
        .toSorted(),
      [
        ['shop-again', 'bucket prices: created (again-* *.txt)', 'the node'],
        ['shop-forwards', 'queue in', 'the node'],
        ['shop-nightly', 'schedule 0 3 * * *', 'the node, next at three'],
        ['shop-onGrid', 'bus default', 'the node'],
        ['shop-onMany', 'queue many', 'the node'],
        ['shop-onNews', 'topic news (all)', 'the node'],
        ['shop-onOrder', 'queue orders', 'the node'],
        ['shop-onPhoto', 'bucket photos: created', 'the node'],
        ['shop-onRows', 'rows of public.c: insert, update', 'the node'],
        ['shop-tells', 'queue told', 'the node'],
      ],
    )
    assert.ok(!done.warnings.some((text) => text.includes('forwards')))
    assert.ok(done.warnings.some((text) => /tells: .* goes to the queue "no\.name", which is no name of one here/.test(text)))
    assert.ok(done.warnings.some((text) => /host\.json: "extensions\.http\.hsts" is not served/.test(text)))
    assert.ok(!done.warnings.some((text) => text.includes('onPhoto')))
    assert.ok(
      done.warnings.includes('shop-onRows: nothing starts it until there is the table public.c: make it by SQL, as `mayfly db new` and `mayfly db up` do.'),
    )
    assert.match((await at('secrets', 'ls')).stdout, /AZURE_MASTER_KEY/)
    const again = await at('deploy', app)
    assert.equal(again.code, 0, again.stderr)
    assert.match(again.stdout, /Nothing changes/)
    address = (/^shop: (http\S+)$/m.exec(again.stdout)?.[1] ?? '').replace(/\/$/, '')
    assert.notEqual(address, '')
    assert.doesNotMatch(again.stdout, new RegExp(keys.AZURE_MASTER_KEY as string))
  })

  it('answers at its routes, and asks for its keys', async () => {
    assert.equal(await (await get('/api/hello?name=Ann')).text(), 'Hello, Ann!')
    assert.equal(await (await get('/api/hello', { method: 'POST', body: 'Bo' })).text(), 'Hello, Bo!')
    const product = await get('/api/products/toys/12')
    assert.deepEqual(await product.json(), { category: 'toys', id: '12' })
    assert.equal(product.headers.get('x-from'), 'product')
    const newest = await get('/api/products/newest/1')
    assert.equal(newest.status, 201)
    assert.deepEqual(newest.headers.getSetCookie(), ['seen=1; SameSite=Lax'])
    assert.equal((await get('/api/nowhere')).status, 404)
    assert.equal((await get('/api/kept')).status, 401)
    assert.equal((await get(`/api/kept?code=${keys.AZURE_FUNCTION_KEY}`)).status, 200)
    const order = { method: 'POST', headers: { 'x-functions-key': keys.AZURE_MASTER_KEY as string }, body: '{"input":"{\\"id\\":7}"}' }
    assert.equal((await get('/admin/functions/onOrder', { ...order, headers: {} })).status, 401)
    assert.equal((await get('/admin/functions/onOrder', order)).status, 202)
    await until(async () => (await logs('shop')).includes('onOrder: order 7'))
    assert.equal((await get('/api/managed', { headers: { 'x-functions-key': keys.AZURE_FUNCTION_KEY as string } })).status, 401)
    assert.equal((await get('/api/managed', { headers: { 'x-functions-key': keys.AZURE_MASTER_KEY as string } })).status, 200)
    assert.deepEqual(await (await get('/api/hooked')).json(), { from: 'hook', said: 'own' })
    assert.equal((await get('/api/broken')).status, 500)
    await until(async () => /the shop is closed[\s\S]*src\/functions\/http\.js:34/.test(await logs('shop')))
  })

  it('is started by blobs, with blobs in and out, and by `mayfly invoke`', async () => {
    const storage = createClient(node.ready.project.url, node.ready.project.secretKey).storage
    assert.equal((await storage.from('prices').upload('latest.txt', Buffer.from('7'))).error, null)
    assert.equal((await storage.from('photos').upload('a b.txt', Buffer.from('abc'))).error, null)
    await until(async () => (await logs('shop-onPhoto')).includes('blob a b.txt: 3 bytes, price 7'))
    await until(async () => (await (await storage.from('copies').download('a b.txt')).data?.text()) === 'ABC')
    // What fails is tried again by the policy that the app states, and told which try it is.
    assert.equal((await storage.from('prices').upload('again-and.txt', Buffer.from('1'))).error, null)
    await until(async () => /again: and: try 2 of 2/.test(await logs('shop-again')))
    assert.match(
      await logs('shop-again'),
      /try undefined of undefined[\s\S]*try 1 of 2 after not yet at more\.js:\d+[\s\S]*try 2 of 2 after not yet at more\.js/,
    )
    assert.doesNotMatch(await logs('shop-again'), /azure-invoke|bootstrap\.mjs/)
    const order = await at('invoke', 'shop-onOrder', '--data', '{"id":4}', '--json')
    assert.equal((JSON.parse(order.stdout) as { payload: { body: string } }).payload.body, '{"shipped":4}')
    assert.equal((await at('invoke', 'shop-nightly', '--event', 'schedule')).code, 0)
    // By a topic: what the one function returns, the other is told.
    const told = await at('invoke', 'shop-tells', '--data', '["hot \\"news\\""]')
    assert.equal(told.code, 0, told.stderr)
    await until(async () => (await logs('shop-onNews')).includes('heard hot "news"'))
    const news = await at('invoke', 'shop-onNews', '--event', 'topic', '--body', 'today', '--json')
    assert.equal((JSON.parse(news.stdout) as { payload: { body: string } }).payload.body, 'news: today')
  })

  it('sends messages to queues that start its other functions, and keeps what fails too often beside', async () => {
    const { ready } = node
    const credentials = { accessKeyId: ready.accessKey.id, secretAccessKey: ready.accessKey.secret }
    const sqs = new SQSClient({ endpoint: ready.url, region: 'us-east-1', credentials })
    try {
      // From an address of HTTP to two queues: the one is made by that.
      assert.equal(await (await get('/api/orders/eu', { method: 'POST', body: '[{"id":"a"},{"id":"b"}]' })).text(), '2 orders')
      const QueueUrl = `${ready.url}/000000000000/orders-eu`
      const got: string[] = []
      await until(async () => {
        const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10 }))
        got.push(...Messages.map(({ Body = '' }) => Body))
        return got.length === 2
      })
      assert.deepEqual(got.toSorted(), ['{"id":"a"}', '{"id":"b"}'])
      // From queue to queue: what the one function returns starts the next.
      const sent = JSON.stringify([{ id: 'x' }, { id: 'bad' }])
      const passing = await at('invoke', 'shop-forwards', '--data', sent)
      assert.equal(passing.code, 0, passing.stderr)
      await until(async () => /order x, try 1/.test(await logs('shop-onOrder')))
      await until(async () => /given up after 3 tries; the message lies in the queue orders-poison/.test(await logs('shop-onOrder')))
      const poison = { QueueUrl: `${ready.url}/000000000000/orders-poison` }
      const { Messages = [] } = await sqs.send(new ReceiveMessageCommand(poison))
      assert.deepEqual(
        Messages.map(({ Body }) => Body),
        ['{"id":"bad"}'],
      )
    } finally {
      sqs.destroy()
    }
  })

  it('runs install scripts of the packages that it names and of no others, and installs what any lockfile says', async () => {
    const own = copyApp('azure-shop', path.join(folder, 'scripts'), { lock: false })
    rmSync(path.join(own, 'src', 'functions'), { recursive: true })
    writeFileSync(
      path.join(own, 'package.json'),
      JSON.stringify({ name: 'scripts', version: '1.0.0', main: 'src/index.js', dependencies: { pinned: '^1.0.0', scripted: '1.0.0' } }),
    )
    const body = "({ body: [require('scripted'), require('pinned'), ...require('node:fs').readdirSync(`${__dirname}/../notes`)].join() })"
    writeFileSync(path.join(own, 'src', 'index.js'), `require('@azure/functions').app.http('said', { handler: () => ${body} })`)
    mkdirSync(path.join(own, 'notes'))
    for (const name of ['.kept', 'kept.md', 'mine.md']) writeFileSync(path.join(own, 'notes', name), '')
    writeFileSync(path.join(own, '.funcignore'), 'notes/*.md\n!kept.md\n')
    for (const [installScripts, lock, said, packages] of [
      [[], {}, 'not made,1.1.0,.kept,kept.md', /install .*\d+ packages, as package\.json says: there is no lockfile/],
      [
        ['scripted'],
        { 'pnpm-lock.yaml': await pnpmLock(registry, 'pinned', 'scripted') },
        'made,1.0.0,.kept,kept.md',
        /install .*\d+ packages, by pnpm-lock\.yaml/,
      ],
      [[], { 'yarn.lock': YARN_LOCK }, 'not made,1.0.0,.kept,kept.md', /install .*\d+ packages, by yarn\.lock/],
    ] as const) {
      writeFileSync(path.join(own, 'mayfly.json'), JSON.stringify({ framework: 'azure', installScripts }))
      rmSync(path.join(own, 'pnpm-lock.yaml'), { force: true })
      for (const [name, text] of Object.entries(lock)) writeFileSync(path.join(own, name), text)
      const { code, stdout, stderr } = await at('deploy', own)
      assert.equal(code, 0, stderr)
      assert.match(stdout, packages)
      const answer = await fetch(`${node.ready.project.url}/functions/v1/scripts/api/said`, { headers: { apikey: node.ready.project.publishableKey } })
      assert.equal(await answer.text(), said)
    }
  })

  it('builds with what package.json says, from the registries of .npmrc, by yarn.lock, for this platform', async () => {
    const own = copyApp('azure-built', path.join(folder, 'built'), { lock: false })
    writeFileSync(path.join(own, '.npmrc'), `@shop:registry=${shop.url}\n//${new URL(shop.url).host}/:_authToken=\${SHOP_TOKEN}\n`)
    const deployed = await runMayfly(['deploy', own, '--json', '--data', path.join(folder, 'data')], { SHOP_TOKEN: 'hush-hush' })
    assert.equal(deployed.code, 0, deployed.stderr)
    assert.deepEqual(
      await (await fetch(`${node.ready.project.url}/functions/v1/built/api/built`, { headers: { apikey: node.ready.project.publishableKey } })).json(),
      {
        place: 'dist',
        price: 'of the shop',
        pinned: '1.0.0',
        native: ['native', `native-${process.arch}`],
        maker: false,
        hidden: [],
      },
    )
    assert.ok(shop.requests.length > 0)
    assert.ok(shop.requests.every((one) => one.method === 'GET' && one.authorization === 'Bearer hush-hush' && one.path.startsWith('/@shop/')))
    assert.ok(registry.requests.every((one) => one.authorization === null && !one.path.includes('@shop')))
    assert.equal(holds(path.join(folder, 'data'), 'hush-hush'), null, 'the key of a registry is nowhere')
    // Without its key it is refused before anything is sent.
    const without = await at('deploy', own)
    assert.notEqual(without.code, 0)
    assert.match(without.stderr, /asks for the variable SHOP_TOKEN, which is not set here/)
  })

  it('is developed: an edit is another answer of a function, and another function', async () => {
    const own = copyApp('azure-broken', path.join(folder, 'developed'), { lock: false })
    const file = path.join(own, 'src', 'index.js')
    const head = "import { app } from '@azure/functions'\n"
    writeFileSync(file, `${head}app.http('first', { handler: () => ({ body: 'one' }) })\n`)
    const dev = new Dev(own, { XDG_STATE_HOME: path.join(folder, 'state'), MAYFLY_URL: node.ready.url, MAYFLY_KEY: operatorOf(node) })
    try {
      const deployed = await dev.event('deployed')
      const ask = async () => await (await fetch(`${deployed.base}/functions/v1/developed/api/first`, { headers: { apikey: String(deployed.key) } })).text()
      assert.equal(await ask(), 'one')
      const from = dev.events.length
      writeFileSync(
        file,
        `${head}app.http('first', { handler: () => ({ body: 'two' }) })\napp.timer('second', { schedule: '0 * * * * *', handler: () => {} })\n`,
      )
      const again = await dev.event('deployed', undefined, from)
      assert.deepEqual(again.functions, ['developed', 'developed-second'])
      assert.equal(await ask(), 'two')
    } finally {
      dev.child.kill('SIGINT')
      await dev.ended
    }
  })

  it('loses the functions that it registers no more, and is refused by its own line when it does not load', async () => {
    const file = path.join(app, 'src', 'functions', 'events.js')
    rmSync(file)
    const { code, stdout, stderr } = await at('deploy', app, '--json')
    assert.equal(code, 0, stderr)
    const { changes } = JSON.parse(stdout) as { changes: { name: string; action: string }[] }
    assert.ok(changes.some(({ name, action }) => name === 'shop-nightly' && action === 'remove'))
    const left = (await at('ls')).stdout
    assert.doesNotMatch(left, /shop-nightly/)
    assert.match(left, /shop-again .*bucket\n[\s\S]*shop-onMany .*queue\n/)
    const broken = copyApp('azure-broken', path.join(folder, 'azure-broken'))
    const refused = await at('deploy', broken)
    assert.notEqual(refused.code, 0)
    assert.match(refused.stderr, /A function with id "first" has already been registered\.[\s\S]*src\/index\.js:4/)
    assert.doesNotMatch(refused.stderr, /azure-core|bootstrap\.mjs|node:internal/)
    // What was not sent: settings of one's own machine.
    assert.ok(!readFileSync(path.join(folder, 'data.stderr'), 'utf8').includes('never-sent'))
  })
})

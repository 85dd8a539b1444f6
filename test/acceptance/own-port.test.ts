import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer, type Server } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { clientOf, ownerOf } from './data-fixture.ts'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const JWT_SECRET = 'super-secret-jwt-token-with-at-least-32-characters-long'
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
function jwt(role: string): string {
  const claims = { iss: 'supabase', ref: 'abcdefgh', role, iat: 1_700_000_000, exp: Math.floor(Date.now() / 1_000) + 86_400 }
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `${text}.${createHmac('sha256', JWT_SECRET).update(text).digest('base64url')}`
}

/** Takes a port that nothing else gives out: those of outgoing connections begin above. */
async function takePort(from: number): Promise<Server & { readonly port: number }> {
  for (let port = from; port < from + 500; port++) {
    const server = createServer()
    const isOpen = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen({ host: '127.0.0.1', port }, () => resolve(true))
    })
    if (isOpen) return Object.assign(server, { port })
  }
  return assert.fail('there is no free port')
}
const free = (server: Server) => new Promise((resolve) => server.close(resolve))

describe('a port of a project of its own', () => {
  const folder = makeFolder()
  const data = path.join(folder, 'data')
  const anon = jwt('anon')
  const service = jwt('service_role')
  let node: RunningMayfly
  let port = 0
  let second = 0
  let operator = ''
  let foreign = { publishableKey: '', secretKey: '' }
  const run = (...args: string[]) => mayfly([...args, '--json', '--data', data])
  const cli = <T>(...args: string[]): T => {
    const done = run(...args)
    assert.equal(done.code, 0, `${args.join(' ')}: ${done.stderr}${done.stdout}`)
    return JSON.parse(done.stdout) as T
  }
  const own = () => `http://127.0.0.1:${port}`
  /** Says what no client would; on a connection of its own. */
  const ask = (target: string, headers: Record<string, string> = {}, method = 'GET', at = port) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port: at, path: target, method, headers: { connection: 'close', ...headers }, agent: false }, (answer) => {
        let body = ''
        answer.on('data', (chunk: Buffer) => {
          body += chunk.toString()
        })
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }))
        answer.on('error', reject)
      })
      asked.on('error', reject)
      asked.end(method === 'POST' ? '{}' : undefined)
    })
  /** The status of a refusal; 101 where it opens. */
  const knock = (target: string, headers: Record<string, string> = {}) =>
    new Promise<number>((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}${target}`, { headers })
      socket.once('unexpected-response', (_, answer) => {
        answer.destroy()
        resolve(answer.statusCode ?? 0)
      })
      socket.once('open', () => {
        socket.terminate()
        resolve(101)
      })
      socket.on('error', reject)
    })
  const readOperator = () => (JSON.parse(readFileSync(path.join(data, 'run.json'), 'utf8')) as { operatorToken: string }).operatorToken

  before(async () => {
    // A second process takes calls, and must know what came by such a port.
    node = await startMayfly(data, ['--empty', '--workers', '1'])
    operator = readOperator()
    const taken = [await takePort(21_000), await takePort(22_000)]
    ;[port, second] = taken.map((server) => server.port) as [number, number]
    await Promise.all(taken.map(free))
    const file = path.join(folder, 'keys.json')
    writeFileSync(file, JSON.stringify({ jwtSecret: JWT_SECRET, anonKey: anon, serviceRoleKey: service, port }))
    cli('projects', 'create', 'moved', '--import-keys', file)
    cli('projects', 'create', 'other', '--api-port', String(second))
    const { keys } = cli<{ keys: { kind: string; key: string }[] }>('keys', 'ls', '--reveal', '--project', 'other')
    const keyOf = (kind: string) => keys.find((one) => one.kind === kind)?.key as string
    foreign = { publishableKey: keyOf('publishable'), secretKey: keyOf('secret') }
    const app = path.join(folder, 'hello')
    mkdirSync(app)
    writeFileSync(path.join(app, 'index.mjs'), 'export default { fetch: async (request) => Response.json({ url: request.url, said: await request.text() }) }')
    cli('deploy', app, '--project', 'moved')
    const owner = await ownerOf(data, 'moved')
    await owner.query(`create table public.notes (id int generated always as identity primary key, text text, owner uuid default auth.uid());
      alter table public.notes enable row level security;
      create policy own on public.notes to authenticated using (owner = auth.uid()) with check (owner = auth.uid());
      grant all on public.notes to anon, authenticated, service_role`)
    await owner.end()
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  it('serves an app that moves in with its keys, at the root', async () => {
    const client = clientOf(own(), anon)
    const { data: signed, error } = await client.auth.signUp({ email: 'kim@example.com', password: 'long enough 1' })
    assert.equal(error, null)
    assert.equal((await client.auth.signInWithPassword({ email: 'kim@example.com', password: 'long enough 1' })).error, null)
    assert.equal((await client.auth.getUser()).data.user?.id, signed.user?.id)
    assert.equal((await client.from('notes').insert({ text: 'mine' })).error, null)
    assert.deepEqual((await client.from('notes').select('text,owner')).data, [{ text: 'mine', owner: signed.user?.id }])
    assert.deepEqual((await clientOf(own(), anon).from('notes').select('text')).data, [])
    // It is one project, by whatever way.
    assert.deepEqual((await clientOf(`${node.ready.url}/p/moved`, service).from('notes').select('text')).data, [{ text: 'mine' }])
    // Its issuer stays what the address of the project is.
    const [, claims = ''] = (signed.session?.access_token ?? '').split('.')
    assert.equal((JSON.parse(Buffer.from(claims, 'base64url').toString()) as { iss: string }).iss, `${node.ready.url}/p/moved/auth/v1`)

    const admin = clientOf(own(), service)
    assert.equal((await admin.storage.createBucket('files', { public: true })).error, null)
    assert.equal((await admin.storage.from('files').upload('a/b.txt', new Blob(['text']), { contentType: 'text/plain' })).error, null)
    assert.equal(await (await fetch(admin.storage.from('files').getPublicUrl('a/b.txt').data.publicUrl)).text(), 'text')

    const heard = Promise.withResolvers<unknown>()
    const joined = Promise.withResolvers<void>()
    const channel = client
      .channel('room', { config: { broadcast: { self: true } } })
      .on('broadcast', { event: 'said' }, ({ payload }) => heard.resolve(payload))
    channel.subscribe((status) => status === 'SUBSCRIBED' && joined.resolve())
    await joined.promise
    await channel.send({ type: 'broadcast', event: 'said', payload: { text: 'hello' } })
    assert.deepEqual(await heard.promise, { text: 'hello' })
    client.realtime.disconnect()

    // So many at once that the other process has some of them.
    const calls = await Promise.all(Array.from({ length: 12 }, (_, at) => client.functions.invoke('hello', { body: `call ${at}` })))
    assert.deepEqual(
      calls.map((call) => call.data as unknown),
      calls.map((_, at) => ({ url: `${own()}/hello`, said: `call ${at}` })),
    )
    const described = await ask('/rest/v1/', { apikey: service })
    assert.equal((JSON.parse(described.body) as { basePath: string }).basePath, '/rest/v1')
  })

  it('wakes its project', async () => {
    assert.equal(cli<{ project: { state: string } }>('projects', 'pause', 'moved').project.state, 'paused')
    assert.equal((await clientOf(own(), service).from('notes').select('text')).status, 200)
    const { project } = cli<{ project: { state: string; apiPort: number } }>('projects', 'show', 'moved')
    assert.deepEqual([project.state, project.apiPort], ['active', port])
  })

  it("opens nothing to another project's keys", async () => {
    for (const key of [foreign.publishableKey, foreign.secretKey, node.ready.project.secretKey]) {
      const paths = ['/rest/v1/notes', '/storage/v1/bucket', '/auth/v1/settings', '/functions/v1/hello']
      for (const target of paths) assert.equal((await ask(target, { apikey: key })).status, 401, `${target} ${key.slice(0, 10)}`)
      assert.equal(await knock(`/realtime/v1/websocket?apikey=${key}&vsn=1.0.0`), 401)
    }
    assert.equal((await ask('/rest/v1/notes', { apikey: anon }, 'GET', second)).status, 401)
    assert.equal(await knock(`/realtime/v1/websocket?apikey=${anon}&vsn=1.0.0`), 101)
  })

  it('reaches nothing of the node and of other projects, whoever asks', async () => {
    const keys = [{ authorization: `Bearer ${operator}` }, { apikey: foreign.secretKey }, { apikey: service }]
    const paths = [
      '/',
      '/health',
      '/ready',
      '/metrics',
      '/api/v1/status',
      '/api/v1/projects',
      '/api/v1/projects/moved',
      '/api/v1/projects/moved/keys',
      '/api/v1/projects/other/keys',
      '/2015-03-31/functions/',
      '/2015-03-31/functions/hello',
      '/lambda-url/abc/',
      '/p/other',
      '/p/other/rest/v1/notes',
      '/p/moved/rest/v1/notes',
      '/p/moved/p/other/rest/v1/notes',
      '//p/other/rest/v1/notes',
      '/../other/rest/v1/notes',
      '/%2e%2e/other/rest/v1/notes',
      '/..%2fother/rest/v1/notes',
    ]
    for (const headers of keys)
      for (const target of paths) {
        const { status, body } = await ask(target, headers)
        assert.equal(status, 404, `${target}: ${status} ${body}`)
        assert.match(body, /"not_found"/)
      }
    // What runs a function is looked at before by who hands it on.
    assert.equal((await ask('/2015-03-31/functions/hello/invocations', {}, 'POST')).status, 404)
    assert.equal((await ask('/p/other/functions/v1/hello', { apikey: foreign.secretKey }, 'POST')).status, 404)
    for (const target of [`http://127.0.0.1:${port}/p/other/rest/v1/notes`, `${node.ready.url}/api/v1/projects`, '*'])
      assert.equal((await ask(target, { authorization: `Bearer ${operator}` }, target === '*' ? 'OPTIONS' : 'GET')).status, 400, target)
    for (const target of ['/database/v1/websocket', '/inspect/v1/websocket?function=hello', '/p/other/realtime/v1/websocket'])
      for (const headers of keys) assert.equal(await knock(target, headers), 404, target)
  })

  it('is that of no host name', async () => {
    for (const host of ['evil.example', 'shop.other.localhost', 'shop.moved.localhost', 'abc.lambda-url.localhost', `127.0.0.1.evil.example:${port}`]) {
      assert.equal((await ask('/rest/v1/notes', { host, apikey: service })).status, 421, host)
      assert.equal((await ask('/functions/v1/hello', { host, apikey: service }, 'POST')).status, 421, host)
      assert.equal(await knock(`/realtime/v1/websocket?apikey=${service}&vsn=1.0.0`, { host }), 421, host)
    }
    // The console's name does not make it the console.
    const shown = await ask('/', { host: `console.localhost:${port}` })
    assert.equal(shown.status, 404)
    // And what another header says is nobody's word.
    assert.equal((await ask('/rest/v1/notes', { apikey: service, 'x-forwarded-host': 'evil.example', 'x-original-url': '/p/other' })).status, 200)
  })

  it('is refused where it is taken or none, and no project is left behind', async () => {
    const other = await takePort(23_000)
    const refuses = (wanted: string | number, words: RegExp) => {
      const { code, stderr } = run('projects', 'create', 'late', '--api-port', String(wanted))
      assert.notEqual(code, 0)
      assert.match(stderr, words)
    }
    refuses(other.port, /port_taken/)
    refuses(port, /port_taken/)
    refuses(new URL(node.ready.url).port, /port_taken/)
    const projectPort = { least: 1_024, most: 65_535 }
    refuses(projectPort.least - 1, /1024 to 65535/)
    refuses(projectPort.most + 1, /1024 to 65535/)
    refuses('80a', /whole number/)
    assert.match(run('projects', 'create', 'moved', '--api-port', String(other.port)).stderr, /project_exists/)
    const { projects } = cli<{ projects: { ref: string }[] }>('projects')
    assert.ok(!projects.some(({ ref }) => ref === 'late'))
    await free(other)
    assert.equal((await ask('/rest/v1/notes', { apikey: service })).status, 200)
  })

  it('is changed, given and taken away later, and the former one is closed with what is open on it', async () => {
    const third = await takePort(24_000)
    const set = (ref: string, wanted: string | number) => run('projects', 'set', ref, '--api-port', String(wanted))
    assert.match(set('moved', third.port).stderr, /port_taken/)
    assert.match(set('moved', second).stderr, /port_taken/)
    assert.match(set('moved', 80).stderr, /1024 to 65535/)
    assert.match(set('moved', '80a').stderr, /whole number/)
    assert.match(set('nowhere', third.port).stderr, /project_not_found/)
    await free(third)
    // What is refused leaves the one that there is, and its sockets.
    const socket = new WebSocket(`ws://127.0.0.1:${port}/realtime/v1/websocket?apikey=${service}&vsn=1.0.0`)
    await new Promise((resolve) => socket.once('open', resolve))
    const cut = new Promise((resolve) => socket.once('close', resolve))
    assert.match(mayfly(['projects', 'set', 'moved', '--api-port', String(third.port), '--data', data]).stdout, new RegExp(`port ${third.port} too`))
    await cut
    await assert.rejects(ask('/rest/v1/notes', { apikey: service }), { code: 'ECONNREFUSED' })
    assert.equal((await ask('/rest/v1/notes', { apikey: service }, 'GET', third.port)).status, 200)
    assert.equal((await ask('/rest/v1/notes', { apikey: foreign.secretKey }, 'GET', third.port)).status, 401)
    assert.match(mayfly(['projects', '--data', data]).stdout, new RegExp(`moved .* ${third.port}\n`))
    // Nobody but the operator moves it: a secret key neither.
    const patched = (key: string, body: object) =>
      fetch(`${node.ready.url}/api/v1/projects/moved`, { method: 'PATCH', headers: { apikey: key }, body: JSON.stringify(body) }).then(({ status }) => status)
    assert.deepEqual([await patched(service, { port: null }), await patched(foreign.secretKey, { port: null })], [401, 403])
    assert.equal(set('moved', 'none').code, 0)
    await assert.rejects(ask('/rest/v1/notes', { apikey: service }, 'GET', third.port), { code: 'ECONNREFUSED' })
    assert.equal(cli<{ project: { apiPort?: number } }>('projects', 'show', 'moved').project.apiPort, undefined)
    // At once, by two: one of them is last, and what is shown is what is open.
    await Promise.all([third.port, port].map((wanted) => fetch(`${node.ready.url}/api/v1/projects/moved`, { method: 'PATCH', headers: { authorization: `Bearer ${operator}` }, body: JSON.stringify({ port: wanted }) }))) // biome-ignore format: one line
    const shown = cli<{ project: { apiPort: number } }>('projects', 'show', 'moved').project.apiPort
    const other = shown === port ? third.port : port
    assert.equal((await ask('/rest/v1/notes', { apikey: service }, 'GET', shown)).status, 200)
    await assert.rejects(ask('/rest/v1/notes', { apikey: service }, 'GET', other), { code: 'ECONNREFUSED' })
    assert.equal(set('moved', port).code, 0)
    assert.equal((await ask('/rest/v1/notes', { apikey: service })).status, 200)
  })

  it('is opened again by the next start, which one that another program has does not keep from starting; and ends with the project', async () => {
    await node.stop()
    const squatter = await takePort(second)
    assert.equal(squatter.port, second)
    node = await startMayfly(data, ['--empty', '--workers', '1'])
    assert.match(node.stderr(), new RegExp(`"project":"other","port":${second},.*own port could not be opened`))
    assert.equal((await clientOf(own(), service).from('notes').select('text')).status, 200)
    assert.equal((await clientOf(`${node.ready.url}/p/other`, foreign.secretKey).storage.listBuckets()).error, null)
    // It is kept for it, all the same, and opened when the other program has gone.
    await free(squatter)
    const isServed = () =>
      ask('/rest/v1/', { apikey: foreign.secretKey }, 'GET', second).then(
        ({ status }) => status === 200,
        () => false,
      )
    while (!(await isServed())) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.match(run('projects', 'create', 'late', '--api-port', String(second)).stderr, /port_taken/)
    cli('projects', 'delete', 'moved', '--yes')
    await assert.rejects(ask('/rest/v1/notes', { apikey: service }), { code: 'ECONNREFUSED' })
    const { project } = cli<{ project: { apiPort: number } }>('projects', 'create', 'late', '--api-port', String(port))
    assert.equal(project.apiPort, port)
    assert.equal((await ask('/rest/v1/notes', { apikey: service })).status, 401)
  })
})

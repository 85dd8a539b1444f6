import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHmac, createSign, generateKeyPairSync } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { clientOf, ownerOf } from './data-fixture.ts'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'
import { until } from './photos.ts'

const JWT_SECRET = 'super-secret-jwt-token-with-at-least-32-characters-long'
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const ENDS = Math.floor(Date.now() / 1_000) + 86_400
/** As the apps that move bring them along. */
function jwt(claims: object, secret = JWT_SECRET, header: object = { alg: 'HS256', typ: 'JWT' }): string {
  const text = `${part(header)}.${part({ iss: 'supabase', iat: 1_700_000_000, exp: ENDS, ...claims })}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

describe('the keys of a project', () => {
  const folder = makeFolder()
  const data = path.join(folder, 'data')
  let node: RunningMayfly
  /** A login elsewhere. */
  const pair = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const jwks = createServer(({ url }, response) =>
    response
      .writeHead(url === '/jwks' ? 200 : 404)
      .end(JSON.stringify({ keys: [{ ...pair.publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'RS256', use: 'sig' }] })),
  )
  let issuerOrigin = ''
  const run = (...args: string[]) => mayfly([...args, '--json', '--data', data])
  const cli = <T>(...args: string[]): T => {
    const done = run(...args)
    assert.equal(done.code, 0, `${args.join(' ')}: ${done.stderr}${done.stdout}`)
    return JSON.parse(done.stdout) as T
  }
  const urlOf = (ref: string) => `${node.ready.url}/p/${ref}`
  const read = async (ref: string, key: string) => (await clientOf(urlOf(ref), key).from('notes').select('text').order('id')).status
  /** Asks on connections of its own, so that each process of the node is met. */
  const statuses = async (ref: string, key: string) =>
    new Set(
      await Promise.all(
        Array.from({ length: 12 }, async () => {
          const headers = { apikey: key, connection: 'close' }
          return (await fetch(`${urlOf(ref)}/functions/v1/hello`, { method: 'POST', headers, body: '{}' })).status
        }),
      ),
    )
  const table = async (ref: string) => {
    const owner = await ownerOf(data, ref)
    await owner.query(`create table public.notes (id int generated always as identity primary key, text text, owner uuid default auth.uid());
      alter table public.notes enable row level security;
      create policy own on public.notes to authenticated using (owner = auth.uid()) with check (owner = auth.uid());
      grant all on public.notes to anon, authenticated, service_role`)
    await owner.end()
  }

  before(async () => {
    // A second process that knows keys.
    await new Promise<void>((resolve) => jwks.listen(0, '127.0.0.1', resolve))
    issuerOrigin = `http://127.0.0.1:${(jwks.address() as AddressInfo).port}`
    node = await startMayfly(data, ['--empty', '--workers', '1', '--auth-issuer-origins', issuerOrigin])
    cli('projects', 'create', 'shop')
    const app = path.join(folder, 'hello')
    mkdirSync(app)
    writeFileSync(path.join(app, 'index.mjs'), 'export const handler = async () => "hello"')
    cli('deploy', app, '--project', 'shop')
  })
  after(async () => {
    await node?.stop()
    jwks.close()
    removeFolder(folder)
  })

  it('are rotated with an overlap, and one that is revoked is refused at once by every process', async () => {
    const { keys } = cli<{ keys: { id: string; kind: string; key: string }[] }>('keys', 'ls', '--reveal', '--project', 'shop')
    const [old] = keys.filter(({ kind }) => kind === 'secret')
    assert.ok(old)
    assert.deepEqual(await statuses('shop', old.key), new Set([200]))
    const { key } = cli<{ key: string }>('keys', 'rotate', 'secret', '--overlap', '24h', '--project', 'shop')
    assert.deepEqual(await statuses('shop', old.key), new Set([200]))
    assert.deepEqual(await statuses('shop', key), new Set([200]))
    const listed = cli<{ keys: { id: string; shown: string; endsAt: string | null; key?: string }[] }>('keys', 'ls', '--project', 'shop').keys
    assert.equal(listed.length, 3)
    const ends = Date.parse(listed.find(({ id }) => id === old.id)?.endsAt ?? '')
    assert.ok(Math.abs(ends - Date.now() - 86_400_000) < 600_000)
    assert.ok(listed.every((one) => one.key === undefined && one.shown !== key))
    cli('keys', 'revoke', old.id, '--project', 'shop')
    assert.deepEqual(await statuses('shop', old.key), new Set([401]))
    assert.deepEqual(await statuses('shop', key), new Set([200]))
    // Without an overlap the former ones are out at once too.
    const { key: next } = cli<{ key: string }>('keys', 'rotate', 'secret', '--overlap', '0', '--project', 'shop')
    assert.deepEqual(await statuses('shop', key), new Set([401]))
    assert.deepEqual(await statuses('shop', next), new Set([200]))
    const { id } = cli<{ keys: { id: string; kind: string }[] }>('keys', 'ls', '--project', 'shop').keys.find(({ kind }) => kind === 'secret') ?? { id: '' }
    assert.match(run('keys', 'revoke', id, '--project', 'shop').stderr, /key_last/)
    assert.match(node.stderr(), /"audit":true.*was revoked/)
    assert.ok(![old.key, key, next].some((text) => node.stderr().includes(text)))
  })

  it('end the sockets of who came in by one that is revoked', async () => {
    const made = cli<{ id: string; key: string }>('keys', 'new', 'publishable', '--project', 'shop')
    const client = clientOf(urlOf('shop'), made.key)
    const channel = client.channel('room')
    const joined = Promise.withResolvers<void>()
    const left = Promise.withResolvers<void>()
    channel.subscribe((status) => {
      if (status === 'SUBSCRIBED') joined.resolve()
      else left.resolve()
    })
    await joined.promise
    cli('keys', 'revoke', made.id, '--project', 'shop')
    await left.promise
    client.realtime.disconnect()
  })

  it('of the older form open any project that asks for them, and no other, until they are taken away', async () => {
    const legacy = cli<{ anonKey: string; serviceRoleKey: string }>('keys', 'legacy', '--project', 'shop')
    const { stdout: told } = mayfly(['projects', 'create', 'other', '--data', data])
    assert.equal(
      told,
      `Made the project other at ${urlOf('other')}.\nIts keys: npx mayfly keys --project other. Deploy to it: npx mayfly deploy <folder> --project other\n`,
    )
    await table('shop')
    await table('other')
    assert.equal(await read('shop', legacy.serviceRoleKey), 200)
    assert.equal(await read('shop', legacy.anonKey), 200)
    assert.equal(await read('other', legacy.serviceRoleKey), 401)
    assert.deepEqual(await statuses('shop', legacy.anonKey), new Set([200]))
    cli('keys', 'legacy', 'revoke', '--yes', '--project', 'shop')
    assert.equal(await read('shop', legacy.serviceRoleKey), 401)
    assert.deepEqual(await statuses('shop', legacy.anonKey), new Set([401]))
  })

  it('come along when an app moves in: keys, secret and the tokens of its users hold unchanged', async () => {
    const file = path.join(folder, 'supabase.env')
    const anon = jwt({ role: 'anon', ref: 'abcdefgh' })
    const service = jwt({ role: 'service_role', ref: 'abcdefgh' })
    const publishable = `sb_publishable_${'p'.repeat(22)}_12345678`
    writeFileSync(
      file,
      `# Secrets\nPOSTGRES_PASSWORD=none-of-ours\nJWT_SECRET="${JWT_SECRET}"\nANON_KEY=${anon}\nexport SERVICE_ROLE_KEY=${service}\nSUPABASE_PUBLISHABLE_KEY=${publishable}\n`,
    )
    cli('projects', 'create', 'moved', '--import-keys', file)
    await table('moved')
    const sub = '6f9619ff-8b86-4d11-b42d-00c04fc964ff'
    const userToken = jwt({ role: 'authenticated', sub, aud: 'authenticated', iss: 'https://abcdefgh.supabase.co/auth/v1' })
    const user = clientOf(urlOf('moved'), anon, { global: { headers: { authorization: `Bearer ${userToken}` } } })
    assert.equal((await user.from('notes').insert({ text: 'mine' })).error, null)
    assert.deepEqual((await user.from('notes').select('text,owner')).data, [{ text: 'mine', owner: sub }])
    assert.deepEqual((await clientOf(urlOf('moved'), anon).from('notes').select('text')).data, [])
    assert.deepEqual((await clientOf(urlOf('moved'), publishable).from('notes').select('text')).data, [])
    assert.deepEqual((await clientOf(urlOf('moved'), service).from('notes').select('text')).data, [{ text: 'mine' }])
    assert.equal((await clientOf(urlOf('moved'), service).storage.createBucket('files')).error, null)
    const socket = clientOf(urlOf('moved'), anon)
    const joined = Promise.withResolvers<void>()
    socket.channel('room').subscribe((status) => status === 'SUBSCRIBED' && joined.resolve())
    await joined.promise
    socket.realtime.disconnect()
    // Nobody else's secret, no changed algorithm, no other project.
    assert.equal(await read('moved', jwt({ role: 'service_role' }, 'another-secret-that-is-long-enough-to-be-one')), 401)
    // A role of a project's own, one of the node's and one of PostgreSQL's: in the words for a role that is not there.
    for (const role of ['shop_admin', 'postgres', 'authenticator', 'supabase_auth_admin', 'pg_read_all_data']) {
      const answer = await fetch(`${urlOf('moved')}/rest/v1/notes`, { headers: { apikey: anon, authorization: `Bearer ${jwt({ role, sub })}` } })
      const body = { code: '22023', details: null, hint: null, message: `role "${role}" does not exist` }
      assert.deepEqual([answer.status, answer.headers.get('proxy-status'), await answer.json()], [401, 'PostgREST; error=22023', body])
    }
    assert.equal(await read('moved', `${part({ alg: 'none', typ: 'JWT' })}.${part({ role: 'service_role', exp: ENDS })}.`), 401)
    assert.equal(await read('shop', service), 401)
    // What was brought along is shown again as it came.
    assert.equal(cli<{ serviceRoleKey: string }>('keys', 'legacy', '--project', 'moved').serviceRoleKey, service)
    assert.ok(!node.stderr().includes(JWT_SECRET))
  })

  it("of another issuer: its users are a project's own from the command on, by every process, until it is trusted no more", async () => {
    const issuer = 'https://login.example.com'
    const sign = (claims: object = {}) => {
      const text = `${part({ alg: 'RS256', typ: 'JWT', kid: 'k1' })}.${part({ iss: issuer, aud: 'shop-app', sub: '0196f3a0-0000-7000-8000-000000000001', role: 'authenticated', exp: ENDS, ...claims })}`
      return `${text}.${createSign('sha256').update(text).sign(pair.privateKey, 'base64url')}`
    }
    const { keys } = cli<{ keys: { kind: string; key: string }[] }>('keys', 'ls', '--reveal', '--project', 'shop')
    const publishable = keys.find(({ kind }) => kind === 'publishable')?.key as string
    const asUser = async (token: string, ref = 'shop', key = publishable) =>
      (await fetch(`${urlOf(ref)}/rest/v1/notes`, { headers: { apikey: key, authorization: `Bearer ${token}` } })).status
    const called = async (token: string) =>
      new Set(await Promise.all(Array.from({ length: 8 }, async () => (await fetch(`${urlOf('shop')}/functions/v1/hello`, { method: 'POST', headers: { apikey: publishable, authorization: `Bearer ${token}`, connection: 'close' }, body: '{}' })).status))) // biome-ignore format: a line
    const own = ['--project', 'shop']
    const plain = (...args: string[]) => mayfly(['keys', ...args, ...own, '--data', data])
    assert.equal(plain('issuers').stdout, 'The project shop trusts its own login alone.\n')
    assert.equal(await asUser(sign()), 401)
    // The issuer is in this process, and is asked for its keys meanwhile.
    const trust = (jwks: string) =>
      promisify(execFile)(process.execPath, [
        path.join(ROOT, 'bin', 'mayfly.js'),
        'keys',
        'trust',
        issuer,
        '--audience',
        'shop-app',
        '--jwks',
        jwks,
        ...own,
        '--data',
        data,
      ])
    const mistyped = await trust(`${issuerOrigin}/nothing`)
    assert.match(mistyped.stderr, /keys could not be read just now.*it answers 404/)
    assert.deepEqual(await trust(`${issuerOrigin}/jwks`), { stdout: mistyped.stdout, stderr: '' })
    assert.equal(mistyped.stdout, `shop takes the users of ${issuer} for its own.\n`)
    assert.match(plain('issuers').stdout, new RegExp(`^ISSUER +AUDIENCE +KEYS AT\n${issuer} +shop-app +${issuerOrigin}/jwks\n$`))
    const [told, ...more] = cli<{ issuers: { issuer: string; audience: string; jwksUrl: string }[] }>('keys', 'issuers', ...own).issuers
    assert.deepEqual([told?.issuer, told?.audience, told?.jwksUrl, more], [issuer, 'shop-app', `${issuerOrigin}/jwks`, []])
    assert.equal(await asUser(sign()), 200)
    assert.deepEqual(await called(sign()), new Set([200]))
    const client = clientOf(urlOf('shop'), publishable, { accessToken: async () => sign() })
    assert.equal((await client.from('notes').insert({ text: 'from elsewhere' })).error, null)
    assert.deepEqual((await client.from('notes').select('text')).data, [{ text: 'from elsewhere' }])
    // Pinned: issuer, audience, role, project.
    for (const claims of [{ aud: 'another' }, { iss: `${issuer}/` }, { role: 'service_role' }, { exp: 1 }]) assert.equal(await asUser(sign(claims)), 401)
    const { keys: others } = cli<{ keys: { kind: string; key: string }[] }>('keys', 'ls', '--reveal', '--project', 'other')
    assert.equal(await asUser(sign(), 'other', others.find(({ kind }) => kind === 'publishable')?.key), 401)
    assert.equal(plain('trust', issuer).code, 2)
    assert.equal(plain('trust', issuer, '--audience', 'a', '--jwks', 'ftp://a/b').code, 1)
    assert.equal(plain('distrust', 'https://nobody.example').code, 5)
    assert.equal(plain('distrust', issuer).stdout, `shop trusts ${issuer} no more.\n`)
    assert.equal(await asUser(sign()), 401)
    assert.deepEqual(await called(sign()), new Set([401]))
  })

  it('that do not fit are refused, and leave no project behind', async () => {
    const file = path.join(folder, 'bad.json')
    const refuses = (keys: object, words: RegExp) => {
      writeFileSync(file, JSON.stringify(keys))
      const { code, stderr } = run('projects', 'create', 'bad', '--import-keys', file)
      assert.equal(code, words.source === 'key_taken' ? 1 : 2)
      assert.match(stderr, words)
      assert.ok(!stderr.includes(JWT_SECRET))
    }
    refuses({ jwtSecret: 'short' }, /jwtSecret/)
    refuses({ JWT_SECRET, ANON_KEY: jwt({ role: 'service_role' }) }, /--import-keys .*: ANON_KEY: it is a key of the role "service_role", not of anon\n/)
    refuses({ JWT_SECRET, anonKey: `${jwt({ role: 'anon' })}x` }, /: anonKey: it is signed by another secret than JWT_SECRET\n/)
    refuses({ anonKey: jwt({ role: 'anon' }) }, /jwtSecret/)
    refuses({ secretKey: 'sb_publishable_xxxxxxxxxxxxxxxxxxxxxx' }, /secretKey/)
    refuses({ publishableKey: `sb_publishable_${'p'.repeat(22)}_12345678` }, /key_taken/)
    writeFileSync(file, 'PORT=80\n')
    assert.match(run('projects', 'create', 'bad', '--import-keys', file).stderr, /names none of/)
    writeFileSync(file, '{"jwtSecret": "super-secret')
    const broken = run('projects', 'create', 'bad', '--import-keys', file)
    assert.ok(!broken.stderr.includes('super-secret'), broken.stderr)
    const { projects } = cli<{ projects: { ref: string }[] }>('projects')
    assert.ok(!projects.some(({ ref }) => ref === 'bad'))
    await until('the node goes on', async () => (await fetch(`${node.ready.url}/ready`)).ok)
  })
})

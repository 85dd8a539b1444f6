import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { sign } from '@octokit/webhooks-methods'
import { Webhook } from 'standardwebhooks'
import Stripe from 'stripe'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const GITHUB = 'a secret of some length'
const NEXT = 'the secret that replaces it'
const STRIPE = 'whsec_of_stripe'
const STANDARD = `whsec_${Buffer.from('twenty-four bytes or more').toString('base64')}`
const HOOKS = {
  name: 'hooks',
  triggers: [
    { webhook: { provider: 'github', secret: ['GITHUB_NEXT', 'GITHUB'], events: ['push'] } },
    { webhook: { provider: 'stripe', secret: 'STRIPE' } },
    { webhook: { provider: 'standard', secret: 'STANDARD', name: 'mail' } },
  ],
}

/** The rows of both. */
const ROW = 'POST /webhooks/v1/:name/:hook'
const ROUTES = 'any /routes/v1/*'

describe('functions that are started over HTTP', () => {
  const folder = makeFolder()
  const data = path.join(folder, 'data')
  const point = path.join(folder, 'point')
  let node: RunningMayfly
  const start = () => startMayfly(data, ['--empty'], { MAYFLY_TEST_CRASH_AT: point })
  const cli = (...args: string[]) => mayfly(args, { MAYFLY_URL: node.ready.url, MAYFLY_KEY: node.ready.project.secretKey })
  const write = (name: string, files: Readonly<Record<string, string | object>>) => {
    mkdirSync(path.join(folder, name), { recursive: true })
    for (const [file, text] of Object.entries(files)) writeFileSync(path.join(folder, name, file), typeof text === 'string' ? text : JSON.stringify(text))
    return path.join(folder, name)
  }
  const deploy = (name: string, files: Readonly<Record<string, string | object>>) => cli('deploy', write(name, files))
  const api = (at: string, init: RequestInit = {}) =>
    fetch(`${node.ready.url}/api/v1/projects/demo${at}`, { ...init, headers: { authorization: `Bearer ${node.ready.project.secretKey}` } })
  const lines = async (name: string): Promise<string[]> => {
    const { lines: all } = (await (await api(`/functions/${name}/logs?limit=5000`)).json()) as { lines: { text: string; source: string }[] }
    return all.filter(({ source }) => source === 'stdout').map(({ text }) => text.split('\t').slice(3).join('\t').trim())
  }
  const hears = async (name: string, what: string): Promise<void> => {
    for (const end = Date.now() + 60_000; Date.now() < end; await pause(100)) if ((await lines(name)).includes(what)) return
    assert.fail(`${name} did not hear ${what}: ${(await lines(name)).join('\n')}`)
  }
  before(async () => {
    writeFileSync(point, '')
    node = await start()
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  describe(ROW, () => {
    const post = (at: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) =>
      fetch(`${node.ready.project.url}${at}`, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })
    const github = async (body: string, delivery: string, { event = 'push', secret = GITHUB, at = '/webhooks/v1/hooks/github' } = {}) =>
      await post(at, body, { 'x-github-event': event, 'x-github-delivery': delivery, 'x-hub-signature-256': await sign(secret, body) })
    const told = async (response: Response) => [response.status, ((await response.json()) as { code?: string }).code] as const

    before(() => {
      const code = `export default { fetch: async (request) => { console.log(new URL(request.url).pathname, request.method, request.headers.get('x-github-event'), await request.text()) } }`
      const lambda = `export const handler = async ({ webhook, body }) => { console.log(JSON.stringify(webhook), body) }`
      const deployed = deploy('hooks', { 'index.mjs': lambda, 'mayfly.json': HOOKS })
      assert.equal(deployed.code, 0, deployed.stderr)
      assert.match(deployed.stderr, /warning: triggers: webhooks of github are refused .* GITHUB_NEXT or GITHUB; set it with `mayfly secrets set GITHUB_NEXT`/)
      assert.match(deployed.stdout, new RegExp(`hooks: webhook github \\(push\\) at ${node.ready.project.url}/webhooks/v1/hooks/github\n`))
      assert.equal(deploy('fetched', { 'index.mjs': code, 'mayfly.json': { triggers: [{ webhook: { provider: 'github', secret: 'GITHUB' } }] } }).code, 0)
      const set = cli('secrets', 'set', `GITHUB=${GITHUB}`, `GITHUB_NEXT=${NEXT}`, `STRIPE=${STRIPE}`, `STANDARD=${STANDARD}`)
      assert.equal(set.code, 0, set.stderr)
    })

    it('are listed with their addresses; the same file again changes nothing', () => {
      const listed = cli('triggers', 'hooks').stdout
      for (const end of ['github', 'stripe', 'mail']) assert.match(listed, new RegExp(`hooks\\s+webhook .*/webhooks/v1/hooks/${end}\\s+the node`))
      const again = deploy('hooks', { 'mayfly.json': HOOKS })
      assert.match(again.stdout, /Nothing changes/)
      assert.doesNotMatch(again.stderr, /warning/, 'the secrets are set by now')
    })
    it('come from GitHub, Stripe and whoever signs as Standard Webhooks says, each once', async () => {
      const first = await github('{"ref":"main"}', 'd-1')
      assert.equal(first.status, 202)
      const { invocation } = (await first.json()) as { invocation: string }
      await hears('hooks', '{"name":"github","provider":"github","id":"d-1","event":"push"} {"ref":"main"}')
      assert.deepEqual(await (await github('{"ref":"main"}', 'd-1', { secret: NEXT })).json(), { invocation, seen: true })
      assert.deepEqual(await (await github('{}', 'd-2', { event: 'ping' })).json(), { invocation: null })

      const payload = '{"id":"evt_1","type":"invoice.paid"}'
      const signature = () => new Stripe('sk_test_none').webhooks.generateTestHeaderString({ payload, secret: STRIPE })
      for (const seen of [undefined, true]) {
        const taken = await post('/webhooks/v1/hooks/stripe', payload, { 'stripe-signature': signature() })
        assert.deepEqual([taken.status, ((await taken.json()) as { seen?: true }).seen], [202, seen])
      }
      await hears('hooks', `{"name":"stripe","provider":"stripe","id":"evt_1","event":"invoice.paid"} ${payload}`)
      const now = new Date()
      const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)) }
      const signed = { ...headers, 'webhook-signature': new Webhook(STANDARD).sign('msg_1', now, '{"to":"a"}') }
      assert.equal((await post('/webhooks/v1/hooks/mail', '{"to":"a"}', signed)).status, 202)
      await hears('hooks', '{"name":"mail","provider":"standard","id":"msg_1","event":null} {"to":"a"}')
      assert.equal((await lines('hooks')).length, 3)
    })
    it('are a Request to a handler that takes one, with the very body', async () => {
      assert.equal((await github('{"a":"ü"}', 'f-1', { at: '/webhooks/v1/fetched/github' })).status, 202)
      await hears('fetched', '/ POST push {"a":"ü"}')
    })
    // LIMITS.webhookBody: to the edge, and one past it.
    it('are refused when they are not what they say, and nothing more is told', async () => {
      const refused = [401, 'webhook_signature_invalid'] as const
      assert.deepEqual(await told(await github('{"ref":"x"}', 'h-1', { secret: 'another' })), refused)
      const right = await sign(GITHUB, '{}')
      assert.deepEqual(await told(await post('/webhooks/v1/hooks/github', '{"a":1}', { 'x-github-event': 'push', 'x-hub-signature-256': right })), refused)
      assert.deepEqual(await told(await post('/webhooks/v1/hooks/github', '{}', {})), refused)
      assert.deepEqual(await told(await post('/webhooks/v1/hooks/github', '{}', { authorization: `Bearer ${node.ready.project.secretKey}` })), refused)
      const old = { payload: '{}', secret: STRIPE, timestamp: Math.floor(Date.now() / 1_000) - 400 }
      const replayed = { 'stripe-signature': new Stripe('sk_test_none').webhooks.generateTestHeaderString(old) }
      assert.deepEqual(await told(await post('/webhooks/v1/hooks/stripe', '{}', replayed)), [401, 'webhook_too_old'])
      const huge = 'x'.repeat(1024 * 1024)
      assert.deepEqual(await told(await github(`${huge}x`, 'h-2')), [413, 'payload_too_large'])
      // With what stands about it, it is more than may wait.
      assert.deepEqual(await told(await github(huge, 'h-3')), [413, 'payload_too_large'])
      for (const at of ['/webhooks/v1/hooks/none', '/webhooks/v1/none/github', '/webhooks/v1/hooks%00/github'])
        assert.deepEqual(await told(await github('{}', 'h-4', { at })), [404, 'webhook_not_found'], at)
      assert.equal((await fetch(`${node.ready.project.url}/webhooks/v1/hooks/github`)).status, 405)
      assert.equal((await lines('hooks')).length, 3)
    })
    it('of another project have its own addresses and secrets', async () => {
      const { operatorToken } = JSON.parse(readFileSync(path.join(data, 'run.json'), 'utf8')) as { operatorToken: string }
      const operator = (...args: string[]) => mayfly([...args, '--project', 'other'], { MAYFLY_URL: node.ready.url, MAYFLY_KEY: operatorToken })
      const made = await fetch(`${node.ready.url}/api/v1/projects`, {
        method: 'POST',
        headers: { authorization: `Bearer ${operatorToken}` },
        body: '{"ref":"other"}',
      })
      assert.equal(made.status, 201)
      const at = '/p/other/webhooks/v1/hooks/github'
      assert.deepEqual(await told(await github('{}', 'o-1', { at })), [404, 'webhook_not_found'])
      const deployed = operator('deploy', path.join(folder, 'hooks'))
      assert.match(deployed.stdout, new RegExp(`at ${node.ready.url}${at}\n`), deployed.stderr)
      // Its secret is not set: nobody is let in, and what is signed for a neighbour neither.
      assert.deepEqual(await told(await github('{}', 'o-2', { at })), [401, 'webhook_signature_invalid'])
      assert.equal(operator('secrets', 'set', 'GITHUB=another one').code, 0)
      assert.deepEqual(await told(await github('{}', 'o-2', { at })), [401, 'webhook_signature_invalid'])
      assert.equal((await github('{}', 'o-2', { at, secret: 'another one' })).status, 202)
    })
    it('are taken once they are on disk, over kill -9 at each step', async () => {
      for (const crash of ['beforeEnqueueCommit', 'afterEnqueueCommit']) {
        writeFileSync(point, crash)
        await assert.rejects(github(`{"crash":"${crash}"}`, crash))
        await node.ended()
        writeFileSync(point, '')
        node = await start()
        // The sender has no answer, and sends it again.
        const again = (await (await github(`{"crash":"${crash}"}`, crash)).json()) as { seen?: true }
        assert.equal(again.seen, crash === 'afterEnqueueCommit' ? true : undefined)
        await hears('hooks', `{"name":"github","provider":"github","id":"${crash}","event":"push"} {"crash":"${crash}"}`)
      }
    })
  })

  describe(ROUTES, () => {
    const CORS = { allowOrigins: ['https://*.example.com'], maxAge: 60 }
    const echo = `export const handler = async (event) => ({ statusCode: 200, headers: { 'x-from': 'FROM' }, body: JSON.stringify({ key: event.routeKey, of: event.pathParameters, path: event.rawPath, query: event.queryStringParameters, who: event.requestContext.authorizer?.jwt.claims.sub, body: event.body }) })`
    const ask = (at: string, init: RequestInit = {}, key: string | null = node.ready.project.publishableKey) =>
      fetch(`${node.ready.project.url}/routes/v1${at}`, { ...init, headers: { ...(key === null ? {} : { apikey: key }), ...(init.headers as object) } })
    const said = async (response: Response) => [response.status, ((await response.json()) as { code: string }).code] as const

    before(() => {
      write('shop/orders', {
        'index.mjs': echo.replace('FROM', 'orders'),
        'mayfly.json': {
          triggers: [
            { http: { path: '/orders/{id}', methods: ['GET', 'PUT'] } },
            { http: { path: '/orders/new', methods: ['GET'], auth: 'none', cors: CORS } },
            { http: { path: '/mine', auth: 'jwt' } },
          ],
        },
      })
      write('shop/files', {
        'index.mjs': `export default { fetch: async (request) => {
  if (request.method === 'POST') return new Response(request.body)
  const parts = ['one ', 'two ', new URL(request.url).pathname]
  return new Response(new ReadableStream({ pull: (to) => (parts.length > 0 ? to.enqueue(new TextEncoder().encode(parts.shift())) : to.close()) }), { headers: { 'content-type': 'text/html' } })
} }`,
        'mayfly.json': { triggers: [{ http: { path: '/files/{rest+}', auth: 'none' } }] },
      })
      const deployed = deploy('shop', { 'mayfly.json': { functions: ['orders', 'files'] } })
      assert.equal(deployed.code, 0, deployed.stderr)
      assert.match(deployed.stdout, new RegExp(`orders: GET, PUT ${node.ready.project.url}/routes/v1/orders/\\{id\\} \\(key\\)`))
      assert.match(cli('deploy', path.join(folder, 'shop')).stdout, /Nothing changes/)
    })

    it('are answered by the most literal one that has the method, with what stood in its path', async () => {
      const one = await ask('/orders/a%2Fb%20c?x=1', { method: 'PUT', body: 'hello', headers: { 'content-type': 'text/plain' } })
      assert.deepEqual(await one.json(), { key: 'PUT /orders/{id}', of: { id: 'a/b c' }, path: '/orders/a/b c', query: { x: '1' }, body: 'hello' })
      assert.deepEqual(await (await ask('/orders/new', {}, null)).json(), { key: 'GET /orders/new', path: '/orders/new' })
      assert.equal(((await (await ask('/orders/new', { method: 'PUT' })).json()) as { key: string }).key, 'PUT /orders/{id}')
      const head = await ask('/orders/7', { method: 'HEAD' })
      assert.deepEqual([head.status, head.headers.get('x-from'), await head.text()], [200, 'orders', ''])
    })
    it('are a Request to a handler that takes one, and answered as it streams; a page runs nothing at the address of the API', async () => {
      const page = await ask('/files/a/b', {}, null)
      assert.deepEqual([page.status, page.headers.get('content-security-policy'), await page.text()], [200, 'sandbox', 'one two /files/a/b'])
      assert.equal(await (await ask('/files/x', { method: 'POST', body: 'sent' }, null)).text(), 'sent')
    })
    it('are refused where nothing answers, with the methods that something does', async () => {
      assert.deepEqual(await said(await ask('/nothing')), [404, 'route_not_found'])
      assert.deepEqual(await said(await ask('/orders/')), [404, 'route_not_found'])
      const wrong = await ask('/orders/new', { method: 'DELETE' }, null)
      assert.deepEqual([wrong.headers.get('allow'), ...(await said(wrong))], ['GET, HEAD, PUT', 405, 'method_not_allowed'])
      for (const at of ['/orders/%ff', '/orders/a%00']) assert.deepEqual(await said(await ask(at)), [400, 'uri_invalid'], at)
      // Clients of `fetch` make another path of it before they send it.
      const { hostname, port } = new URL(node.ready.url)
      const raw = get({ hostname, port, path: '/routes/v1/files/%2e%2e/orders/7' })
      const [response] = (await once(raw, 'response')) as [IncomingMessage]
      response.resume()
      assert.equal(response.statusCode, 400)
    })
    it('ask for a key, for a user, or for nobody', async () => {
      for (const key of [null, 'sb_secret_none', 'sb_publishable_none']) assert.equal((await said(await ask('/orders/7', {}, key)))[0], 401, String(key))
      assert.equal((await ask('/orders/7', {}, node.ready.project.secretKey)).status, 200)
      assert.equal((await ask('/orders/new', {}, 'sb_secret_none')).status, 200, 'a key that nobody asked for')
      assert.equal((await ask('/orders/7', {}, null)).headers.get('x-from'), null)
      assert.deepEqual(await said(await ask('/mine')), [401, 'token_invalid'])
      assert.deepEqual(await said(await ask('/mine', {}, node.ready.project.secretKey)), [401, 'token_invalid'])
      assert.deepEqual(await said(await ask('/mine', { headers: { authorization: 'Bearer a.b.c' } })), [401, 'token_invalid'])
      const signed = await fetch(`${node.ready.project.url}/auth/v1/signup`, {
        method: 'POST',
        headers: { apikey: node.ready.project.publishableKey, 'content-type': 'application/json' },
        body: '{"email":"a@example.com","password":"a long password"}',
      })
      const { access_token: token, user } = (await signed.json()) as { access_token: string; user: { id: string } }
      const mine = (await (await ask('/mine', { headers: { authorization: `Bearer ${token}` } })).json()) as { who: string }
      assert.equal(mine.who, user.id)
      // Of another project neither its paths nor its keys are known here.
      assert.equal((await fetch(`${node.ready.url}/p/other/routes/v1/orders/new`)).status, 404)
    })
    it('tell browsers of other origins what their trigger says', async () => {
      const origin = 'https://shop.example.com'
      const asked = { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'GET' } }
      const preflight = await ask('/orders/new', asked, null)
      const told = ({ headers }: Response) => [
        headers.get('access-control-allow-origin'),
        headers.get('access-control-allow-methods'),
        headers.get('access-control-max-age'),
      ]
      assert.deepEqual([preflight.status, ...told(preflight)], [200, origin, 'GET', '60'])
      assert.deepEqual(told(await ask('/orders/new', { headers: { origin } }, null)), [origin, null, null])
      for (const other of ['https://example.org', 'https://shop.example.com.evil.org', 'null'])
        assert.deepEqual(told(await ask('/orders/new', { headers: { origin: other } }, null)), [null, null, null], other)
    })
    it('are refused at deploy where two would answer the same, and move from one function to another', async () => {
      const taken = { 'index.mjs': echo, 'mayfly.json': { triggers: [{ http: { path: '/orders/{number}', methods: ['GET'] } }] } }
      const refused = deploy('thief', taken)
      assert.notEqual(refused.code, 0)
      assert.match(refused.stderr, /the route GET \/orders\/\{number\} of thief is the route GET, PUT \/orders\/\{id\} of orders/)
      assert.match(cli('triggers', 'orders').stdout, /GET, PUT .*\/routes\/v1\/orders\/\{id\} \(key\)\s+the node/)
      const all = { triggers: [{ http: { path: '/files/{rest+}', auth: 'none' } }, { http: { path: '/orders/{number}', auth: 'none' } }] }
      write('shop/files', { 'mayfly.json': all })
      write('shop/orders', { 'mayfly.json': { triggers: [{ http: { path: '/orders/new', methods: ['GET'], auth: 'none' } }] } })
      const moved = cli('deploy', path.join(folder, 'shop'))
      assert.equal(moved.code, 0, moved.stderr)
      assert.equal(await (await ask('/orders/7', {}, null)).text(), 'one two /orders/7')
      assert.equal((await ask('/orders/new', {}, null)).headers.get('x-from'), 'orders')
    })
  })
})

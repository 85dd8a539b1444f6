import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import { makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

/** Who may come in by a route; who may not gets what stands here, before the route does anything. */
type Access = 'open' | 'operator' | 'manage' | 'project' | 'stored' | 'public' | 'aws'
type Who = 'guest' | 'publishable' | 'secret' | 'other' | 'operator' | 'signed' | 'forged'
const REFUSED: Record<Access, Partial<Record<Who, [status: number, code: string]>>> = {
  open: {},
  operator: {
    guest: [401, 'key_missing'],
    publishable: [403, 'not_allowed'],
    secret: [403, 'not_allowed'],
    other: [403, 'not_allowed'],
  },
  manage: { guest: [401, 'key_missing'], publishable: [403, 'not_allowed'], other: [401, 'key_invalid'] },
  project: { guest: [401, 'key_missing'], other: [401, 'key_invalid'] },
  // Beyond keys, policies decide: `storage.test.ts`.
  stored: { guest: [401, 'key_missing'], other: [401, 'key_invalid'] },
  public: { other: [401, 'key_invalid'] },
  aws: {
    guest: [403, 'MissingAuthenticationTokenException'],
    secret: [403, 'MissingAuthenticationTokenException'],
    operator: [403, 'MissingAuthenticationTokenException'],
    forged: [403, 'InvalidSignatureException'],
  },
}
const WELCOME: Record<Access, readonly Who[]> = {
  open: ['guest', 'publishable', 'operator'],
  operator: ['operator'],
  manage: ['secret', 'operator'],
  project: ['publishable', 'secret', 'operator'],
  stored: ['secret', 'operator'],
  public: ['guest', 'publishable', 'secret'],
  aws: ['signed'],
}

describe('every route', () => {
  let folder = ''
  let node: RunningMayfly
  let operator = ''
  let other = ''
  let zip: Buffer
  let sha256 = ''
  /** A connection that never ends its headers; looked at last. */
  let unfinished: Promise<string>

  const send = async (who: Who, method: string, at: string, body: string | Buffer | null = null) => {
    const { project, accessKey, region } = node.ready
    const keys: Partial<Record<Who, string>> = { publishable: project.publishableKey, secret: project.secretKey, other, operator }
    const key = keys[who]
    const [pathname = '', query = ''] = at.split('?')
    let headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` }
    if (who === 'signed' || who === 'forged') {
      const secretAccessKey = who === 'signed' ? accessKey.secret : `${accessKey.secret}x`
      const service = /^\/(0{12}\/.*)?$/.test(at) ? 'sqs' : 'lambda'
      const signer = new SignatureV4({ service, region, sha256: Sha256, credentials: { accessKeyId: accessKey.id, secretAccessKey } })
      const url = new URL(node.ready.url)
      const request = {
        method,
        protocol: url.protocol,
        hostname: url.hostname,
        port: Number(url.port),
        path: pathname,
        headers: { host: url.host },
        body: body ?? undefined,
      }
      const signed = await signer.sign({ ...request, query: Object.fromEntries(new URLSearchParams(query)) })
      headers = Object.fromEntries(Object.entries(signed.headers).filter(([name]) => name !== 'host'))
    }
    const response = await fetch(node.ready.url + at, { method, headers, redirect: 'manual', ...(body === null ? {} : { body: body as string }) })
    const text = await response.text()
    const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {}
    return { status: response.status, code: response.headers.get('x-amzn-errortype') ?? json.code, json, text }
  }

  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    unfinished = new Promise((resolve) => {
      const from = performance.now()
      const socket = connect(Number(new URL(node.ready.url).port), '127.0.0.1', () => socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n'))
      let said = ''
      socket.on('data', (chunk) => {
        said += chunk
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(`${Math.floor((performance.now() - from) / 1000)} s: ${said}`))
    })
    zip = await zipOf({
      'index.mjs':
        'export const handler = async (event) => { if (event.rawPath === "/throw") throw new Error("on purpose"); if (event.rawPath === "/sleep") await new Promise((r) => setTimeout(r, 5000)); return { hello: 1 } }\n//# sourceMappingURL=data:application/json;base64,e30=',
    })
    sha256 = createHash('sha256').update(zip).digest('hex')
    const made = await send('operator', 'POST', '/api/v1/projects', JSON.stringify({ ref: 'other' }))
    other = (made.json.keys as { secretKey: string }).secretKey
    assert.equal((await send('secret', 'PUT', `/api/v1/projects/demo/artefacts/${sha256}`, zip)).status, 201)
    assert.equal((await send('secret', 'PUT', `/api/v1/projects/demo/site-files/${sha256}`, zip)).status, 200)
    assert.equal((await send('secret', 'PUT', '/api/v1/projects/demo/sites/again', site())).status, 201)
    for (const name of ['hello', 'gone']) assert.equal((await send('secret', 'PUT', `/api/v1/projects/demo/functions/${name}`, definition())).status, 201)
    assert.equal((await send('secret', 'PUT', '/api/v1/projects/demo/functions/hello/url', '{}')).status, 201)
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })
  const definition = () => JSON.stringify({ artefact: sha256, timeout: 1 })
  const project = () => JSON.stringify({ name: 'again', sites: [{ name: 'again', files: [{ path: 'index.html', sha256 }] }] })
  const site = () => JSON.stringify({ files: [{ path: 'index.html', sha256 }] })
  const created = () =>
    JSON.stringify({ FunctionName: 'made', Role: ROLE, Runtime: 'nodejs24.x', Handler: 'index.handler', Code: { ZipFile: zip.toString('base64') } })
  const content = () => JSON.stringify({ Content: { ZipFile: zip.toString('base64') } })
  const share = () => JSON.stringify({ StatementId: 's', Action: 'lambda:GetLayerVersion', Principal: '*' })
  const shared = '/2018-10-31/layers/tools/versions/1/policy'
  const tags = encodeURIComponent('arn:aws:lambda:us-east-1:000000000000:function:hello')

  const nil = '00000000-0000-0000-0000-000000000000'
  // In this order: what is deleted was there before.
  const rows: { route: string; access: Access; at: () => string; body?: () => string | Buffer; ok: number }[] = [
    { route: 'GET /health', access: 'open', at: () => '/health', ok: 200 },
    { route: 'GET /ready', access: 'open', at: () => '/ready', ok: 200 },
    { route: 'GET /metrics', access: 'operator', at: () => '/metrics', ok: 200 },
    { route: 'GET /api/v1/status', access: 'operator', at: () => '/api/v1/status', ok: 200 },
    { route: 'GET /api/v1/projects', access: 'operator', at: () => '/api/v1/projects', ok: 200 },
    { route: 'POST /api/v1/projects', access: 'operator', at: () => '/api/v1/projects', body: () => '{"ref":"third"}', ok: 201 },
    { route: 'GET /api/v1/limit-profiles', access: 'operator', at: () => '/api/v1/limit-profiles', ok: 200 },
    { route: 'GET /api/v1/whoami', access: 'open', at: () => '/api/v1/whoami', ok: 200 },
    { route: 'POST /api/v1/projects/:ref/tokens', access: 'manage', at: () => '/api/v1/projects/demo/tokens', body: () => '{"name":"ci","hours":1}', ok: 201 },
    { route: 'DELETE /api/v1/projects/:ref/tokens/:name', access: 'manage', at: () => '/api/v1/projects/demo/tokens/ci', ok: 204 },
    { route: 'GET /api/v1/projects/:ref/tokens', access: 'manage', at: () => '/api/v1/projects/demo/tokens', ok: 200 },
    { route: 'GET /api/v1/projects/:ref', access: 'manage', at: () => '/api/v1/projects/demo', ok: 200 },
    { route: 'PATCH /api/v1/projects/:ref', access: 'operator', at: () => '/api/v1/projects/demo', body: () => '{"profile":"mayfly"}', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/cold-starts', access: 'manage', at: () => '/api/v1/projects/demo/cold-starts', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/keys', access: 'operator', at: () => '/api/v1/projects/demo/keys', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/api-keys', access: 'operator', at: () => `/api/v1/projects/third/api-keys`, ok: 200 },
    { route: 'POST /api/v1/projects/:ref/api-keys', access: 'operator', at: () => `/api/v1/projects/third/api-keys`, body: () => '{"kind":"secret"}', ok: 201 },
    {
      route: 'POST /api/v1/projects/:ref/api-keys/rotate',
      access: 'operator',
      at: () => `/api/v1/projects/third/api-keys/rotate`,
      body: () => '{"kind":"secret","overlapHours":1}',
      ok: 201,
    },
    { route: 'DELETE /api/v1/projects/:ref/api-keys/:id', access: 'operator', at: () => `/api/v1/projects/third/api-keys/${nil}`, ok: 404 },
    { route: 'POST /api/v1/projects/:ref/legacy-keys', access: 'operator', at: () => `/api/v1/projects/third/legacy-keys`, ok: 200 },
    { route: 'DELETE /api/v1/projects/:ref/legacy-keys', access: 'operator', at: () => `/api/v1/projects/third/legacy-keys`, ok: 204 },
    {
      route: 'PUT /api/v1/projects/:ref/issuers',
      access: 'operator',
      at: () => `/api/v1/projects/third/issuers`,
      body: () => '{"issuer":"https://a.example","audience":"a","jwksUrl":"https://a.example/jwks"}',
      ok: 200,
    },
    { route: 'GET /api/v1/projects/:ref/issuers', access: 'operator', at: () => `/api/v1/projects/third/issuers`, ok: 200 },
    { route: 'DELETE /api/v1/projects/:ref/issuers', access: 'operator', at: () => `/api/v1/projects/third/issuers?issuer=https://a.example`, ok: 204 },
    { route: 'POST /api/v1/projects/:ref/pause', access: 'operator', at: () => '/api/v1/projects/third/pause', ok: 200 },
    { route: 'POST /api/v1/projects/:ref/resume', access: 'operator', at: () => '/api/v1/projects/third/resume', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/clone',
      access: 'operator',
      at: () => '/api/v1/projects/nowhere/clone',
      body: () => '{"ref":"fourth"}',
      ok: 404,
    },
    { route: 'DELETE /api/v1/projects/:ref', access: 'operator', at: () => '/api/v1/projects/third', ok: 204 },
    { route: 'GET /api/v1/projects/:ref/concurrency', access: 'manage', at: () => '/api/v1/projects/demo/concurrency', ok: 200 },
    {
      route: 'PUT /api/v1/projects/:ref/concurrency',
      access: 'operator',
      at: () => '/api/v1/projects/demo/concurrency',
      body: () => '{"concurrency":100,"weight":2}',
      ok: 200,
    },
    { route: 'POST /api/v1/console-logins', access: 'operator', at: () => '/api/v1/console-logins', ok: 201 },
    { route: 'DELETE /api/v1/console-sessions', access: 'operator', at: () => '/api/v1/console-sessions', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/functions', access: 'manage', at: () => '/api/v1/projects/demo/functions', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/functions/:name', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello', ok: 200 },
    { route: 'PUT /api/v1/projects/:ref/functions/:name', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello', body: definition, ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/layers/:name',
      access: 'manage',
      at: () => '/api/v1/projects/demo/layers/own',
      body: () => JSON.stringify({ artefact: sha256 }),
      ok: 201,
    },
    { route: 'GET /api/v1/projects/:ref/layers', access: 'manage', at: () => '/api/v1/projects/demo/layers', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/layers/:name', access: 'manage', at: () => '/api/v1/projects/demo/layers/own', ok: 200 },
    { route: 'DELETE /api/v1/projects/:ref/layers/:name/:version', access: 'manage', at: () => '/api/v1/projects/demo/layers/own/1', ok: 204 },
    { route: 'GET /api/v1/projects/:ref/functions/:name/source-map', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello/source-map', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/artefacts/:sha256', access: 'manage', at: () => `/api/v1/projects/demo/artefacts/${sha256}`, ok: 200 },
    { route: 'HEAD /api/v1/projects/:ref/artefacts/:sha256', access: 'manage', at: () => `/api/v1/projects/demo/artefacts/${sha256}`, ok: 200 },
    { route: 'PUT /api/v1/projects/:ref/artefacts/:sha256', access: 'manage', at: () => `/api/v1/projects/demo/artefacts/${sha256}`, body: () => zip, ok: 200 },
    {
      route: 'PUT /api/v1/projects/:ref/site-files/:sha256',
      access: 'manage',
      at: () => `/api/v1/projects/demo/site-files/${sha256}`,
      body: () => zip,
      ok: 200,
    },
    { route: 'PUT /api/v1/projects/:ref/sites/:site', access: 'manage', at: () => '/api/v1/projects/demo/sites/again', body: site, ok: 200 },
    {
      route: 'PUT /api/v1/projects/:ref/functions/:name/url',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/url',
      body: () => '{}',
      ok: 200,
    },
    { route: 'GET /api/v1/projects/:ref/functions/:name/urls', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello/urls', ok: 200 },
    { route: 'DELETE /api/v1/projects/:ref/functions/:name/url', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello/url', ok: 204 },
    { route: 'GET /api/v1/projects/:ref/function-urls', access: 'manage', at: () => '/api/v1/projects/demo/function-urls', ok: 200 },
    {
      route: 'PUT /api/v1/projects/:ref/function-urls',
      access: 'manage',
      at: () => '/api/v1/projects/demo/function-urls',
      body: () => '{"strict":false}',
      ok: 200,
    },
    // Who may come in is the address's to say: `function-urls.test.ts`. Nothing is at this one.
    { route: 'any /lambda-url/:id', access: 'open', at: () => '/lambda-url/none', ok: 403 },
    { route: 'any /lambda-url/:id/*', access: 'open', at: () => '/lambda-url/none/below', ok: 403 },
    { route: 'PUT /api/v1/projects/:ref/secrets', access: 'manage', at: () => '/api/v1/projects/demo/secrets', body: () => '{"secrets":{"KEY":"v"}}', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/secrets', access: 'manage', at: () => '/api/v1/projects/demo/secrets', ok: 200 },
    { route: 'DELETE /api/v1/projects/:ref/secrets', access: 'manage', at: () => '/api/v1/projects/demo/secrets?name=KEY', ok: 204 },
    { route: 'GET /api/v1/projects/:ref/sites', access: 'manage', at: () => '/api/v1/projects/demo/sites', ok: 200 },
    { route: 'POST /api/v1/projects/:ref/migrations', access: 'manage', at: () => '/api/v1/projects/demo/migrations', body: () => '{"files": []}', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/migrations/diff',
      access: 'manage',
      at: () => '/api/v1/projects/demo/migrations/diff',
      body: () => '{"files": []}',
      ok: 200,
    },
    { route: 'POST /api/v1/projects/:ref/migrations/dump', access: 'manage', at: () => '/api/v1/projects/demo/migrations/dump', body: () => '{}', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/migrations/lint', access: 'manage', at: () => '/api/v1/projects/demo/migrations/lint', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/migrations/seed',
      access: 'manage',
      at: () => '/api/v1/projects/demo/migrations/seed',
      body: () => '{"name": "seed.sql", "sql": "select 1"}',
      ok: 200,
    },
    {
      route: 'POST /api/v1/projects/:ref/migrations/reset',
      access: 'manage',
      at: () => '/api/v1/projects/demo/migrations/reset',
      body: () => '{"project": "demo"}',
      ok: 200,
    },
    { route: 'GET /api/v1/projects/:ref/deployments', access: 'manage', at: () => '/api/v1/projects/demo/deployments', ok: 200 },
    { route: 'POST /api/v1/projects/:ref/deployments/plan', access: 'manage', at: () => '/api/v1/projects/demo/deployments/plan', body: project, ok: 200 },
    { route: 'PUT /api/v1/projects/:ref/deployments/:name', access: 'manage', at: () => '/api/v1/projects/demo/deployments/again', body: project, ok: 200 },
    { route: 'GET /api/v1/projects/:ref/deployments/:name', access: 'manage', at: () => '/api/v1/projects/demo/deployments/again', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/builds',
      access: 'manage',
      at: () => '/api/v1/projects/demo/builds',
      body: () => JSON.stringify({ artefact: '0'.repeat(64), framework: 'google', handler: 'hello' }),
      ok: 400, // No such artefact: what is built is told in `google-functions.test.ts` and `azure-functions.test.ts`.
    },
    { route: 'any /sites/:site', access: 'open', at: () => '/sites/again', ok: 307 },
    { route: 'any /sites/:site/*', access: 'open', at: () => '/sites/again/below', ok: 307 },
    { route: 'DELETE /api/v1/projects/:ref/sites/:site', access: 'manage', at: () => '/api/v1/projects/demo/sites/again', ok: 204 },
    { route: 'GET /api/v1/projects/:ref/functions/:name/logs', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello/logs', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/dead-letters', access: 'manage', at: () => '/api/v1/projects/demo/dead-letters', ok: 200 },
    // Nothing was given up here: who may come in hears that it is not there.
    { route: 'GET /api/v1/projects/:ref/dead-letters/:id', access: 'manage', at: () => `/api/v1/projects/demo/dead-letters/${nil}`, ok: 404 },
    { route: 'POST /api/v1/projects/:ref/dead-letters/:id/replay', access: 'manage', at: () => `/api/v1/projects/demo/dead-letters/${nil}/replay`, ok: 404 },
    { route: 'POST /api/v1/projects/:ref/dead-letters/replay', access: 'manage', at: () => '/api/v1/projects/demo/dead-letters/replay?error=None', ok: 202 },
    { route: 'DELETE /api/v1/projects/:ref/dead-letters', access: 'manage', at: () => '/api/v1/projects/demo/dead-letters?error=None', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/queue/feed', access: 'manage', at: () => '/api/v1/projects/demo/queue/feed?function=%00', ok: 400 },
    { route: 'GET /api/v1/projects/:ref/invocations/:id', access: 'manage', at: () => `/api/v1/projects/demo/invocations/${nil}`, ok: 404 },
    { route: 'GET /api/v1/projects/:ref/functions/:name/queue', access: 'manage', at: () => '/api/v1/projects/demo/functions/absent/queue', ok: 404 },
    { route: 'POST /api/v1/projects/:ref/functions/:name/pause', access: 'manage', at: () => '/api/v1/projects/demo/functions/absent/pause', ok: 404 },
    { route: 'POST /api/v1/projects/:ref/functions/:name/resume', access: 'manage', at: () => '/api/v1/projects/demo/functions/absent/resume', ok: 404 },
    { route: 'DELETE /api/v1/projects/:ref/dead-letters/:id', access: 'manage', at: () => `/api/v1/projects/demo/dead-letters/${nil}`, ok: 404 },
    { route: 'GET /api/v1/projects/:ref/queue', access: 'manage', at: () => '/api/v1/projects/demo/queue', ok: 200 },
    {
      route: 'PUT /api/v1/projects/:ref/functions/:name/triggers',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/triggers',
      body: () => '{"triggers":[{"object":{"bucket":"in","events":["created"]}}]}',
      ok: 200,
    },
    { route: 'GET /api/v1/projects/:ref/functions/:name/triggers', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello/triggers', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/triggers', access: 'manage', at: () => '/api/v1/projects/demo/triggers', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/events',
      access: 'manage',
      at: () => '/api/v1/projects/demo/events',
      body: () => '{"detail-type":"nobody.waits"}',
      ok: 202,
    },
    { route: 'GET /api/v1/projects/:ref/queues', access: 'manage', at: () => '/api/v1/projects/demo/queues', ok: 200 },
    { route: 'PUT /api/v1/projects/:ref/queues/:queue', access: 'manage', at: () => '/api/v1/projects/demo/queues/made', body: () => '{}', ok: 200 },
    { route: 'GET /api/v1/projects/:ref/queues/:queue', access: 'manage', at: () => '/api/v1/projects/demo/queues/made', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/queues/:queue/messages',
      access: 'manage',
      at: () => '/api/v1/projects/demo/queues/made/messages',
      body: () => '{"body":"hello"}',
      ok: 202,
    },
    { route: 'GET /api/v1/projects/:ref/queues/:queue/messages', access: 'manage', at: () => '/api/v1/projects/demo/queues/made/messages', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/queues/:queue/receive',
      access: 'manage',
      at: () => '/api/v1/projects/demo/queues/made/receive',
      body: () => '{"visibilitySeconds":0}',
      ok: 200,
    },
    {
      route: 'POST /api/v1/projects/:ref/queues/:queue/done',
      access: 'manage',
      at: () => '/api/v1/projects/demo/queues/made/done',
      body: () => '{"receipts":[]}',
      ok: 200,
    },
    { route: 'POST /api/v1/projects/:ref/queues/:queue/purge', access: 'manage', at: () => '/api/v1/projects/demo/queues/made/purge', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/queues/:queue/redrive',
      access: 'manage',
      at: () => '/api/v1/projects/demo/queues/made/redrive',
      body: () => '{"to":"made"}',
      ok: 400,
    },
    { route: 'DELETE /api/v1/projects/:ref/queues/:queue/redrive', access: 'manage', at: () => '/api/v1/projects/demo/queues/made/redrive', ok: 404 },
    { route: 'DELETE /api/v1/projects/:ref/queues/:queue', access: 'manage', at: () => '/api/v1/projects/demo/queues/made?messages=drop', ok: 204 },
    { route: 'POST /events/v1', access: 'stored', at: () => '/events/v1', body: () => '{"detail-type":"nobody.waits"}', ok: 202 },
    { route: 'GET /api/v1/projects/:ref/usage', access: 'manage', at: () => '/api/v1/projects/demo/usage', ok: 200 },
    {
      route: 'GET /api/v1/projects/:ref/functions/:name/invocations',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/invocations',
      ok: 200,
    },
    { route: 'GET /api/v1/projects/:ref/invocations', access: 'manage', at: () => '/api/v1/projects/demo/invocations?state=succeeded', ok: 200 },
    { route: 'GET /api/v1/prices', access: 'operator', at: () => '/api/v1/prices', ok: 200 },
    // Open to who has a link; the path alone opens nothing.
    { route: 'GET /api/v1/artefacts/:ref/:sha256', access: 'open', at: () => `/api/v1/artefacts/demo/${sha256}`, ok: 403 },
    { route: 'any /functions/v1/:name', access: 'project', at: () => '/functions/v1/hello', ok: 200 },
    { route: 'any /functions/v1/:name/*', access: 'project', at: () => '/functions/v1/hello/below', ok: 200 },
    {
      route: 'POST /realtime/v1/api/broadcast',
      access: 'project',
      at: () => '/realtime/v1/api/broadcast',
      body: () => '{"messages":[{"topic":"room","event":"e","payload":{}}]}',
      ok: 202,
    },
    {
      route: 'POST /realtime/v1/api/broadcast/:topic/events/:event',
      access: 'project',
      at: () => '/realtime/v1/api/broadcast/room/events/e',
      body: () => '{}',
      ok: 202,
    },
    {
      route: 'POST /api/v1/projects/:ref/functions/:name/invoke',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/invoke',
      body: () => '{}',
      ok: 200,
    },
    { route: 'POST /api/v1/projects/:ref/functions/:name/versions', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello/versions', ok: 201 },
    { route: 'GET /api/v1/projects/:ref/functions/:name/versions', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello/versions', ok: 200 },
    {
      route: 'PUT /api/v1/projects/:ref/functions/:name/aliases/:alias',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/aliases/next',
      body: () => '{"version":"$LATEST"}',
      ok: 200,
    },
    { route: 'GET /api/v1/projects/:ref/functions/:name/aliases', access: 'manage', at: () => '/api/v1/projects/demo/functions/hello/aliases', ok: 200 },
    {
      route: 'POST /api/v1/projects/:ref/functions/:name/aliases/:alias/promote',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/aliases/next/promote',
      ok: 200,
    },
    {
      route: 'POST /api/v1/projects/:ref/functions/:name/aliases/:alias/rollback',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/aliases/next/rollback',
      ok: 409, // it named no version before
    },
    {
      route: 'DELETE /api/v1/projects/:ref/functions/:name/aliases/:alias',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/aliases/next',
      ok: 204,
    },
    {
      route: 'DELETE /api/v1/projects/:ref/functions/:name/versions/:version',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/versions/1',
      ok: 204,
    },
    {
      route: 'POST /api/v1/projects/:ref/functions/:name/plan',
      access: 'manage',
      at: () => '/api/v1/projects/demo/functions/hello/plan',
      body: definition,
      ok: 200,
    },
    { route: 'POST /2015-03-31/functions/:name/invocations', access: 'aws', at: () => '/2015-03-31/functions/hello/invocations', body: () => '{}', ok: 200 },
    {
      route: 'POST /2021-11-15/functions/:name/response-streaming-invocations',
      access: 'aws',
      at: () => '/2021-11-15/functions/hello/response-streaming-invocations',
      body: () => '{}',
      ok: 200,
    },
    { route: 'POST /2014-11-13/functions/:name/invoke-async', access: 'aws', at: () => '/2014-11-13/functions/hello/invoke-async', body: () => '{}', ok: 202 },
    {
      route: 'POST /2014-11-13/functions/:name/invoke-async/',
      access: 'aws',
      at: () => '/2014-11-13/functions/hello/invoke-async/',
      body: () => '{}',
      ok: 202,
    },
    { route: 'POST /', access: 'aws', at: () => '/', body: () => 'Action=ListQueues', ok: 200 },
    { route: 'POST /000000000000/:queue', access: 'aws', at: () => '/000000000000/none', body: () => 'Action=ListQueues', ok: 200 },
    { route: 'POST /2015-03-31/functions', access: 'aws', at: () => '/2015-03-31/functions', body: created, ok: 201 },
    { route: 'GET /2015-03-31/functions', access: 'aws', at: () => '/2015-03-31/functions', ok: 200 },
    { route: 'GET /2015-03-31/functions/:name', access: 'aws', at: () => '/2015-03-31/functions/hello', ok: 200 },
    { route: 'GET /2015-03-31/functions/:name/configuration', access: 'aws', at: () => '/2015-03-31/functions/hello/configuration', ok: 200 },
    { route: 'PUT /2015-03-31/functions/:name/configuration', access: 'aws', at: () => '/2015-03-31/functions/hello/configuration', body: () => '{}', ok: 200 },
    {
      route: 'PUT /2015-03-31/functions/:name/code',
      access: 'aws',
      at: () => '/2015-03-31/functions/hello/code',
      body: () => JSON.stringify({ ZipFile: zip.toString('base64') }),
      ok: 200,
    },
    { route: 'POST /2015-03-31/functions/:name/versions', access: 'aws', at: () => '/2015-03-31/functions/hello/versions', body: () => '{}', ok: 201 },
    { route: 'GET /2015-03-31/functions/:name/versions', access: 'aws', at: () => '/2015-03-31/functions/hello/versions/', ok: 200 }, // older SDKs end some with a slash
    {
      route: 'POST /2015-03-31/functions/:name/aliases',
      access: 'aws',
      at: () => '/2015-03-31/functions/hello/aliases',
      body: () => '{"Name":"blue","FunctionVersion":"2"}',
      ok: 201,
    },
    { route: 'GET /2015-03-31/functions/:name/aliases', access: 'aws', at: () => '/2015-03-31/functions/hello/aliases', ok: 200 },
    { route: 'GET /2015-03-31/functions/:name/aliases/:alias', access: 'aws', at: () => '/2015-03-31/functions/hello/aliases/blue', ok: 200 },
    { route: 'PUT /2015-03-31/functions/:name/aliases/:alias', access: 'aws', at: () => '/2015-03-31/functions/hello/aliases/blue', body: () => '{}', ok: 200 },
    { route: 'DELETE /2015-03-31/functions/:name/aliases/:alias', access: 'aws', at: () => '/2015-03-31/functions/hello/aliases/blue', ok: 204 },
    { route: 'GET /2020-06-30/functions/:name/code-signing-config', access: 'aws', at: () => '/2020-06-30/functions/hello/code-signing-config', ok: 200 },
    { route: 'POST /2017-03-31/tags/:resource', access: 'aws', at: () => `/2017-03-31/tags/${tags}`, body: () => '{"Tags":{"a":"b"}}', ok: 204 },
    { route: 'GET /2017-03-31/tags/:resource', access: 'aws', at: () => `/2017-03-31/tags/${tags}`, ok: 200 },
    { route: 'DELETE /2017-03-31/tags/:resource', access: 'aws', at: () => `/2017-03-31/tags/${tags}?tagKeys=a`, ok: 204 },
    { route: 'POST /2021-10-31/functions/:name/url', access: 'aws', at: () => '/2021-10-31/functions/hello/url', body: () => '{"AuthType":"NONE"}', ok: 201 },
    { route: 'PUT /2021-10-31/functions/:name/url', access: 'aws', at: () => '/2021-10-31/functions/hello/url', body: () => '{}', ok: 200 },
    { route: 'GET /2021-10-31/functions/:name/url', access: 'aws', at: () => '/2021-10-31/functions/hello/url', ok: 200 },
    { route: 'GET /2021-10-31/functions/:name/urls', access: 'aws', at: () => '/2021-10-31/functions/hello/urls', ok: 200 },
    { route: 'DELETE /2021-10-31/functions/:name/url', access: 'aws', at: () => '/2021-10-31/functions/hello/url', ok: 204 },
    {
      route: 'PUT /2017-10-31/functions/:name/concurrency',
      access: 'aws',
      at: () => '/2017-10-31/functions/hello/concurrency',
      body: () => '{"ReservedConcurrentExecutions":100}',
      ok: 200,
    },
    { route: 'GET /2019-09-30/functions/:name/concurrency', access: 'aws', at: () => '/2019-09-30/functions/hello/concurrency', ok: 200 },
    { route: 'DELETE /2017-10-31/functions/:name/concurrency', access: 'aws', at: () => '/2017-10-31/functions/hello/concurrency', ok: 204 },
    {
      route: 'PUT /2019-09-30/functions/:name/provisioned-concurrency',
      access: 'aws',
      at: () => '/2019-09-30/functions/hello/provisioned-concurrency?Qualifier=7',
      body: () => '{"ProvisionedConcurrentExecutions":1}',
      ok: 404, // no version was published
    },
    {
      route: 'GET /2019-09-30/functions/:name/provisioned-concurrency',
      access: 'aws',
      at: () => '/2019-09-30/functions/hello/provisioned-concurrency?List=ALL',
      ok: 200,
    },
    {
      route: 'DELETE /2019-09-30/functions/:name/provisioned-concurrency',
      access: 'aws',
      at: () => '/2019-09-30/functions/hello/provisioned-concurrency?Qualifier=7',
      ok: 404,
    },
    { route: 'POST /2018-10-31/layers/:name/versions', access: 'aws', at: () => '/2018-10-31/layers/tools/versions', body: content, ok: 201 },
    { route: 'GET /2018-10-31/layers', access: 'aws', at: () => '/2018-10-31/layers', ok: 200 },
    { route: 'GET /2018-10-31/layers/:name/versions', access: 'aws', at: () => '/2018-10-31/layers/tools/versions', ok: 200 },
    { route: 'GET /2018-10-31/layers/:name/versions/:number', access: 'aws', at: () => '/2018-10-31/layers/tools/versions/1', ok: 200 },
    { route: 'POST /2018-10-31/layers/:name/versions/:number/policy', access: 'aws', at: () => shared, body: share, ok: 201 },
    { route: 'GET /2018-10-31/layers/:name/versions/:number/policy', access: 'aws', at: () => shared, ok: 200 },
    { route: 'DELETE /2018-10-31/layers/:name/versions/:number/policy/:statement', access: 'aws', at: () => `${shared}/s`, ok: 204 },
    { route: 'DELETE /2018-10-31/layers/:name/versions/:number', access: 'aws', at: () => '/2018-10-31/layers/tools/versions/1', ok: 204 },
    { route: 'any /<date>/*', access: 'aws', at: () => '/2015-03-31/nothing', ok: 404 },
    { route: 'POST /storage/v1/bucket', access: 'stored', at: () => '/storage/v1/bucket', body: () => '{"id":"shelf","public":true}', ok: 200 },
    { route: 'GET /storage/v1/bucket', access: 'project', at: () => '/storage/v1/bucket', ok: 200 },
    { route: 'GET /storage/v1/bucket/:id', access: 'stored', at: () => '/storage/v1/bucket/shelf', ok: 200 },
    { route: 'PUT /storage/v1/bucket/:id', access: 'stored', at: () => '/storage/v1/bucket/shelf', body: () => '{"public":true}', ok: 200 },
    { route: 'POST /storage/v1/object/:bucket/*', access: 'stored', at: () => '/storage/v1/object/shelf/a', body: () => 'a', ok: 200 },
    { route: 'PUT /storage/v1/object/:bucket/*', access: 'stored', at: () => '/storage/v1/object/shelf/a', body: () => 'b', ok: 200 },
    { route: 'GET /storage/v1/object/:bucket/*', access: 'stored', at: () => '/storage/v1/object/shelf/a', ok: 200 },
    { route: 'HEAD /storage/v1/object/:bucket/*', access: 'stored', at: () => '/storage/v1/object/shelf/a', ok: 200 },
    { route: 'GET /storage/v1/object/authenticated/:bucket/*', access: 'stored', at: () => '/storage/v1/object/authenticated/shelf/a', ok: 200 },
    { route: 'HEAD /storage/v1/object/authenticated/:bucket/*', access: 'stored', at: () => '/storage/v1/object/authenticated/shelf/a', ok: 200 },
    { route: 'GET /storage/v1/object/public/:bucket/*', access: 'public', at: () => '/storage/v1/object/public/shelf/a', ok: 200 },
    { route: 'HEAD /storage/v1/object/public/:bucket/*', access: 'public', at: () => '/storage/v1/object/public/shelf/a', ok: 200 },
    { route: 'GET /storage/v1/object/info/:bucket/*', access: 'stored', at: () => '/storage/v1/object/info/shelf/a', ok: 200 },
    { route: 'GET /storage/v1/object/info/authenticated/:bucket/*', access: 'stored', at: () => '/storage/v1/object/info/authenticated/shelf/a', ok: 200 },
    { route: 'POST /storage/v1/object/list/:bucket', access: 'project', at: () => '/storage/v1/object/list/shelf', body: () => '{"prefix":""}', ok: 200 },
    {
      route: 'POST /storage/v1/object/copy',
      access: 'stored',
      at: () => '/storage/v1/object/copy',
      body: () => '{"bucketId":"shelf","sourceKey":"a","destinationKey":"b"}',
      ok: 200,
    },
    {
      route: 'POST /storage/v1/object/move',
      access: 'stored',
      at: () => '/storage/v1/object/move',
      body: () => '{"bucketId":"shelf","sourceKey":"a","destinationKey":"c"}',
      ok: 200,
    },
    { route: 'DELETE /storage/v1/object/:bucket/*', access: 'stored', at: () => '/storage/v1/object/shelf/b', ok: 200 },
    { route: 'DELETE /storage/v1/object/:bucket', access: 'stored', at: () => '/storage/v1/object/shelf', body: () => '{"prefixes":["c"]}', ok: 200 },
    { route: 'POST /storage/v1/bucket/:id/empty', access: 'stored', at: () => '/storage/v1/bucket/shelf/empty', body: () => '{}', ok: 200 },
    { route: 'DELETE /storage/v1/bucket/:id', access: 'stored', at: () => '/storage/v1/bucket/shelf', body: () => '{}', ok: 200 },
    { route: 'DELETE /2015-03-31/functions/:name', access: 'aws', at: () => '/2015-03-31/functions/gone', ok: 204 },
    { route: 'DELETE /api/v1/projects/:ref/functions/:name', access: 'manage', at: () => '/api/v1/projects/demo/functions/made', ok: 204 },
  ]
  for (const { route, access, at, body, ok } of rows) {
    it(`${route}: turns away who may not, and serves who may`, async () => {
      const method = (route.split(' ')[0] as string).replace('any', 'GET')
      for (const [who, expected] of Object.entries(REFUSED[access])) {
        const reply = await send(who as Who, method, at(), body?.() ?? null)
        assert.deepEqual([reply.status, method === 'HEAD' ? expected[1] : reply.code], expected, who)
      }
      // What changes something is done once.
      const welcome = /^(GET|HEAD|PUT \/api)/.test(`${method} ${at()}`) ? WELCOME[access] : WELCOME[access].slice(0, 1)
      for (const who of welcome) assert.equal((await send(who, method, at(), body?.() ?? null)).status, ok, who)
    })
  }

  it('an artefact is read by the link that GetFunction gives, by no other', async () => {
    const link = ((await send('signed', 'GET', '/2015-03-31/functions/hello')).json.Code as { Location: string }).Location
    assert.deepEqual(Buffer.from(await (await fetch(link)).arrayBuffer()), zip)
    assert.equal((await fetch(link.replace('/demo/', '/other/'))).status, 403)
  })

  const faults: [what: string, who: Who, method: string, at: string, body: string | null, status: number, code: string][] = [
    ['a body that is not JSON', 'secret', 'PUT', '/api/v1/projects/demo/functions/x', '{', 400, 'body_not_json'],
    ['a project that is there already', 'operator', 'POST', '/api/v1/projects', '{"ref":"demo"}', 409, 'project_exists'],
    ['a function that is not there', 'secret', 'GET', '/api/v1/projects/demo/functions/none', null, 404, 'function_not_found'],
    ['a dead letter that is not there', 'secret', 'DELETE', `/api/v1/projects/demo/dead-letters/${nil}`, null, 404, 'dead_letter_not_found'],
    [
      'triggers of a function that is not there',
      'secret',
      'PUT',
      '/api/v1/projects/demo/functions/none/triggers',
      '{"triggers":[]}',
      404,
      'function_not_found',
    ],
    ['a deployment that is not there', 'secret', 'GET', '/api/v1/projects/demo/deployments/none', null, 404, 'deployment_not_found'],
    ['a function that throws', 'publishable', 'GET', '/functions/v1/hello/throw', null, 502, 'function_failed'],
    ['a function past its time', 'publishable', 'GET', '/functions/v1/hello/sleep', null, 504, 'function_timeout'],
  ]
  for (const [what, who, method, at, body, status, code] of faults) {
    it(`${what} is told as ${code}`, async () => {
      // The Lambda rows above have given it other settings.
      if (code === 'function_timeout') assert.equal((await send('secret', 'PUT', '/api/v1/projects/demo/functions/hello', definition())).status, 200)
      const reply = await send(who, method, at, body)
      assert.deepEqual([reply.status, reply.code], [status, code])
      assert.ok(reply.json.message && reply.json.hint)
    })
  }
  it('a management body goes up to managementBody, 1 MiB, and no byte past it', async () => {
    const sized = (bytes: number) => `{"ref":"demo"}${' '.repeat(bytes - 14)}`
    assert.equal((await send('operator', 'POST', '/api/v1/projects', sized(1024 * 1024))).code, 'project_exists')
    assert.equal((await send('operator', 'POST', '/api/v1/projects', sized(1024 * 1024 + 1))).code, 'payload_too_large')
  })
  it('headers that never end are given up after requestHeadTime, 20 s', async () => {
    const [, seconds, said] = /^(\d+) s: ([\s\S]*)$/.exec(await unfinished) ?? []
    assert.ok(Number(seconds) >= 20 && Number(seconds) <= 27, `${seconds} s`)
    assert.match(said ?? '', /^HTTP\/1.1 408 [\s\S]*"code":"request_timeout"/)
  })
})

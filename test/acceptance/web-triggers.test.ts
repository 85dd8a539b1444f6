import assert from 'node:assert/strict'
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

/** The row of webhooks. */
const ROW = 'POST /webhooks/v1/:name/:hook'

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
      assert.match(deployed.stdout, new RegExp(`hooks: webhook github \\(push\\) at ${node.ready.project.url}/webhooks/v1/hooks/github\n`))
      assert.equal(deploy('fetched', { 'index.mjs': code, 'mayfly.json': { triggers: [{ webhook: { provider: 'github', secret: 'GITHUB' } }] } }).code, 0)
      const set = cli('secrets', 'set', `GITHUB=${GITHUB}`, `GITHUB_NEXT=${NEXT}`, `STRIPE=${STRIPE}`, `STANDARD=${STANDARD}`)
      assert.equal(set.code, 0, set.stderr)
    })

    it('are listed with their addresses; the same file again changes nothing', () => {
      const listed = cli('triggers', 'hooks').stdout
      for (const end of ['github', 'stripe', 'mail']) assert.match(listed, new RegExp(`hooks\\s+webhook .*/webhooks/v1/hooks/${end}\\s+the node`))
      assert.match(deploy('hooks', { 'mayfly.json': HOOKS }).stdout, /Nothing changes/)
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
})

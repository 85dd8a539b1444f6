import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, it } from 'node:test'
import { sign } from '@octokit/webhooks-methods'
import { Webhook } from 'standardwebhooks'
import Stripe from 'stripe'
import type { WebhookSpec } from '../../core/web-triggers.ts'
import { verifyWebhook } from './signature.ts'

const NOW = Date.parse('2026-11-27T09:00:00Z')
const SECRET = 'a secret of some length'
const BODY = '{"id":"evt_1","type":"invoice.paid","ü":"✓"}'
const OLD = 301_000

type Headers = Readonly<Record<string, string>>
const linesOf = (headers: Headers) => Object.entries(headers).flat()
const verify = (spec: Omit<WebhookSpec, 'secret'>, headers: Headers | string[], { body = BODY as string | Buffer, secrets = [SECRET], nowMs = NOW } = {}) =>
  verifyWebhook({ secret: 'S', ...spec }, secrets, {
    rawHeaders: Array.isArray(headers) ? headers : linesOf(headers),
    body: Buffer.from(body),
    nowMs,
  })
const INVALID = { code: 'webhook_signature_invalid', message: 'the signature of the webhook is missing or wrong' }
const hmac = (text: string, encoding: 'hex' | 'base64', secret: string | Buffer = SECRET) => createHmac('sha256', secret).update(text).digest(encoding)

/** Each as its sender's own library signs it, and what it is known by then. */
const WHSEC = `whsec_${Buffer.from('twenty-four bytes or more').toString('base64')}`
const at = (ms: number) => Math.floor(ms / 1_000)
const stripeHeader = (secret = SECRET, ms = NOW, payload = BODY) =>
  new Stripe('sk_test_none').webhooks.generateTestHeaderString({ payload, secret, timestamp: at(ms) })
const standard = (secret = WHSEC, ms = NOW, body = BODY) => ({
  'webhook-id': 'msg_1',
  'webhook-timestamp': String(at(ms)),
  'webhook-signature': new Webhook(secret).sign('msg_1', new Date(ms), body),
})
const CASES = [
  {
    provider: 'github',
    secret: SECRET,
    header: 'x-hub-signature-256',
    signed: async (secret: string = SECRET, _ms: number = NOW) => ({
      'X-Hub-Signature-256': await sign(secret, BODY),
      'X-GitHub-Event': 'push',
      'X-GitHub-Delivery': 'd-1',
    }),
    told: { id: 'd-1', event: 'push' },
  },
  {
    provider: 'stripe',
    secret: SECRET,
    header: 'stripe-signature',
    signed: async (secret: string = SECRET, ms: number = NOW) => ({ 'stripe-signature': stripeHeader(secret, ms) }),
    told: { id: 'evt_1', event: 'invoice.paid' },
  },
  {
    provider: 'standard',
    secret: WHSEC,
    header: 'webhook-signature',
    signed: async (secret: string = WHSEC, ms: number = NOW) =>
      standard(secret.startsWith('whsec_') ? secret : `whsec_${Buffer.from(secret).toString('base64')}`, ms),
    told: { id: 'msg_1', event: null },
  },
  {
    provider: 'generic',
    secret: SECRET,
    header: 'x-signature',
    signed: async (secret: string = SECRET, _ms: number = NOW) => ({ 'X-Signature': hmac(BODY, 'hex', secret) }),
    told: { id: null, event: null },
  },
] as const

for (const { provider, secret, header, signed, told } of CASES)
  describe(`a webhook of ${provider}`, () => {
    const spec = { provider }
    it('is let in as its own library signs it, by each of several secrets', async () => {
      assert.deepEqual(verify(spec, await signed(), { secrets: [secret] }), told)
      assert.deepEqual(verify(spec, await signed(), { secrets: ['the one before', secret] }), told)
      assert.deepEqual(verify(spec, await signed(), { secrets: [secret, 'the next one'] }), told)
    })
    it('is refused with another secret, with none, and with another body, in the same words', async () => {
      const headers = await signed()
      for (const changes of [
        { secrets: ['another'] },
        { secrets: [] },
        { secrets: [''] },
        { secrets: [secret], body: `${BODY} ` },
        { secrets: [secret], body: '' },
      ])
        assert.throws(() => verify(spec, headers, changes), INVALID, JSON.stringify(changes))
    })
    it('is refused without its header, and when that comes twice, whichever is right', async () => {
      const lines = linesOf(await signed())
      const at = lines.findIndex((line) => line.toLowerCase() === header)
      assert.throws(() => verify(spec, lines.toSpliced(at, 2), { secrets: [secret] }), INVALID)
      assert.throws(() => verify(spec, [...lines, ...lines.slice(at, at + 2)], { secrets: [secret] }), INVALID)
      assert.throws(() => verify(spec, [header, 'x', ...lines], { secrets: [secret] }), INVALID)
    })
    it('is refused when the signature is cut, empty or of another form', async () => {
      const lines = linesOf(await signed())
      const at = lines.findIndex((line) => line.toLowerCase() === header) + 1
      const value = lines[at] as string
      for (const other of ['', value.slice(0, -1), `${value}00`, value.slice(0, 8), `sha1=${'0'.repeat(40)}`, 'v1,', 't=,v1=', 'v1', '='])
        assert.throws(() => verify(spec, lines.with(at, other), { secrets: [secret] }), INVALID, other)
    })
  })

describe('what a webhook was signed at', () => {
  for (const { provider, secret, signed } of CASES.filter(({ provider: one }) => one === 'stripe' || one === 'standard')) {
    it(`is five minutes from now at most (${provider})`, async () => {
      for (const ms of [NOW - OLD, NOW + OLD]) {
        const headers = await signed(secret, ms)
        assert.throws(() => verify({ provider }, headers, { secrets: [secret] }), { code: 'webhook_too_old' })
      }
      assert.ok(verify({ provider }, await signed(secret, NOW - OLD + 2_000), { secrets: [secret] }))
    })
    it(`is not looked at while the signature is wrong (${provider})`, async () => {
      const headers = await signed(secret, NOW - OLD)
      assert.throws(() => verify({ provider }, headers, { secrets: ['another'] }), INVALID)
    })
  }
  it('is a number', () => {
    for (const timestamp of ['', 'now', '1e9', '-5', ' 1', '9'.repeat(13)]) {
      const headers = { 'stripe-signature': `t=${timestamp},v1=${hmac(`${timestamp}.${BODY}`, 'hex')}` }
      assert.throws(
        () => verify({ provider: 'stripe' }, headers),
        (error: { code: string }) => error.code.startsWith('webhook_'),
        timestamp,
      )
    }
  })
  it('is said once', () => {
    const [t, v1] = stripeHeader().split(',')
    assert.throws(() => verify({ provider: 'stripe' }, { 'stripe-signature': `t=1,${t},${v1}` }), INVALID)
    assert.throws(() => verify({ provider: 'stripe' }, { 'stripe-signature': `${t},t=1,${v1}` }), INVALID)
  })
})

describe('of several signatures', () => {
  it('each of scheme v1 is looked at, and none of another', () => {
    const [t, v1 = ''] = stripeHeader().split(',')
    assert.ok(verify({ provider: 'stripe' }, { 'stripe-signature': `${t},v1=${'0'.repeat(64)},${v1},v0=x` }))
    assert.throws(() => verify({ provider: 'stripe' }, { 'stripe-signature': `${t},${v1.replace('v1', 'v0')}` }), INVALID)
    const headers = standard()
    const one = headers['webhook-signature']
    assert.ok(verify({ provider: 'standard' }, { ...headers, 'webhook-signature': `v1a,x v1,${hmac('x', 'base64')} ${one}` }, { secrets: [WHSEC] }))
    assert.throws(() => verify({ provider: 'standard' }, { ...headers, 'webhook-signature': one.replace('v1', 'v1a') }, { secrets: [WHSEC] }), INVALID)
  })
  it('the id of Standard Webhooks is signed with the rest', () => {
    assert.throws(() => verify({ provider: 'standard' }, { ...standard(), 'webhook-id': 'msg_2' }, { secrets: [WHSEC] }), INVALID)
  })
})

describe('a webhook of one own form', () => {
  it('says where its signature stands, how it is written, and where its id', () => {
    const spec = { provider: 'generic', header: 'x-shop-hmac', encoding: 'base64', prefix: 'v1=', idHeader: 'x-shop-id' } as const
    assert.deepEqual(verify(spec, { 'X-Shop-Hmac': `v1=${hmac(BODY, 'base64')}`, 'X-Shop-Id': '7' }), { id: '7', event: null })
    assert.throws(() => verify(spec, { 'X-Shop-Hmac': hmac(BODY, 'base64') }), INVALID)
    assert.throws(() => verify(spec, { 'X-Shop-Hmac': `v1=${hmac(BODY, 'hex')}` }), INVALID)
  })
  it('is signed over the very bytes', () => {
    const body = Buffer.from([0xff, 0xfe, 0x00, 0x80])
    const signature = createHmac('sha256', SECRET).update(body).digest('hex')
    assert.ok(verify({ provider: 'generic' }, { 'x-signature': signature }, { body }))
    assert.throws(() => verify({ provider: 'generic' }, { 'x-signature': signature }, { body: body.toString('utf8') }), INVALID)
  })
})

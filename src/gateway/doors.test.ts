import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { cutProject, HostNames, hostName, TrustedProxies } from './doors.ts'

describe('HostNames', () => {
  const hosts = new HostNames(['api.example.com'])
  for (const host of ['localhost', 'localhost:54321', '127.0.0.1:1', '[::1]:80', 'x.demo.localhost:1', 'API.example.com', 'api.example.com.:443']) {
    it(`serves ${host}`, () => void hosts.check(host))
  }
  for (const host of [
    undefined,
    '',
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil.example:localhost',
    'localhost@evil.example',
    'a b',
    'localhost/..',
    '10.0.0.1',
    '[::1',
    '127.0.0.1:99999999',
  ]) {
    it(`refuses ${String(host)} as misdirected`, () => assert.throws(() => hosts.check(host), { code: 'misdirected_request' }))
  }
  it('cuts the port and the brackets', () => {
    assert.equal(hostName('[::1]:80'), '::1')
    assert.equal(hostName('A.b:1'), 'a.b')
  })
})

describe('cutProject', () => {
  it('cuts a prefix and leaves other paths alone', () => {
    assert.deepEqual(cutProject('/p/shop/functions/v1/x'), { ref: 'shop', rest: '/functions/v1/x' })
    assert.deepEqual(cutProject('/p/shop'), { ref: 'shop', rest: '/' })
    assert.deepEqual(cutProject('/pp/x'), { ref: null, rest: '/pp/x' })
  })
  for (const path of ['/p/', '/p//x', '/p/UPPER/x', '/p/..%2f/x', '/p/a/x', '/p/-ab/x']) {
    it(`refuses ${path}`, () => assert.throws(() => cutProject(path), { code: 'project_not_found' }))
  }
})

describe('TrustedProxies', () => {
  it('trusts nobody by default', () => assert.equal(new TrustedProxies([]).trusts('127.0.0.1'), false))
  it('trusts what lies in a block, mapped addresses too', () => {
    const proxies = new TrustedProxies(['10.1.0.0/16', 'fd00::/8', '192.0.2.7'])
    assert.equal(proxies.trusts('10.1.2.3'), true)
    assert.equal(proxies.trusts('::ffff:10.1.2.3'), true)
    assert.equal(proxies.trusts('10.2.0.1'), false)
    assert.equal(proxies.trusts('fd12::1'), true)
    assert.equal(proxies.trusts('192.0.2.7'), true)
    assert.equal(proxies.trusts('sandbox'), false)
  })
  it('takes for the client who stands before the last trusted proxy, not who the client says it is', () => {
    const proxies = new TrustedProxies(['10.0.0.0/8'])
    assert.equal(proxies.clientOf('127.0.0.1, 192.0.2.1'), '192.0.2.1')
    assert.equal(proxies.clientOf('127.0.0.1, 192.0.2.1, 10.0.0.7'), '192.0.2.1')
    assert.equal(proxies.clientOf(['192.0.2.1', '10.0.0.7']), '192.0.2.1')
    assert.equal(proxies.clientOf('10.0.0.9, 10.0.0.7'), '10.0.0.9')
    assert.equal(proxies.clientOf(' , '), null)
    assert.equal(proxies.clientOf(undefined), null)
  })
  for (const range of ['x', '10.0.0.0/33', '10.0.0.0/-1', '']) it(`refuses ${range}`, () => assert.throws(() => new TrustedProxies([range]), /--behind-proxy/))
})

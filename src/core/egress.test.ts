import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { allowedHosts, isNeverReached, parseAllowedHost, portsOf } from './egress.ts'

describe('a host of an allow-list', () => {
  const right: [string, object][] = [
    ['api.example.com', { host: 'api.example.com', kind: 'name', port: null }],
    ['API.Example.com:443', { host: 'api.example.com', kind: 'name', port: 443 }],
    ['*.example.org:5432', { host: 'example.org', kind: 'below', port: 5432 }],
    ['xn--bcher-kva.example', { host: 'xn--bcher-kva.example', kind: 'name', port: null }],
    ['_srv.example.com', { host: '_srv.example.com', kind: 'name', port: null }],
    ['93.184.216.34:5432', { host: '93.184.216.34', kind: 'address', port: 5432 }],
  ]
  for (const [text, parsed] of right) it(`may be ${text}`, () => assert.deepEqual(parseAllowedHost(text), parsed))

  const wrong: [string, RegExp][] = [
    ['', /must be a host/],
    ['*', /must be a host/],
    ['localhost', /must be a host/],
    ['*.com.', /must be a host/],
    ['a.*.com', /must be a host/],
    ['-a.example.com', /must be a host/],
    ['a..example.com', /must be a host/],
    ['bücher.example', /must be a host/],
    ['a.example.com/path', /must be a host/],
    ['http://a.example.com', /must be a host/],
    ['a.example.com:443 ', /must be a host/],
    ['a.example.com\n', /must be a host/],
    ['[2606:2800:220:1::1]:443', /must be a host/],
    ['::ffff:10.0.0.1', /must be a host/],
    ['10.1', /must be a host/],
    ['0x0a.0.0.1', /must be a host/],
    ['0177.0.0.1', /must be a host/],
    ['*.10.0.0.1', /must be a host/],
    [`${'a'.repeat(64)}.example.com`, /must be a host/],
    [`${'a.'.repeat(126)}example`, /must be a host/],
    ['a.example.com:0', /port from 1/],
    ['a.example.com:65536', /port from 1/],
    ['mail.example.com:25', /port 25/],
    ['10.0.0.1', /no function reaches/],
    ['169.254.169.254:80', /no function reaches/],
    ['127.0.0.1:5432', /no function reaches/],
    ['255.255.255.255', /no function reaches/],
  ]
  for (const [text, why] of wrong) it(`may not be ${JSON.stringify(text.slice(0, 40))}`, () => assert.match(String(parseAllowedHost(text)), why))

  it('covers a name, or what is below it but not itself, and nothing that only looks alike', () => {
    const list = allowedHosts(['api.example.com:443', 'api.example.com:80', '*.example.org', 'one.example.org:1', '93.184.216.34'])
    assert.deepEqual(portsOf(list, 'API.example.com.'), [443, 80])
    assert.deepEqual(portsOf(list, 'a.b.example.org'), [null])
    assert.deepEqual(portsOf(list, 'one.example.org'), [null], 'all ports hold one')
    for (const name of ['example.org', 'example.com', 'xapi.example.com', 'api.example.com.evil.net', 'evilexample.org', '93.184.216.34', ''])
      assert.equal(portsOf(list, name), null, name)
  })
})

describe('what no sandbox reaches', () => {
  it('is whatever is not one public receiver', () => {
    const shut = '0.0.0.1 10.0.0.0 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254 172.16.0.1 172.31.255.255'
    const more =
      '192.0.0.1 192.0.2.1 192.88.99.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255'
    for (const address of `${shut} ${more}`.split(' ')) assert.equal(isNeverReached(address), true, address)
    const open =
      '1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255'
    for (const address of `${open} 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255`.split(' '))
      assert.equal(isNeverReached(address), false, address)
  })
})

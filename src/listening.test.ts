import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Config } from './config.ts'
import { checkDoors, consoleHost } from './listening.ts'

describe('the address to listen on', () => {
  const at = (host: string, more: object = {}, door = '127.0.0.1') =>
    checkDoors({ node: { host, tlsCert: null, tlsKey: null, behindProxy: [], ...more }, door: { host: door } } as unknown as Config)
  for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost']) it(`${host} takes nothing more`, () => at(host))
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com', '127.example.com', '127.0.0.1.example.com', '']) {
    it(`${JSON.stringify(host)} takes TLS or a named proxy`, () => {
      assert.throws(() => at(host), { name: 'StartError', exitCode: 2, message: /--behind-proxy/ })
      at(host, { behindProxy: ['10.0.0.0/8'] })
      at(host, { tlsCert: 'a', tlsKey: 'b' })
    })
  }
  it('the door of PostgreSQL clients takes TLS where others reach it, whatever proxy is named', () => {
    assert.throws(() => at('127.0.0.1', { behindProxy: ['10.0.0.0/8'] }, '0.0.0.0'), { exitCode: 2, message: /--door-host 0\.0\.0\.0/ })
    at('127.0.0.1', { tlsCert: 'a', tlsKey: 'b' }, '0.0.0.0')
  })
  it('a certificate goes with its key', () => assert.throws(() => at('::1', { tlsCert: 'a' }), { exitCode: 2, message: /go together/ }))
})

describe('the name of the console', () => {
  for (const shown of ['127.0.0.1', 'localhost', '[::1]'])
    it(`is its own where the API is ${shown}`, () => assert.equal(consoleHost('http', shown), 'console.localhost'))
  // A name below localhost leads to 127.0.0.1 and ::1 alone, and no certificate of another name holds for it.
  for (const shown of ['127.8.8.8', '192.0.2.1', 'example.com']) it(`is that of the API at ${shown}`, () => assert.equal(consoleHost('http', shown), shown))
  it('is that of the API over TLS', () => assert.equal(consoleHost('https', 'localhost'), 'localhost'))
})

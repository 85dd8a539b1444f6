import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ProjectRef } from '../core/project.ts'
import { Content } from './content.ts'

const ID = 'a'.repeat(32)
const content = (domain: string | null, publicUrl: string | null = null) =>
  new Content({
    sites: { find: async () => null, read: async () => Promise.reject(new Error('none')) } as never,
    project: async () => null,
    defaultProject: 'demo' as ProjectRef,
    publishableKey: async () => '',
    domain,
    publicUrl,
  })

describe('addresses of function URLs', () => {
  it('are paths that work for who asked, and host names where a domain is configured', () => {
    const rows: [domain: string | null, publicUrl: string | null, origin: string, url: string][] = [
      [null, null, 'http://127.0.0.1:54321', `http://127.0.0.1:54321/lambda-url/${ID}/`],
      [null, null, 'http://[::1]:54321', `http://[::1]:54321/lambda-url/${ID}/`],
      [null, 'https://api.example.com', 'http://127.0.0.1:54321', `https://api.example.com/lambda-url/${ID}/`],
      ['example.com', null, 'http://127.0.0.1:54321', `http://127.0.0.1:54321/lambda-url/${ID}/`],
      ['example.com', null, 'http://localhost:54321', `http://localhost:54321/lambda-url/${ID}/`],
      ['example.com', null, 'https://api.example.com:8443', `https://${ID}.lambda-url.example.com:8443/`],
      ['example.com', 'https://api.example.com', 'http://127.0.0.1:54321', `https://${ID}.lambda-url.example.com/`],
    ]
    for (const [domain, publicUrl, origin, url] of rows) assert.equal(content(domain, publicUrl).functionUrl(origin, ID), url)
  })

  it('are told from sites, and from names that only look like them', () => {
    const at = (host: string, domain: string | null = 'example.com') => content(domain).functionAt(host)
    for (const host of [
      `${ID}.lambda-url.localhost`,
      `${ID.toUpperCase()}.LAMBDA-URL.localhost:1`,
      `${ID}.lambda-url.example.com:443`,
      `${ID}.lambda-url.localhost.`,
    ])
      assert.equal(at(host), ID, host)
    for (const host of [
      'lambda-url.localhost',
      `x.${ID}.lambda-url.localhost`,
      `${ID}.lambda-url.example.org`,
      `${ID}.lambda-url.evil-example.com`,
      `${ID}.lambda-url`,
      'localhost',
      '127.0.0.1:1',
      'a b',
      '',
    ])
      assert.equal(at(host), null, host)
    assert.equal(at(`${ID}.lambda-url.example.com`, null), null)
    assert.equal(at('shop.demo.localhost'), null)
    assert.equal(content(null).owns(`${ID}.lambda-url.localhost`), false)
    assert.equal(content(null).owns('shop.demo.localhost'), true)
  })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { publicFetch } from './public-fetch.ts'

describe('a registry that a user names', () => {
  const asked: { url: string | undefined; authorization: string | undefined; host: string | undefined }[] = []
  const servers: Server[] = []
  const origins: string[] = []
  before(async () => {
    for (let i = 0; i < 2; i++) {
      const server = createServer((request, response) => {
        asked.push({ url: request.url, authorization: request.headers.authorization, host: request.headers.host })
        if (request.url === '/elsewhere') return void response.writeHead(302, { location: `${origins[1]}/there` }).end()
        if (request.url === '/here') return void response.writeHead(307, { location: '/there' }).end()
        if (request.url === '/inside') return void response.writeHead(302, { location: 'http://169.254.169.254/latest' }).end()
        if (request.url === '/round') return void response.writeHead(302, { location: '/round' }).end()
        response.writeHead(200, { 'content-type': 'text/plain' }).end('there')
      })
      await once(server.listen(0, '127.0.0.1'), 'listening')
      servers.push(server)
      origins.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    }
  })
  after(() => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  })
  const ask = (url: string, allowed: readonly string[] = []) =>
    publicFetch(url, { method: 'GET', headers: { authorization: 'Bearer own' }, signal: AbortSignal.timeout(10_000) }, allowed)

  it('is never one that only the node can reach, whatever it is written as', async () => {
    asked.length = 0
    const port = new URL(origins[0] as string).port
    for (const host of [
      '127.0.0.1',
      'localhost',
      '127.1',
      '2130706433',
      '0x7f000001',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0.0.0.0',
      '10.0.0.1',
      '169.254.169.254',
      '192.168.0.1',
    ])
      await assert.rejects(ask(`http://${host}:${port}/x`), /no public address/, host)
    await assert.rejects(ask('http://93.184.216.34:25/x'), /no public address/)
    await assert.rejects(ask('file:///etc/passwd'), /no way to a host/)
    const signal = AbortSignal.timeout(10_000)
    await assert.rejects(publicFetch('http://93.184.216.34/keys', { method: 'GET', headers: {}, signal, encrypted: true }, []), /not encrypted/)
    assert.equal(asked.length, 0)
  })

  it('is asked where the operator allows it, and followed without its key once it leaves', async () => {
    const [one = '', other = ''] = origins
    asked.length = 0
    assert.equal(await (await ask(`${one}/here`, [one])).text(), 'there')
    assert.deepEqual(
      asked.map(({ url, authorization }) => [url, authorization]),
      [
        ['/here', 'Bearer own'],
        ['/there', 'Bearer own'],
      ],
    )
    asked.length = 0
    assert.equal(await (await ask(`${one}/elsewhere`, [one, other])).text(), 'there')
    assert.deepEqual(
      asked.map(({ authorization }) => authorization),
      ['Bearer own', undefined],
    )
    await assert.rejects(ask(`${one}/elsewhere`, [one]), /no public address/)
    await assert.rejects(ask(`${one}/inside`, [one]), /no public address/)
    await assert.rejects(ask(`${one}/round`, [one]), /from place to place/)
  })
})

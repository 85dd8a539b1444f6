import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { LIMITS } from '../core/limits.ts'
import { MiB } from '../lib/bytes.ts'
import { Compressed, isCompressible } from './compressed.ts'

describe('compressed files of sites', () => {
  it('compressedSiteFile: texts up to it, and nothing that is compressed already', () => {
    const most = LIMITS.compressedSiteFile.value
    for (const type of ['text/html; charset=utf-8', 'text/javascript; charset=utf-8', 'image/svg+xml', 'application/json', 'application/wasm', 'font/ttf'])
      assert.deepEqual([isCompressible(type, most), isCompressible(type, most + 1), isCompressible(type, 100)], [true, false, false], type)
    for (const type of ['image/png', 'font/woff2', 'video/mp4', 'application/zip', 'application/octet-stream']) assert.ok(!isCompressible(type, 5_000), type)
  })
  it('are made once, whoever asks at once, and again after a failure', async () => {
    const compressed = new Compressed()
    let reads = 0
    const read = async () => {
      if (++reads === 1) throw new Error('the disk is away')
      return Buffer.from('x'.repeat(5_000))
    }
    await assert.rejects(compressed.get('a', 'gzip', read), /away/)
    const both = await Promise.all([compressed.get('a', 'gzip', read), compressed.get('a', 'gzip', read)])
    assert.deepEqual([reads, both[0] === both[1], gunzipSync(both[0] as Buffer).length], [2, true, 5_000])
    await compressed.get('a', 'br', read)
    assert.equal(reads, 3)
  })
  it('are a few at a time: who comes when many are made gets the file as it is', async () => {
    const compressed = new Compressed()
    const held = Promise.withResolvers<Buffer>()
    const slow = Array.from({ length: 4 }, (_, n) => compressed.get(`slow${n}`, 'gzip', () => held.promise))
    assert.equal(await compressed.get('next', 'gzip', async () => Buffer.from('x')), null)
    const joined = compressed.get('slow0', 'gzip', async () => assert.fail('it is made already'))
    held.resolve(Buffer.from('x'))
    assert.equal(await joined, await slow[0])
    await Promise.all(slow)
    assert.notEqual(await compressed.get('next', 'gzip', async () => Buffer.from('x')), null)
  })
  it('compressedSites: past it the longest unused go', async () => {
    const compressed = new Compressed()
    const reads: string[] = []
    const get = (name: string) =>
      compressed.get(name, 'gzip', async () => {
        reads.push(name)
        return randomBytes(4 * MiB)
      })
    for (let n = 0; n < 7; n++) await get(`f${n}`)
    await get('f0')
    for (let n = 7; n < 9; n++) await get(`f${n}`)
    assert.ok(compressed.bytes <= LIMITS.compressedSites.value)
    reads.length = 0
    await get('f0')
    assert.deepEqual(reads, [], 'it was used lately')
    await get('f1')
    assert.deepEqual(reads, ['f1'])
  })
})

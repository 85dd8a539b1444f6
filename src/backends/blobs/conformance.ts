import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import type { Blobs, ListedBlob } from './blobs.ts'

export interface OpenedBlobs {
  readonly blobs: Blobs
  readonly close: () => Promise<void>
}

async function* chunks(...parts: readonly (Uint8Array | string | Error)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part
    yield typeof part === 'string' ? Buffer.from(part) : part
  }
}
const all = async <T>(from: AsyncIterable<T>): Promise<T[]> => {
  const list: T[] = []
  for await (const one of from) list.push(one)
  return list
}
const openFiles = () => readdirSync('/proc/self/fd').length

/** What every keeper of bytes must do; an implementation is done when it passes. */
export function blobsConformance(name: string, open: () => Promise<OpenedBlobs>): void {
  describe(`${name} keeps the Blobs contract`, () => {
    let opened: OpenedBlobs
    let blobs: Blobs
    before(async () => {
      opened = await open()
      blobs = opened.blobs
    })
    after(() => opened?.close())
    const read = async (place: string, blob: string, range?: { first: number; last: number }) => {
      const found = await blobs.open(place, blob)
      return found && Buffer.concat(await all(found.read(range)))
    }
    const listed = async (place: string): Promise<ListedBlob[]> => await all(blobs.list(place))

    it('gives back what was put, with its size and MD5, under a name of its own', async () => {
      const bytes = randomBytes(3_000_000)
      const stored = await blobs.put('one', chunks(bytes.subarray(0, 1), bytes.subarray(1, 1_000_000), bytes.subarray(1_000_000)))
      assert.equal(stored.bytes, bytes.length)
      assert.equal(stored.md5, createHash('md5').update(bytes).digest('hex'))
      assert.match(stored.name, /^[0-9a-f]{32}$/)
      assert.deepEqual(await read('one', stored.name), bytes)
      assert.notEqual((await blobs.put('one', chunks(bytes))).name, stored.name)
    })
    it('keeps nothing at all as well', async () => {
      const stored = await blobs.put('one', chunks())
      assert.deepEqual([stored.bytes, stored.md5], [0, 'd41d8cd98f00b204e9800998ecf8427e'])
      assert.deepEqual(await read('one', stored.name), Buffer.alloc(0))
    })
    it('gives a range, both ends of it, and closes what it opened', async () => {
      const { name } = await blobs.put('one', chunks('0123456789'))
      for (const [first, last, text] of [
        [0, 0, '0'],
        [3, 6, '3456'],
        [9, 9, '9'],
        [0, 9, '0123456789'],
      ] as const) {
        assert.equal((await read('one', name, { first, last }))?.toString(), text)
      }
    })
    it('leaves nothing of a put that broke off, neither bytes nor open files', async () => {
      const before = await listed('broken')
      const files = openFiles()
      for (let i = 0; i < 20; i++) await assert.rejects(blobs.put('broken', chunks('some', 'bytes', new Error('broke off'))), /broke off/)
      assert.deepEqual(await listed('broken'), before)
      assert.equal(openFiles(), files)
    })
    it('closes a blob whose reader goes, and one that nobody reads', async () => {
      const { name } = await blobs.put('one', chunks(randomBytes(2_000_000)))
      const files = openFiles()
      const left = await blobs.open('one', name)
      for await (const _ of left?.read() ?? []) break
      await (await blobs.open('one', name))?.[Symbol.asyncDispose]()
      assert.equal(openFiles(), files)
    })
    it('lets a reader come to the end of what is deleted meanwhile', async () => {
      const bytes = randomBytes(2_000_000)
      const { name } = await blobs.put('one', chunks(bytes))
      const found = await blobs.open('one', name)
      const seen: Uint8Array[] = []
      for await (const chunk of found?.read() ?? []) {
        if (seen.length === 0) await blobs.delete('one', [name])
        seen.push(chunk)
      }
      assert.deepEqual(Buffer.concat(seen), bytes)
      assert.equal(await blobs.open('one', name), null)
    })
    it('deletes what is there and does not mind what is not', async () => {
      const { name } = await blobs.put('one', chunks('x'))
      await blobs.delete('one', ['0'.repeat(32), name, name])
      assert.equal(await blobs.open('one', name), null)
      await blobs.delete('never-used', [name])
    })
    it('copies to a name of its own that outlives the first', async () => {
      const { name } = await blobs.put('one', chunks('twice'))
      const copy = await blobs.copy('one', name)
      assert.ok(copy !== null && copy !== name)
      await blobs.delete('one', [name])
      assert.equal((await read('one', copy))?.toString(), 'twice')
      assert.equal(await blobs.copy('one', name), null)
    })
    it('gives a place what another holds, again and again, and each its own', async () => {
      const { name } = await blobs.put('original', chunks('mine'))
      await blobs.clone('original', 'clone')
      await blobs.clone('original', 'clone')
      await blobs.delete('original', [name])
      assert.equal((await read('clone', name))?.toString(), 'mine')
      assert.equal(await blobs.open('original', name), null)
      await blobs.clone('never-there', 'empty')
      assert.deepEqual(await listed('empty'), [])
    })
    it('keeps places apart and drops one whole', async () => {
      const { name } = await blobs.put('here', chunks('x'))
      assert.equal(await blobs.open('elsewhere', name), null)
      assert.ok((await blobs.places()).includes('here'))
      await blobs.drop('here')
      await blobs.drop('here')
      assert.equal(await blobs.open('here', name), null)
      assert.deepEqual(await listed('here'), [])
      assert.equal((await blobs.places()).includes('here'), false)
      const again = await blobs.put('here', chunks('y'))
      assert.equal((await read('here', again.name))?.toString(), 'y')
    })
    it('lists whole ones and unfinished ones with their age', async () => {
      const { name } = await blobs.put('listed', chunks('x'))
      const going = Promise.withResolvers<void>()
      const started = Promise.withResolvers<void>()
      async function* slow() {
        yield Buffer.from('y')
        started.resolve()
        await going.promise
      }
      const put = blobs.put('listed', slow())
      await started.promise
      const during = await listed('listed')
      assert.deepEqual(during.map((blob) => blob.whole).toSorted(), [false, true])
      assert.ok(during.every((blob) => blob.ageMs < 60_000))
      going.resolve()
      const { name: second } = await put
      assert.deepEqual((await listed('listed')).map((blob) => blob.name).toSorted(), [name, second].toSorted())
    })
    it('takes no name that could be a path', async () => {
      for (const bad of ['../x', 'a/b', '', '.', 'x'.repeat(32), `${'0'.repeat(31)}\n`]) {
        await assert.rejects(blobs.open('one', bad), RangeError)
        await assert.rejects(blobs.delete('one', [bad]), RangeError)
        await assert.rejects(blobs.copy('one', bad), RangeError)
      }
      for (const bad of ['..', '', 'a/b', '.hidden']) await assert.rejects(blobs.put(bad, chunks('x')), RangeError)
    })
    it('serves a hundred puts at once', async () => {
      const stored = await Promise.all(Array.from({ length: 100 }, (_, n) => blobs.put('many', chunks(`number ${n}`))))
      for (const [n, one] of stored.entries()) assert.equal((await read('many', one.name))?.toString(), `number ${n}`)
    })
  })
}

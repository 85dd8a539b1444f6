import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { boundaryOf, readForm } from './multipart.ts'

type Part = readonly [head: string, body: string | Uint8Array]
const field = (name: string, value: string): Part => [`Content-Disposition: form-data; name="${name}"`, value]
const file = (body: string | Uint8Array, head = 'Content-Disposition: form-data; name=""; filename="blob"\r\nContent-Type: image/png'): Part => [head, body]

const formOf = (...parts: readonly Part[]): Buffer =>
  Buffer.concat([
    ...parts.flatMap(([head, body]) => [Buffer.from(`--xyz\r\n${head}\r\n\r\n`), Buffer.from(body as string), Buffer.from('\r\n')]),
    Buffer.from('--xyz--\r\n'),
  ])

let closed = 0
async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  try {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  } finally {
    closed++
  }
}
async function readAll(bytes: Uint8Array, size = 65_536) {
  await using form = await readForm(inPieces(bytes, size), 'xyz')
  const chunks: Uint8Array[] = []
  for await (const chunk of form.bytes) chunks.push(chunk)
  return { fields: Object.fromEntries(form.fields), contentType: form.contentType, body: Buffer.concat(chunks) }
}
const refused = (code: string, message?: RegExp) => (error: unknown) =>
  error instanceof MayflyError && error.code === code && (message?.test(error.message) ?? true)

describe('a form of an upload', () => {
  it('is read whatever the pieces that it comes in', async () => {
    const bytes = Buffer.concat([Buffer.from('\r\n--xy\r\n\r\n--\r\n-'), randomBytes(300), Buffer.from('\r\n--xyY\r')])
    const form = formOf(field('cacheControl', '3600'), field('metadata', '{"이름":"값"}'), file(bytes))
    for (const size of [1, 2, 3, 7, 16, 64, 1000, 65_536]) {
      const read = await readAll(form, size)
      assert.deepEqual(read, { fields: { cacheControl: '3600', metadata: '{"이름":"값"}' }, contentType: 'image/png', body: bytes }, `pieces of ${size}`)
    }
  })
  it('is what fetch makes of FormData', async () => {
    const data = new FormData()
    data.append('cacheControl', '60')
    data.append('', new File(['hello'], '한글 "이름".txt', { type: 'text/plain' }))
    const request = new Request('http://x/', { method: 'POST', body: data })
    const boundary = boundaryOf(request.headers.get('content-type') ?? '') ?? ''
    await using form = await readForm(request.body as unknown as AsyncIterable<Uint8Array>, boundary)
    let text = ''
    for await (const chunk of form.bytes) text += Buffer.from(chunk).toString()
    assert.deepEqual([form.fields.get('cacheControl'), form.contentType, text], ['60', 'text/plain', 'hello'])
  })
  it('may have an empty file, a preamble, and fields after the file', async () => {
    assert.equal((await readAll(formOf(file('')))).body.length, 0)
    assert.equal((await readAll(Buffer.concat([Buffer.from('hello\r\n'), formOf(file('x'))]))).body.toString(), 'x')
    assert.equal((await readAll(formOf(file('x'), field('cacheControl', '1')))).body.toString(), 'x')
  })
  it('takes the part without a name as the file', async () => {
    assert.equal((await readAll(formOf([`Content-Disposition: form-data; name=""`, 'x']))).body.toString(), 'x')
    assert.equal((await readAll(formOf(file('x', `content-disposition: form-data; name="avatar"; filename="a.png"`)))).body.toString(), 'x')
  })
  it('that breaks off is refused at every byte', async () => {
    const form = formOf(field('a', 'b'), file('0123456789'))
    for (let length = 0; length < form.length - 4; length++) await assert.rejects(readAll(form.subarray(0, length)), refused('bad_request'), `${length} bytes`)
  })
  it('that is none is refused', async () => {
    for (const bytes of [
      'no boundary',
      '--xyz--\r\n',
      '--xyz\r\n\r\nx\r\n--xyz--',
      '--xyz\r\nContent-Disposition: attachment\r\n\r\nx\r\n--xyz--',
      '--xyzzy\r\n',
      `--xyz\r\n${'a'.repeat(10_000)}`,
      'x'.repeat(100_000),
    ])
      await assert.rejects(readAll(Buffer.from(bytes)), refused('bad_request'), bytes.slice(0, 40))
    await assert.rejects(readAll(formOf(field('a', 'b'))), refused('bad_request', /no file/))
    await assert.rejects(readAll(formOf(file('x'), file('y'))), refused('bad_request', /more than one file/))
  })
  it('has at most formFields fields before its file', async () => {
    const fields = Array.from({ length: LIMITS.formFields.value }, (_, n) => field(`f${n}`, 'x'))
    assert.equal((await readAll(formOf(...fields, file('x')))).body.toString(), 'x')
    await assert.rejects(readAll(formOf(...fields, field('more', 'x'), file('x'))), refused('payload_too_large'))
    await assert.rejects(readAll(formOf(file('x'), ...fields, field('more', 'x'))), refused('payload_too_large'))
  })
  it('has at most formFieldBytes in its fields together', async () => {
    const most = LIMITS.formFieldBytes.value
    assert.equal((await readAll(formOf(field('a', 'x'.repeat(most - 1)), field('b', 'y'), file('x')))).fields.b, 'y')
    await assert.rejects(readAll(formOf(field('a', 'x'.repeat(most)), field('b', 'y'), file('x'))), refused('payload_too_large'))
  })
  it('closes its source, read or not', async () => {
    closed = 0
    await (await readForm(inPieces(formOf(file('x'.repeat(1000))), 100), 'xyz'))[Symbol.asyncDispose]()
    await assert.rejects(readAll(Buffer.from('--xyz\r\n\r\n'), 4))
    await readAll(formOf(file('x')))
    assert.equal(closed, 3)
  })
  it('is known by its type and its boundary', () => {
    assert.equal(boundaryOf('multipart/form-data; boundary=abc'), 'abc')
    assert.equal(boundaryOf('Multipart/Form-Data; charset=utf-8; boundary="a b"'), 'a b')
    assert.equal(boundaryOf('application/json'), null)
    assert.equal(boundaryOf(undefined), null)
    assert.throws(() => boundaryOf('multipart/form-data'), refused('bad_request'))
  })
})

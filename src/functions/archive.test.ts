import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { readArchive, unpackArchive } from './archive.ts'
import { makeZip, type ZipMember } from './zip-fixture.ts'

const refused = async (members: readonly ZipMember[], message: RegExp) => {
  await assert.rejects(unpacked(makeZip(members)), (error: unknown) => {
    assert(error instanceof MayflyError, String(error))
    assert.equal(error.code, 'zip_invalid')
    assert.match(error.message, message)
    return true
  })
}

async function unpacked<T>(zip: Buffer, look: (folder: string) => Promise<T> = async () => undefined as T): Promise<T> {
  const parent = await mkdtemp(join(tmpdir(), 'archive-'))
  try {
    const folder = await mkdtemp(join(parent, 'in-'))
    try {
      await unpackArchive(await readArchive(zip), folder)
      return await look(folder)
    } finally {
      assert.deepEqual((await readdir(parent)).length, 1, 'nothing may be written beside the folder')
    }
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

describe('readArchive and unpackArchive', () => {
  it('keeps contents, folders, exec bits and links inside', async () => {
    const big = Buffer.alloc(6 * 1024 * 1024, 'abc')
    const zip = makeZip([
      { name: 'index.js', data: 'exports.handler = 1' },
      { name: 'bin/run', data: '#!/bin/sh', mode: 0o100755 },
      { name: 'empty/', mode: 0o040755 },
      { name: 'big', data: big, deflate: true },
      { name: 'small', data: 'xxxxxxxxxx', deflate: true },
      { name: 'a/link', data: '../bin/run', mode: 0o120777 },
      { name: 'none', data: '' },
    ])
    await unpacked(zip, async (folder) => {
      assert.equal(await readFile(join(folder, 'index.js'), 'utf8'), 'exports.handler = 1')
      assert.equal((await stat(join(folder, 'index.js'))).mode & 0o777, 0o444)
      assert.equal((await stat(join(folder, 'bin/run'))).mode & 0o777, 0o555)
      assert.equal((await stat(join(folder, 'empty'))).mode & 0o777, 0o755)
      assert((await readFile(join(folder, 'big'))).equals(big))
      assert.equal(await readFile(join(folder, 'small'), 'utf8'), 'xxxxxxxxxx')
      assert.equal(await readlink(join(folder, 'a/link')), '../bin/run')
      assert.equal((await stat(join(folder, 'none'))).size, 0)
    })
  })

  const hostile: [string, RegExp][] = [
    ['../x', /"\.\.\/x".*`\.\.`/],
    ['a/../../x', /`\.\.`/],
    ['/etc/passwd', /absolute/],
    ['a\\..\\x', /backslash/],
    ['C:/x', /drive/],
    ['c:x', /drive/],
    ['a\0b', /NUL/],
    ['a//b', /empty parts/],
    ['./a', /empty parts/],
    ['', /name/],
    ['..', /`\.\.`/],
    ['../', /`\.\.`/],
    ['n'.repeat(256), /255 bytes/],
    [`${'d/'.repeat(2100)}f`, /4096 bytes/],
  ]
  for (const [name, message] of hostile) it(`refuses the name ${JSON.stringify(name.slice(0, 20))}`, () => refused([{ name, data: 'x' }], message))

  it('refuses links that lead out, in one hop or by a chain', async () => {
    const link = (name: string, data: string): ZipMember => ({ name, data, mode: 0o120777 })
    const file = { name: 'f', data: 'x' }
    await refused([file, link('l', '../f')], /"l".*leads out/)
    await refused([file, link('l', '/etc/passwd')], /absolute/)
    await refused([file, link('a/l', '../../x')], /leads out/)
    // By text `d/..` is where it began; followed, it is one above.
    await refused([file, link('x/d', '..'), link('l', 'x/d/../y')], /leads out/)
    await refused([file, link('a', 'b'), link('b', 'a')], /circle/)
    await refused([file, link('l', '')], /names nothing/)
    await refused([file, link('d', '.'), { name: 'd/f', data: 'y' }], /"d" is not a folder/)
  })

  it('refuses special files, doubled names and a file that is also a folder', async () => {
    for (const type of [0o060000, 0o020000, 0o010000, 0o140000]) await refused([{ name: 'x', data: '', mode: type | 0o644 }], /devices, pipes/)
    const twice = [
      { name: 'x', data: '1' },
      { name: 'x', data: '2' },
    ]
    await refused(twice, /"x".*twice/)
    await refused(
      [
        { name: 'x', data: '1' },
        { name: 'x/y', data: '2' },
      ],
      /not a folder/,
    )
    await refused(
      [
        { name: 'x', data: '1' },
        { name: 'x/', mode: 0o040755 },
      ],
      /twice/,
    )
    await refused([{ name: 'd/', mode: 0o040755 }], /no file/)
    await refused([], /no file|not a zip/)
  })

  it('refuses a member that holds more, less or other than it says', async () => {
    await refused([{ name: 'x', data: Buffer.alloc(1000), deflate: true, claimedBytes: 10 }], /larger than it says|another size/)
    await refused([{ name: 'x', data: Buffer.alloc(10), deflate: true, claimedBytes: 11 }], /another size/)
    await refused([{ name: 'x', data: 'abc', claimedCrc: 1 }], /checksum/)
    await refused([{ name: 'x', data: Buffer.alloc(10), deflate: true, claimedBytes: 1_000_000 }], /more bytes than it can hold/)
    await refused([{ name: 'big', data: Buffer.alloc(9_000_000), deflate: true, claimedBytes: 8_000_000 }], /another size/)
  })

  it('refuses more than LIMITS.unzippedCode, by the claim and by one byte', async () => {
    const limits = { unpackedBytes: 100, entries: 10 }
    await readArchive(makeZip([{ name: 'x', data: Buffer.alloc(100) }]), limits)
    await assert.rejects(readArchive(makeZip([{ name: 'x', data: Buffer.alloc(101) }]), limits), /Unzipped size must be smaller than 100 bytes/)
    const claims = makeZip([{ name: 'x', data: Buffer.alloc(300_000), deflate: true, claimedBytes: 250_000 }])
    await assert.rejects(readArchive(claims, limits), /Unzipped size|can hold/)
    assert.equal(LIMITS.unzippedCode.value, 262_144_000)
    const zeros = deflateRawSync(Buffer.alloc(LIMITS.unzippedCode.value + 1))
    await assert.rejects(
      readArchive(makeZip([{ name: 'x', packed: zeros, claimedBytes: LIMITS.unzippedCode.value + 1, data: '' }])),
      /Unzipped size must be smaller than 262144000 bytes/,
    )
  })

  it('refuses more than LIMITS.archiveEntries entries, with the number', async () => {
    const members = Array.from({ length: LIMITS.archiveEntries.value + 1 }, (_, index) => ({
      name: `f${index}`,
      data: '',
    }))
    assert.equal((await readArchive(makeZip(members.slice(1)))).members.length, LIMITS.archiveEntries.value)
    await assert.rejects(readArchive(makeZip(members)), /20001 entries; 20000 are allowed/)
  })

  it('refuses names that imply more folders than LIMITS.archiveEntries, before they take memory', async () => {
    const deep = (count: number, parts: number) => Array.from({ length: count }, (_, index) => ({ name: `${index}${'/a'.repeat(parts)}`, data: '' }))
    assert.equal((await readArchive(makeZip(deep(10, 2_000)))).members.length, 10)
    const started = performance.now()
    await assert.rejects(readArchive(makeZip(deep(2_000, 2_000))), /imply more than 20000 folders/)
    assert.ok(performance.now() - started < 5_000)
  })

  it('refuses members that share their bytes', async () => {
    const zip = makeZip([
      { name: 'a', data: 'same' },
      { name: 'b', data: 'same', sameBytesAs: 0 },
    ])
    await assert.rejects(readArchive(zip), /shares its bytes/)
  })

  it('refuses encrypted and unknown compression', async () => {
    await refused([{ name: 'x', data: 'abc', flags: 1 }], /encrypted|damaged/)
    await refused([{ name: 'x', data: 'abc', method: 93 }], /compression is unknown/)
  })

  it('answers any bytes with zip_invalid or an archive', async () => {
    const sound = makeZip([
      { name: 'index.js', data: 'hello hello hello', deflate: true },
      { name: 'd/x', data: 'y', mode: 0o100755 },
      { name: 'l', data: 'index.js', mode: 0o120777 },
    ])
    const onlyZipInvalid = async (zip: Buffer) => {
      try {
        await unpacked(zip)
      } catch (error) {
        assert(error instanceof MayflyError && error.code === 'zip_invalid', String(error))
      }
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), (bytes) => onlyZipInvalid(Buffer.from(bytes))),
      { numRuns: 100 },
    )
    const flips = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(flips, fc.nat(sound.length), async (changes, length) => {
        const bytes = Buffer.from(sound)
        for (const [at, value] of changes) bytes[at] = value
        await onlyZipInvalid(bytes)
        await onlyZipInvalid(bytes.subarray(0, length))
      }),
      { numRuns: 300 },
    )
  })

  it('never writes outside, whatever names and links an archive is made of', async () => {
    const part = fc.constantFrom('a', 'b', '..', '.', 'c', '')
    const path = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'))
    const member = fc.record({ name: path, data: path, mode: fc.constantFrom(0o100644, 0o120777) })
    await fc.assert(
      fc.asyncProperty(fc.array(member, { minLength: 1, maxLength: 5 }), async (members) => {
        await unpacked(makeZip(members), async (folder) => {
          for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
            if (!entry.isSymbolicLink()) continue
            const target = await stat(join(entry.parentPath, entry.name)).catch(() => null)
            const parent = await stat(join(folder, '..'))
            assert(target === null || target.ino !== parent.ino, 'a link leads to the parent')
          }
        }).catch((error: unknown) => assert(error instanceof MayflyError && error.code === 'zip_invalid', String(error)))
      }),
      { numRuns: 200 },
    )
  })
})

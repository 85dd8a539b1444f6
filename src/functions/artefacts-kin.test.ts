import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { ProjectRef } from '../core/project.ts'
import { Artefacts } from './artefacts.ts'
import { makeZip, type ZipMember } from './zip-fixture.ts'

const ONE = 'one' as ProjectRef
const TWO = 'two' as ProjectRef
const small = { name: 'packages', ownBytes: 100 }

describe('artefacts of one kind', () => {
  let root = ''
  let artefacts: Artefacts
  before(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'mayfly-kin-'))
    artefacts = new Artefacts({ root })
    await artefacts.recover()
  })
  after(async () => await rm(root, { recursive: true, force: true }))
  const library: ZipMember = { name: 'node_modules/a/index.js', data: 'exports.a = 1'.repeat(50), deflate: true }
  const app = (text: string, more: readonly ZipMember[] = [library]) => makeZip([{ name: 'index.js', data: text }, ...more])
  const put = async (project: ProjectRef, zip: Buffer, kin: { name: string; ownBytes: number } | null) => {
    const sha = await artefacts.put(project, zip, async () => {}, kin)
    const at = artefacts.folder(project, sha)
    const inode = async (name: string) => (await stat(path.join(at, name))).ino
    return { sha, at, own: await inode('index.js'), library: await inode('node_modules/a/index.js') }
  }

  it('have what is the same in both once, and what differs each for itself', async () => {
    const first = await put(ONE, app('one'), small)
    const second = await put(ONE, app('two'), small)
    assert.equal(second.library, first.library)
    assert.notEqual(second.own, first.own)
    assert.equal(await readFile(path.join(second.at, 'index.js'), 'utf8'), 'two')
    assert.equal((await stat(path.join(second.at, 'index.js'))).mode & 0o777, 0o444)
    assert.ok(artefacts.loadAlike(ONE, first.sha, second.sha))
    // Beside each stands which packages it has: the same name where they are the same to the byte.
    const packagesOf = async (at: string) => await readFile(`${at}.packages`, 'utf8')
    assert.equal(await packagesOf(second.at), await packagesOf(first.at))
    const others: readonly (readonly ZipMember[])[] = [
      [{ ...library, data: `${String(library.data)} ` }],
      [{ ...library, mode: 0o100755 }],
      [library, { ...library, name: 'node_modules/a/other.js' }],
    ]
    for (const [n, other] of others.entries())
      assert.notEqual(await packagesOf((await put(ONE, app(`other ${n}`, other), { ...small, name: 'differing' })).at), await packagesOf(first.at))
    // As long as one of them is there the files are.
    await artefacts.remove(ONE, first.sha, async () => true)
    await assert.rejects(packagesOf(first.at), { code: 'ENOENT' })
    assert.match(await readFile(path.join(second.at, 'node_modules/a/index.js'), 'utf8'), /^exports/)
    const third = await put(ONE, app('three'), small)
    assert.equal(third.library, second.library)
  })

  it('share nothing that is not the same to the byte, nothing with another project, and nothing that is no file', async () => {
    const first = await put(ONE, app('1'), { ...small, name: 'other' })
    const text = String(library.data)
    const others: [string, readonly ZipMember[]][] = [
      ['other bytes of one length', [{ ...library, data: text.replace('1', '2') }]],
      ['a claim of the same checksum', [{ ...library, data: text.replace('1', '3') }]],
      ['other rights', [{ ...library, mode: 0o100755 }]],
      ['another packing', [{ ...library, deflate: false }]],
    ]
    for (const [what, more] of others) assert.notEqual((await put(ONE, app(`1 ${what}`, more), { ...small, name: 'other' })).library, first.library, what)
    await put(ONE, app('1 again'), { ...small, name: 'other' })
    const link: ZipMember = { name: 'node_modules/a/index.js', data: '../../index.js', mode: 0o120777 }
    await put(ONE, app('1 linked', [link]), { ...small, name: 'other' })
    const after = await put(ONE, app('1 after a link'), { ...small, name: 'other' })
    assert.match(await readFile(path.join(after.at, 'node_modules/a/index.js'), 'utf8'), /^exports/)
    assert.equal(await readFile(path.join(after.at, 'index.js'), 'utf8'), '1 after a link')
    assert.notEqual((await put(TWO, app('1'), { ...small, name: 'other' })).library, first.library)
    assert.notEqual((await put(ONE, app('1 alone'), null)).library, after.library)
  })

  it('are loaded alike where what is their own is small', async () => {
    const [one, two] = [await put(ONE, app('a'), small), await put(ONE, app('b'), { ...small, ownBytes: 10_000_000 })]
    assert.ok(!artefacts.loadAlike(ONE, one.sha, two.sha))
    const other = await put(ONE, app('c'), { ...small, name: 'other packages' })
    assert.ok(!artefacts.loadAlike(ONE, one.sha, other.sha))
    assert.ok(artefacts.loadAlike(ONE, two.sha, two.sha))
    await artefacts.removeProject(ONE)
    const later = await put(ONE, app('d'), small)
    assert.ok(!artefacts.loadAlike(ONE, one.sha, later.sha))
  })
})

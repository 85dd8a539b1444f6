import assert from 'node:assert/strict'
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { readArchive, unpackArchive } from '../archive.ts'
import { makeZip, type ZipMember } from '../zip-fixture.ts'
import { mergeTrees } from './merge.ts'

const link = (name: string, to: string): ZipMember => ({ name, data: to, mode: 0o120777 })
const file = (name: string, data = name): ZipMember => ({ name, data })

/** Unpacks archives and lays them over each other, the first below. */
async function merged<T>(layers: readonly (readonly ZipMember[])[], look: (folder: string) => Promise<T>): Promise<T> {
  const parent = await mkdtemp(join(tmpdir(), 'merge-'))
  try {
    const sources: string[] = []
    for (const [index, members] of layers.entries()) {
      const source = join(parent, String(index))
      await mkdir(source)
      await unpackArchive(await readArchive(makeZip(members)), source)
      sources.push(source)
    }
    const target = join(parent, 'target')
    await mkdir(target)
    await mergeTrees(sources, target)
    return await look(target)
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

const treeOf = async (folder: string): Promise<Record<string, string>> => {
  const found: Record<string, string> = {}
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const at = join(entry.parentPath, entry.name)
    const name = at.slice(folder.length + 1)
    if (entry.isSymbolicLink()) found[name] = `-> ${await readlink(at)}`
    else if (entry.isFile()) found[name] = await readFile(at, 'utf8')
  }
  return found
}

describe('layers over each other', () => {
  it('one tree with what each has, and where two have the same the later one', async () => {
    const below = [file('nodejs/node_modules/a/index.js', 'below'), file('bin/only-below'), file('both', 'below')]
    const above = [file('nodejs/node_modules/b/index.js', 'above'), file('both', 'above'), link('bin/link', '../both')]
    assert.deepEqual(await merged([below, above], treeOf), {
      'nodejs/node_modules/a/index.js': 'below',
      'nodejs/node_modules/b/index.js': 'above',
      'bin/only-below': 'bin/only-below',
      'bin/link': '-> ../both',
      both: 'above',
    })
    assert.equal((await merged([above, below], treeOf)).both, 'below')
  })

  it('keeps exec bits and takes the bits of others away', async () => {
    const modes = await merged([[{ ...file('bin/tool'), mode: 0o100755 }, file('data')]], async (folder) => [
      (await stat(join(folder, 'bin/tool'))).mode & 0o7777,
      (await stat(join(folder, 'data'))).mode & 0o7777,
      (await stat(join(folder, 'bin'))).mode & 0o7777,
    ])
    assert.deepEqual(modes, [0o555, 0o444, 0o755])
  })

  const kinds: [string, readonly ZipMember[], readonly ZipMember[], Record<string, string>][] = [
    ['a folder over a file', [file('a')], [file('a/b')], { 'a/b': 'a/b' }],
    ['a file over a folder', [file('a/b/c'), file('a/d'), file('ab')], [file('a')], { a: 'a', ab: 'ab' }],
    ['a link over a folder', [file('a/b'), file('c/b')], [link('a', 'c'), file('d')], { a: '-> c', 'c/b': 'c/b', d: 'd' }],
    ['a file over a link', [link('a', 'c'), file('c')], [file('a')], { a: 'a', c: 'c' }],
  ]
  for (const [what, below, above, tree] of kinds) it(what, async () => assert.deepEqual(await merged([below, above], treeOf), tree))

  it('writes through no link: a folder takes the place of a link of the same name', async () => {
    const below = [link('lib', 'real'), file('real/x', 'untouched')]
    const above = [file('lib/x', 'above')]
    assert.deepEqual(await merged([below, above], treeOf), { 'real/x': 'untouched', 'lib/x': 'above' })
    assert.equal(await merged([below, above], async (folder) => (await lstat(join(folder, 'lib'))).isDirectory()), true)
  })

  it('refuses links that lead out only by way of the link of another layer, whichever comes first', async () => {
    const one = [link('p/out', 'q/../../etc'), file('x')]
    const other = [link('p/q', '..'), file('y')]
    for (const layers of [
      [one, other],
      [other, one],
    ])
      await assert.rejects(merged(layers, treeOf), { code: 'zip_invalid', message: /the link leads out of the archive/ })
    await merged([one], treeOf)
    await merged([other], treeOf)
  })

  it('refuses links that lead in a circle only together', async () => {
    await assert.rejects(merged([[link('a', 'b'), file('x')], [link('b', 'a')].concat(file('y'))], treeOf), { code: 'zip_invalid', message: /circle/ })
  })

  it('never shares a folder with its sources, and files only as what nobody can write', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'merge-'))
    try {
      for (const name of ['one/sub', 'two/sub', 'target']) await mkdir(join(parent, name), { recursive: true })
      await writeFile(join(parent, 'one/sub/x'), 'x', { mode: 0o444 })
      await mergeTrees([join(parent, 'one'), join(parent, 'two')], join(parent, 'target'))
      assert.equal((await stat(join(parent, 'target/sub/x'))).ino, (await stat(join(parent, 'one/sub/x'))).ino)
      assert.notEqual((await stat(join(parent, 'target/sub'))).ino, (await stat(join(parent, 'one/sub'))).ino)
    } finally {
      await rm(parent, { recursive: true, force: true })
    }
  })

  it('puts files in the place of many folders, and folders in that of files, in the time of others', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'merge-'))
    try {
      const names = Array.from({ length: 8_000 }, (_, index) => `n${index}`)
      for (const name of ['folders', 'files', 'target']) await mkdir(join(parent, name))
      await Promise.all(names.flatMap((name) => [mkdir(join(parent, 'folders', name)), writeFile(join(parent, 'files', name), '')]))
      const [folders, files] = [join(parent, 'folders'), join(parent, 'files')]
      let longestMs = 0
      let last = performance.now()
      const watch = setInterval(() => {
        longestMs = Math.max(longestMs, performance.now() - last)
        last = performance.now()
      }, 5)
      await mergeTrees([folders, files, folders, files], join(parent, 'target'))
      clearInterval(watch)
      longestMs = Math.max(longestMs, performance.now() - last)
      assert.ok(longestMs < 600, `the thread stood for ${Math.round(longestMs)} ms`)
      assert.equal((await readdir(join(parent, 'target'), { withFileTypes: true })).filter((entry) => entry.isFile()).length, names.length)
    } finally {
      await rm(parent, { recursive: true, force: true })
    }
  })

  it('is bounded: more entries together than are allowed are refused before one is made', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'merge-'))
    try {
      for (const name of ['one/a', 'one/b', 'two/b', 'two/c', 'target']) await mkdir(join(parent, name), { recursive: true })
      const sources = [join(parent, 'one'), join(parent, 'two')]
      await assert.rejects(mergeTrees(sources, join(parent, 'target'), 2), { code: 'zip_invalid', message: /3 entries together; 2 are allowed/ })
      assert.deepEqual(await readdir(join(parent, 'target')), [])
      await mergeTrees(sources, join(parent, 'target'), 3)
    } finally {
      await rm(parent, { recursive: true, force: true })
    }
  })
})

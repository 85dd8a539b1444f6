import assert from 'node:assert/strict'
import { existsSync, promises as fs } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { silentLog } from '../core/log.ts'
import { CompileCaches } from './compile-caches.ts'
import type { SandboxSpec } from './types.ts'

const COMPILED = 'compiled'.repeat(2_048)
const spec = (key: string) => ({ key, codeDir: '/code', optDir: null }) as SandboxSpec

/** Caches in a folder of their own, and a folder as a build sandbox leaves it. */
async function standing(areRead = true) {
  const place = await fs.mkdtemp(path.join(tmpdir(), 'caches-'))
  const written = path.join(place, 'written')
  await fs.mkdir(written)
  await fs.writeFile(path.join(written, 'entry'), COMPILED)
  const folder = path.join(place, 'caches')
  const caches = new CompileCaches(folder, areRead, silentLog)
  return {
    folder,
    written,
    caches,
    keep: async (key: string) => {
      await using handle = await fs.open(written)
      await caches.keep(key, handle)
    },
    [Symbol.asyncDispose]: () => fs.rm(place, { recursive: true, force: true }),
  }
}

test('what a build left is given to sandboxes of its version until that is forgotten', async () => {
  await using at = await standing()
  assert.equal(at.caches.sourceOf(spec('a')).cacheDir, null)
  await at.keep('a')
  const cache = path.join(at.folder, 'a')
  assert.deepEqual(at.caches.sourceOf(spec('a')), { key: 'a', codeDir: '/code', optDir: null, cacheDir: cache })
  assert.equal(await fs.readFile(path.join(cache, 'entry'), 'utf8'), COMPILED)
  assert.equal(at.caches.sourceOf(spec('b')).cacheDir, null)
  await at.caches.forget('a')
  assert.deepEqual([at.caches.sourceOf(spec('a')).cacheDir, existsSync(cache)], [null, false])
})

test('a cache that is refused is not kept, nor a part of it, and the former one stays', async () => {
  await using at = await standing()
  await at.keep('a')
  await fs.symlink('/etc/passwd', path.join(at.written, 'link'))
  await at.keep('a')
  await at.keep('b')
  assert.deepEqual(await fs.readdir(at.folder), ['a'])
  assert.deepEqual(await fs.readdir(path.join(at.folder, 'a')), ['entry'])
})

test('another version takes a cache over and keeps it when the first is forgotten', async () => {
  await using at = await standing()
  assert.equal(await at.caches.adopt('b', 'a'), false)
  await at.keep('a')
  assert.equal(await at.caches.adopt('b', 'a'), true)
  await at.caches.forget('a')
  assert.equal(await fs.readFile(path.join(at.folder, 'b', 'entry'), 'utf8'), COMPILED)
})

test('what a handler was when it was built is known in the next life, goes over with a cache, and is forgotten', async () => {
  await using at = await standing()
  await at.keep('a')
  await at.caches.keepKind('a', 'fetch')
  await fs.writeFile(path.join(at.folder, 'odd.kind'), 'anything')
  assert.equal(await at.caches.adopt('b', 'a'), true)
  const next = new CompileCaches(at.folder, true, silentLog)
  for (const key of ['a', 'b', 'odd', 'none']) await next.readKind(key)
  assert.deepEqual(
    ['a', 'b', 'odd', 'none'].map((key) => next.kindOf(key)),
    ['fetch', 'fetch', null, null],
  )
  await next.forget('b')
  assert.deepEqual([next.kindOf('b'), (await fs.readdir(at.folder)).sort()], [null, ['a', 'a.kind', 'odd.kind']])
})

test('sandboxes that do not load from caches are given none', async () => {
  await using at = await standing(false)
  await at.keep('a')
  assert.equal(at.caches.sourceOf(spec('a')).cacheDir, null)
})

test('a cache of little code is kept for versions to come, and given to no sandbox, as reading it takes longer than compiling', async () => {
  await using at = await standing()
  await fs.writeFile(path.join(at.written, 'entry'), COMPILED.slice(1))
  await at.keep('a')
  assert.equal(at.caches.sourceOf(spec('a')).cacheDir, null)
  assert.equal(await at.caches.adopt('b', 'a'), true)
})

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, promises as fs } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { CacheRefused, copyCache } from './compile-cache.ts'

/** Makes a folder by `fill` and copies it. */
async function copyOf(fill: (folder: string) => Promise<unknown>, look: (copy: string) => Promise<unknown> = async () => {}): Promise<void> {
  const place = await fs.mkdtemp(path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'cache-'))
  try {
    const from = path.join(place, 'from')
    await fs.mkdir(from)
    await fill(from)
    await using handle = await fs.open(from)
    await copyCache(handle, path.join(place, 'to'))
    await look(path.join(place, 'to'))
  } finally {
    await fs.rm(place, { recursive: true, force: true })
  }
}
const write = (bytes: number, name: string) => async (folder: string) => {
  await fs.writeFile(path.join(folder, name), '')
  await fs.truncate(path.join(folder, name), bytes)
}

test('files and folders are copied, for all to read and nobody to write', async () => {
  await copyOf(
    async (folder) => {
      await fs.mkdir(path.join(folder, 'v24'), { mode: 0o700 })
      await fs.writeFile(path.join(folder, 'v24', 'a'), 'bytes', { mode: 0o600 })
      await fs.writeFile(path.join(folder, 'v24', 'empty'), '', { mode: 0o6777 })
    },
    async (copy) => {
      assert.equal(await fs.readFile(path.join(copy, 'v24', 'a'), 'utf8'), 'bytes')
      assert.equal(await fs.readFile(path.join(copy, 'v24', 'empty'), 'utf8'), '')
      for (const [name, mode] of [
        ['v24', 0o755],
        ['v24/a', 0o444],
        ['v24/empty', 0o444],
      ] as const)
        assert.equal((await fs.stat(path.join(copy, name))).mode & 0o7777, mode)
    },
  )
})

test('compileCache: so many bytes, a hole counts as what it would be', async () => {
  await copyOf(write(LIMITS.compileCache.value, 'all'))
  await assert.rejects(copyOf(write(LIMITS.compileCache.value + 1, 'all')), CacheRefused)
})

test('compileCache: a second name for a file counts again', async () => {
  const half = write(LIMITS.compileCache.value / 2 + 1, 'half')
  const names = async (folder: string) => {
    await half(folder)
    await fs.link(path.join(folder, 'half'), path.join(folder, 'other'))
  }
  await copyOf(half)
  await assert.rejects(copyOf(names), CacheRefused)
})

test('compileCacheFiles: so many files and folders', async () => {
  const many = (count: number) => async (folder: string) => {
    for (let i = 0; i < count; i++) await fs.writeFile(path.join(folder, String(i)), '')
  }
  await copyOf(many(LIMITS.compileCacheFiles.value))
  await assert.rejects(copyOf(many(LIMITS.compileCacheFiles.value + 1)), CacheRefused)
})

test('links, pipes and depth are refused, and nothing is followed or waited for', async () => {
  await assert.rejects(
    copyOf((folder) => fs.symlink('/etc/passwd', path.join(folder, 'link'))),
    CacheRefused,
  )
  await assert.rejects(
    copyOf((folder) => fs.symlink('/etc', path.join(folder, 'link'))),
    CacheRefused,
  )
  await assert.rejects(
    copyOf(async (folder) => execFileSync('mkfifo', [path.join(folder, 'pipe')])),
    CacheRefused,
  )
  await assert.rejects(
    copyOf((folder) => fs.mkdir(path.join(folder, '1/2/3/4'), { recursive: true })),
    CacheRefused,
  )
})

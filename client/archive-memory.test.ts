import assert from 'node:assert/strict'
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { type Contents, joinZips, zipOf } from './archive.ts'
import { ArchiveMemory } from './archive-memory.ts'

let folder = ''
const at = (...names: string[]) => path.join(folder, ...names)
const cache = () => at('cache')
const kept = () => readdirSync(cache()).length
const memory = () => new ArchiveMemory(cache())
const large = 'x'.repeat(700_000)
const contents = (code = 'code'): Contents =>
  new Map<string, Uint8Array | string>([
    ['index.mjs', Buffer.from(code)],
    ['node_modules/a/index.js', at('a', 'index.js')],
    ['node_modules/a/run', at('a', 'run')],
  ])
/** What was just written is not remembered yet. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 130))

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'mayfly-archives-'))
  mkdirSync(at('a'))
  writeFileSync(at('a', 'index.js'), large)
  writeFileSync(at('a', 'run'), '#!', { mode: 0o755 })
  await settled()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('an archive of remembered packages is the same to the byte, for any code beside them', async () => {
  assert.deepEqual(await memory().zip(contents()), await zipOf(contents()))
  assert.equal(kept(), 1)
  for (const name of readdirSync(cache())) assert.equal(statSync(path.join(cache(), name)).mode & 0o777, 0o600)
  assert.deepEqual(await memory().zip(contents('other code')), await zipOf(contents('other code')))
  assert.equal(kept(), 1)
})

test('nothing that is not as it was is taken for it', async () => {
  const changes: [string, () => void][] = [
    [
      'other bytes of the same length and times',
      () => {
        const { atime, mtime } = statSync(at('a', 'index.js'))
        writeFileSync(at('a', 'index.js'), large.replace('x', 'y'))
        utimesSync(at('a', 'index.js'), atime, mtime)
      },
    ],
    ['other rights', () => chmodSync(at('a', 'run'), 0o644)],
    [
      'another file in its place',
      () => {
        writeFileSync(at('b'), large.replace('x', 'z'))
        renameSync(at('b'), at('a', 'index.js'))
      },
    ],
  ]
  await memory().zip(contents())
  for (const [what, change] of changes) {
    change()
    const expected = await zipOf(contents())
    assert.deepEqual(await memory().zip(contents()), expected, what)
    await settled()
    assert.deepEqual(await memory().zip(contents()), expected, what)
  }
})

test('what was changed a moment before is packed and not remembered, nor what is small', async () => {
  appendFileSync(at('a', 'index.js'), 'y')
  // As if the clock of the file system stood: it is now for both.
  const now = new Date(Date.now() + 1_000)
  utimesSync(at('a', 'index.js'), now, now)
  await memory().zip(contents())
  assert.throws(kept, { code: 'ENOENT' })
  writeFileSync(at('a', 'index.js'), 'small')
  await settled()
  await memory().zip(contents())
  assert.throws(kept, { code: 'ENOENT' })
})

test('what is damaged in the memory is packed anew', async () => {
  const expected = await memory().zip(contents())
  const [name = ''] = readdirSync(cache())
  const bytes = readFileSync(path.join(cache(), name))
  bytes[100] = (bytes[100] ?? 0) ^ 1
  writeFileSync(path.join(cache(), name), bytes)
  assert.deepEqual(await memory().zip(contents()), expected)
})

test('archives that are none are not joined', async () => {
  const whole = await zipOf(contents())
  assert.equal(joinZips(Buffer.alloc(10), whole), null)
  assert.equal(joinZips(whole, Buffer.alloc(100)), null)
})

import assert from 'node:assert/strict'
import { appendFileSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { putRuntimes } from './runtime-files.ts'

test('drivers of one process may be opened beside one another', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'runtimes-'))
  try {
    const runtimes = path.resolve(import.meta.dirname, '../../../runtimes')
    // One after the other, so that each ends in the midst of another.
    const put = Array.from({ length: 6 }, async (_, n) => {
      await delay(n * 15)
      await putRuntimes(runtimes, path.join(folder, String(n)), path.join(folder, 'cache'))
    })
    await Promise.all(put)
    for (let n = 0; n < 6; n++)
      for (const file of ['node/bootstrap.mjs', 'supervisor/main.mjs', 'python/bootstrap.py', 'python/_mayfly/guest.py'])
        assert.ok(existsSync(path.join(folder, String(n), file)), `${n}: ${file}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('what is made of the runtimes is kept, until one of their modules is another', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'runtimes-'))
  try {
    const [runtimes, cache] = [path.join(folder, 'runtimes'), path.join(folder, 'cache')]
    cpSync(path.resolve(import.meta.dirname, '../../../runtimes'), runtimes, { recursive: true })
    const put = async (to: string) => {
      await putRuntimes(runtimes, path.join(folder, to), cache)
      return readFileSync(path.join(folder, to, 'node/bootstrap.mjs'), 'utf8')
    }
    const first = await put('first')
    const [made = ''] = readdirSync(cache)
    assert.equal(await put('second'), first)
    // It is that which was kept which is put.
    writeFileSync(path.join(cache, made, 'node', 'bootstrap.mjs'), '// kept')
    assert.equal(await put('third'), '// kept')
    appendFileSync(path.join(runtimes, 'node', 'bootstrap.mjs'), '\nconsole.log("another")\n')
    assert.ok((await put('fourth')).includes('another'))
    assert.equal(readdirSync(cache).length, 1)
    assert.ok(!readdirSync(cache).includes(made))
    // Where nothing can be kept it is made each time.
    writeFileSync(path.join(folder, 'file'), '')
    await putRuntimes(runtimes, path.join(folder, 'fifth'), path.join(folder, 'file'))
    assert.ok(existsSync(path.join(folder, 'fifth', 'node/bootstrap.mjs')))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

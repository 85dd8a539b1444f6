import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
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
      await putRuntimes(runtimes, path.join(folder, String(n)))
    })
    await Promise.all(put)
    for (let n = 0; n < 6; n++)
      for (const file of ['node/bootstrap.mjs', 'supervisor/main.mjs', 'python/bootstrap.py', 'python/_mayfly/guest.py'])
        assert.ok(existsSync(path.join(folder, String(n), file)), `${n}: ${file}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { makeFolder, writeSynced } from './synced-files.ts'

describe('synced files', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'mayfly-files-'))
  after(() => rmSync(root, { recursive: true }))

  it('are written whole, for their owner alone, and never over another', async () => {
    const folder = path.join(root, 'inner')
    await makeFolder(folder, 0o700)
    await makeFolder(folder, 0o700)
    const file = path.join(folder, 'a')
    await writeSynced(file, [Buffer.alloc(1_000_000, 'x'), Buffer.from('end')])
    assert.deepEqual([readFileSync(file).length, statSync(file).mode & 0o777, statSync(folder).mode & 0o777], [1_000_003, 0o600, 0o700])
    await assert.rejects(writeSynced(file, [Buffer.from('other')]), { code: 'EEXIST' })
    assert.equal(readFileSync(file).length, 1_000_003)
  })
  it('fail with what their source fails with', async () => {
    async function* broken() {
      yield Buffer.from('x')
      throw new Error('broke off')
    }
    await assert.rejects(writeSynced(path.join(root, 'b'), broken()), /broke off/)
  })
})

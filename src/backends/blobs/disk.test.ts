import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { it } from 'node:test'
import { systemClock } from '../../lib/clock.ts'
import { blobsConformance } from './conformance.ts'
import { DiskBlobs } from './disk.ts'

async function open() {
  const root = mkdtempSync(path.join(tmpdir(), 'mayfly-blobs-'))
  const blobs = await DiskBlobs.open({ root: path.join(root, 'blobs'), clock: systemClock })
  return {
    blobs,
    root: path.join(root, 'blobs'),
    close: async () => {
      await blobs[Symbol.asyncDispose]()
      rmSync(root, { recursive: true, force: true })
    },
  }
}

blobsConformance('the disk', open)

it('a folder that cannot be made fails the put with the reason of the system', async () => {
  const opened = await open()
  try {
    writeFileSync(path.join(opened.root, 'taken'), 'a file where the folder would be')
    async function* one() {
      yield Buffer.from('x')
    }
    await assert.rejects(opened.blobs.put('taken', one()), (error) => error instanceof Error && 'code' in error && error.code === 'EEXIST')
    assert.deepEqual(readdirSync(opened.root), ['taken'])
  } finally {
    await opened.close()
  }
})

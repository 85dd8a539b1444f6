import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { as, DEMO, openTestStorage, textUpload } from './storage-fixture.ts'
import { Storage } from './service.ts'
import { systemClock } from '../lib/clock.ts'
import { silentLog } from '../core/log.ts'
import { MiB } from '../lib/bytes.ts'
import type { Blobs } from '../backends/blobs/blobs.ts'

describe('the way that is gone ahead', () => {
  it('reads and writes nothing of a project, starts nothing, and leaves nothing', async () => {
    const room = await openTestStorage()
    try {
      await room.bucket('watched')
      await room.storage.uploads.upload(as('service'), textUpload('watched', 'mine', 'text'))
      const before = { files: room.files(), events: await room.events(), woken: room.woken.length }
      assert.equal(before.files.length, 1)
      await room.storage.warm(new AbortController().signal)
      assert.deepEqual({ files: room.files(), events: await room.events(), woken: room.woken.length }, { ...before, events: [] })
      assert.deepEqual(await room.blobs.places(), [DEMO.id])
    } finally {
      await room.close()
    }
  })

  it('wakes no project that rests, and a disk that is full is no reason to fail', async () => {
    const room = await openTestStorage()
    try {
      let asked = 0
      const full = async (): Promise<never> => {
        asked++
        throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
      }
      const blobs: Blobs = Object.assign(Object.create(room.blobs) as Blobs, { put: full, drop: async () => {} })
      const of = (rests: boolean) =>
        new Storage({
          databases: room.databases,
          blobs,
          projects: () => [DEMO],
          rests: () => rests,
          stays: room.stays,
          maxObjectBytes: MiB,
          wake: () => {},
          crash: () => {},
          clock: systemClock,
          log: silentLog,
        })
      const { signal } = new AbortController()
      await of(true).warm(signal)
      assert.equal(asked, 0)
      await of(false).warm(signal)
      assert.ok(asked > 0)
    } finally {
      await room.close()
    }
  })
})

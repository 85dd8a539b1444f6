import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ProjectRef } from '../core/project.ts'
import { StoredArchives } from './stored-archives.ts'

const place = { bucket: 'code', key: 'k' }

describe('StoredArchives', () => {
  it('has one at a time, and the projects take turns', async () => {
    let now = 0
    const order: string[] = []
    const archives = new StoredArchives(async (project) => {
      assert.equal(++now, 1)
      order.push(project)
      await new Promise((resolve) => setImmediate(resolve))
      return Buffer.from('zip')
    })
    const take = (project: string) =>
      archives.take(project as ProjectRef, place, 100, async (zip) => {
        now--
        return { zip: zip.toString() }
      })
    const all = [...Array.from({ length: 5 }, () => take('greedy')), take('other'), take('other')]
    assert.deepEqual(await Promise.all(all), Array(7).fill({ zip: 'zip' }))
    assert.deepEqual(order, ['greedy', 'greedy', 'other', 'greedy', 'other', 'greedy', 'greedy'])
  })
  it('goes on behind what cannot be had, and what fails', async () => {
    let reads = 0
    const archives = new StoredArchives(async () => (++reads === 1 ? 'NoSuchKey' : Buffer.from('zip')))
    const use = async () => ({})
    const [absent, failed, had] = await Promise.allSettled([
      archives.take('a' as ProjectRef, place, 100, use),
      archives.take('a' as ProjectRef, place, 100, () => Promise.reject(new Error('no archive'))),
      archives.take('a' as ProjectRef, place, 100, use),
    ])
    assert.deepEqual([absent, failed.status, had.status], [{ status: 'fulfilled', value: 'NoSuchKey' }, 'rejected', 'fulfilled'])
  })
})

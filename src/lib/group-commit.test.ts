import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GroupCommit } from './group-commit.ts'

describe('GroupCommit', () => {
  it('commits together what came together, in order and within its bound', async () => {
    const groups: number[][] = []
    const commits = new GroupCommit<number>(3, async (items) => void groups.push([...items]))
    await Promise.all([1, 2, 3, 4].map((n) => commits.add(n)))
    await commits.add(5)
    assert.deepEqual(groups, [[1, 2, 3], [4], [5]])
  })
  it('says to each whether its own transaction committed', async () => {
    const commits = new GroupCommit<number>(2, async (items) => {
      if (items.includes(2)) throw new Error('refused')
    })
    const ends = await Promise.allSettled([1, 2, 3].map((n) => commits.add(n)))
    assert.deepEqual(
      ends.map((end) => end.status),
      ['rejected', 'rejected', 'fulfilled'],
    )
    await commits.settled()
    await commits.add(4)
  })
})

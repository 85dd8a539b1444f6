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
  it('runs as many at once as it may where that is worth it, and what has an order beside nothing', async () => {
    const groups: number[][] = []
    let [now, most] = [0, 0]
    const ends: (() => void)[] = []
    const commits = new GroupCommit<number>(
      100,
      async (items) => {
        groups.push([...items])
        most = Math.max(most, ++now)
        await new Promise<void>((end) => ends.push(end))
        now--
      },
      2,
      (n) => n < 0,
    )
    const turn = () => new Promise((next) => setImmediate(next))
    const endOne = async () => {
      ends.shift()?.()
      await turn()
      await turn()
    }
    const many = Array.from({ length: 32 }, (_, n) => commits.add(n))
    await turn()
    assert.deepEqual([groups.map(({ length }) => length), now], [[16, 16], 2])
    await endOne()
    const few = [commits.add(32), commits.add(33)]
    await turn()
    await turn()
    assert.equal(now, 1, 'a few wait for what runs')
    await endOne()
    assert.deepEqual([groups.at(-1), now], [[32, 33], 1])
    const ordered = [...Array.from({ length: 16 }, (_, n) => commits.add(40 + n)), commits.add(-1)]
    await turn()
    await turn()
    assert.equal(now, 1, 'what has an order waits until nothing runs')
    await endOne()
    const behind = Array.from({ length: 20 }, (_, n) => commits.add(60 + n))
    await turn()
    await turn()
    assert.deepEqual([groups.at(-1)?.length, now], [17, 1], 'and nothing runs beside it')
    await endOne()
    const settled = commits.settled()
    while (ends.length > 0) await endOne()
    await Promise.all([...many, ...few, ...ordered, ...behind, settled])
    assert.deepEqual([most, now, groups.flat().length], [2, 0, 71])
  })
})

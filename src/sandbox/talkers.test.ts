import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Talkers } from './talkers.ts'

describe('those that say very much', () => {
  it('are heard on one after the other, however short what they say', async () => {
    const talkers = new Talkers()
    const heard: string[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    const talk = (name: string) => {
      heard.push(name)
      if (heard.length < 12) talkers.rest(name === 'slow' ? 3 : 0, () => talk(name))
      else resolve()
    }
    for (const name of ['slow', 'quick', 'other']) talkers.rest(0, () => talk(name))
    assert.deepEqual(heard, [], 'everybody else comes first')
    await promise
    assert.deepEqual(heard.slice(0, 9), ['slow', 'quick', 'other', 'slow', 'quick', 'other', 'slow', 'quick', 'other'])
  })

  it('have the thread for half of the time at most, together', async () => {
    const talkers = new Talkers()
    let others = 0
    let talked = 0
    const talk = () => {
      talked++
      const from = performance.now()
      while (performance.now() - from < 4);
      if (talked < 20) talkers.rest(performance.now() - from, talk)
    }
    for (let n = 0; n < 5; n++) talkers.rest(0, talk)
    // So often as everybody else has a turn of some length.
    while (talked < 20) {
      const before = talked
      await new Promise((later) => setTimeout(later, 1))
      if (talked === before) others++
    }
    assert.ok(others >= 15, `${others} turns without any of them`)
  })

  it('do not keep those behind them where they have nothing more to say', async () => {
    const talkers = new Talkers()
    const heard: number[] = []
    await new Promise<void>((resolve) => {
      for (let n = 0; n < 4; n++) talkers.rest(0, () => (heard.push(n) === 4 ? resolve() : undefined))
    })
    assert.deepEqual(heard, [0, 1, 2, 3])
  })
})

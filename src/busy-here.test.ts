import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BusyHere } from './busy-here.ts'

const settled = () => new Promise(setImmediate)

describe('BusyHere', () => {
  const open = (bring: (key: string) => Promise<boolean>) => {
    let now = 1_000
    const busy = new BusyHere({ monotonic: () => now }, bring)
    /** So many calls, evenly, in a second. @returns how many of them were served here */
    const second = (key: string, calls: number) => {
      let here = 0
      for (let i = 0; i < calls; i++) {
        now += 1_000 / calls
        if (busy.serves(key)) here++
        else busy.ended(key)
      }
      return here
    }
    return { busy, second, wait: (ms: number) => (now += ms) }
  }

  it('hands on what is called now and then, and serves what is called often once it has loaded', async () => {
    const loading = Promise.withResolvers<boolean>()
    const brought: string[] = []
    const { second } = open(async (key) => {
      brought.push(key)
      return await loading.promise
    })
    for (let i = 0; i < 3; i++) assert.equal(second('demo/rare', 50), 0)
    assert.deepEqual(brought, [])
    assert.equal(second('demo/often', 1_000), 0)
    assert.equal(second('demo/often', 1_000), 0)
    assert.deepEqual(brought, ['demo/often'])
    loading.resolve(true)
    await settled()
    assert.equal(second('demo/often', 1_000), 1_000)
    assert.equal(second('demo/rare', 50), 0)
  })
  it('leaves calls together that wait for each other, however many come', async () => {
    let brought = 0
    const { busy, wait } = open(async () => {
      brought++
      return true
    })
    for (let i = 0; i < 1_000; i++) {
      wait(5)
      assert.equal(busy.serves('demo/f'), false)
    }
    assert.equal(brought, 0)
    for (let i = 0; i < 1_000; i++) {
      wait(5)
      busy.ended('demo/f')
    }
    assert.equal(brought, 1)
  })
  it('keeps it through slack, and lets it go when it is called now and then again', async () => {
    const { second, wait } = open(async () => true)
    second('demo/f', 1_000)
    await settled()
    assert.equal(second('demo/f', 100), 100)
    wait(20_000)
    assert.equal(second('demo/f', 4), 4)
    second('demo/f', 1_000)
    for (let i = 0; i < 30; i++) second('demo/f', 4)
    second('demo/f', 4)
    assert.equal(second('demo/f', 4), 0)
    second('demo/f', 1_000)
    await settled()
    wait(60_000)
    second('demo/f', 4)
    assert.equal(second('demo/f', 4), 0)
  })
  it('asks again after a while where there was no room, or it failed', async () => {
    let asked = 0
    const { second } = open(async () => {
      asked++
      if (asked === 1) throw new Error('no')
      return asked > 2
    })
    for (let i = 0; i < 5; i++) {
      assert.equal(second('demo/f', 1_000), 0)
      await settled()
    }
    assert.equal(asked, 1)
    for (let i = 0; i < 30 && asked < 3; i++) {
      second('demo/f', 1_000)
      await settled()
    }
    assert.equal(asked, 3)
    assert.equal(second('demo/f', 1_000), 1_000)
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Bus, BusValue } from './bus.ts'

/** What every bus must do; an implementation is done when it passes. */
export function busConformance(name: string, open: () => Promise<Bus>): void {
  const until = async (done: () => boolean) => {
    for (let i = 0; i < 200 && !done(); i++) await delay(5)
    assert.ok(done(), 'nothing was heard')
  }
  describe(`${name} keeps the Bus contract`, () => {
    it('tells every subscriber of the subject and no other', async () => {
      await using bus = await open()
      const heard: BusValue[] = []
      bus.subscribe('a', (value) => heard.push(['first', value]))
      bus.subscribe('a', (value) => heard.push(['second', value]))
      bus.subscribe('b', (value) => heard.push(['other', value]))
      bus.publish('a', { n: 1 })
      await until(() => heard.length === 2)
      assert.deepEqual(heard, [
        ['first', { n: 1 }],
        ['second', { n: 1 }],
      ])
    })
    it('keeps a subscriber that throws from the others', async () => {
      await using bus = await open()
      let heard = 0
      bus.subscribe('a', () => {
        throw new Error('mine')
      })
      bus.subscribe('a', () => heard++)
      bus.publish('a', null)
      await until(() => heard === 1)
    })
    it('tells nobody who has left', async () => {
      await using bus = await open()
      let heard = 0
      bus.subscribe('a', () => heard++)[Symbol.dispose]()
      let marker = 0
      bus.subscribe('a', () => marker++)
      bus.publish('a', null)
      await until(() => marker === 1)
      assert.equal(heard, 0)
    })
    it('brings a question to its responder and the answer back', async () => {
      await using bus = await open()
      bus.respond('double', async (value) => (value as number) * 2)
      assert.equal(await bus.request('double', 21, AbortSignal.timeout(1000)), 42)
    })
    it('gives up a question when nobody answers or the signal fires', async () => {
      await using bus = await open()
      await assert.rejects(bus.request('nobody', 1, AbortSignal.timeout(100)))
      bus.respond('never', () => new Promise(() => {}))
      await assert.rejects(bus.request('never', 1, AbortSignal.timeout(20)), { name: 'TimeoutError' })
    })
  })
}

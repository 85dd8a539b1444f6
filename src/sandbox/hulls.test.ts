import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLog } from '../core/log.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { Endings } from './endings.ts'
import { Hulls } from './hulls.ts'
import { PoolFixture, until } from './pool-fixture.ts'

function standing() {
  const clock = new VirtualClock()
  const closing = new AbortController()
  const endings = new Endings(silentLog)
  const world = { busy: false, fails: false, made: [] as string[], ended: [] as string[], failed: 0, lives: new Map<string, PromiseWithResolvers<void>>() }
  const hulls = new Hulls<string>({
    clock,
    closing: closing.signal,
    endings,
    isBusy: () => world.busy,
    make: async (kind) => {
      if (world.fails) throw new Error('no')
      world.made.push(kind)
      return `${kind}${world.made.length}`
    },
    end: async (hull) => void world.ended.push(hull),
    over: (hull) => {
      const life = Promise.withResolvers<void>()
      world.lives.set(hull, life)
      return life.promise
    },
    failed: () => void world.failed++,
  })
  /** Lets what is due come, and what follows from it. */
  const pass = async (ms: number) => {
    await clock.pass(ms)
    for (let round = 0; round < 5; round++) {
      await endings.over()
      await clock.pass(0)
    }
  }
  return { hulls, world, pass, closing }
}

test('one is made when a call found none, behind all calls that wait, and goes when none was needed for long', async () => {
  const { hulls, world, pass } = standing()
  await pass(10_000)
  assert.deepEqual(world.made, [], 'nobody has asked')
  world.busy = true
  assert.equal(hulls.take('a'), null)
  await pass(1_000)
  assert.deepEqual(world.made, [], 'calls wait')
  world.busy = false
  await pass(25)
  assert.deepEqual(world.made, ['a', 'a'], 'two, and no more')
  assert.equal(hulls.take('a'), 'a1', 'the oldest')
  assert.equal(hulls.take('b'), null)
  await pass(25)
  // Of b one is made beside that of a; where both places are a's, the older of them goes.
  assert.deepEqual([world.made, world.ended], [['a', 'a', 'b'], []])
  assert.equal(hulls.take('c'), null)
  await pass(25)
  assert.deepEqual([world.made, world.ended], [['a', 'a', 'b', 'c'], ['a2']])
  await pass(5 * 60_000)
  assert.deepEqual(world.ended, ['a2', 'b3', 'c4'])
  assert.equal(hulls.take('c'), null)
})

test('one that dies while it stands is given back at once and taken by no call; another is made when a call asks, and not before', async () => {
  const { hulls, world, pass } = standing()
  hulls.take('a')
  await pass(25)
  world.lives.get('a1')?.resolve()
  await pass(10_000)
  assert.deepEqual([world.made, world.ended], [['a', 'a'], ['a1']])
  assert.equal(hulls.take('a'), 'a2')
  // It was taken: that it ends is for who has it.
  world.lives.get('a2')?.resolve()
  await pass(25)
  assert.deepEqual([world.made, world.ended], [['a', 'a', 'a', 'a'], ['a1']])
  for (const hull of ['a3', 'a4']) world.lives.get(hull)?.resolve()
  await pass(60_000)
  assert.deepEqual([world.made.length, world.ended], [4, ['a1', 'a3', 'a4']])
  assert.equal(hulls.take('a'), null)
})

test('those that stand go when none was needed for long, also where another could not be made beside them', async () => {
  const { hulls, world, pass } = standing()
  hulls.take('a')
  await pass(25)
  world.fails = true
  assert.equal(hulls.take('a'), 'a1')
  await pass(25)
  assert.deepEqual([world.failed, world.ended], [1, []])
  await pass(5 * 60_000)
  assert.deepEqual(world.ended, ['a2'])
})

test('one that cannot be made is not tried again before the next call, and at the end none are left', async () => {
  const { hulls, world, pass, closing } = standing()
  world.fails = true
  hulls.take('a')
  await pass(10_000)
  assert.equal(world.failed, 1)
  world.fails = false
  hulls.take('a')
  await pass(25)
  assert.equal(world.made.length, 2)
  closing.abort()
  hulls.close()
  await pass(0)
  assert.deepEqual(world.ended, ['a1', 'a2'])
  hulls.take('a')
  await pass(10_000)
  assert.equal(world.made.length, 2)
})

test('a call that finds no booted sandbox takes one that stands without its program, and one that was lost meanwhile is made anew', {
  timeout: 60_000,
}, async () => {
  await using fixture = new PoolFixture('process', { hello: `exports.handler = async () => 'fine'` })
  const held = { began: 0, made: 0, kills: 0 }
  await using pool = await fixture.open(
    { poolSize: 0 },
    {
      // Plain processes stand for sandboxes that are held: of two one dies when it begins.
      around: (driver) => ({
        holds: true,
        start: async (options) => {
          const process = await driver.start(options)
          if (!options.held) return process
          const isLost = ++held.made % 2 === 0
          return Object.assign(process, {
            begin: () => {
              held.began++
              if (isLost) process.control.destroy(new Error('gone'))
            },
          })
        },
      }),
    },
  )
  for (let turn = 1; turn <= 4; turn++) {
    const { value } = await fixture.call(fixture.specOf('hello', { key: `of ${turn}` }), {}, undefined, pool)
    assert.equal(value, 'fine')
    assert.equal(held.began, turn - 1, 'the first found none')
    await until(() => held.made - held.began === 2)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RuntimeName } from './types.ts'
import { Waiting, type WaitingSizes } from './waiting.ts'

const standing = (least: number, more: Partial<WaitingSizes> = {}) =>
  new Waiting<{ runtime: RuntimeName }>({ least, most: 4, demand: () => 0, hasMemory: () => true, ...more })
const booted = (runtime: RuntimeName) => ({ runtime })

test('the first runtime waits always, another one while a version of it is known', () => {
  const waiting = standing(2)
  assert.equal(waiting.next(), 'nodejs24.x')
  const on = [waiting.filling('nodejs24.x'), waiting.filling('nodejs24.x')]
  assert.equal(waiting.next(), null)
  assert.equal(waiting.expect('a', 'python3.x'), true)
  assert.equal(waiting.expect('a', 'python3.x'), false)
  assert.equal(waiting.next(), 'python3.x')
  for (const one of on) one[Symbol.dispose]()
  waiting.add(booted('nodejs24.x'))
  waiting.add(booted('nodejs24.x'))
  waiting.add(booted('python3.x'))
  assert.equal(waiting.next(), null)
  assert.equal(waiting.take('provided'), undefined)
  assert.equal(waiting.take('python3.x')?.runtime, 'python3.x')
  assert.equal(waiting.next(), 'python3.x')
})

test('with its last version the one that waits goes', () => {
  const waiting = standing(1)
  waiting.expect('a', 'provided')
  waiting.expect('b', 'provided')
  const one = booted('provided')
  waiting.add(one)
  assert.deepEqual(waiting.retire('a'), [])
  assert.deepEqual(waiting.retire('b'), [one])
  assert.deepEqual(waiting.retire('b'), [])
  assert.equal(waiting.length, 0)
  assert.equal(waiting.hasPlace('provided'), false)
})

test('a pool of size 0 keeps nothing', () => {
  const waiting = standing(0)
  waiting.expect('a', 'python3.x')
  assert.equal(waiting.next(), null)
})

test('a runtime that is asked for often has more, up to the most, and gives them back one after the other when it is not', () => {
  let demand = 3.9
  const waiting = standing(1, { demand: (runtime) => (runtime === 'python3.x' ? 0 : demand) })
  waiting.expect('a', 'python3.x')
  const wanted = () => waiting.shown().map((one) => one.wanted)
  assert.deepEqual(wanted(), [3, 1])
  demand = 100
  assert.deepEqual(wanted(), [4, 1])
  for (let n = 0; n < 4; n++) waiting.add(booted('nodejs24.x'))
  assert.deepEqual([waiting.extra, waiting.hasPlace('nodejs24.x'), waiting.surplus()], [3, false, []])
  demand = 0
  assert.deepEqual([waiting.surplus().length, waiting.surplus().length, waiting.length], [1, 1, 2])
  assert.equal(waiting.takeExtra()?.runtime, 'nodejs24.x')
  assert.deepEqual([waiting.takeExtra(), waiting.surplus(), waiting.length, waiting.extra], [null, [], 1, 0])
})

test('more than its least only while there is memory; a runtime that does not start is passed over', () => {
  let hasMemory = false
  const waiting = standing(1, { demand: () => 3, hasMemory: () => hasMemory })
  waiting.expect('a', 'provided')
  assert.equal(waiting.next(), 'nodejs24.x')
  assert.equal(
    waiting.next((runtime) => runtime === 'nodejs24.x'),
    'provided',
  )
  waiting.add(booted('nodejs24.x'))
  waiting.add(booted('provided'))
  assert.equal(waiting.next(), null)
  hasMemory = true
  assert.equal(waiting.next(), 'nodejs24.x')
})

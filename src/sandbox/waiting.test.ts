import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RuntimeName } from './types.ts'
import { Waiting } from './waiting.ts'

const booted = (runtime: RuntimeName) => ({ runtime })

test('the first runtime waits always, another one while a version of it is known', () => {
  const waiting = new Waiting<{ runtime: RuntimeName }>(2)
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
  const waiting = new Waiting<{ runtime: RuntimeName }>(1)
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
  const waiting = new Waiting<{ runtime: RuntimeName }>(0)
  waiting.expect('a', 'python3.x')
  assert.equal(waiting.next(), null)
})

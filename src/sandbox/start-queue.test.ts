import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { StartQueue } from './start-queue.ts'

const never = new AbortController().signal
const soon = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A queue whose starts the test ends, and whose clock it moves. */
function open(starts: number) {
  const under: { kind: string; done: (booted: string) => void; failed: (error: Error) => void }[] = []
  const surplus: string[] = []
  const timers = new Set<{ ms: number; fire: () => void }>()
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    sleep: async () => {},
    timer: (ms, fire) => {
      const timer = { ms, fire }
      timers.add(timer)
      return { [Symbol.dispose]: () => void timers.delete(timer) }
    },
  }
  const queue = new StartQueue<string, string>({
    starts,
    clock,
    surplus: (booted) => surplus.push(booted),
    start: (kind) => new Promise((done, failed) => under.push({ kind, done, failed })),
  })
  const served: string[] = []
  const wait = (name: string, { project = 'p', key = 'k', kind = '512', signal = never } = {}) => {
    const work = queue.wait({ project, key, kind }, signal).then(({ booted, ready }) => void served.push(`${name} ${booted ?? ready}`))
    work.catch(() => {})
    return work
  }
  return { queue, under, surplus, timers, served, wait }
}

test('who waits only for one of its version gets that, and nothing is started for it', async () => {
  const { queue, under, timers } = open(2)
  const freed = queue.freed({ project: 'p', key: 'k' }, 10, never)
  assert.equal(under.length, 0)
  assert.equal(queue.giveBooted('b', '512'), false)
  assert.equal(queue.giveReady('r', 'other'), false)
  assert.equal(queue.giveReady('r', 'k'), true)
  assert.equal(await freed, 'r')
  assert.equal(timers.size, 0)
  const late = queue.freed({ project: 'p', key: 'k' }, 10, never)
  for (const timer of timers) timer.fire()
  assert.equal(await late, null)
  const leaving = new AbortController()
  const left = queue.freed({ project: 'p', key: 'k' }, 10, leaving.signal)
  leaving.abort(new Error('left'))
  await assert.rejects(left, /left/)
  assert.equal(queue.length, 0)
})

test('so many are started at once as the setting says, and served in the order they came', async () => {
  const { under, served, wait, timers } = open(2)
  const all = ['a', 'b', 'c', 'd'].map((name) => wait(name))
  assert.equal(under.length, 2)
  under[1]?.done('second')
  await soon()
  assert.deepEqual([served, under.length], [['a second'], 3])
  under[0]?.done('first')
  under[2]?.done('third')
  await soon()
  under[3]?.done('fourth')
  await Promise.all(all)
  assert.deepEqual(served, ['a second', 'b first', 'c third', 'd fourth'])
  assert.deepEqual([under.length, timers.size], [4, 0])
})

test('a freed sandbox goes to the call of its version that waited longest; its start is surplus', async () => {
  const { queue, under, served, surplus, wait } = open(2)
  const all = [wait('a', { key: 'other' }), wait('b'), wait('c')]
  assert.equal(queue.giveReady('unknown', 'nobody'), false)
  assert.equal(queue.giveReady('freed', 'k'), true)
  await soon()
  assert.deepEqual(served, ['b freed'])
  under[0]?.done('one')
  under[1]?.done('two')
  await Promise.all(all)
  assert.deepEqual(served, ['b freed', 'a one', 'c two'])
  const leaving = new AbortController()
  const left = wait('d', { signal: leaving.signal })
  leaving.abort(new Error('left'))
  await assert.rejects(left, /left/)
  under[2]?.done('three')
  await soon()
  assert.deepEqual([surplus, queue.length], [['three'], 0])
})

test('another size of /tmp is another kind, and does not stand behind what it cannot use', async () => {
  const { queue, under, served, wait } = open(2)
  const all = [wait('a'), wait('b'), wait('big', { kind: '1024' })]
  assert.deepEqual(
    under.map(({ kind }) => kind),
    ['512', '512'],
  )
  assert.equal(queue.giveBooted('small', '512'), true)
  under[0]?.done('x')
  await soon()
  assert.equal(under[2]?.kind, '1024')
  under[2]?.done('large')
  await Promise.all(all)
  assert.deepEqual(served, ['a small', 'b x', 'big large'])
})

test('a start that fails is told to one call, and the next is started', async () => {
  const { under, served, wait } = open(1)
  const [first, second] = [wait('a'), wait('b')]
  under[0]?.failed(new Error('no memory'))
  await assert.rejects(first, /no memory/)
  await soon()
  under[1]?.done('x')
  await second
  assert.deepEqual(served, ['b x'])
})

test(`sandboxWait: nobody waits longer than ${LIMITS.sandboxWait.value} ms`, async () => {
  const { queue, under, surplus, timers, wait } = open(1)
  const late = wait('a')
  const [timer] = timers
  assert.equal(timer?.ms, LIMITS.sandboxWait.value)
  timer?.fire()
  await assert.rejects(late, { code: 'too_many_invocations', message: /30000 ms/ })
  under[0]?.done('x')
  await soon()
  assert.deepEqual([surplus, queue.length, timers.size], [['x'], 0, 0])
})

test('closing tells everybody who waits, and who comes later', async () => {
  const { queue, wait } = open(1)
  const waiting = [wait('a'), wait('b')]
  queue.close(new Error('stopping'))
  for (const one of [...waiting, wait('c')]) await assert.rejects(one, /stopping/)
})

test('so many are started at once for all projects together', async () => {
  const { under, wait } = open(2)
  for (const project of ['one', 'two', 'three']) wait('call', { project, key: project })
  assert.equal(under.length, 2)
  under[0]?.done('booted')
  await soon()
  assert.equal(under.length, 3)
})

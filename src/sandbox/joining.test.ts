import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Joining } from './joining.ts'
import { LoadError, type SandboxSpec } from './types.ts'

const spec = {} as SandboxSpec

test('calls that come while one is made for another share its places; the next has its own made', async () => {
  const joining = new Joining<string>()
  assert.equal(joining.join(spec), null)
  const first = joining.comes(spec, 2)
  const joined = [joining.join(spec), joining.join(spec)]
  assert.equal(joining.join(spec), null)
  const second = joining.comes(spec, 2)
  joined.push(joining.join(spec))
  assert.equal(joining.join({} as SandboxSpec), null)
  second.made('second')
  first.made('first')
  assert.deepEqual(await Promise.all(joined), ['first', 'first', 'second'])
  assert.equal(joining.join(spec), null)
})

test('who waits for one that does not come is told so, and nobody is sent to it any more', async () => {
  const joining = new Joining<string>()
  const coming = joining.comes(spec, 3)
  const joined = joining.join(spec)
  coming[Symbol.dispose]()
  assert.equal(await joined, null)
  assert.equal(joining.join(spec), null)
})

test('what keeps the code from loading is told to all who wait for it', async () => {
  const joining = new Joining<string>()
  const coming = joining.comes(spec, 2)
  const joined = [joining.join(spec), joining.join(spec)]
  coming.failed(new LoadError('Error', Buffer.from('{}')))
  for (const one of joined) await assert.rejects(one as Promise<unknown>, LoadError)
  assert.equal(joining.join(spec), null)
})

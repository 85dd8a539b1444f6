import assert from 'node:assert/strict'
import { it } from 'node:test'
import { OneByOne } from './one-by-one.ts'

it('works of one key go one after the other, also behind one that failed; another key waits for none', async () => {
  const works = new OneByOne()
  const said: string[] = []
  const held = Promise.withResolvers<void>()
  const first = works.run('a', async () => {
    await held.promise
    said.push('first')
    throw new Error('failed')
  })
  const second = works.run('a', async () => (said.push('second'), 2))
  await works.run('b', async () => said.push('other'))
  assert.deepEqual(said, ['other'])
  held.resolve()
  await assert.rejects(first, /failed/)
  assert.equal(await second, 2)
  assert.deepEqual(said, ['other', 'first', 'second'])
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MayflyError } from './errors.ts'
import { Stays } from './stays.ts'

const isGone = (error: unknown) => error instanceof MayflyError && error.code === 'project_not_found'

describe('a stay in a project', () => {
  it('is told that the project goes, and waited for; nobody comes in behind', async () => {
    const stays = new Stays()
    const [first, second, elsewhere] = [stays.enter('one'), stays.enter('one'), stays.enter('two')]
    let ended = false
    const ending = stays.end('one').then(() => {
      ended = true
    })
    assert.ok(isGone(first.signal.reason) && second.signal.aborted)
    assert.throws(() => stays.enter('one'), isGone)
    first[Symbol.dispose]()
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(ended, false)
    second[Symbol.dispose]()
    await ending
    assert.throws(() => stays.enter('one'), isGone)
    assert.equal(elsewhere.signal.aborted, false)
    await stays.end('one')
  })
  it('that ended holds up nothing', async () => {
    const stays = new Stays()
    stays.enter('one')[Symbol.dispose]()
    stays.enter('one')[Symbol.dispose]()
    await stays.end('one')
  })
})

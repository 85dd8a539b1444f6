import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Believed } from './believed.ts'

describe('what is believed', () => {
  for (const how of ['forget', 'clear'] as const)
    it(`is not what was asked before it was to be forgotten (${how})`, async () => {
      const believed = new Believed<string>(10, () => true)
      const slow = Promise.withResolvers<string>()
      const asked = believed.get('one', () => slow.promise)
      if (how === 'forget') believed.forget('one')
      else believed.clear()
      slow.resolve('former')
      assert.equal(await asked, 'former')
      assert.equal(await believed.get('one', async () => 'present'), 'present')
      assert.equal(believed.known('one'), 'present')
    })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { portOf, readGivenKeys, readGivenPort, saidOfFile } from './keys.ts'

describe('the file of given keys', () => {
  it('may name a port, as JSON or as a line', () => {
    assert.equal(readGivenPort('{"anonKey":"a","port":8000}'), 8_000)
    assert.equal(readGivenPort('{"anonKey":"a","apiPort":"8000"}'), 8_000)
    assert.equal(readGivenPort('ANON_KEY=a\nexport API_PORT="8000"\n'), 8_000)
    assert.deepEqual(readGivenKeys('ANON_KEY=a\nAPI_PORT=8000\n'), { anonKey: 'a' })
  })

  it('takes no port of something else, and no word for one', () => {
    assert.equal(readGivenPort('{"anonKey":"a"}'), null)
    assert.equal(readGivenPort('ANON_KEY=a\nPORT=3000\nPOSTGRES_PORT=5432\nKONG_HTTP_PORT=8000\n'), null)
    for (const text of ['-1', '8e3', '80.5', '123456', '', 'none']) assert.throws(() => portOf(text), RangeError)
    assert.throws(() => readGivenPort('{"port":80.5}'), RangeError)
  })

  it('is told of by the names in it', () => {
    const text = 'JWT_SECRET=s\nSUPABASE_ANON_KEY=a\n'
    assert.equal(
      saidOfFile('keys.anonKey: it is signed by another secret than jwtSecret', text),
      'SUPABASE_ANON_KEY: it is signed by another secret than JWT_SECRET',
    )
    assert.equal(saidOfFile('serviceRoleKey: it is no JWT', text), 'serviceRoleKey: it is no JWT')
    assert.equal(saidOfFile('ref: text', text), 'ref: text')
  })
})

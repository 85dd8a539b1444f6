import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { cookiesNamed, sparingTheConsole, withoutConsoleCookie } from './cookies.ts'

describe("what the API's door lets an answer set", () => {
  for (const line of [
    'mayfly_console=x',
    'mayfly_console=x; Path=/session; HttpOnly',
    'mayfly_console=; Max-Age=0',
    'mayfly_console',
    ' mayfly_console=x',
    '\tmayfly_console =x',
    'MAYFLY_console=x',
    '__Host-mayfly_console=x; Secure; Path=/',
    '__host-mayfly_console=x',
    // Without a name, a browser sends the value alone.
    '=mayfly_console=x',
    ' = mayfly_console=x',
    '==mayfly_console=x',
    '=__Host-mayfly_console=x',
    'mayfly_console=x; Domain=localhost',
  ]) {
    it(`not ${JSON.stringify(line)}`, () => {
      assert.deepEqual(sparingTheConsole({ status: 200, headers: { 'set-cookie': [line, 'a=1'], n: '1' } }).headers, { 'set-cookie': ['a=1'], n: '1' })
      assert.deepEqual(sparingTheConsole({ status: 200, headers: { 'Set-Cookie': line } }).headers, {})
    })
  }
  for (const line of ['a=mayfly_console', 'a=b; Path=/mayfly_console=x', 'mayfly_console2=x', 'my_mayfly_console=x', 'a==mayfly_console=x', ''])
    it(`but ${JSON.stringify(line)}`, () => {
      const reply = { status: 200, headers: { 'set-cookie': [line] } }
      assert.equal(sparingTheConsole(reply), reply)
    })
  it('nor what clears or binds the whole host', () => {
    const reply = { status: 200, headers: { 'Clear-Site-Data': '"cookies"', 'strict-transport-security': 'max-age=1', 'content-type': 'a' }, body: 'x' }
    assert.deepEqual(sparingTheConsole(reply), { status: 200, headers: { 'content-type': 'a' }, body: 'x' })
  })
})

describe('cookies that come in', () => {
  it("lose the console's and keep the others, in either form of the headers", () => {
    const heard = (cookie: string) => withoutConsoleCookie({ headers: { cookie, a: '1' }, rawHeaders: ['A', '1', 'Cookie', cookie] })
    assert.deepEqual(heard('mayfly_console=x'), { headers: { a: '1' }, rawHeaders: ['A', '1'] })
    assert.deepEqual(heard('p=1; mayfly_console=x;q=2'), { headers: { a: '1', cookie: 'p=1; q=2' }, rawHeaders: ['A', '1', 'Cookie', 'p=1; q=2'] })
    assert.deepEqual(heard('p=mayfly_console=x').headers.cookie, 'p=mayfly_console=x')
    assert.deepEqual(heard(' mayfly_console = x ; __Host-mayfly_console=y').headers, { a: '1' })
  })
  it('are found by their exact name, a few of them', () => {
    assert.deepEqual(cookiesNamed('a=1; b=2; a=3;a=4=5;  a = 6', 'a'), ['1', '3', '4=5', '6'])
    assert.deepEqual(cookiesNamed(undefined, 'a'), [])
    assert.deepEqual(cookiesNamed('A=1; ab=2; a', 'a'), [])
    assert.equal(cookiesNamed('a=1; '.repeat(100), 'a').length, 8)
  })
})

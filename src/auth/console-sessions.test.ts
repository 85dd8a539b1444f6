import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { Database } from '../backends/database/database.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { LIMITS } from '../core/limits.ts'
import { systemClock } from '../lib/clock.ts'
import { ConsoleSessions } from './console-sessions.ts'

const HOUR = 3_600_000

describe('sessions of the console', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let control: Database
  let sessions: ConsoleSessions
  const open = () => new ConsoleSessions({ database: control, clock: systemClock, sessionHours: 168, idleHours: 12 })
  before(async () => {
    opened = await openTestDatabases()
    control = opened.databases.control
    sessions = open()
  })
  beforeEach(() => sessions.endAll())
  after(() => opened.close())

  /** Lets time pass: what is written down is so much older. */
  const pass = async (ms: number) => {
    await control.sql`update mayfly.login_code set created_at = created_at - ${ms} * interval '1 millisecond', expires_at = expires_at - ${ms} * interval '1 millisecond'`
    await control.sql`update mayfly.console_session set created_at = created_at - ${ms} * interval '1 millisecond', last_used_at = last_used_at - ${ms} * interval '1 millisecond', expires_at = expires_at - ${ms} * interval '1 millisecond'`
  }
  const signIn = async () => {
    const made = await sessions.signIn(await sessions.issueCode())
    assert.ok(made)
    return made
  }

  it('takes a code once, and gives a token that speaks for one session', async () => {
    const code = await sessions.issueCode()
    assert.match(code, /^[\w-]{22}$/)
    const first = await sessions.signIn(code)
    assert.match(first?.token ?? '', /^[\w-]{43}$/)
    assert.equal(await sessions.signIn(code), null)
    const second = await signIn()
    assert.notEqual(first?.id, second.id)
    assert.equal((await sessions.verify(first?.token ?? ''))?.id, first?.id)
    assert.equal((await sessions.verify(second.token))?.id, second.id)
  })
  it('lets one of many in who send the same code at once', async () => {
    const code = await sessions.issueCode()
    const got = await Promise.all(Array.from({ length: 8 }, () => sessions.signIn(code)))
    assert.equal(got.filter((one) => one !== null).length, 1)
  })
  it('knows no code and no token of another form, nor one that differs anywhere', async () => {
    const code = await sessions.issueCode()
    const { token } = await signIn()
    const other = (text: string, at: number) => `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`
    for (let at = 0; at < code.length; at++) assert.equal(await sessions.signIn(other(code, at)), null)
    for (let at = 0; at < token.length; at++) assert.equal(await sessions.verify(other(token, at)), null)
    for (const text of ['', ' ', `${code} `, code.slice(1), token, "' or true --", 'x'.repeat(100_000), '\0']) {
      assert.equal(await sessions.signIn(text), null)
      if (text !== token) assert.equal(await sessions.verify(text), null)
    }
    assert.ok(await sessions.signIn(code), 'and no wrong guess has spent the right one')
  })
  it('keeps no code and no token, only their hashes', async () => {
    const code = await sessions.issueCode()
    const { token } = await signIn()
    const stored = JSON.stringify([
      await control.sql`select encode(hash, 'escape') as e, encode(hash, 'base64') as b, code::text from mayfly.login_code as code`,
      await control.sql`select encode(hash, 'escape') as e, encode(hash, 'base64') as b, one::text from mayfly.console_session as one`,
    ])
    assert.ok(!stored.includes(code) && !stored.includes(token))
  })
  it('takes a code up to loginCodeTime and not past it', async () => {
    const early = await sessions.issueCode()
    await pass(LIMITS.loginCodeTime.value - 5_000)
    assert.ok(await sessions.signIn(early))
    const late = await sessions.issueCode()
    await pass(LIMITS.loginCodeTime.value)
    assert.equal(await sessions.signIn(late), null)
  })
  it(`keeps ${LIMITS.loginCodes.value} codes outstanding (loginCodes): one more, and the oldest is none`, async () => {
    const codes: string[] = []
    for (let n = 0; n <= LIMITS.loginCodes.value; n++) codes.push(await sessions.issueCode())
    const [oldest = '', ...kept] = codes
    assert.equal(await sessions.signIn(oldest), null)
    for (const code of kept) assert.ok(await sessions.signIn(code))
  })
  it('ends a session that was not used for the idle time, not one that was', async () => {
    const used = await signIn()
    const unused = await signIn()
    for (let n = 0; n < 3; n++) {
      await pass(11 * HOUR)
      assert.ok(await sessions.verify(used.token))
    }
    assert.equal(await sessions.verify(unused.token), null)
    await pass(12 * HOUR)
    assert.equal(await sessions.verify(used.token), null)
  })
  it('ends a session at its end, however much it is used, and says how long that is', async () => {
    const { token } = await signIn()
    for (let n = 0; n < 16; n++) {
      const session = await sessions.verify(token)
      assert.ok(session && session.leftMs <= 12 * HOUR && session.leftMs > 0)
      if (n === 15) assert.ok(session.leftMs <= 3 * HOUR, `${session.leftMs} ms are left of 168 hours after 165`)
      await pass(n === 15 ? 3 * HOUR : 11 * HOUR)
    }
    assert.equal(await sessions.verify(token), null)
  })
  it('lives on in another life of the node, and not after signing out', async () => {
    const { token, id } = await signIn()
    const other = await signIn()
    const again = open()
    assert.equal((await again.verify(token))?.id, id)
    await again.signOut(id)
    assert.equal(await sessions.verify(token), null)
    assert.ok(await sessions.verify(other.token))
  })
  it('ends all sessions and codes at once', async () => {
    const one = await signIn()
    const two = await signIn()
    const code = await sessions.issueCode()
    assert.equal(await sessions.endAll(), 2)
    for (const { token } of [one, two]) assert.equal(await sessions.verify(token), null)
    assert.equal(await sessions.signIn(code), null)
  })
  it(`keeps ${LIMITS.consoleSessions.value} sessions (consoleSessions): one more, and that used the longest ago ends`, async () => {
    const first = await signIn()
    await pass(2 * HOUR)
    const second = await signIn()
    await pass(HOUR)
    assert.ok(await sessions.verify(first.token))
    for (let n = 2; n < LIMITS.consoleSessions.value; n++) await signIn()
    assert.ok(await sessions.verify(first.token))
    const [count] = await control.sql<{ n: number }>`select count(*)::int as n from mayfly.console_session`
    assert.equal(count?.n, LIMITS.consoleSessions.value, 'at the edge all are there')
    await signIn()
    assert.equal(await sessions.verify(second.token), null)
    assert.ok(await sessions.verify(first.token))
  })
})

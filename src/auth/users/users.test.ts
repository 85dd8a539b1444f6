import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { hashSync } from 'bcryptjs'
import fc from 'fast-check'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import type { Database } from '../../backends/database/database.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import { Sealer } from '../../core/seal.ts'
import { insertProject, updateProjectState } from '../../core/store.ts'
import { silentLog } from '../../core/log.ts'
import { systemClock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { Tokens } from '../tokens/service.ts'
import { AuthError, type AuthErrorCode } from './errors.ts'
import { Passwords } from './passwords.ts'
import { hashOf, judgeRefresh, REUSE_MS } from './refresh.ts'
import { Users, type UsersDeps } from './service.ts'

/** The cost of a hash is its own test's. */
const plain = {
  hash: async (password: string) => `plain ${password}`,
  fits: async (password: string, hash: string | null) => hash === `plain ${password}`,
} as unknown as Passwords
const FROM = { userAgent: null, address: '127.0.0.1' }

describe('users', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let database: Database
  let users: Users
  let deps: UsersDeps
  let project: Project
  let other: Project
  const sealer = new Sealer(randomBytes(32))
  const make = async (name: string): Promise<Project> => {
    const ref = name as ProjectRef
    const id = uuidv7(Date.now())
    const dataKey = sealer.makeDataKey(id)
    sealer.useDataKey(id, dataKey)
    await insertProject(opened.databases.control.sql, { id, ref, name, dataKey })
    await opened.databases.ensureProject(ref)
    await updateProjectState(opened.databases.control.sql, ref, 'active')
    return { id, ref, name, state: 'active' }
  }
  const refuses = async (work: Promise<unknown>, code: AuthErrorCode) =>
    await assert.rejects(work, (error) => {
      assert.ok(error instanceof AuthError, String(error))
      assert.equal(error.code, code, error.message)
      return true
    })
  let count = 0
  const someone = async (of = project) => {
    const email = `user${++count}@example.com`
    const session = await users.signUp(of, { email, password: 'long enough', data: {} }, FROM)
    return { ...session, email, id: session.user.id as string }
  }
  /** As if all tokens that were ever revoked had been a while ago. */
  const later = () => database.sql`update auth.refresh_tokens set updated_at = updated_at - ${REUSE_MS + 1_000} * interval '1 millisecond' where revoked`

  before(async () => {
    opened = await openTestDatabases()
    project = await make('one')
    other = await make('two')
    database = await opened.databases.openProject('one')
    const tokens = new Tokens({
      database: opened.databases.control,
      sealer,
      clock: systemClock,
      believable: () => true,
      issuerOf: () => 'i',
      fetch: () => Promise.reject(new Error('nowhere')),
      log: silentLog,
    })
    deps = {
      databases: opened.databases,
      tokens,
      passwords: plain,
      refreshSecret: randomBytes(32),
      newId: () => uuidv7(Date.now()),
      clock: systemClock,
    }
    users = new Users(deps)
  })
  after(async () => await opened.close())

  it('have one session token that is good, and the one before it gives the same again', async () => {
    const first = await someone()
    const second = await users.refresh(project, first.refresh_token)
    assert.notEqual(second.refresh_token, first.refresh_token)
    const again = await users.refresh(project, first.refresh_token)
    assert.equal(again.refresh_token, second.refresh_token)
    const third = await users.refresh(project, second.refresh_token)
    // Two steps back, at once: another tab.
    assert.equal((await users.refresh(project, first.refresh_token)).refresh_token, third.refresh_token)
    await later()
    // The answer was lost: any time after.
    assert.equal((await users.refresh(project, second.refresh_token)).refresh_token, third.refresh_token)
    await refuses(users.refresh(project, first.refresh_token), 'refresh_token_already_used')
    // Now nobody has the session any more.
    for (const token of [first, second, third]) await refuses(users.refresh(project, token.refresh_token), 'refresh_token_already_used')
    const claims = JSON.parse(Buffer.from(third.access_token.split('.')[1] as string, 'base64url').toString())
    await refuses(users.current(project, first.id, claims.session_id), 'session_not_found')
  })
  it('that refresh at once, fifty times, all get one and the same', async () => {
    const { refresh_token } = await someone()
    const all = await Promise.all(Array.from({ length: 50 }, () => users.refresh(project, refresh_token)))
    assert.equal(new Set(all.map((one) => one.refresh_token)).size, 1)
    await later()
    await users.refresh(project, all[0]?.refresh_token as string)
  })
  it('have tokens that are good in their own project alone, and lie in the database as hashes', async () => {
    const mine = await someone()
    await refuses(users.refresh(other, mine.refresh_token), 'refresh_token_not_found')
    for (const wrong of ['', 'x', `${mine.refresh_token} `, hashOf(mine.refresh_token), '\0', '\ud800'])
      await refuses(users.refresh(project, wrong), 'refresh_token_not_found')
    const rows = await database.sql`select * from auth.refresh_tokens`
    assert.ok(!JSON.stringify(rows).includes(mine.refresh_token))
  })
  it('are kept from passwords that are weak or too long, and from more metadata than tokens can carry', async () => {
    const signUp = (password: string, data = {}) => users.signUp(project, { email: `p${++count}@example.com`, password, data }, FROM)
    await refuses(signUp('seven77'), 'weak_password')
    await signUp('eight888')
    await signUp('x'.repeat(LIMITS.passwordBytes.value))
    await refuses(signUp('x'.repeat(LIMITS.passwordBytes.value + 1)), 'validation_failed')
    await refuses(signUp('é'.repeat(LIMITS.passwordBytes.value / 2 + 1)), 'validation_failed')
    const room = LIMITS.accountMetadata.value - '{"a":""}'.length
    await signUp('eight888', { a: 'x'.repeat(room) })
    await refuses(signUp('eight888', { a: 'x'.repeat(room + 1) }), 'validation_failed')
    await refuses(signUp('eight888', { a: '\0' }), 'validation_failed')
  })
  it('have a number of sessions, and of a session a number of former tokens is known', async () => {
    const { email, refresh_token } = await someone()
    for (let n = 0; n < LIMITS.userSessions.value; n++) await users.signIn(project, { email }, 'long enough', FROM)
    // The first of them was the oldest.
    await refuses(users.refresh(project, refresh_token), 'refresh_token_not_found')
    const last = await users.signIn(project, { email }, 'long enough', FROM)
    let { refresh_token: token } = last
    for (let n = 0; n <= LIMITS.sessionTokens.value; n++) token = (await users.refresh(project, token)).refresh_token
    await refuses(users.refresh(project, last.refresh_token), 'refresh_token_not_found')
    await users.refresh(project, token)
  })
  it('of which a trigger of the project will not hear are not made', async () => {
    await database.script(`
      create function public.no() returns trigger language plpgsql as $$ begin if new.email like 'no%' then raise exception 'not him'; end if; perform set_config('my.user', current_user::text, false); return new; end $$;
      create trigger no after insert on auth.users for each row execute function public.no();`)
    await refuses(users.signUp(project, { email: 'no@example.com', password: 'long enough', data: {} }, FROM), 'unexpected_failure')
    assert.deepEqual(await database.sql`select 1 from auth.users where email like 'no%'`, [])
    await someone()
    await database.script('drop trigger no on auth.users')
  })
  it('that came along with a hash of bcrypt sign in by it, and by one of ours from then on', async () => {
    const { email, id } = await someone()
    const brought = hashSync('long enough', 4)
    await database.sql`update auth.users set encrypted_password = ${brought} where id = ${id}`
    // The hashes of this file are plain ones, but for those that come from elsewhere.
    const real = new Passwords(2)
    const both = new Users({
      ...deps,
      passwords: {
        hash: plain.hash,
        fits: (password: string, hash: string | null) => (hash?.startsWith('$2') ? real : plain).fits(password, hash),
      } as unknown as Passwords,
    })
    await refuses(both.signIn(project, { email }, 'not enough', FROM), 'invalid_credentials')
    await both.signIn(project, { email }, 'long enough', FROM)
    const [row] = await database.sql<{ hash: string }>`select encrypted_password as hash from auth.users where id = ${id}`
    assert.equal(row?.hash, 'plain long enough')
    await both.signIn(project, { email }, 'long enough', FROM)
  })
  it('are known at the addresses where they are signed in, and at no others', async () => {
    const { email } = await someone()
    assert.equal(await users.isKnownAt(project, { email: email.toUpperCase() }, '127.0.0.1'), true)
    for (const address of ['127.0.0.2', '::1', 'sandbox', '']) assert.equal(await users.isKnownAt(project, { email }, address), false)
    for (const name of [{ email: 'none@example.com' }, { email: '' }, { email: '\0' }, { phone: '' }])
      assert.equal(await users.isKnownAt(project, name, '127.0.0.1'), false)
    assert.equal(await users.isKnownAt(other, { email }, '127.0.0.1'), false)
  })
  it('are refused in the same words, whether they are there or not', async () => {
    const { email } = await someone()
    for (const [name, password] of [
      [email, 'wrong'],
      ['none@example.com', 'long enough'],
      ["' or true --", 'x'],
      ['\0', 'x'],
      ['', ''],
    ] as const)
      await refuses(users.signIn(project, { email: name }, password, FROM), 'invalid_credentials')
  })

  /** What a family is by its rules: plain, slow, and of one thread. */
  class Family {
    readonly chain: string[]
    readonly revokedAgo: ('now' | 'long')[] = []
    isOver = false
    constructor(first: string) {
      this.chain = [first]
    }
  }
  it('keep to the rules of refreshing, in whatever order they refresh, wait, sign out and change their password', async () => {
    const act = fc.oneof(
      fc.record({ kind: fc.constant('refresh' as const), at: fc.nat(5) }),
      fc.record({ kind: fc.constant('race' as const), at: fc.nat(2) }),
      fc.record({ kind: fc.constant('wait' as const) }),
      fc.record({ kind: fc.constant('sign out' as const) }),
      fc.record({ kind: fc.constant('others' as const) }),
      fc.record({ kind: fc.constant('password' as const) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 12 }), async (acts) => {
        const { email, id, ...first } = await someone()
        const second = await users.signIn(project, { email }, 'long enough', FROM)
        const bystander = new Family(second.refresh_token)
        const family = new Family(first.refresh_token)
        const sessionOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()).session_id as string
        const session = sessionOf(first.access_token)
        let isGone = false
        let changes = 0
        for (const one of acts) {
          if (one.kind === 'wait') {
            await later()
            family.revokedAgo.fill('long')
          } else if (one.kind === 'sign out') {
            await users.signOut(project, id, session, 'local')
            isGone = true
          } else if (one.kind === 'others') {
            await users.signOut(project, id, session, 'others')
            bystander.isOver = true
          } else if (one.kind === 'password') {
            const user = await users.current(project, id, session).catch(() => null)
            if (user === null) continue
            await users.update(project, user, session, { password: `another one ${++changes}` })
            bystander.isOver = true
          } else {
            const at = Math.max(0, family.chain.length - 1 - one.at)
            const shown = family.chain[at] as string
            const tries = one.kind === 'race' ? 4 : 1
            const answers = await Promise.allSettled(Array.from({ length: tries }, () => users.refresh(project, shown)))
            const last = family.chain.length - 1
            const expected = isGone
              ? 'refresh_token_not_found'
              : family.isOver || !(at >= last - 1 || family.revokedAgo[at] === 'now')
                ? 'refresh_token_already_used'
                : null
            if (expected !== null) {
              for (const answer of answers) assert.ok(answer.status === 'rejected' && answer.reason instanceof AuthError && answer.reason.code === expected)
              if (!isGone) family.isOver = true
              continue
            }
            const given = new Set(answers.map((answer) => (answer.status === 'fulfilled' ? answer.value.refresh_token : String(answer.reason))))
            assert.equal(given.size, 1)
            const [token] = [...given] as [string]
            if (at === last) {
              assert.ok(!family.chain.includes(token))
              family.chain.push(token)
              family.revokedAgo[at] = 'now'
            } else assert.equal(token, family.chain[last])
          }
        }
        const [{ active } = { active: '0' }] = await database.sql<{
          active: string
        }>`select count(*) as active from auth.refresh_tokens where session_id = ${session} and not revoked`
        assert.equal(active, isGone || family.isOver ? '0' : '1')
        const rest = users.refresh(project, bystander.chain[0] as string)
        if (bystander.isOver) await refuses(rest, 'refresh_token_not_found')
        else await rest
      }),
      { numRuns: 25 },
    )
  })
  it('that refresh while they sign out or change their password keep no session that should be over', async () => {
    for (let n = 0; n < 10; n++) {
      const { email, id, ...first } = await someone()
      const kept = await users.signIn(project, { email }, 'long enough', FROM)
      const session = JSON.parse(Buffer.from(kept.access_token.split('.')[1] as string, 'base64url').toString()).session_id as string
      const user = await users.current(project, id, session)
      const [, ...racing] = await Promise.allSettled([
        users.update(project, user, session, { password: 'quite another' }),
        ...Array.from({ length: 5 }, () => users.refresh(project, first.refresh_token)),
        ...Array.from({ length: 3 }, () => users.signIn(project, { email }, 'long enough', FROM)),
      ])
      for (const one of racing) if (one.status === 'fulfilled') await refuses(users.refresh(project, one.value.refresh_token), 'refresh_token_not_found')
      await users.refresh(project, kept.refresh_token)
    }
  })
  it('judge what is shown by the place in its chain alone', () => {
    const token = (hash: string, parent: string | null, revoked = true) => ({ hash, parent, revoked })
    assert.deepEqual(judgeRefresh(token('b', 'a', false), token('b', 'a', false), 0), { kind: 'rotate' })
    assert.deepEqual(judgeRefresh(token('a', null), token('b', 'a', false), REUSE_MS * 100), { kind: 'again', parent: 'a' })
    assert.deepEqual(judgeRefresh(token('a', null), token('c', 'b', false), REUSE_MS), { kind: 'again', parent: 'b' })
    assert.deepEqual(judgeRefresh(token('a', null), token('c', 'b', false), REUSE_MS + 1), { kind: 'reused' })
    assert.deepEqual(judgeRefresh(token('a', null), null, 0), { kind: 'reused' })
  })
})

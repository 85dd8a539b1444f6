import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Tx } from '../../backends/database/database.ts'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import { RULES } from './store.ts'

const TABLE = 'create table t (id int primary key, user_id uuid);'
const SAFE = `${TABLE} alter table t enable row level security;`
const OWN = 'create policy p on t to authenticated using ((select auth.uid()) = user_id);'

/** What each rule finds in a schema `s`, and what is so near to it that it must not. */
const ROWS: Readonly<Record<string, { readonly bad: string; readonly object: string; readonly good: string }>> = {
  rls_missing: { bad: TABLE, object: 'table s.t', good: `${TABLE} revoke all on t from anon, authenticated;` },
  open_to_writes: { bad: TABLE, object: 'table s.t', good: `${TABLE} revoke insert, update, delete, truncate on t from anon;` },
  policies_not_in_force: { bad: `${TABLE} ${OWN}`, object: 'table s.t', good: `${SAFE} ${OWN}` },
  rls_without_policy: { bad: SAFE, object: 'table s.t', good: `${SAFE} ${OWN}` },
  policy_trusts_user_metadata: {
    bad: `${SAFE} create policy p on t using ((auth.jwt() -> 'user_metadata' ->> 'admin') = 'true');`,
    object: 'policy p on s.t',
    good: `${SAFE} create policy p on t using ((auth.jwt() -> 'app_metadata' ->> 'admin') = 'true');`,
  },
  policy_lets_all_write: {
    bad: `${SAFE} create policy p on t for insert to authenticated with check (true);`,
    object: 'policy p on s.t',
    good: `${SAFE} create policy p on t for select using (true); create policy q on t to service_role using (true);`,
  },
  policy_asks_for_each_row: { bad: `${SAFE} create policy p on t using (auth.uid() = user_id);`, object: 'policy p on s.t', good: `${SAFE} ${OWN}` },
  policy_without_index: { bad: `${SAFE} ${OWN}`, object: 'column s.t.user_id', good: `${SAFE} ${OWN} create index on t (user_id, id);` },
  foreign_key_without_index: {
    bad: `${TABLE} create table u (t_id int constraint k references t);`,
    object: 'foreign key k of s.u',
    good: `${TABLE} create table u (t_id int constraint k references t, a int); create index on u (t_id, a);`,
  },
  definer_without_search_path: {
    bad: 'create function f(a int) returns int language sql security definer as $$ select a $$;',
    object: 'function s.f(a integer)',
    good: "create function f() returns int language sql security definer set search_path = '' as $$ select 1 $$; create function g() returns int language sql as $$ select 1 $$;",
  },
  definer_open_to_all: {
    bad: 'create function f() returns int language sql security definer as $$ select 1 $$;',
    object: 'function s.f()',
    good: 'create function f() returns int language sql security definer as $$ select 1 $$; revoke execute on function f() from public, anon; create function g() returns int language sql as $$ select 1 $$; create function h() returns trigger language plpgsql security definer as $$ begin return new; end $$;',
  },
  view_without_invoker: { bad: 'create view v as select 1 as a;', object: 'view s.v', good: 'create view v with (security_invoker = on) as select 1 as a;' },
  materialized_view_served: {
    bad: 'create materialized view m as select 1 as a;',
    object: 'materialized view s.m',
    good: 'create materialized view m as select 1 as a; revoke all on m from anon, authenticated;',
  },
}

describe('what is looked for in a schema', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  before(async () => {
    opened = await openTestDatabases()
    await opened.databases.ensureProject('demo')
  })
  after(() => opened.close())
  const found = async (name: string, setup: string) => {
    await using owner = await opened.databases.openOwner('demo')
    await owner.script(`drop schema if exists s cascade; create schema s; grant usage on schema s to anon, authenticated;
      alter default privileges in schema s grant all on tables to anon, authenticated; alter default privileges in schema s grant all on routines to anon;
      set search_path = s; ${setup}`)
    const rule = RULES.find((one) => one.name === name)
    return (await rule?.find((await opened.databases.openProject('demo')).sql, ['public', 's']))?.map(({ object }) => object)
  }
  it('has a row here for each rule', () => assert.deepEqual(RULES.map(({ name }) => name).toSorted(), Object.keys(ROWS).toSorted()))
  for (const [name, { bad, object, good }] of Object.entries(ROWS)) {
    it(`${name}: is found`, async () => assert.deepEqual(await found(name, bad), [object]))
    it(`${name}: is not found where it is mended`, async () => assert.deepEqual(await found(name, good), []))
  }
  for (const page of ['row-level-security.md', 'row-level-security.ko.md'])
    it(`finds nothing in what docs/${page} has people write, and the policies do what it says`, async () => {
      const ref = page.includes('.ko.') ? 'page-ko' : 'page-en'
      await opened.databases.ensureProject(ref)
      await using owner = await opened.databases.openOwner(ref)
      const text = readFileSync(path.join(import.meta.dirname, '../../../docs', page), 'utf8')
      for (const [, sql = ''] of text.matchAll(/```sql\n(.*?)```/gs)) await owner.script(sql)
      const { sql } = await opened.databases.openProject(ref)
      for (const rule of RULES) assert.deepEqual(await rule.find(sql, ['public']), [], rule.name)
      const roles = await opened.databases.openRoles(ref)
      const as = async (role: string, user: string, work: (tx: Tx) => Promise<unknown>) =>
        await roles.transaction(async (tx) => {
          await tx`select set_config('role', ${role}, true), set_config('request.jwt.claims', ${JSON.stringify(user === '' ? { role } : { role, sub: user })}, true)`
          return await work(tx)
        })
      const [anna, ben] = ['00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-00000000000b'] as const
      await as('authenticated', anna, async (tx) => {
        await tx`insert into public.notes (body) values ('mine')`
        await tx`insert into public.posts (body, published) values ('draft', false), ('out', true)`
      })
      await assert.rejects(
        as('authenticated', ben, (tx) => tx`insert into public.notes (body, user_id) values ('forged', ${anna})`),
        { sqlState: '42501' },
      )
      await assert.rejects(
        as('anon', '', (tx) => tx`insert into public.posts (body, author) values ('x', ${anna})`),
        { sqlState: '42501' },
      )
      assert.deepEqual(await as('authenticated', anna, (tx) => tx`select body from public.notes`), [{ body: 'mine' }])
      assert.deepEqual(await as('authenticated', ben, (tx) => tx`select body from public.notes`), [])
      assert.deepEqual(await as('authenticated', ben, (tx) => tx`update public.posts set body = 'x' returning id`), [])
      assert.deepEqual(await as('anon', '', (tx) => tx`select body from public.posts`), [{ body: 'out' }])
      await owner.script(`insert into lists (name) values ('shared'), ('other'); insert into members values (1, '${anna}'), (1, '${ben}'), (2, '${ben}')`)
      assert.deepEqual(await as('authenticated', anna, (tx) => tx`select name from public.lists`), [{ name: 'shared' }])
      assert.deepEqual(await as('authenticated', anna, (tx) => tx`select count(*)::int as count from public.members`), [{ count: 2 }])
    })
  it('finds nothing in a new project', async () => {
    await opened.databases.ensureProject('fresh')
    const { sql } = await opened.databases.openProject('fresh')
    for (const rule of RULES) assert.deepEqual(await rule.find(sql, ['public']), [], rule.name)
  })
})

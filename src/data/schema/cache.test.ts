import assert from 'node:assert/strict'
import { it } from 'node:test'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import { silentLog } from '../../core/log.ts'
import { systemClock } from '../../lib/clock.ts'
import { Data } from '../service.ts'
import { nameOf } from './snapshot.ts'
import { selectSchema } from './store.ts'

it('a schema is read anew by the next request when who has changed it says so, whether it is heard of or not', async () => {
  const { databases, close } = await openTestDatabases()
  try {
    await databases.ensureProject('demo')
    await using data = new Data({ databases, config: { connections: 1, sharedSessions: 1, waitMs: 10_000, maxRows: 10 }, clock: systemClock, log: silentLog })
    const { sql } = await databases.openProject('demo')
    await sql`alter event trigger mayfly_schema_changed disable`
    await using owner = await databases.openOwner('demo')
    const { schema } = await data.placeOf('demo')
    const has = async (name: string) => (await schema.current()).relations.has(nameOf({ schema: 'public', name }))
    // What is heard of is over before: that it listens makes one read it again.
    for (;;) if (!(await has('a')) && (await schema.again(await schema.current())) === null) break
    await owner.script('create table a (id int primary key)')
    assert.equal(await has('a'), false)
    await data.changed('demo')
    assert.deepEqual(await Promise.all([has('a'), has('a')]), [true, true])
    // Also where it is being read already, as it was before.
    await owner.script('create table b (id int primary key)')
    await data.changed('demo')
    const reading = has('b')
    await owner.script('create table c (id int primary key)')
    await data.changed('demo')
    assert.deepEqual([await has('c'), await reading], [true, true])
    await data.changed('nobody')
  } finally {
    await close()
  }
})

it('whatever of a project may set something for longer than its transaction is seen, wherever it stands', async () => {
  const { databases, close } = await openTestDatabases()
  try {
    await databases.ensureProject('demo')
    const { sql } = await databases.openProject('demo')
    const { user } = await databases.rolesConnection('demo')
    await using owner = await databases.openOwner('demo')
    await owner.script(`create table public.t (id int, note text); alter table public.t enable row level security;
      create policy own on public.t using (note = current_setting('app.who', true));
      create function public.noted() returns trigger language plpgsql as 'begin return new; end';
      create function public.counted() returns bigint language sql begin atomic select count(*) from public.t; end;
      create view public.seen as select note from public.t`)
    const leaves = async () => (await selectSchema(sql, user))[0]?.leaves_settings
    assert.equal(await leaves(), false)
    const kept = `set_config('app.who', 'x', false)`
    for (const [made, gone] of [
      [`function public.f() returns text language sql begin atomic select ${kept}; end`, 'function public.f()'],
      [`function public.f() returns void language sql begin atomic update pg_settings set setting = 'x' where name = 'app.who'; end`, 'function public.f()'],
      [`function public.f(a text default ${kept}) returns text language sql as 'select a'`, 'function public.f(text)'],
      [`function extensions.f() returns text language sql as $$ select ${kept} $$`, 'function extensions.f()'],
      [`function public.f() returns void language plpgsql as $$ begin execute 'SET app.who = 1'; end $$`, 'function public.f()'],
      [`table public.d (note text default ${kept})`, 'table public.d'],
      [`table public.d (note text check (${kept} <> note))`, 'table public.d'],
      [`domain public.d as text default ${kept}`, 'domain public.d'],
      [`policy p on public.t with check (${kept} <> note)`, 'policy p on public.t'],
      [`policy p on public.t using (exists (select ${kept}))`, 'policy p on public.t'],
      [`view public.v as select ${kept} as note`, 'view public.v'],
      [`trigger g before insert on public.t for each row when (${kept} <> new.note) execute function public.noted()`, 'trigger g on public.t'],
    ] as const) {
      await owner.script(`create ${made}`)
      assert.equal(await leaves(), true, made)
      await owner.script(`drop ${gone}`)
      assert.equal(await leaves(), false, `without ${gone}`)
    }
  } finally {
    await close()
  }
})

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type pg from 'pg'
import { type AnyClient, clientOf, guestOf, ownerOf, serviceOf } from './data-fixture.ts'
import { makeFolder, removeFolder, type RunningMayfly, startMayfly, NO_SPARE } from './harness.ts'

const SECRET = 'nobody-may-see-this'

describe('the data API, asked by who means it ill', () => {
  const folder = makeFolder()
  let node: RunningMayfly
  let owner: pg.Client
  let guest: AnyClient
  let service: AnyClient
  let rest: string
  let apikey: string
  const ask = (query: string, init: RequestInit = {}) =>
    fetch(`${rest}/${query}`, { ...init, headers: { apikey, ...(init.headers as Record<string, string>) } })

  before(async () => {
    node = await startMayfly(path.join(folder, 'data'), ['--empty', ...NO_SPARE])
    owner = await ownerOf(node.data, node.ready.project.ref)
    guest = guestOf(node.ready)
    service = serviceOf(node.ready)
    rest = `${node.ready.project.url}/rest/v1`
    apikey = node.ready.project.publishableKey
    await owner.query(`
      create table firms (id int primary key, name text unique, shown boolean);
      create table deals (id int primary key, firm_id int references firms (id), worth int, note text);
      create table tags (deal_id int references deals (id), word text, primary key (deal_id, word));
      create view open_firms with (security_invoker = true) as select * from firms;
      create schema inner_place; create table inner_place.vault (id int primary key, note text); grant usage on schema inner_place to anon; grant all on inner_place.vault to anon;
      create table passwords_hidden (id int primary key, note text); revoke all on passwords_hidden from anon;
      create function notes_of(firms) returns setof deals language sql stable as 'select * from deals where firm_id = $1.id';
      create function lasting() returns text language plpgsql as $$ begin perform set_config('role', 'service_role', false), set_config('search_path', 'inner_place', false), set_config('request.jwt.claims', '{"role":"service_role"}', false), set_config('statement_timeout', '0', false); return current_user; end $$;
      create function freed() returns int language plpgsql as $$ begin begin perform set_config('transaction_read_only', 'off', true); exception when others then null; end; insert into inner_place.vault values (7, 'written by a read'); return 1; end $$;
      create function slow(n int) returns int language sql stable as 'select n from pg_sleep(n)';
      alter function slow(int) set statement_timeout = '60s';
      create table entries (note text not null, role text, left_by text, times int not null default 0, pid int);
      create function session() returns int language plpgsql as $$ begin perform pg_sleep(0.1); return pg_backend_pid(); end $$;
      create function entered() returns trigger language plpgsql as $$ begin
        new.pid := pg_backend_pid();
        if tg_op = 'UPDATE' then new.times := old.times + 1; return new; end if;
        new.left_by := nullif(current_setting('app.left', true), ''); new.role := current_user;
        perform set_config('app.left', new.note, false), set_config('role', 'service_role', false), set_config('request.jwt.claims', '{"role":"service_role"}', false), set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false);
        -- By the trigger's own hand the rest of this one is done by another role, and nothing behind it.
        perform set_config('role', new.role, true); return new; end $$;
      create trigger entered before insert or update on entries for each row execute function entered();
      alter table entries enable row level security;
      create policy own on entries to anon using (role = 'anon') with check (role = current_user and note not like 'forbidden%');
      alter table firms enable row level security; alter table deals enable row level security; alter table tags enable row level security;
      create policy shown on firms for select to anon using (shown);
      create policy shown on deals for select to anon using (exists (select from firms where firms.id = firm_id));
      create policy shown on tags for select to anon using (exists (select from deals where deals.id = deal_id));
      insert into firms values (1, 'open', true), (2, '${SECRET}', false);
      insert into deals values (1, 1, 10, 'fine'), (2, 2, 1000000, '${SECRET}');
      insert into tags values (1, 'fine'), (2, '${SECRET}');
      insert into inner_place.vault values (1, '${SECRET}'); insert into passwords_hidden values (1, '${SECRET}');
      select mayfly.configure_data('db_aggregates_enabled', 'true'), mayfly.configure_data('db_plan_enabled', 'true');`)
    for (;;) if ((await service.from('firms').select('id.max()')).error === null) break
  })
  after(async () => {
    await owner?.end()
    await node?.stop()
    removeFolder(folder)
  })

  it('shows each its own rows where many ask the same at once, of sessions that they share', async () => {
    // dataConnections, dataSharedSessions and dataSharedDepth of docs/limits.md.
    const [alone, shared, depth] = [4, 2, 16]
    const read = async (client: AnyClient) => (await client.from('firms').select('id,name').order('id')).data
    // Quick often enough to be known for it.
    for (let times = 0; times < 12; times++) await Promise.all([read(guest), read(service)])
    const atOnce = 2 * shared * depth
    for (let round = 0; round < 5; round++) {
      const all = await Promise.all(Array.from({ length: atOnce }, (_, n) => read(n % 2 === 0 ? guest : service)))
      for (const [n, rows] of all.entries())
        assert.deepEqual(
          rows?.map(({ id }) => id),
          n % 2 === 0 ? [1] : [1, 2],
        )
    }
    const { rows } = await owner.query("select count(*)::int as n from pg_stat_activity where application_name = 'mayfly data'")
    assert.ok(rows[0].n > shared && rows[0].n <= alone + shared, `${rows[0].n} sessions`)
  })
  it('shows nothing past the policies, by filter, order, count, embed, aggregate or plan', async () => {
    const queries = [
      'firms?select=*',
      'firms?select=id,deals(*,tags(*))',
      'firms?select=id,notes_of(*)',
      'firms?select=...deals(note),id',
      'open_firms?select=*',
      'open_firms?select=id,deals(note)',
      'deals?select=*,firms(*)',
      'deals?select=id,firms!inner(name)&firms.name=like.*nobody*',
      'deals?select=note,tags(word)&order=firms(name)&select=note,firms()',
      'deals?note=like.*nobody*',
      'deals?or=(worth.gt.100,note.like.*nobody*)',
      'firms?id=gt.1',
      'firms?id=eq.2&select=*',
      'firms?select=name.max(),id.count()',
      'deals?select=worth.sum(),worth.max(),firms(name)',
      'tags?select=word.max()',
      'firms?order=name.desc&limit=1&offset=0',
      'rpc/notes_of',
    ]
    for (const query of queries) {
      for (const accept of ['application/json', 'text/csv', 'application/vnd.pgrst.plan+json; options=verbose|analyze']) {
        const answer = await ask(query, { headers: { accept, prefer: 'count=exact' } })
        const text = `${[...answer.headers].join()} ${await answer.text()}`
        assert.equal(text.replaceAll(encodeURIComponent(query), '').includes(SECRET), false, `${query} ${accept}: ${text}`)
        if (accept === 'application/json') assert.doesNotMatch(answer.headers.get('content-range') ?? '', /\/[2-9]$/, query)
      }
    }
    assert.equal((await guest.from('deals').select('worth.sum()').single()).data?.sum, 10)
  })
  it('serves no schema, table or name that is not its own to serve', async () => {
    const other = await clientOf(node.ready.project.url, apikey, { db: { schema: 'inner_place' } })
      .from('vault')
      .select()
    assert.deepEqual([other.status, other.error?.code, other.error?.hint], [406, 'PGRST106', 'Only the following schemas are exposed: public'])
    for (const name of [
      'vault',
      'inner_place.vault',
      'pg_roles',
      'pg_catalog.pg_roles',
      'migration',
      'objects',
      '"firms"',
      'firms; select',
      '%22firms%22',
      '__proto__',
      'constructor',
      '..%2Ffirms',
      '%00',
    ])
      assert.equal((await ask(name)).status, 404, name)
    const near = await ask('passwords_hiddem')
    assert.equal(near.status, 404)
    assert.deepEqual([(await ask('passwords_hidden')).status, (await ask('rpc/pg_sleep?n=1')).status, (await ask('rpc/set_config')).status], [401, 404, 404])
  })
  it('leaves nothing of one request to the next on the same connection', async () => {
    for (let round = 0; round < 12; round++) {
      await guest.rpc('lasting')
      const [firms, who] = await Promise.all([guest.from('firms').select('id'), guest.from('deals').select('id')])
      assert.deepEqual([firms.data, who.data], [[{ id: 1 }], [{ id: 1 }]])
    }
  })
  describe('writes that share sessions', () => {
    const enter = (client: AnyClient, note: string) => client.from('entries').insert({ note })
    const change = (signal: AbortSignal) => guest.from('entries').update({ note: 'hot' }).eq('note', 'hot').abortSignal(signal)
    const entriesOf = async (like: string) =>
      (await owner.query('select note, role, left_by, times from entries where note like $1 order by note', [like])).rows
    // Quick often enough to be known for it: then they are done in none of the sessions that others have for themselves.
    before(async () => {
      assert.equal((await enter(guest, 'hot')).error, null)
      const alone = new Set((await Promise.all(Array.from({ length: 16 }, () => service.rpc('session')))).map(({ data }) => data))
      const isAlone = async (note: string) => alone.has((await owner.query('select pid from entries where note = $1', [note])).rows[0].pid)
      for (const [name, write] of [
        ['guest', (note: string) => enter(guest, note)],
        ['service', (note: string) => enter(service, note)],
        ['hot', () => change(new AbortController().signal)],
      ] as const) {
        for (let times = 0; ; times++) {
          const note = name === 'hot' ? name : `first ${name} ${times}`
          assert.equal((await write(note)).error, null)
          if (!(await isAlone(note))) break
        }
      }
    })

    it('are each done once in its own role, whatever a trigger leaves behind, and one that fails takes no other along', async () => {
      const atOnce = 120
      const isBad = (n: number) => n % 10 === 7
      const all = await Promise.all(
        Array.from({ length: atOnce }, (_, n) =>
          enter(n % 3 === 0 ? service : guest, `${isBad(n) && n % 3 !== 0 ? 'forbidden' : 'many'} ${String(n).padStart(3, '0')}`),
        ),
      )
      for (const [n, { error, status }] of all.entries()) {
        if (isBad(n) && n % 3 !== 0) assert.deepEqual([error?.code, status], ['42501', 401], `${n}`)
        else assert.deepEqual([error, status], [null, 201], `${n}`)
      }
      const rows = await entriesOf('many%')
      assert.deepEqual(
        rows.map(({ note, role, left_by }) => [note, role, left_by]),
        Array.from({ length: atOnce }, (_, n) => n)
          .filter((n) => !(isBad(n) && n % 3 !== 0))
          .map((n) => [`many ${String(n).padStart(3, '0')}`, n % 3 === 0 ? 'service_role' : 'anon', null]),
      )
      assert.deepEqual(await entriesOf('forbidden%'), [])
    })

    it('hold nobody up where one waits for a lock, which is done once when it has it', async () => {
      // Behind it in the same session they would wait as long as it does; it is given up there after dataQuickLock of docs/limits.md.
      const [{ times }] = await entriesOf('hot')
      await owner.query(`begin; select from entries where note = 'hot' for update`)
      try {
        const waiting = change(new AbortController().signal).then(({ error }) => error)
        const others = await Promise.all(Array.from({ length: 60 }, (_, n) => enter(guest, `beside ${n}`)))
        for (const { error } of others) assert.equal(error, null)
        const left = new AbortController()
        const leaving = change(left.signal).then(({ error }) => error?.message ?? null)
        const waitersOf = async () => Number((await owner.query('select count(*) from pg_locks where not granted')).rows[0].count)
        while ((await waitersOf()) < 2) await new Promise((resolve) => setTimeout(resolve, 10))
        left.abort()
        assert.match(String(await leaving), /abort/i)
        while ((await waitersOf()) > 1) await new Promise((resolve) => setTimeout(resolve, 10))
        await owner.query('commit')
        assert.equal(await waiting, null)
      } finally {
        await owner.query('rollback')
      }
      assert.deepEqual(
        (await entriesOf('hot')).map((row) => row.times),
        [times + 1],
      )
      assert.equal((await entriesOf('beside%')).length, 60)
    })
  })
  it('what only reads writes nothing, whatever it calls', async () => {
    for (let n = 0; n < 3; n++) {
      const freed = await ask('rpc/freed')
      assert.equal(freed.status, 405, await freed.text())
    }
    assert.deepEqual((await owner.query('select count(*)::int as n from inner_place.vault where id = 7')).rows, [{ n: 0 }])
  })
  it('of two users neither sees what is the other’s, by rows, plans or keys that are taken', async () => {
    await owner.query(`
      create table ledgers (id int primary key, holder uuid not null default auth.uid(), code text unique, note text);
      create table postings (ledger_id int references ledgers (id), n int, note text, primary key (ledger_id, n));
      alter table ledgers enable row level security; alter table postings enable row level security;
      create policy own on ledgers to authenticated using (holder = (select auth.uid())) with check (holder = (select auth.uid()));
      create policy own on postings to authenticated using (exists (select from ledgers where id = ledger_id)) with check (exists (select from ledgers where id = ledger_id))`)
    const userOf = async (name: string) => {
      const client = clientOf(node.ready.project.url, apikey)
      const { data, error } = await client.auth.signUp({ email: `${name}@example.com`, password: 'long enough 1' })
      assert.equal(error, null)
      const authorization = `Bearer ${data.session?.access_token}`
      const asks = async (query: string, init: RequestInit = {}) => {
        const answer = await ask(query, {
          ...init,
          headers: { authorization, 'content-type': 'application/json', ...(init.headers as Record<string, string>) },
        })
        return { status: answer.status, range: answer.headers.get('content-range'), text: await answer.text() }
      }
      return { client, id: data.user?.id ?? '', asks }
    }
    const [anna, ben] = [await userOf('anna'), await userOf('ben')]
    for (;;) if ((await anna.client.from('ledgers').select('id')).error === null) break
    const kept = { id: 1, code: 'taken', note: SECRET }
    assert.equal((await anna.client.from('ledgers').insert(kept)).error, null)
    assert.equal((await anna.client.from('postings').insert({ ledger_id: 1, n: 1, note: SECRET })).error, null)
    assert.equal((await ben.client.from('ledgers').insert({ id: 2, code: 'mine', note: 'of ben' })).error, null)

    for (const query of [
      'ledgers?select=*,postings(*)',
      'ledgers?select=id,...postings(notes:note)',
      'ledgers?code=eq.taken',
      'ledgers?or=(code.eq.taken,note.like.*nobody*)',
      'ledgers?select=id,postings!inner(note)&postings.note=like.*nobody*',
      'ledgers?order=note.desc&limit=1',
      'ledgers?select=note.max(),id.count()',
      'ledgers?select=postings(note.max())',
      'postings?select=*,ledgers(*)',
      'postings?select=note.max(),ledgers(code)',
    ])
      for (const accept of ['application/json', 'text/csv', 'application/vnd.pgrst.plan+json; options=verbose|analyze']) {
        const { text, range } = await ben.asks(query, { headers: { accept, prefer: 'count=exact' } })
        assert.equal(text.includes(SECRET), false, `${query} ${accept}: ${text}`)
        if (accept === 'application/json') assert.doesNotMatch(range ?? '', /\/[2-9]$/, query)
      }
    // Of a row that is not his to write he hears the same, whether its key is taken or free: the policy is asked before the key.
    const writes = async (method: string, query: string, row: object | null, prefer = 'return=representation') =>
      await ben.asks(query, { method, headers: { prefer: `${prefer},count=exact` }, ...(row && { body: JSON.stringify(row) }) })
    const asAnna = (code: string, id: number) => ({ id, code, holder: anna.id })
    for (const prefer of ['return=minimal', 'return=representation', 'resolution=merge-duplicates', 'resolution=ignore-duplicates']) {
      const taken = await writes('POST', 'ledgers?on_conflict=code', asAnna('taken', 10), prefer)
      assert.deepEqual(taken, await writes('POST', 'ledgers?on_conflict=code', asAnna('free', 11), prefer), prefer)
      assert.equal(taken.status, 403, taken.text)
    }
    const [onTaken, onFree] = [await writes('POST', 'postings', { ledger_id: 1, n: 1 }), await writes('POST', 'postings', { ledger_id: 99, n: 1 })]
    assert.deepEqual([onTaken, onTaken.status], [onFree, 403])
    // That a key is taken is all that is told, and not by what: no value of the other's row, not even the key's own.
    for (const [method, query, row] of [
      ['POST', 'ledgers', { id: 20, code: 'taken' }],
      ['POST', 'ledgers', { id: 1, code: 'another' }],
      ['PATCH', 'ledgers?id=eq.2', { code: 'taken' }],
    ] as const) {
      const { status, text } = await writes(method, query, row)
      const { code, details } = JSON.parse(text) as { code: string; details: string | null }
      assert.deepEqual([status, code, details], [409, '23505', null], text)
    }
    const merged = await writes(
      'POST',
      'ledgers?on_conflict=code',
      { id: 21, code: 'taken', note: 'over it' },
      'return=representation,resolution=merge-duplicates',
    )
    assert.deepEqual([merged.status, /42501/.test(merged.text), merged.text.includes(SECRET)], [403, true, false], merged.text)
    const ignored = await writes('POST', 'ledgers?on_conflict=code', { id: 22, code: 'taken' }, 'return=representation,resolution=ignore-duplicates')
    assert.deepEqual([ignored.status, ignored.text], [201, '[]'])
    for (const [method, row] of [['PATCH', { note: 'over it' }], ['DELETE', null]] as const) // biome-ignore format: a line
      assert.deepEqual(await writes(method, 'ledgers?code=eq.taken', row), { status: 200, range: '*/0', text: '[]' })
    assert.deepEqual((await anna.client.from('ledgers').select('id,code,note')).data, [kept])
    // On sessions that both use in turns, and at once.
    const read = async ({ client }: typeof anna) => (await client.from('ledgers').select('id,postings(n)')).data
    const rows = [[{ id: 1, postings: [{ n: 1 }] }], [{ id: 2, postings: [] }]]
    for (let round = 0; round < 15; round++) assert.deepEqual(await Promise.all([anna, ben, ben, anna].map(read)), [rows[0], rows[1], rows[1], rows[0]])
  })
  it('keys of another project open nothing here, and its tables of the same names are its own', async () => {
    const made = await fetch(`${node.ready.url}/api/v1/projects`, {
      method: 'POST',
      headers: { authorization: `Bearer ${readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ref: 'rival' }),
    })
    const { publishableKey, secretKey } = ((await made.json()) as { keys: { publishableKey: string; secretKey: string } }).keys
    const url = `${node.ready.url}/p/rival`
    const rival = clientOf(url, secretKey)
    // Its server runs from its first request on.
    assert.equal((await rival.from('firms').select('id')).error?.code, 'PGRST205')
    const rivals = await ownerOf(node.data, 'rival')
    await rivals.query(`create table firms (id int primary key, name text); insert into firms values (7, 'rival')`).finally(() => rivals.end())
    for (;;) if ((await rival.from('firms').select('id')).error === null) break
    assert.deepEqual((await rival.from('firms').select('id,name')).data, [{ id: 7, name: 'rival' }])
    assert.equal((await rival.from('deals').select('id')).error?.code, 'PGRST205')
    assert.deepEqual((await service.from('firms').select('id').order('id')).data, [{ id: 1 }, { id: 2 }])
    for (const key of [publishableKey, secretKey]) {
      const { data, status } = await clientOf(node.ready.project.url, key).from('firms').select('id')
      assert.deepEqual([data, status], [null, 401])
    }
    for (const query of [
      'firms',
      'rival.firms',
      '"rival"."firms"',
      'firms?select=id&project=rival',
      '../../rival/rest/v1/firms',
      '..%2f..%2fp%2frival%2frest%2fv1%2ffirms',
    ]) {
      const answer = await ask(query, { headers: { 'x-project': 'rival', 'accept-profile': 'public' } })
      assert.ok(!(await answer.text()).includes('rival"}') && answer.status !== 500, query)
    }
  })
  it('says no to any nonsense in any place, with a code, and goes on', async () => {
    const nasty = [
      `'`,
      `"`,
      `';drop table firms;--`,
      `")`,
      `\\`,
      '$1',
      '$$',
      '%',
      '\u0000',
      '\ud83d\ude00',
      '한',
      '(',
      ')',
      '{',
      '}',
      '::',
      '->',
      '->>',
      '.',
      ',',
      '!',
      '...',
      '*',
      'null',
      'NaN',
      '\r\n',
      '9'.repeat(400),
      'x'.repeat(300),
      '1e999',
      '-1',
      "E'\\''",
      '/*',
      'pg_sleep(9)',
    ]
    const places: ((text: string) => string)[] = [
      (x) => `firms?select=${x}`,
      (x) => `firms?select=id,a:${x}`,
      (x) => `firms?select=id::${x}`,
      (x) => `firms?select=name->${x}`,
      (x) => `firms?select=deals!${x}(id)`,
      (x) => `firms?select=${x}(id)`,
      (x) => `firms?${x}=eq.1`,
      (x) => `firms?id=${x}`,
      (x) => `firms?id=eq.${x}`,
      (x) => `firms?name=in.(${x})`,
      (x) => `firms?name=fts(${x}).a`,
      (x) => `firms?name=fts.${x}`,
      (x) => `firms?or=(${x})`,
      (x) => `firms?or=(name.eq.${x})`,
      (x) => `firms?order=${x}`,
      (x) => `firms?order=id.${x}`,
      (x) => `firms?limit=${x}`,
      (x) => `firms?offset=${x}`,
      (x) => `firms?deals.${x}=eq.1&select=deals(id)`,
      (x) => `${x}`,
      (x) => `rpc/${x}`,
      (x) => `rpc/slow?n=${x === '9'.repeat(400) ? 'a' : `x${x}`}`,
    ]
    const heads: ((text: string) => Record<string, string>)[] = [
      (x) => ({ prefer: `handling=strict,timezone=${x}` }),
      (x) => ({ prefer: x }),
      (x) => ({ accept: x }),
      (x) => ({ 'accept-profile': x }),
      (x) => ({ range: x }),
      (x) => ({ 'x-any': x }),
    ]
    const answers = async (query: string, headers: Record<string, string> = {}) => {
      const answer = await ask(query, { headers })
      const text = await answer.text()
      assert.ok(answer.status < 500, `${query} ${JSON.stringify(headers)}: ${answer.status} ${text}`)
      assert.equal(text.includes(SECRET), false)
      if (answer.status >= 400) assert.match((JSON.parse(text) as { code: string }).code, /^(PGRST\d{3}|[0-9A-Z]{5}|[a-z_]+)$/, text)
    }
    for (const text of nasty) {
      const encoded = encodeURIComponent(text.toWellFormed())
      await Promise.all(places.map((place) => answers(place(encoded))))
      if (/^[\x20-\x7e]+$/.test(text)) await Promise.all(heads.map((head) => answers('firms?select=id', head(text))))
    }
    assert.deepEqual((await guest.from('firms').select('id')).data, [{ id: 1 }])
  })
  it('takes bodies of any form, and nothing of them as SQL', async () => {
    const bodies = [
      '',
      '{',
      '[',
      'null',
      '5',
      '"x"',
      '[[]]',
      '[null]',
      '{"id":{"a":1}}',
      '{"id":"\\u0000"}',
      `{"name\\"; drop table firms; --":1}`,
      '[{"id":1},{"id":2,"name":3}]',
      '{"__proto__":1}',
      `{"name":"${'\\ud800'}"}`,
      '{"id":99999999999999999999}',
      `[${'['.repeat(20_000)}${']'.repeat(20_000)}]`,
    ]
    for (const body of bodies) {
      for (const [method, query] of [
        ['POST', 'firms'],
        ['PATCH', 'firms?id=eq.1'],
        ['PUT', 'firms?id=eq.1'],
        ['POST', 'rpc/slow'],
        ['POST', 'firms?columns="a;b",id'],
        ['POST', 'firms?on_conflict=x"y'],
      ] as const) {
        const answer = await ask(query, {
          method,
          body,
          headers: { 'content-type': 'application/json', prefer: 'resolution=merge-duplicates,return=representation,missing=default' },
        })
        const text = await answer.text()
        assert.ok(answer.status < 500, `${method} ${query} ${body.slice(0, 100)}: ${answer.status} ${text}`)
      }
    }
    assert.deepEqual((await owner.query('select id, name from firms order by id')).rows, [
      { id: 1, name: 'open' },
      { id: 2, name: SECRET },
    ])
  })
  it('schema changes under load are never half seen', async () => {
    let isOver = false
    const wrong: unknown[] = []
    const load = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        const { error, status } = await service.from('changing').select('id,firms(name)').limit(1)
        // Not there, not tied to anything, or whole.
        if (error && !['PGRST205', 'PGRST200', '42P01', '42703', '0A000'].includes(error.code)) wrong.push([status, error])
      }
    })
    for (let round = 0; round < 8; round++) {
      await owner.query('create table changing (id int primary key, firm_id int references firms (id))')
      await owner.query('alter table changing add column extra text')
      await owner.query('drop table changing')
    }
    await owner.query('create table changing (id int primary key, firm_id int references firms (id)); insert into changing values (1, 1)')
    for (;;) {
      const { data } = await service.from('changing').select('id,firms(name)')
      if (data?.length === 1) break
    }
    isOver = true
    await Promise.all(load)
    assert.deepEqual(wrong, [])
  })
  it('a client that leaves ends what it asked for', async () => {
    const leaving = new AbortController()
    const asked = ask('rpc/slow?n=50', { signal: leaving.signal }).catch((error: Error) => error.name)
    // The owner sees that sessions of others are there, not what they run: by their number.
    const busy = async () =>
      Number(
        (
          await owner.query(
            `select count(*) from pg_locks as lock join pg_stat_activity as session using (pid) where session.usename = 'authenticator' and lock.locktype = 'virtualxid'`,
          )
        ).rows[0].count,
      )
    while ((await busy()) === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    leaving.abort()
    assert.equal(await asked, 'AbortError')
    while ((await busy()) > 0) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual((await guest.from('firms').select('id')).data, [{ id: 1 }])
  })
  it('PostgreSQL that dies is told as such, and all goes on when it is back', async () => {
    const pid = Number(readFileSync(path.join(node.data, 'pg', 'projects', node.ready.project.ref, 'postmaster.pid'), 'utf8').split('\n')[0])
    owner.on('error', () => {})
    let isOver = false
    const written = new Map<string, boolean>()
    const writing = Array.from({ length: 16 }, async (_, writer) => {
      for (let n = 0; !isOver; n++) {
        const note = `killed ${writer} ${n}`
        const answer = await ask('entries', { method: 'POST', body: JSON.stringify({ note }), headers: { 'content-type': 'application/json' } })
        assert.ok([201, 503, 504].includes(answer.status), `${answer.status} ${await answer.clone().text()}`)
        await answer.arrayBuffer()
        written.set(note, answer.status === 201)
        if (answer.status !== 201) await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })
    while (written.size < 32) await new Promise((resolve) => setTimeout(resolve, 5))
    const asked = Array.from({ length: 6 }, () => ask('rpc/slow?n=50'))
    while ((await owner.query(`select count(*)::int as n from pg_stat_activity where usename = 'authenticator'`)).rows[0].n === 0)
      await new Promise((resolve) => setTimeout(resolve, 20))
    process.kill(pid, 'SIGKILL')
    for (const answer of await Promise.all(asked)) {
      assert.ok([503, 504].includes(answer.status), `${answer.status} ${await answer.clone().text()}`)
      assert.equal(answer.headers.get('retry-after'), '1')
    }
    for (;;) {
      const answer = await ask('firms?select=id')
      if (answer.status === 200) {
        assert.deepEqual(await answer.json(), [{ id: 1 }])
        break
      }
      assert.equal(answer.status, 503, await answer.text())
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    isOver = true
    await Promise.all(writing)
    const again = await ownerOf(node.data, node.ready.project.ref)
    const { rows } = await again.query<{ note: string; n: number }>("select note, count(*)::int as n from entries where note like 'killed%' group by note")
    await again.end()
    const times = new Map(rows.map(({ note, n }) => [note, n]))
    // What was told as written is; what was told as lost may be; none is twice.
    for (const [note, isTold] of written) assert.ok(isTold ? times.get(note) === 1 : (times.get(note) ?? 0) <= 1, `${note}: ${isTold}, ${times.get(note)}`)
    assert.ok([...written.values()].includes(true) && [...written.values()].includes(false))
  })
})

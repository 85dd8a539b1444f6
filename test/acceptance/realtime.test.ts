import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createClient, type RealtimeChannel, type SupabaseClient } from '@supabase/supabase-js'
import { WebSocket } from 'ws'
import pg from 'pg'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'
import { PASSWORD, type ServerOfOthers, startServerOfOthers } from './postgres-server.ts'

const open = new Set<{ end: () => void }>()
after(() => {
  for (const one of open) one.end()
})

function clientOf(url: string, key: string, options: Record<string, unknown> = {}): SupabaseClient {
  const client = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: WebSocket as never, ...options } })
  open.add({ end: () => void client.realtime.disconnect() })
  return client
}

async function until(what: () => boolean, label: string, ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!what()) {
    if (performance.now() > deadline) throw new Error(`never came: ${label}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
const subscribed = (channel: RealtimeChannel) =>
  new Promise<void>((resolve, reject) => {
    channel.subscribe((status, error) => {
      if (status === 'SUBSCRIBED') resolve()
      else if (status !== 'CLOSED') reject(new Error(`${status}: ${error?.message}`))
    })
  })

/** A client that writes protocol 1.0.0 by hand. */
async function rawSocket(url: string, headers: Record<string, string> = {}) {
  const socket = new WebSocket(url, { headers })
  open.add({ end: () => socket.terminate() })
  const frames: { topic: string; event: string; payload: Record<string, unknown>; ref: string | null }[] = []
  socket.on('message', (data) => frames.push(JSON.parse(data.toString())))
  let closed: number | null = null
  socket.on('close', (code) => {
    closed = code
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  return {
    socket,
    frames,
    closed: () => closed,
    send: (topic: string, event: string, payload: unknown, ref: string) => socket.send(JSON.stringify({ topic, event, payload, ref, join_ref: null })),
    reply: async (ref: string) => {
      await until(() => frames.some((frame) => frame.event === 'phx_reply' && frame.ref === ref), `a reply to ${ref}`)
      return frames.find((frame) => frame.event === 'phx_reply' && frame.ref === ref)?.payload as { status: string; response: Record<string, unknown> }
    },
  }
}

/** The answer to a handshake that is refused. */
function refusal(url: string, headers: Record<string, string> = {}): Promise<{ status: number; body: Record<string, string> }> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { headers })
    socket.on('open', () => reject(new Error('it was let in')))
    socket.on('error', () => {})
    socket.on('unexpected-response', (_request, response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }))
    })
  })
}

describe('realtime', () => {
  let folder = ''
  let node: RunningMayfly
  let url = ''
  let publishable = ''
  let secret = ''
  const wsUrl = (query: string, prefix = '') => `${url.replace('http', 'ws')}${prefix}/realtime/v1/websocket?${query}`

  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    url = node.ready.url
    publishable = node.ready.project.publishableKey
    secret = node.ready.project.secretKey
  })
  after(async () => {
    for (const one of open) one.end()
    await node?.stop()
    removeFolder(folder)
  })

  it("'ws /realtime/v1/websocket': turns away who has no key of the project, in plain HTTP, and never asks a cookie", async () => {
    const wrong = `${secret.slice(0, -10)}${secret.at(-10) === 'x' ? 'y' : 'x'}${secret.slice(-9)}`
    assert.deepEqual([(await refusal(wsUrl('vsn=2.0.0'))).status, (await refusal(wsUrl(''))).body.error], [401, 'API key is missing'])
    assert.equal((await refusal(wsUrl(`apikey=${wrong}`))).status, 401)
    assert.equal((await refusal(wsUrl(''), { cookie: `apikey=${secret}` })).status, 401)
    assert.equal((await refusal(wsUrl(`apikey=${secret}`, '/p/nowhere'))).status, 404)
    assert.equal((await refusal(wsUrl(`apikey=${secret}`), { host: 'evil.example' })).status, 421)
    assert.ok((await refusal(wsUrl(`apikey=${wrong}`))).body.error)
  })
  it('lets in by query and by header, with any origin, and below /p/<ref>', async () => {
    for (const [at, headers] of [
      [wsUrl(`apikey=${publishable}`), { origin: 'https://elsewhere.example' }],
      [wsUrl('vsn=1.0.0'), { 'x-api-key': publishable }],
      [wsUrl('vsn=1.0.0'), { authorization: `Bearer ${secret}` }],
      [wsUrl(`apikey=${publishable}`, '/p/demo'), {}],
    ] as const)
      (await rawSocket(at, headers as Record<string, string>)).socket.terminate()
  })

  it('two clients of supabase-js hear each other: JSON, bytes, self, ack', async () => {
    const [anna, ben] = [clientOf(url, publishable), clientOf(url, publishable)]
    const heard: unknown[] = []
    const own: unknown[] = []
    const from = anna.channel('room', { config: { broadcast: { ack: true, self: true } } }).on('broadcast', { event: '*' }, ({ event }) => own.push(event))
    const to = ben.channel('room').on('broadcast', { event: '*' }, ({ event, payload }) => heard.push([event, payload]))
    await Promise.all([subscribed(from), subscribed(to)])
    assert.equal(await from.send({ type: 'broadcast', event: '한글 🚀', payload: { a: [1, null, 'é'] } }), 'ok')
    assert.equal(await from.send({ type: 'broadcast', event: 'bytes', payload: new Uint8Array([0, 1, 255]).buffer }), 'ok')
    await until(() => heard.length === 2 && own.length === 2, 'both broadcasts')
    assert.deepEqual(heard[0], ['한글 🚀', { a: [1, null, 'é'] }])
    assert.deepEqual(Buffer.from((heard[1] as [string, ArrayBuffer])[1]), Buffer.from([0, 1, 255]))
    // Who did not ask to hear itself does not.
    assert.equal(await to.send({ type: 'broadcast', event: 'back', payload: {} }), 'ok')
    await until(() => own.includes('back'), 'the answer')
    assert.equal(heard.length, 2)
  })
  it('broadcasts by HTTP reach the channel: httpSend, send before subscribing, JSON and bytes', async () => {
    const heard: [string, unknown][] = []
    const listener = clientOf(url, publishable)
      .channel('by http')
      .on('broadcast', { event: '*' }, ({ event, payload }) => void heard.push([event, payload]))
    await subscribed(listener)
    const sender = clientOf(url, publishable).channel('by http')
    assert.deepEqual(await sender.httpSend('json/é', { a: 1 }), { success: true })
    assert.deepEqual(await sender.httpSend('bytes', new Uint8Array([1, 2])), { success: true })
    assert.equal(await sender.send({ type: 'broadcast', event: 'batch', payload: { b: 2 } }), 'ok')
    await until(() => heard.length === 3, 'three broadcasts')
    assert.deepEqual(
      [heard[0], heard[2]],
      [
        ['json/é', { a: 1 }],
        ['batch', { b: 2 }],
      ],
    )
    assert.deepEqual(Buffer.from(heard[1]?.[1] as ArrayBuffer), Buffer.from([1, 2]))
  })
  it('what is sent by HTTP and cannot be is refused in the words that clients read', async () => {
    const post = async (at: string, body: string, key = publishable, type = 'application/json') => {
      const response = await fetch(`${url}/realtime/v1/api/broadcast${at}`, { method: 'POST', headers: { apikey: key, 'content-type': type }, body })
      const text = await response.text()
      return { status: response.status, body: text === '' ? null : JSON.parse(text) }
    }
    const bad = await post('', '{"messages":[{"event":"e"}]}')
    assert.deepEqual([bad.status, Object.keys(bad.body.errors)], [422, ['messages.0.topic']])
    assert.equal((await post('', '{')).body.code, 'body_not_json')
    assert.equal((await post('/room/events/e', '{')).body.code, 'body_not_json')
    assert.equal((await post('/room/events/e', `"${'x'.repeat(3000 * 1024)}"`)).body.code, 'payload_too_large')
    // A private channel takes nothing from who may not send there: aside in a batch, told on the single route.
    const heard: string[] = []
    const hidden = clientOf(url, secret)
      .channel('hidden', { config: { private: true } })
      .on('broadcast', { event: '*' }, ({ event }) => void heard.push(event))
    await subscribed(hidden)
    assert.equal((await post('', '{"messages":[{"topic":"hidden","event":"no","payload":{},"private":true}]}')).status, 202)
    const refused = await post('/hidden/events/no?private=true', '{}')
    assert.deepEqual([refused.status, refused.body.error], [403, 'You do not have permissions to write to this Channel topic: hidden'])
    assert.equal((await post('/hidden/events/no', '{}')).status, 202, 'the public channel of that name is another')
    assert.equal((await post('/hidden/events/yes?private=true', '{}', secret)).status, 202)
    await until(() => heard.length > 0, 'what may be sent')
    assert.deepEqual(heard, ['yes'])
    assert.equal((await post('', `{"messages":[{"topic":"a","event":"e","payload":${'['.repeat(200_000)}${']'.repeat(200_000)}}]}`)).body.code, 'body_not_json')
    // More than a second takes is refused whole.
    const messages = Array.from({ length: 101 }, () => ({ topic: 'hidden', event: 'flood', payload: {}, private: true }))
    const flood = await post('', JSON.stringify({ messages }), secret)
    assert.deepEqual([flood.status, flood.body.code], [429, 'too_many_messages'])
    assert.equal((await post('/hidden/events/last?private=true', '{}', secret)).status, 202)
    await until(() => heard.includes('last'), 'what follows the flood')
    assert.deepEqual(heard, ['yes', 'last'])
    await assert.rejects(subscribed(clientOf(url, publishable).channel('hidden', { config: { private: true } })), /Unauthorized/)
  })
  it('policies on realtime.messages say who is in a private channel, hears and speaks there; whoever has none is in none', async () => {
    const { code, stderr } = mayfly(['db', 'psql', '--data', node.data, '-c', `
      create table public.seats (room text, member uuid, speaks boolean);
      create policy hear on realtime.messages for select to authenticated using (
        extension = 'broadcast' and exists (select from public.seats where member = (select auth.uid()) and room = (select realtime.topic())));
      create policy speak on realtime.messages for insert to authenticated with check (
        exists (select from public.seats where member = (select auth.uid()) and room = realtime.messages.topic and speaks))`]) // biome-ignore format: SQL
    assert.equal(code, 0, stderr)
    const userOf = async (name: string) => {
      const client = clientOf(url, publishable)
      const { data, error } = await client.auth.signUp({ email: `${name}@example.com`, password: 'long enough 1' })
      assert.equal(error, null)
      await client.realtime.setAuth()
      return { client, id: data.user?.id as string }
    }
    const [anna, ben, carl] = await Promise.all(['anna', 'ben', 'carl'].map(userOf))
    if (!anna || !ben || !carl) return assert.fail()
    const { error } = await clientOf(url, secret).from('seats').insert([{ room: 'team', member: anna.id, speaks: true }, { room: 'team', member: ben.id, speaks: false }, { room: 'other', member: carl.id, speaks: true }]) // biome-ignore format: a line
    assert.equal(error, null)
    const heard: string[] = []
    const join = async (who: SupabaseClient, room: string, name = '') => {
      const channel = who.channel(room, { config: { private: true, broadcast: { ack: true } } })
      channel.on('broadcast', { event: '*' }, ({ event, payload }) => void heard.push(`${name} ${event} ${payload.text ?? ''}`))
      await subscribed(channel)
      return channel
    }
    const [ofAnna, ofBen] = [await join(anna.client, 'team', 'anna'), await join(ben.client, 'team', 'ben')]
    const say = (channel: RealtimeChannel, text: string) => channel.send({ type: 'broadcast', event: 'said', payload: { text } })
    assert.equal(await say(ofAnna, 'hello'), 'ok')
    assert.equal(await say(ofBen, 'unheard'), 'error')
    // Strangers, guests, members of another room, topics that look like it.
    await assert.rejects(join(carl.client, 'team'), /Unauthorized: You do not have permissions to read from this Channel topic: team/)
    await assert.rejects(join(clientOf(url, publishable), 'team'), /Unauthorized/)
    for (const topic of ['TEAM', 'team ', "team' or true --", '%', '*', 'private/team']) await assert.rejects(join(carl.client, topic), /Unauthorized/)
    await join(carl.client, 'other', 'carl')
    // The public channel of that name is another: what is said there is not heard here.
    const shown = clientOf(url, publishable).channel('team', { config: { broadcast: { ack: true } } })
    await subscribed(shown)
    assert.equal(await say(shown, 'public'), 'ok')
    // By HTTP as by a socket.
    const post = async (who: SupabaseClient | null, room: string, event: string) => {
      const token = who ? (await who.auth.getSession()).data.session?.access_token : publishable
      const at = `${url}/realtime/v1/api/broadcast`
      const headers = { apikey: publishable, authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const messages = [{ topic: room, event, payload: {}, private: true }]
      const batch = await fetch(at, { method: 'POST', headers, body: JSON.stringify({ messages }) })
      const one = await fetch(`${at}/${encodeURIComponent(room)}/events/${event}?private=true`, { method: 'POST', headers, body: '{}' })
      return [batch.status, one.status]
    }
    assert.deepEqual(await post(carl.client, 'team', 'forged'), [202, 403])
    assert.deepEqual(await post(ben.client, 'team', 'forged'), [202, 403])
    assert.deepEqual(await post(null, 'team', 'forged'), [202, 403])
    assert.deepEqual(await post(anna.client, 'team', 'posted'), [202, 202])
    await until(() => heard.filter((one) => one.startsWith('ben posted')).length === 2, 'what was posted')
    assert.deepEqual(heard.filter((one) => one.startsWith('ben')), ['ben said hello', 'ben posted ', 'ben posted ']) // biome-ignore format: a line
    assert.ok(!heard.some((one) => /unheard|public|forged/.test(one)))
    // Who has lost his seat is out with his next token, as Supabase has it.
    const out = Promise.withResolvers<void>()
    const { error: gone } = await clientOf(url, secret).from('seats').delete().eq('member', ben.id)
    assert.equal(gone, null)
    ofBen.on('system', {}, ({ message }: { message: string }) => /no longer have permission/.test(message) && out.resolve())
    const { data: renewed } = await ben.client.auth.refreshSession()
    await ben.client.realtime.setAuth(renewed.session?.access_token)
    await out.promise
    // No row is left of all the asking.
    assert.equal(mayfly(['db', 'psql', '--data', node.data, '-c', 'select count(*) as n from realtime.messages']).stdout.split('\n')[2]?.trim(), '0')
    assert.equal(mayfly(['db', 'psql', '--data', node.data, '-c', 'drop table realtime.messages cascade']).code, 1)
  })
  it('SQL speaks in channels when its transaction commits: realtime.broadcast_changes in a trigger, realtime.send', async () => {
    const psql = (text: string) => {
      const { code, stdout, stderr } = mayfly(['db', 'psql', '--data', node.data, '-c', text])
      assert.equal(code, 0, stderr)
      return stdout
    }
    psql(`
      create table public.listeners (topic text, member uuid, speaks boolean);
      create policy listen on realtime.messages for select to authenticated using (
        extension = 'broadcast' and exists (select from public.listeners as l where l.member = (select auth.uid()) and l.topic = (select realtime.topic())));
      create policy tell on realtime.messages for insert to authenticated with check (event <> 'forbidden' and
        exists (select from public.listeners as l where l.member = (select auth.uid()) and l.topic = realtime.messages.topic and l.speaks));
      create table public.moves (id bigint primary key, room int, body text, at numeric);
      create function public.tell_moves() returns trigger security definer language plpgsql as $$
      begin
        perform realtime.broadcast_changes('moves:' || coalesce(new.room, old.room), tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
        return null;
      end $$;
      create trigger tell_moves after insert or update or delete on public.moves for each row execute function public.tell_moves();
      create function public.say(room text, event text) returns void language sql as $$ select realtime.send('{"by": "SQL"}', event, room) $$`)
    const userOf = async (name: string, speaks: boolean | null) => {
      const client = clientOf(url, publishable)
      const { data, error } = await client.auth.signUp({ email: `${name}-sql@example.com`, password: 'long enough 1' })
      assert.equal(error, null)
      await client.realtime.setAuth()
      if (speaks !== null) await clientOf(url, secret).from('listeners').insert({ topic: 'moves:1', member: data.user?.id, speaks })
      return client
    }
    const [anna, ben, carl, dora] = await Promise.all([userOf('anna', true), userOf('ben', false), userOf('carl', null), userOf('dora', false)])
    const heard: Record<string, { event: string; payload: Record<string, unknown>; meta?: { id: string } }[]> = { ben: [], shown: [], open: [], hidden: [] }
    const join = async (who: SupabaseClient, topic: string, isPrivate: boolean, name: string) => {
      const channel = who
        .channel(topic, { config: { private: isPrivate } })
        .on('broadcast', { event: '*' }, (message) => void heard[name]?.push(message as never))
      await subscribed(channel)
    }
    await join(ben, 'moves:1', true, 'ben')
    await assert.rejects(join(carl, 'moves:1', true, 'carl'), /Unauthorized/)
    await join(clientOf(url, publishable), 'moves:1', false, 'shown')
    const guest = clientOf(url, publishable)
    await join(guest, 'open', false, 'open')
    await join(clientOf(url, secret), 'open', true, 'hidden')

    const service = clientOf(url, secret)
    for (const change of [
      () => service.from('moves').insert([{ id: 1, room: 1, body: 'e4 한글', at: 1.5 }, { id: 2, room: 2, body: 'elsewhere' }]), // biome-ignore format: a line
      () => service.from('moves').update({ body: 'e5' }).eq('id', 1),
      () => service.from('moves').delete().eq('id', 1),
    ]) {
      const { error } = await change()
      assert.equal(error, null)
    }
    // Nothing of what does not stay, and what is too much for one notice.
    psql(`begin; insert into public.moves values (3, 1, 'taken back'); select realtime.send('{}', 'taken back', 'moves:1'); rollback`)
    psql(`notify mayfly_broadcast, 'by hand'; notify mayfly_broadcast`)
    psql(`insert into public.moves values (4, 1, repeat('긴 글 🚀 ', 20000))`)
    await until(() => heard.ben?.length === 4, 'the moves')
    const [insert, update, gone, long] = heard.ben ?? []
    const about = { table: 'moves', schema: 'public' }
    const was = { id: 1, room: 1, body: 'e4 한글', at: 1.5 }
    const id = insert?.payload.id
    assert.match(String(id), /^[0-9a-f-]{36}$/)
    assert.equal(insert?.meta?.id, id)
    const told = [insert, update, gone].map((one) => ({ ...one?.payload, id: one?.event }))
    assert.deepEqual(told, [
      { ...about, id: 'INSERT', operation: 'INSERT', record: was, old_record: null },
      { ...about, id: 'UPDATE', operation: 'UPDATE', record: { ...was, body: 'e5' }, old_record: was },
      { ...about, id: 'DELETE', operation: 'DELETE', record: null, old_record: { ...was, body: 'e5' } },
    ])
    assert.deepEqual(long?.payload.record, { id: 4, room: 1, at: null, body: '긴 글 🚀 '.repeat(20000) })

    // A function that does not act as the owner is held to the policies; what it is for is done all the same.
    for (const [who, event] of [[carl, 'forged'], [ben, 'unheard'], [anna, 'forbidden'], [guest, 'guest'], [anna, 'said']] as const) // biome-ignore format: a line
      assert.equal((await who.rpc('say', { room: 'moves:1', event })).error, null)
    await until(() => (heard.ben?.length ?? 0) > 4, 'what anna said')
    assert.deepEqual([heard.ben?.at(-1)?.event, heard.ben?.at(-1)?.payload.by, heard.ben?.length], ['said', 'SQL', 5])
    // A public channel by its flag, and the private one of its name apart from it.
    psql(
      `select realtime.send('{"id": "mine", "n": 1}', 'tick', 'open', false), realtime.send('[1]', 'tock', 'open'), realtime.send(null, 'nothing', 'open', false), realtime.send(null, 'lost', null)`,
    )
    await until(() => heard.open?.length === 2 && heard.hidden?.length === 1, 'what is said in the open')
    assert.deepEqual(heard.open?.map(({ event, payload }) => [event, payload.n]), [['tick', 1], ['nothing', undefined]]) // biome-ignore format: a line
    assert.deepEqual([heard.open?.[0]?.payload, heard.hidden?.[0]?.event, heard.hidden?.[0]?.payload], [{ id: 'mine', n: 1 }, 'tock', [1]])
    assert.equal(heard.shown?.length, 0)
    // A row that is put in is said too, as its writer's policies let it; what has no payload and no event only asks them.
    psql(`create function public.put(room text, event text) returns void language sql as
      $$ insert into realtime.messages (topic, extension, payload, event, private) values (room, 'broadcast', '{"by": "row"}', event, true) $$`)
    for (const [who, event] of [[carl, 'forged'], [ben, 'unheard'], [anna, 'forbidden'], [guest, 'guest']] as const) // biome-ignore format: a line
      assert.equal((await who.rpc('put', { room: 'moves:1', event })).error?.code, '42501', event)
    assert.equal((await anna.rpc('put', { room: 'moves:1', event: 'put' })).error, null)
    const puts = `insert into realtime.messages (topic, extension, payload, event, private) values`
    psql(`begin; ${puts} ('moves:1', 'broadcast', '{}', 'taken back', true); rollback`)
    psql(`${puts} ('moves:1', 'broadcast', '{"id": "own"}', 'first', true), ('moves:1', 'broadcast', '[2]', 'second', true),
      ('moves:1', 'presence', '{}', 'unheard', true), ('moves:1', 'broadcast', '{}', 'elsewhere', false), ('', 'broadcast', '{}', 'nowhere', true)`)
    await until(() => heard.ben?.length === 8 && heard.shown?.length === 1, 'the rows that were put in')
    const put = heard.ben?.slice(5).map(({ event, payload }) => [event, payload])
    assert.deepEqual(put, [['put', { by: 'row', id: heard.ben?.[5]?.meta?.id }], ['first', { id: 'own' }], ['second', [2]]]) // biome-ignore format: a line
    assert.equal(heard.shown?.[0]?.event, 'elsewhere')
    // A trigger of the owner's keeps one out, or changes it; neither it nor what it sets off runs in a role of the node's.
    psql(`create table public.ran (who name);
      create function public.sift() returns trigger language plpgsql as $$
      begin
        if new.event = 'kept out' then return null; end if;
        new.payload := jsonb_build_object('sifted', new.payload);
        return new;
      end $$;
      create function public.note() returns trigger language plpgsql security invoker as $$ begin insert into public.ran values (current_user); return null; end $$;
      create trigger sift before insert on realtime.messages for each row execute function public.sift();
      create trigger note after delete on realtime.messages for each row execute function public.note();
      select realtime.send('{"id": "s", "n": 1}', 'kept out', 'moves:1'), realtime.send('{"id": "s", "n": 1}', 'let through', 'moves:1');
      ${puts} ('moves:1', 'broadcast', '{}', 'kept out', true)`)
    await until(() => heard.ben?.length === 9, 'what was let through')
    assert.deepEqual([heard.ben?.[8]?.event, heard.ben?.[8]?.payload.sifted], ['let through', { id: 's', n: 1 }])
    assert.match(psql('select distinct who from public.ran'), /\n postgres\n\(1 row\)/)
    // What only asks the policies is not told, and asks them, whatever a trigger makes of it.
    await join(dora, 'moves:1', true, 'dora')
    await assert.rejects(join(clientOf(url, publishable), 'moves:1', true, 'nobody'), /Unauthorized/)
    psql('drop trigger sift on realtime.messages; drop trigger note on realtime.messages')
    for (const text of ['drop trigger mayfly_tell on realtime.messages', 'drop function realtime.tell_message() cascade']) {
      const { code, stderr } = mayfly(['db', 'psql', '--data', node.data, '-c', text])
      assert.deepEqual([code, /42501/.test(stderr)], [1, true], stderr)
    }
    assert.equal(psql('select count(*) as n from realtime.messages').split('\n')[2]?.trim(), '0')
    const { stderr } = mayfly([
      'db',
      'psql',
      '--data',
      node.data,
      '-c',
      `select realtime.broadcast_changes('t', 'e', 'TRUNCATE', 'moves', 'public', null, null)`,
    ])
    assert.match(stderr, /Failed to process the row: Unexpected operation type: TRUNCATE/)
  })
  it('presence: who is there, and who leaves', async () => {
    const [anna, ben] = [clientOf(url, publishable), clientOf(url, publishable)]
    const left: string[] = []
    const here = ben.channel('lobby', { config: { presence: { key: 'ben' } } })
    here.on('presence', { event: 'leave' }, ({ key }) => void left.push(key))
    await subscribed(here)
    const other = anna.channel('lobby', { config: { presence: { key: 'anna' } } })
    await subscribed(other)
    assert.equal(await other.track({ mood: 'fine' }), 'ok')
    await until(() => 'anna' in here.presenceState(), 'anna')
    assert.equal((here.presenceState<{ mood: string }>().anna as { mood: string }[])[0]?.mood, 'fine')
    await anna.removeAllChannels()
    await until(() => left.includes('anna'), 'her leaving')
    assert.deepEqual(here.presenceState(), {})
  })
  it('what is uploaded is told to who may see the bucket, by its filter, and to nobody else', async () => {
    const service = clientOf(url, secret)
    for (const id of ['thumbnails', 'avatars']) assert.equal((await service.storage.createBucket(id, { public: true })).error, null)
    type Heard = { eventType: string; new: { name?: string; bucket_id?: string }; old: { id?: string } }
    const watch = async (client: SupabaseClient) => {
      const heard: Heard[] = []
      const channel = client.channel('page')
      channel.on(
        'postgres_changes',
        { event: '*', schema: 'storage', table: 'objects', filter: 'bucket_id=eq.thumbnails' },
        (change) => void heard.push(change as never),
      )
      await subscribed(channel)
      return heard
    }
    const [page, guest] = [await watch(service), await watch(clientOf(url, publishable))]
    const upload = (bucket: string, name: string) => service.storage.from(bucket).upload(name, Buffer.from('x'), { contentType: 'image/webp', upsert: true })
    assert.equal((await upload('avatars', 'face.jpg')).error, null)
    assert.equal((await upload('thumbnails', 'faces/64.webp')).error, null)
    await until(() => page.some((change) => change.eventType === 'INSERT'), 'the thumbnail')
    assert.deepEqual(
      page.filter(({ eventType }) => eventType === 'INSERT').map((change) => [change.new.bucket_id, change.new.name]),
      [['thumbnails', 'faces/64.webp']],
    )
    // No policy lets a guest see these rows, though the bytes are public.
    assert.deepEqual(guest, [])
  })
  it('a function opens a socket by the relay of its sandbox, with its own key and no other', async () => {
    const zip = await zipOf({
      'index.mjs': `export const handler = async (event) => new Promise((resolve) => {
        const at = process.env.MAYFLY_URL.replace('http', 'ws') + '/realtime/v1/websocket?vsn=1.0.0&apikey=' + (event.key ?? process.env.MAYFLY_KEY)
        const socket = new WebSocket(at)
        socket.onerror = () => resolve('refused')
        socket.onopen = () => socket.send(JSON.stringify({ topic: 'realtime:of a function', event: 'phx_join', payload: { config: { private: true } }, ref: '1' }))
        socket.onmessage = ({ data }) => { const { payload } = JSON.parse(data); socket.close(); resolve(payload.status) }
      })`,
    })
    const sha256 = createHash('sha256').update(zip).digest('hex')
    const put = (at: string, body: Buffer | string) =>
      fetch(`${url}/api/v1/projects/demo/${at}`, { method: 'PUT', headers: { apikey: secret }, body: body as string })
    assert.equal((await put(`artefacts/${sha256}`, zip)).status, 201)
    assert.equal((await put('functions/listens', JSON.stringify({ artefact: sha256, timeout: 20 }))).status, 201)
    const call = async (event: object) =>
      await (
        await fetch(`${url}/api/v1/projects/demo/functions/listens/invoke`, { method: 'POST', headers: { apikey: secret }, body: JSON.stringify(event) })
      ).json()
    assert.equal(await call({}), 'ok')
    assert.equal(await call({ key: secret }), 'refused')
  })
})

// On a PostgreSQL that the test may enter itself: a user's own tables, made by the owner of the project's.
describe('row changes over realtime', () => {
  let folder = ''
  let data = ''
  let server: ServerOfOthers
  let environment: Record<string, string>
  let node: RunningMayfly
  let database: pg.Client

  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    server = await startServerOfOthers(folder, ['-c', 'wal_level=logical'])
    await server.make('rt')
    await server.sql('alter role rt replication')
    environment = { MAYFLY_DATABASE_URL: server.url('rt') }
    node = await startMayfly(data, ['--empty'], environment)
    database = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'admin', password: PASSWORD, database: 'rt_p_demo' })
    await database.connect()
    await database.query(`
      set role rt_p_demo_owner;
      create table todos (id bigint generated always as identity primary key, who text, body text);
      alter table todos enable row level security;
      create policy public_ones on todos for select to anon using (who = 'all');
      create table other (id int primary key);
      alter publication supabase_realtime add table todos, other`)
  })
  after(async () => {
    for (const one of open) one.end()
    await database?.end()
    await node?.stop()
    await server?.stop()
    removeFolder(folder)
  })
  const watch = async (client: SupabaseClient, name: string, filter: Record<string, string>) => {
    const heard: { eventType: string; new: Record<string, unknown>; old: Record<string, unknown> }[] = []
    const system: string[] = []
    const channel = client.channel(name)
    channel.on('postgres_changes', { event: '*', schema: 'public', table: 'todos', ...filter }, (change) => void heard.push(change as never))
    channel.on('system', {}, ({ status }: { status: string }) => void system.push(status))
    await subscribed(channel)
    return { heard, system, channel }
  }

  it('insert, update and delete reach unmodified supabase-js, by filter, and only what a policy shows', async () => {
    const { url, project } = node.ready
    const guest = await watch(clientOf(url, project.publishableKey), 'guest', {})
    const service = await watch(clientOf(url, project.secretKey), 'service', {})
    const filtered = await watch(clientOf(url, project.secretKey), 'filtered', { filter: 'who=eq.anna' })
    await database.query(`insert into todos (who, body) values ('anna', 'hidden'), ('all', 'shown')`)
    await until(() => service.heard.length === 2 && guest.heard.length === 1 && filtered.heard.length === 1, 'the inserts')
    assert.deepEqual([guest.heard[0]?.eventType, guest.heard[0]?.new], ['INSERT', { id: 2, who: 'all', body: 'shown' }])
    assert.deepEqual(filtered.heard[0]?.new, { id: 1, who: 'anna', body: 'hidden' })
    await database.query(`update todos set body = 'now' where id = 2`)
    await until(() => guest.heard.length === 2, 'the update')
    assert.deepEqual([guest.heard[1]?.eventType, guest.heard[1]?.new.body, guest.heard[1]?.old], ['UPDATE', 'now', { id: 2 }])
    await database.query('delete from todos where id = 2')
    await until(() => guest.heard.length === 3, 'the deletion')
    assert.deepEqual([guest.heard[2]?.eventType, guest.heard[2]?.old], ['DELETE', { id: 2 }])
    // The one that it may not see never came.
    assert.equal(
      guest.heard.some((change) => JSON.stringify(change).includes('hidden')),
      false,
    )
  })
  it('who asks to wait is answered when changes flow, or told why they never will', async () => {
    const client = clientOf(node.ready.url, node.ready.project.secretKey)
    const options = { config: { postgres_changes_options: { wait: true, timeout: 5_000 } } }
    const heard: unknown[] = []
    await subscribed(
      client.channel('waits', options).on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'other' }, (change) => void heard.push(change.new)),
    )
    await database.query('insert into other values (7)')
    await until(() => heard.length === 1, 'the change')
    assert.deepEqual(heard, [{ id: 7 }])
    const bad = client.channel('waits in vain', options).on('postgres_changes', { event: '*', schema: 'public', table: 'none' }, () => {})
    await assert.rejects(subscribed(bad), /Unable to subscribe to changes with given parameters/)
  })
  it('protocol 1.0.0: the answer to a join repeats what was asked, in its order, with ids', async () => {
    const raw = await rawSocket(`${node.ready.url.replace('http', 'ws')}/realtime/v1/websocket?apikey=${node.ready.project.secretKey}&vsn=1.0.0`)
    const asked = [
      { event: 'INSERT', schema: 'public', table: 'todos', filter: 'who=eq.anna' },
      { event: '*', schema: 'public' },
      { event: 'INSERT', schema: 'public', table: 'todos', filter: 'who=eq.anna' },
    ]
    raw.send('realtime:raw', 'phx_join', { config: { postgres_changes: asked } }, '1')
    const { status, response } = await raw.reply('1')
    const bound = response.postgres_changes as { id: number }[]
    assert.equal(status, 'ok')
    assert.deepEqual(
      bound.map(({ id: _, ...rest }) => rest),
      asked,
    )
    assert.ok(bound[0]?.id && bound[0].id === bound[2]?.id && bound[0].id !== bound[1]?.id)
    raw.send('phoenix', 'heartbeat', {}, '2')
    assert.deepEqual(await raw.reply('2'), { status: 'ok', response: {} })
    await until(() => raw.frames.some(({ event, payload }) => event === 'system' && payload.message === 'Subscribed to PostgreSQL'), 'the word that it is live')
    raw.send('realtime:bad', 'phx_join', { config: { postgres_changes: [{ event: '*', schema: 'public', table: 'todos', filter: 'nothing=eq.1' }] } }, '3')
    assert.equal((await raw.reply('3')).status, 'ok')
    await until(() => raw.frames.some(({ event, payload }) => event === 'system' && payload.status === 'error'), 'the refusal of the filter')
    raw.socket.terminate()
  })
  it('a client that is killed while it joins leaves no socket, no channel and, in time, no slot', async () => {
    const at = `${node.ready.url.replace('http', 'ws')}/realtime/v1/websocket?apikey=${node.ready.project.secretKey}&vsn=1.0.0`
    const token = readFileSync(path.join(data, 'operator.token'), 'utf8').trim()
    const counts = async () => {
      const page = await (await fetch(`${node.ready.url}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text()
      return ['sockets', 'channels'].map((what) => Number(new RegExp(`^mayfly_realtime_${what} (\\d+)$`, 'm').exec(page)?.[1]))
    }
    const before = await counts()
    for (let n = 0; n < 10; n++) {
      const raw = await rawSocket(at)
      raw.send('realtime:gone', 'phx_join', { config: { postgres_changes: [{ event: '*', schema: 'public', table: 'other', filter: 'id=eq.1' }] } }, '1')
      raw.socket.terminate()
    }
    let now = await counts()
    for (let round = 0; round < 50 && now.join() !== before.join(); round++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      now = await counts()
    }
    assert.deepEqual(now, before)
  })
  it('the database goes and comes back: the gap is told, changes go on', async () => {
    const service = await watch(clientOf(node.ready.url, node.ready.project.secretKey), 'gap', {})
    await until(() => service.system.length === 1, 'the word that it is live')
    await server.sql(`select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name like 'mayfly%'`)
    await until(() => service.system.length === 3, 'the gap and its end')
    assert.deepEqual(service.system, ['ok', 'error', 'ok'])
    await database.query(`insert into todos (who, body) values ('all', 'after the gap')`)
    await until(() => service.heard.some((change) => change.new.body === 'after the gap'), 'the change after it')
    // What SQL says is heard by a connection of its own, which comes back as well.
    const listening = `datname = 'rt_p_demo' and application_name = 'mayfly listener' and query = 'listen "mayfly_broadcast"'`
    const said: unknown[] = []
    await subscribed(
      clientOf(node.ready.url, node.ready.project.publishableKey)
        .channel('words')
        .on('broadcast', { event: '*' }, ({ payload }) => said.push(payload.n)),
    )
    await database.query(`select realtime.send('{"n": 1}', 'said', 'words', false)`)
    await until(() => said.length === 1, 'what SQL says')
    const here = async () => (await server.sql(`select pid from pg_stat_activity where ${listening}`)) as unknown as { pid: number }[]
    const [former, ...more] = await here()
    assert.ok(former !== undefined && more.length === 0)
    await server.sql(`select pg_terminate_backend(${former.pid})`)
    for (let back = false; !back; ) back = (await here()).some(({ pid }) => pid !== former.pid)
    await database.query(`select realtime.send('{"n": 2}', 'said', 'words', false)`)
    await until(() => said.length === 2, 'what it says afterwards')
    assert.deepEqual(said, [1, 2])
  })
  it('the node is killed and started again: the client comes back by itself, and subscribes again', async () => {
    const port = new URL(node.ready.url).port
    const guest = await watch(clientOf(node.ready.url, node.ready.project.publishableKey), 'again', {})
    const heard: string[] = []
    const room = clientOf(node.ready.url, node.ready.project.publishableKey)
    const channel = room.channel('room').on('broadcast', { event: 'e' }, ({ payload }) => heard.push(payload.n))
    await subscribed(channel)
    await node.kill()
    node = await startMayfly(data, ['--empty'], environment)
    assert.equal(new URL(node.ready.url).port, port, 'the same port')
    await until(() => guest.channel.state === 'joined' && channel.state === 'joined', 'both channels again', 30_000)
    await until(() => guest.system.length >= 2, 'the word that it is live again')
    await database.query(`insert into todos (who, body) values ('all', 'after the restart')`)
    await until(() => guest.heard.some((change) => change.new.body === 'after the restart'), 'the change after it')
    const other = clientOf(node.ready.url, node.ready.project.publishableKey).channel('room')
    await subscribed(other)
    await other.send({ type: 'broadcast', event: 'e', payload: { n: 'back' } })
    await until(() => heard.includes('back'), 'a broadcast after it')
  })
  it('a PostgreSQL that cannot stream: the join says so, and nothing else suffers', async () => {
    await server.sql('alter role rt noreplication')
    try {
      const client = clientOf(node.ready.url, node.ready.project.publishableKey)
      const asked = client.channel('refused').on('postgres_changes', { event: '*', schema: 'public', table: 'todos' }, () => {})
      await assert.rejects(subscribed(asked), /DatabaseUnavailable: row changes cannot be streamed: the role of --database-url lacks REPLICATION/)
      await subscribed(client.channel('still fine'))
    } finally {
      await server.sql('alter role rt replication')
    }
  })
})

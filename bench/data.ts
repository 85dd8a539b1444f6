import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { mayfly, startMayfly } from '../test/acceptance/harness.ts'
import { bareNode, type DataPeer, parseServer, type Place, postgraphile } from './data-peers.ts'
import { needPrograms } from './installed.ts'
import { middle, spread } from './measure.ts'
import { wrk } from './wrk.ts'

// The data API, row-level security and token checked, beside pgbench, a bare program of Node, PostGraphile and parse-server on the same PostgreSQL.
// Usage: npm run bench:data [-- rounds and seconds, 3 and 3 when not said]. Takes pgbench and wrk of Debian (postgresql-contrib, wrk), and the peers from npm.

const ROUNDS = Number(process.argv[2] ?? 3)
const CLIENTS = 32
const SECONDS = Number(process.argv[3] ?? 3)
const ROWS = 1_000
const AIMS = { insert: 0.4, 'by key': 0.35, 'list of 20': 0.2 } as const
type Kind = keyof typeof AIMS | 'embed of 20 × 5'
const KINDS = Object.keys(AIMS) as (keyof typeof AIMS)[]

needPrograms({ pgbench: 'postgresql-contrib', wrk: 'wrk' })

const TABLES = `
create table items (id bigint generated always as identity primary key, title text not null, done boolean not null default false,
  owner uuid not null default auth.uid(), created_at timestamptz not null default now());
create table notes (id bigint generated always as identity primary key, item_id bigint not null references items, text text not null);
create index on notes (item_id);
alter table items enable row level security;
alter table notes enable row level security;
create policy own on items to authenticated using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
create policy own on notes to authenticated using (exists (select from items where items.id = item_id));
create schema plain;
create table plain.items (id bigint generated always as identity primary key, title text not null, done boolean not null default false,
  owner uuid not null, created_at timestamptz not null default now());`
const rowsText = (owner: string) => `
insert into items (title, owner) select 'item number ' || n, '${owner}' from generate_series(1, ${ROWS}) as n;
insert into notes (item_id, text) select items.id, 'note ' || n from items, generate_series(1, 5) as n;
insert into plain.items (title, owner) select title, owner from items;
vacuum analyze;`

const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)
const node = await startMayfly(path.join(folder, 'data'), ['--empty'])
let stop = async () => void (await node.stop())
try {
  const { url, publishableKey, ref } = node.ready.project
  const signedUp = await fetch(`${url}/auth/v1/signup`, {
    method: 'POST',
    headers: { apikey: publishableKey },
    body: JSON.stringify({ email: 'bench@example.com', password: 'a password of some length' }),
  })
  const { access_token: token, user } = (await signedUp.json()) as { access_token: string; user: { id: string } }
  const sql = (name: string, text: string) => {
    const file = path.join(folder, `${name}.sql`)
    writeFileSync(file, text)
    return file
  }
  mayfly(['db', 'psql', '--data', node.data, '--project', ref, '-f', sql('tables', TABLES + rowsText(user.id))])
  const place: Place = {
    folder,
    owner: user.id,
    host: socketOf(node.data, ref),
    user: 'mayfly',
    password: readFileSync(path.join(node.data, 'pg', 'password'), 'utf8'),
    rows: ROWS,
  }

  const bare: Readonly<Record<keyof typeof AIMS, string>> = {
    insert: `insert into plain.items (title, owner) values ('a new item', '${user.id}') returning *;`,
    'by key': `\\set id random(1, ${ROWS})\nselect * from plain.items where id = :id;`,
    'list of 20': 'select * from plain.items order by id limit 20;',
  }
  const pgbench = (kind: keyof typeof AIMS): number => {
    const file = sql(kind.replaceAll(' ', '-'), bare[kind])
    const args = ['-h', place.host, '-U', place.user, '-n', '-M', 'prepared', '-c', String(CLIENTS), '-j', '1', '-T', String(SECONDS), '-f', file, 'postgres']
    return Number(/tps = ([\d.]+)/.exec(execFileSync('pgbench', args, { encoding: 'utf8', env: { ...process.env, PGPASSWORD: place.password } }))?.[1])
  }
  const headers = { apikey: publishableKey, authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const base = new URL(url).pathname.replace(/\/$/, '')
  const ours: DataPeer = {
    name: 'Mayfly',
    url,
    request: (kind) => {
      switch (kind) {
        case 'insert':
          return `wrk.headers["prefer"] = "return=representation"\nrequest = function() return wrk.format("POST", "${base}/rest/v1/items", nil, '{"title":"a new item"}') end`
        case 'by key':
          return `request = function() return wrk.format("GET", "${base}/rest/v1/items?id=eq." .. math.random(1, ${ROWS})) end`
        case 'list of 20':
          return `request = function() return wrk.format("GET", "${base}/rest/v1/items?order=id&limit=20") end`
        default:
          return `request = function() return wrk.format("GET", "${base}/rest/v1/items?select=*,notes(*)&order=id&limit=20") end`
      }
    },
    headers,
    stop: () => {},
  }
  const load = (peer: DataPeer, kind: Kind) => {
    const script = path.join(folder, 'load.lua')
    const lines = Object.entries(peer.headers).map(([name, value]) => `wrk.headers["${name}"] = "${value}"`)
    writeFileSync(script, [...lines, peer.request(kind)].join('\n'))
    const measured = wrk(peer.url, CLIENTS, null, SECONDS, script)
    // A refusal is quicker than a row, and none of them.
    if (measured.refused > 0) throw new Error(`${peer.name} refused ${measured.refused} of ${kind}`)
    return measured
  }

  const rounds = (kind: keyof typeof AIMS, others: readonly { readonly name: string; readonly aim: number | null; readonly rate: () => number }[]) => {
    const rates = new Map<string, number[]>()
    const add = (name: string, rate: number) => rates.set(name, [...(rates.get(name) ?? []), rate])
    for (let round = 0; round < ROUNDS; round++) {
      for (const { name, rate } of others) add(name, rate())
      add(ours.name, load(ours, kind).rate)
    }
    for (const [name, all] of rates) process.stdout.write(`${kind}: ${name.padEnd(14)} ${spread(all)}\n`)
    const ratioOf = (one: string, other: string) => middle((rates.get(one) ?? []).map((rate, round) => rate / (rates.get(other)?.[round] as number))).toFixed(2)
    for (const { name, aim } of others) {
      process.stdout.write(`→ ${kind} ÷ ${name} ${ratioOf(ours.name, name)}${aim === null ? '' : ` (aim ${aim})`}\n`)
      if (aim === null && others[0]) process.stdout.write(`  ${kind}: ${name} ÷ ${others[0].name} ${ratioOf(name, others[0].name)}\n`)
    }
  }
  // Whoever is measured first would be measured cold. pgbench goes before the peers: their pools leave it no sessions.
  for (const kind of KINDS) load(ours, kind)
  // What a program of one thread can reach at all, which the aims are to be read beside.
  const bareOne = await bareNode(place)
  try {
    for (const kind of KINDS) load(bareOne, kind)
    for (const kind of KINDS)
      rounds(kind, [
        { name: 'pgbench', aim: AIMS[kind], rate: () => pgbench(kind) },
        { name: bareOne.name, aim: null, rate: () => load(bareOne, kind).rate },
      ])
  } finally {
    bareOne.stop()
  }
  const peers = await startPeers(place)
  stop = async () => {
    for (const peer of peers) peer.stop()
    await node.stop()
  }
  for (const peer of peers) for (const kind of KINDS) load(peer, kind)
  for (const kind of KINDS)
    rounds(
      kind,
      peers.map((peer) => ({ name: peer.name, aim: peer.aim ?? 1, rate: () => load(peer, kind).rate })),
    )
  const embed = Array.from({ length: ROUNDS }, () => load(ours, 'embed of 20 × 5').rate)
  process.stdout.write(`embed of 20 × 5: Mayfly ${spread(embed)}\n`)
} finally {
  await stop()
  rmSync(folder, { recursive: true, force: true })
}

/** Where the server of a project listens: its command line says it. */
function socketOf(data: string, ref: string): string {
  const [pid] = readFileSync(path.join(data, 'pg', 'projects', ref, 'postmaster.pid'), 'utf8').split('\n')
  const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  return args.find((arg) => arg.startsWith('unix_socket_directories='))?.slice('unix_socket_directories='.length) as string
}

/** Those that npm has; each is missing alone. */
async function startPeers(place: Place): Promise<DataPeer[]> {
  const kept = path.join(tmpdir(), 'mayfly-bench-peers')
  mkdirSync(kept, { recursive: true })
  const started = await Promise.allSettled([postgraphile(place, kept), parseServer(place, kept)])
  for (const one of started) if (one.status === 'rejected') process.stdout.write(`left out: ${one.reason}\n`)
  return started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
}

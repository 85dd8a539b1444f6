import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../../core/limits.ts'
import { DataError } from '../errors.ts'
import { queryOf } from '../query/query.ts'
import { readRequest } from '../request/request.ts'
import { buildSnapshot } from '../schema/build.ts'
import { columnRow, relationRow } from '../schema/rows-fixture.ts'
import type { Snapshot } from '../schema/snapshot.ts'
import type { RelationRow, RoutineRow, SchemaRow } from '../schema/store.ts'
import { likeness, mostLike } from './hints.ts'
import type { DataPlan } from './plan.ts'
import { planRequest } from './plan-request.ts'

const column = (number: number, name: string, type = 'text') => columnRow(number, name, type)
const relation = (oid: string, name: string, columns: RelationRow['columns'], key: number[] = [1], more: Partial<RelationRow> = {}) =>
  relationRow(oid, name, columns, { unique: [{ primary: true, columns: key }], ...more })
const routine = (name: string, parameters: [string, string][], more: Partial<RoutineRow> = {}): RoutineRow => ({
  schema: 'public',
  name,
  volatility: 'v',
  set: false,
  rows: 0,
  returnType: 'int4',
  returnKind: 'b',
  returnBase: 'int4',
  returnBaseSchema: 'pg_catalog',
  returnRelation: null,
  defaults: 0,
  isVariadic: false,
  settings: null,
  description: null,
  parameters: parameters.map(([of, type]) => ({ name: of === '' ? null : of, mode: 'i', type, base: type, baseSchema: 'pg_catalog', relation: null })),
  ...more,
})

const SCHEMA: SchemaRow = {
  relations: [
    relation('1', 'films', [
      column(1, 'id', 'bigint'),
      column(2, 'title'),
      column(3, 'director_id', 'bigint'),
      column(4, 'data', 'jsonb'),
      column(5, 'tags', 'text[]'),
    ]),
    relation('2', 'directors', [column(1, 'id', 'bigint'), column(2, 'name')]),
    relation('3', 'actors', [column(1, 'id', 'bigint'), column(2, 'name')]),
    relation('4', 'roles', [column(1, 'film_id', 'bigint'), column(2, 'actor_id', 'bigint'), column(3, 'as')], [1, 2]),
    relation('5', 'hidden', [column(1, 'id')], [1], { schema: 'private' }),
    relation('6', 'film_part', [column(1, 'id')], [1], { isPartition: true }),
  ],
  foreignKeys: [
    { name: 'films_director_id_fkey', from: '1', to: '2', fromColumns: [3], toColumns: [1] },
    { name: 'roles_film_id_fkey', from: '4', to: '1', fromColumns: [1], toColumns: [1] },
    { name: 'roles_actor_id_fkey', from: '4', to: '3', fromColumns: [2], toColumns: [1] },
  ],
  routines: [
    routine('add', [
      ['a', 'integer'],
      ['b', 'integer'],
    ]),
    routine('over', [['a', 'integer']]),
    routine('over', [['a', 'text']]),
    routine('whole', [['', 'json']]),
    routine('some', [['a', 'text[]']], {
      parameters: [{ name: 'a', mode: 'v', type: 'text[]', base: '_text', baseSchema: 'pg_catalog', relation: null }],
      isVariadic: true,
    }),
    routine(
      'opted',
      [
        ['a', 'integer'],
        ['b', 'integer'],
      ],
      { defaults: 1 },
    ),
  ],
  enums: [],
  roles: [],
  settings: {},
  announced: true,
  acts_outside: false,
  leaves_settings: false,
  handlers: [],
}
const snapshotOf = (settings: readonly string[] = []): Snapshot =>
  buildSnapshot({ ...SCHEMA, roles: [{ role: 'authenticator', settings, ofDatabase: false }] }, 'authenticator', { maxRows: LIMITS.dataRows.value })
const SNAPSHOT = snapshotOf(['pgrst.db_aggregates_enabled=true'])

async function plan(path: string, more: { method?: string; body?: string; headers?: Record<string, string>; snapshot?: Snapshot } = {}): Promise<DataPlan> {
  const [name = '', rawQuery = ''] = path.split('?')
  const body = async () => Buffer.from(more.body ?? '')
  return planRequest(
    await readRequest({ method: more.method ?? 'GET', path: name, rawQuery, headers: more.headers ?? {}, body, clock: { monotonic: () => 0 } }),
    more.snapshot ?? SNAPSHOT,
  )
}
async function sql(path: string, more: Parameters<typeof plan>[1] = {}): Promise<{ text: string; values: readonly unknown[] }> {
  const made = await plan(path, more)
  assert.ok(made.kind !== 'describe' && made.kind !== 'root')
  return queryOf(made, { count: null }, null).main
}
const refused = (code: string) => (error: unknown) => error instanceof DataError && error.code === code

describe('a plan', () => {
  it('names relations that are there alone', async () => {
    await assert.rejects(plan('film'), (error: DataError) => error.code === 'PGRST205' && error.hint === "Perhaps you meant the table 'public.films'")
    await assert.rejects(plan('hiden'), (error: DataError) => error.code === 'PGRST205' && error.hint === null)
    await assert.rejects(plan('film_part'), refused('PGRST205'))
    await assert.rejects(plan('constructor'), refused('PGRST205'))
    await assert.rejects(plan('films', { headers: { 'accept-profile': 'private' } }), refused('PGRST106'))
  })
  it('has no value that its statement does not name, in searches by a language too', async () => {
    // Of a document, and of what is none, such as a column of the type tsvector or one that is computed.
    for (const [query, wanted] of [
      ['films?select=id&title=plfts(english).a', ['english', 'english', 'a']],
      ['films?select=id&computed=plfts(english).a', ['english', 'a']],
    ] as const) {
      const { text, values } = await sql(query)
      assert.deepEqual(values.slice(0, wanted.length), wanted)
      for (const at of values.keys()) assert.ok(new RegExp(`\\$${at + 1}(?!\\d)`).test(text), `$${at + 1} in ${text}`)
    }
  })
  it('holds no text of a request but as a value or a quoted name', async () => {
    const nasty = `x'"); drop table films; --`
    const encoded = encodeURIComponent(nasty)
    const name = encodeURIComponent(`"${nasty.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`)
    const { text, values } = await sql(`films?select=${name},data->${name},t:title::${name}&title=eq.${encoded}&${name}=fts(${name}).${encoded}&order=${name}`)
    const quotedName = `"${nasty.replaceAll('"', '""')}"`
    assert.ok(text.includes(quotedName))
    assert.equal(text.replaceAll(quotedName, '').includes('drop'), false)
    assert.ok(values.filter((value) => value === nasty).length >= 4)
  })
  it('caps every list', async () => {
    const made = await plan('films?select=id,roles(as)')
    assert.equal(made.kind, 'read')
    if (made.kind !== 'read') return
    assert.equal(made.read.range.max, LIMITS.dataRows.value)
    assert.equal(made.read.embeds[0]?.read.range.max, LIMITS.dataRows.value)
    const fewer = await plan('films?limit=5000', { snapshot: snapshotOf(['pgrst.db_max_rows=7']) })
    assert.equal(fewer.kind === 'read' && fewer.read.range.max, 7)
  })
  it('embeds no more relations than the limit', async () => {
    const many = (count: number) => `films?select=${Array.from({ length: count }, (_, place) => `a${place}:roles()`).join(',')}`
    assert.equal((await plan(many(LIMITS.embeds.value))).kind, 'read')
    await assert.rejects(plan(many(LIMITS.embeds.value + 1)), refused('PGRST100'))
  })
  it('finds what an embed means by table, key, column and junction', async () => {
    const modes = async (select: string) => {
      const made = await plan(`films?select=${select}`)
      return made.kind === 'read' ? made.read.embeds.map(({ mode, read, junction }) => [mode, read.relation?.name, junction?.of.name ?? null]) : []
    }
    assert.deepEqual(await modes('directors(*)'), [['object', 'directors', null]])
    assert.deepEqual(await modes('director_id(*)'), [['object', 'directors', null]])
    assert.deepEqual(await modes('films_director_id_fkey(*)'), [['object', 'directors', null]])
    assert.deepEqual(await modes('directors!director_id(*)'), [['object', 'directors', null]])
    assert.deepEqual(await modes('actors(*)'), [['array', 'actors', 'roles']])
    assert.deepEqual(await modes('actors!roles(*),...roles(as)'), [
      ['array', 'actors', 'roles'],
      ['spread-many', 'roles', null],
    ])
    await assert.rejects(plan('films?select=directors!nope(*)'), refused('PGRST200'))
  })
  it('gives each level a name of its own, however relations are called', async () => {
    const { text } = await sql('films?select=roles(films(roles(as)))')
    for (const alias of ['"films"', '"films_1"', '"roles"', '"roles_1"']) assert.ok(text.includes(` as ${alias}`), `${alias} in ${text}`)
  })
  it('aggregates only where that is allowed, and not where it is not built', async () => {
    await assert.rejects(plan('films?select=id.max()', { snapshot: snapshotOf() }), refused('PGRST123'))
    await assert.rejects(plan('films?select=...roles(film_id.max())'), refused('PGRST127'))
    assert.match((await sql('films?select=...directors(id.max())')).text, /^with shown as \(select max\("directors_joined"\."max"\) as "max" from /)
    assert.match((await sql('films?select=director_id,n:count()')).text, /count\(\*\) as "n".* group by 1/)
  })
  it('refuses conditions on embeds that are not there, and others than whether they are empty', async () => {
    await assert.rejects(plan('films?select=id&directors.name=eq.x'), refused('PGRST108'))
    await assert.rejects(plan('films?select=directors(name)&directors=eq.1'), refused('PGRST120'))
    await assert.rejects(plan('films?select=roles(as)&order=roles(as)'), refused('PGRST118'))
  })
  it('is no text that doubles with each level', async () => {
    const tree: SchemaRow = {
      ...SCHEMA,
      relations: [relation('9', 'nodes', [column(1, 'id', 'bigint'), column(2, 'up', 'bigint')])],
      foreignKeys: [{ name: 'nodes_up_fkey', from: '9', to: '9', fromColumns: [2], toColumns: [1] }],
      routines: [],
    }
    const snapshot = buildSnapshot(tree, 'authenticator', { maxRows: 10 })
    const nested = (depth: number, join: string): string => (depth === 0 ? 'id' : `up${join}(${nested(depth - 1, join)})`)
    const ordered = (depth: number, terms: number) =>
      Array.from({ length: depth }, (_, level) => `${'up.'.repeat(level)}order=${Array.from({ length: terms }, () => 'up(id)').join(',')}`).join('&')
    const asked = (depth: number, terms: number, join: string) => sql(`nodes?select=${nested(depth, join)}&${ordered(depth, terms)}`, { snapshot })
    assert.ok((await asked(10, 3, '')).text.length < 20_000)
    await assert.rejects(asked(10, 3, '!inner'), refused('PGRST100'))
    await assert.rejects(asked(1, LIMITS.dataJoins.value, ''), refused('PGRST100'))
  })
  it('chooses a function by the names of its arguments', async () => {
    const call = async (path: string, more: Parameters<typeof plan>[1] = {}) => {
      const made = await plan(path, more)
      return made.kind === 'call' ? made.call : null
    }
    assert.equal((await call('rpc/add?a=1&b=2'))?.routine.name, 'add')
    await assert.rejects(plan('rpc/add?a=1'), (error: DataError) => error.code === 'PGRST202' && /public\.add\(a, b\)/.test(String(error.hint)))
    await assert.rejects(plan('rpc/ad?a=1'), refused('PGRST202'))
    await assert.rejects(plan('rpc/over?a=1'), refused('PGRST203'))
    assert.equal((await call('rpc/opted?a=1'))?.routine.name, 'opted')
    assert.equal((await call('rpc/whole', { method: 'POST', body: '[1]' }))?.arguments.kind, 'whole')
    assert.deepEqual((await call('rpc/some?a=x&a=y'))?.arguments, {
      kind: 'direct',
      of: [{ parameter: { name: 'a', type: 'text[]', baseType: '_text', baseSchema: 'pg_catalog', isRequired: false, isVariadic: true }, value: ['x', 'y'] }],
    })
  })
  it('writes only columns that are there, by conditions that are there', async () => {
    const post = { method: 'POST', body: '{"nope":1}' }
    await assert.rejects(plan('films', post), refused('PGRST204'))
    await assert.rejects(plan('films', { method: 'PATCH', body: '{"title":"x"}' }), /UPDATE requires a WHERE clause/)
    await assert.rejects(plan('films', { method: 'DELETE' }), /DELETE requires a WHERE clause/)
    await assert.rejects(plan('films?title=eq.1', { method: 'PUT', body: '{"id":1}' }), refused('PGRST105'))
    await assert.rejects(plan('films?id=eq.1&limit=1', { method: 'PUT', body: '{"id":1}' }), refused('PGRST114'))
  })
  it('asks of what was written for nothing that is not shown', async () => {
    const returning = async (query: string, preference: string) => {
      const made = await plan(`films?${query}`, { method: 'POST', body: '{"title":"x"}', headers: { prefer: `return=${preference}` } })
      return made.kind === 'write' ? made.write.returning : 'no write'
    }
    assert.deepEqual(await returning('', 'minimal'), [])
    assert.deepEqual(await returning('', 'headers-only'), ['id'])
    assert.deepEqual(await returning('select=title,directors(name)', 'representation'), ['title', 'director_id'])
    assert.equal(await returning('', 'representation'), null)
  })
  it('answers in a form that it has', async () => {
    await assert.rejects(
      plan('films', { headers: { accept: 'image/png' } }),
      (error: DataError) => error.code === 'PGRST107' && /image\/png/.test(error.message),
    )
    await assert.rejects(plan('films', { headers: { accept: 'application/vnd.pgrst.plan' } }), refused('PGRST107'))
    const allowed = snapshotOf(['pgrst.db_plan_enabled=true'])
    assert.match(
      (await sql('films', { headers: { accept: 'application/vnd.pgrst.plan+json; options=verbose' }, snapshot: allowed })).text,
      /^explain \(verbose, format json\) with /,
    )
  })
})

describe('hints', () => {
  it('name only what is much alike', () => {
    assert.ok(likeness('films', 'film') > 0.75)
    assert.equal(mostLike('secrets', ['films', 'actors']), null)
    assert.equal(mostLike('x'.repeat(101), ['x'.repeat(101)]), null)
  })
})

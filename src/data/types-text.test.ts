import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it } from 'node:test'
import { stripTypeScriptTypes } from 'node:module'
import { buildSnapshot } from './schema/build.ts'
import { columnRow, relationRow as relation } from './schema/rows-fixture.ts'
import type { RelationRow, SchemaRow } from './schema/store.ts'
import { typesText } from './types-text.ts'

const column: typeof columnRow = (number, name, base, more) => columnRow(number, name, base, { nullable: false, ...more })
type Argument = readonly [name: string, base: string, relation?: string | null, mode?: string]
/** Where a type is, but for those of which there are two. */
const placeOf = (base: string) => (['level', '_level', 'moods'].includes(base) ? 'public' : 'pg_catalog')
const routine = (name: string, parameters: readonly Argument[], more: Partial<SchemaRow['routines'][number]> = {}): SchemaRow['routines'][number] => ({
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
  parameters: parameters.map(([of, base, relation = null, mode = 'i']) => ({
    name: of === '' ? null : of,
    mode,
    type: base,
    base,
    baseSchema: placeOf(base),
    relation,
  })),
  ...more,
})
const SCHEMA: SchemaRow = {
  relations: [
    relation('1', 'todos', [
      column(1, 'id', 'int8', { default: 'nextval()' }),
      column(2, 'title', 'text'),
      column(3, 'owner-id', 'uuid', { nullable: true }),
      column(4, 'mood', 'moods', { enum: ['good', 'b"ad'] }),
      column(5, 'tags', '_text', { nullable: true }),
      column(6, 'data', 'jsonb'),
      column(7, 'size', 'int4', { generated: true }),
    ]),
    relation('2', 'people', [column(1, 'id', 'uuid')]),
    relation('3', 'seen', [column(1, 'n', 'int4')], { kind: 'v', updatable: 0, unique: [] }),
  ],
  foreignKeys: [{ name: 'todos_owner_fkey', from: '1', to: '2', fromColumns: [3], toColumns: [1] }],
  routines: [
    routine(
      'add',
      [
        ['a', 'int4'],
        ['b', 'int4'],
      ],
      { defaults: 1 },
    ),
    routine('label', [['', 'todos', '1']], { returnType: 'text', returnBase: 'text' }),
    routine('owner', [['', 'todos', '1']], { set: true, rows: 1, returnRelation: '2' }),
    routine('everybody', [], { set: true, rows: 1000, returnRelation: '2' }),
    routine(
      'raised',
      [
        ['at', 'level'],
        ['among', '_level'],
      ],
      { set: true, rows: 10, returnType: 'level', returnBase: 'level', returnBaseSchema: 'public' },
    ),
    routine(
      'found',
      [
        ['what', 'text'],
        ['n', 'int8', null, 't'],
        ['name', 'text', null, 't'],
      ],
      { set: true, rows: 1000, returnType: 'record', returnBase: 'record' },
    ),
  ],
  enums: [
    { schema: 'public', name: 'level', values: ['low', 'high'] },
    { schema: 'public', name: 'moods', values: ['good', 'b"ad'] },
    { schema: 'elsewhere', name: 'hidden', values: ['x'] },
  ],
  roles: [],
  settings: {},
  announced: true,
  acts_outside: false,
  leaves_settings: false,
  handlers: [],
}

describe('the types of a schema', () => {
  const text = typesText(buildSnapshot(SCHEMA, 'authenticator', { maxRows: 1 }))
  it('are TypeScript', () => assert.equal(stripTypeScriptTypes(text).trim(), ''))
  it('say of each column what is read, and what may be written', () => {
    const flat = text.replace(/\s+/g, ' ')
    assert.match(
      flat,
      /todos: \{ Row: \{ data: Json id: number label: string \| null mood: "good" \| "b\\"ad" "owner-id": string \| null size: number tags: string\[\] \| null title: string \}/,
    )
    assert.match(
      flat,
      /Insert: \{ data: Json id\?: number mood: "good" \| "b\\"ad" "owner-id"\?: string \| null size\?: never tags\?: string\[\] \| null title: string \}/,
    )
    assert.match(flat, /Update: \{ data\?: Json id\?: number/)
    assert.match(
      flat,
      /foreignKeyName: "todos_owner_fkey"; columns: \["owner-id"\]; isOneToOne: false; referencedRelation: "people"; referencedColumns: \["id"\]/,
    )
    assert.match(flat, /Views: \{ seen: \{ Row: \{ n: number \| null \} Relationships: \[\] \} \}/)
    assert.match(flat, /add: \{ Args: \{ a: number; b\?: number \}; Returns: number \}/)
    assert.match(flat, /Enums: \{ level: "low" \| "high" moods: "good" \| "b\\"ad" \}/)
    assert.match(flat, /raised: \{ Args: \{ at: "low" \| "high"; among: \("low" \| "high"\)\[\] \}; Returns: \("low" \| "high"\)\[\] \}/)
  })
  it('say what functions return by name, what they compute of a row, and whose rows they are', () => {
    const flat = text.replace(/\s+/g, ' ')
    assert.match(flat, /found: \{ Args: \{ what: string \}; Returns: \{ n: number; name: string \}\[\] \}/)
    const row = /\{ Args: \{ "": Database\["public"\]\["Tables"\]\["todos"\]\["Row"\] \}; Returns: /.source
    assert.match(
      flat,
      new RegExp(`owner: ${row}\\{ id: string \\}; SetofOptions: \\{ from: "todos"; to: "people"; isOneToOne: true; isSetofReturn: true \\} \\}`),
    )
    assert.match(flat, new RegExp(`label: ${row}string \\}`))
    assert.match(flat, /everybody: .* Returns: \{ id: string \}\[\]; SetofOptions: \{ from: "\*"; to: "people"; isOneToOne: false; isSetofReturn: true \} \}/)
  })
  it('are of the version whose words the API speaks, and have the short names of apps', () => {
    assert.match(text, /__InternalSupabase: \{ PostgrestVersion: "14" \}/)
    for (const name of ['Tables', 'TablesInsert', 'TablesUpdate', 'Enums']) assert.match(text, new RegExp(`^export type ${name}<`, 'm'))
  })
  it('say of enums of one name in two schemas which is which', () => {
    const [todos, ...others] = SCHEMA.relations
    const levels = column(8, 'levels', '_level', { baseSchema: 'api' })
    const of = { set: true, rows: 10, returnType: 'level', returnBase: 'level', returnBaseSchema: 'api' }
    const both = typesText(
      buildSnapshot(
        {
          ...SCHEMA,
          relations: [{ ...(todos as RelationRow), columns: [...(todos?.columns ?? []), levels] }, ...others],
          routines: [...SCHEMA.routines, { ...routine('raised', [], of), schema: 'api' }],
          enums: [...SCHEMA.enums, { schema: 'api', name: 'level', values: ['deep'] }],
          settings: { db_schemas: 'public, api' },
        },
        'authenticator',
        { maxRows: 1 },
      ),
    ).replace(/\s+/g, ' ')
    assert.match(both, /levels: \("deep"\)\[\]|levels: "deep"\[\]/)
    assert.match(both, /raised: \{ Args: Record<PropertyKey, never>; Returns: "deep"\[\] \}/)
    assert.match(both, /raised: \{ Args: \{ at: "low" \| "high"; among: \("low" \| "high"\)\[\] \}/)
    assert.match(both, /Enums: \{ level: "deep" \} .* Enums: \{ level: "low" \| "high" moods/)
  })
  it('compile with the client: what embeds, spreads, is computed, returned and bounded', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-types-'))
    try {
      symlinkSync(path.resolve('node_modules'), path.join(folder, 'node_modules'))
      writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}')
      writeFileSync(path.join(folder, 'database.ts'), text)
      writeFileSync(path.join(folder, 'app.ts'), APP)
      const options =
        '--ignoreConfig --noEmit --strict --module nodenext --target es2023 --lib es2023,dom --types node --skipLibCheck --allowImportingTsExtensions'
      const { status, stdout } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', ...options.split(' '), path.join(folder, 'app.ts')], {
        encoding: 'utf8',
      })
      assert.deepEqual([status, stdout], [0, ''])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

const APP = `import { createClient } from '@supabase/supabase-js'
import type { Database, Enums, Tables, TablesInsert, TablesUpdate } from './database.ts'
const db = createClient<Database>('http://localhost', 'key')
export async function app() {
  const bounded = await db.from('todos').update({ title: 'b' }).eq('id', 1).maxAffected(1).select('id').single()
  const spread = await db.from('people').select('id, ...todos(titles:title)')
  const embedded = await db.from('todos').select('label, owner(id)')
  const everybody = await db.rpc('everybody').select('id, todos(title)')
  const found = await db.rpc('found', { what: 'a' })
  const id: number | undefined = bounded.data?.id
  const titles: string[] | undefined = spread.data?.[0]?.titles
  const label: string | null | undefined = embedded.data?.[0]?.label
  const owner: string | undefined = embedded.data?.[0]?.owner?.id
  const title: string | undefined = everybody.data?.[0]?.todos[0]?.title
  const name: string | undefined = found.data?.[0]?.name
  const row: Tables<'todos'>['title'] = 'a'
  const rest: TablesInsert<'people'> & TablesUpdate<'todos'> = { id: 1 as never }
  const mood: Enums<'moods'> = 'good'
  // @ts-expect-error there is no such mood
  const none: Enums<'moods'> = 'other'
  // @ts-expect-error there is no such column
  await db.from('todos').insert({ titel: 'a' })
  // @ts-expect-error there is no such table
  return [id, titles, label, owner, title, name, row, rest, mood, none] satisfies Tables<'nothing'>[]
}
`

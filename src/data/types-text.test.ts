import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { stripTypeScriptTypes } from 'node:module'
import { buildSnapshot } from './schema/build.ts'
import { columnRow, relationRow as relation } from './schema/rows-fixture.ts'
import type { SchemaRow } from './schema/store.ts'
import { typesText } from './types-text.ts'

const column: typeof columnRow = (number, name, base, more) => columnRow(number, name, base, { nullable: false, ...more })
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
    {
      schema: 'public',
      name: 'add',
      volatility: 'v',
      set: false,
      rows: 0,
      returnType: 'int4',
      returnKind: 'b',
      returnBase: 'int4',
      returnRelation: null,
      defaults: 1,
      isVariadic: false,
      settings: null,
      description: null,
      parameters: ['a', 'b'].map((name) => ({ name, mode: 'i', type: 'integer', base: 'int4', relation: null })),
    },
  ],
  roles: [],
  settings: {},
  announced: true,
  handlers: [],
}

describe('the types of a schema', () => {
  const text = typesText(buildSnapshot(SCHEMA, 'authenticator', { maxRows: 1 }))
  it('are TypeScript', () => assert.equal(stripTypeScriptTypes(text).trim(), ''))
  it('say of each column what is read, and what may be written', () => {
    const flat = text.replace(/\s+/g, ' ')
    assert.match(
      flat,
      /todos: \{ Row: \{ data: Json id: number mood: "good" \| "b\\"ad" "owner-id": string \| null size: number tags: string\[\] \| null title: string \}/,
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
    assert.match(flat, /Enums: \{ moods: "good" \| "b\\"ad" \}/)
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { openapiOf } from './openapi.ts'
import { buildSnapshot } from './schema/build.ts'
import { columnRow as column, relationRow as table } from './schema/rows-fixture.ts'

const SNAPSHOT = buildSnapshot(
  {
    relations: [table('1', 'a', [column(1, 'id', 'int4', { nullable: false }), column(2, 'b_id', 'int8')]), table('2', 'b', [column(1, 'id', 'int8')])],
    foreignKeys: [{ name: 'a_b', from: '1', to: '2', fromColumns: [2], toColumns: [1] }],
    routines: [],
    enums: [],
    roles: [],
    settings: {},
    announced: true,
    acts_outside: false,
    leaves_settings: false,
    handlers: [],
  },
  'authenticator',
  { maxRows: 1 },
)

describe('the document of a schema', () => {
  const of = (relations: string[]) =>
    openapiOf(SNAPSHOT, 'public', { relations, routines: [], description: 'Title\n\nmore' }, new URL('http://h:1/p/x/rest/v1')) as {
      info: object
      basePath: string
      host: string
      paths: object
      definitions: Record<string, { properties: Record<string, { description?: string }> }>
    }
  it('names what may be used, and nothing else', () => {
    assert.deepEqual(Object.keys(of(['b', 'gone']).paths), ['/', '/b'])
    assert.deepEqual(Object.keys(of([]).definitions), [])
  })
  it('says where it is served, what it is, and which columns lead elsewhere', () => {
    const { info, basePath, host, definitions } = of(['a', 'b'])
    assert.deepEqual([info, basePath, host], [{ title: 'Title', description: 'more', version: '14' }, '/p/x/rest/v1', 'h:1'])
    assert.equal(definitions.a?.properties.b_id?.description, "Note:\nThis is a Foreign Key to `b.id`.<fk table='b' column='id'/>")
    assert.equal(definitions.b?.properties.id?.description, 'Note:\nThis is a Primary Key.<pk/>')
  })
})

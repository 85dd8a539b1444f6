import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../../core/limits.ts'
import { MayflyError } from '../../core/errors.ts'
import { Turns } from '../../lib/turns.ts'
import { DataError } from '../errors.ts'
import { parseFilter, parseLogic, parseOrder, parseTreePath } from './filters.ts'
import { contentTypeOf } from '../plan/negotiate.ts'
import { parseAccept } from './media.ts'
import { parseCsv, parsePayload } from './payload.ts'
import { parsePreferences } from './preferences.ts'
import { type Incoming, readQuery, readRequest } from './request.ts'
import { parseNames, parseSelect } from './select.ts'

const refused = (code: string) => (error: unknown) => error instanceof DataError && error.code === code
const field = (name: string, more: object = {}) => ({
  kind: 'field',
  field: { name, path: [] },
  alias: null,
  cast: null,
  aggregate: null,
  aggregateCast: null,
  ...more,
})
const read = (more: Partial<Incoming>) =>
  readRequest({ method: 'GET', path: 't', rawQuery: '', headers: {}, body: async () => Buffer.alloc(0), clock: { monotonic: () => 0 }, ...more })

describe('the grammar of select', () => {
  it('reads names, aliases, casts and ways into documents', () => {
    assert.deepEqual(parseSelect('a, b:c ,d::text,"x,y\\"z"'), [field('a'), field('c', { alias: 'b' }), field('d', { cast: 'text' }), field('x,y"z')])
    const path = [
      { asText: false, key: 'a' },
      { asText: false, index: -1 },
      { asText: true, key: 'b.c' },
    ]
    assert.deepEqual(parseSelect('data->a->-1->>"b.c"'), [field('data', { field: { name: 'data', path } })])
    assert.deepEqual(parseSelect('x:data->0::int'), [field('data', { field: { name: 'data', path: [{ asText: false, index: 0 }] }, alias: 'x', cast: 'int' })])
    assert.deepEqual(parseSelect('날짜,a-b'), [field('날짜'), field('a-b')])
    assert.deepEqual(parseSelect(''), [])
  })
  it('reads aggregates', () => {
    assert.deepEqual(parseSelect('n:a.sum()::text,count(),c:count()'), [
      field('a', { alias: 'n', aggregate: 'sum', aggregateCast: 'text' }),
      field('', { field: null, aggregate: 'count' }),
      field('', { field: null, alias: 'c', aggregate: 'count' }),
    ])
    assert.deepEqual(parseSelect('a::int.max()'), [field('a', { cast: 'int', aggregate: 'max' })])
  })
  it('reads embeds with hints, joins and spreads', () => {
    assert.deepEqual(parseSelect('*,x:b!fk!inner(c,...d(e)),f()'), [
      field('*'),
      {
        kind: 'embed',
        name: 'b',
        alias: 'x',
        hint: 'fk',
        join: 'inner',
        isSpread: false,
        items: [field('c'), { kind: 'embed', name: 'd', alias: null, hint: null, join: null, isSpread: true, items: [field('e')] }],
      },
      { kind: 'embed', name: 'f', alias: null, hint: null, join: null, isSpread: false, items: [] },
    ])
  })
  it('refuses what is no list of columns, however it is broken', () => {
    for (const text of ['a,', ',a', 'a(', 'a)b', 'a::', 'a->', 'a->>', '"a', 'a;b', "a'b", 'a.b', 'a.drop()', 'a--b c(', '...', 'a!', 'a b(c', '\0'])
      assert.throws(() => parseSelect(text), refused('PGRST100'), text)
  })
  it('goes no deeper than the limit', () => {
    const nested = (depth: number) => `${'a('.repeat(depth)}b${')'.repeat(depth)}`
    assert.equal(parseSelect(nested(LIMITS.embedDepth.value)).length, 1)
    assert.throws(() => parseSelect(nested(LIMITS.embedDepth.value + 1)), refused('PGRST100'))
    assert.throws(() => parseSelect(nested(100_000)), refused('PGRST100'))
  })
  it('reads lists of names', () => {
    assert.deepEqual(parseNames('"a b",c', 'columns parameter'), ['a b', 'c'])
    assert.throws(() => parseNames('a,,b', 'columns parameter'), refused('PGRST100'))
  })
})

describe('the grammar of conditions', () => {
  const a = { name: 'a', path: [] }
  const operation = (text: string) => parseFilter(a, text).operation
  it('reads operators with their values to the end', () => {
    assert.deepEqual(parseFilter(a, 'not.eq.x,"y").z'), {
      kind: 'filter',
      field: a,
      isNegated: true,
      operation: { kind: 'compare', operator: '=', quantifier: null, value: 'x,"y").z' },
    })
    assert.deepEqual(operation('like(any).{a*,b}'), { kind: 'compare', operator: 'like', quantifier: 'any', value: '{a%,b}' })
    assert.deepEqual(operation('match.a*'), { kind: 'compare', operator: '~', quantifier: null, value: 'a*' })
    assert.deepEqual(operation('fts(english).a & b'), { kind: 'search', call: 'to_tsquery', language: 'english', value: 'a & b' })
    assert.deepEqual(operation('is.NOT_NULL'), { kind: 'is', value: 'not_null' })
    assert.deepEqual(operation('isdistinct.1'), { kind: 'distinct', value: '1' })
  })
  it('reads lists with quotes', () => {
    assert.deepEqual(operation('in.(1,"a,b","q\\"x\\\\",)'), { kind: 'in', values: ['1', 'a,b', 'q"x\\', ''] })
    assert.deepEqual(operation('in.()'), { kind: 'in', values: [] })
  })
  it('refuses all else', () => {
    for (const text of [
      '',
      '5',
      'abc.1',
      'eq',
      'not.5',
      'is.nul',
      'is.nullx',
      'in.1',
      'in.(1',
      'in.(1)x',
      'neq(any).1',
      'fts().x',
      'eq(some).1',
      'not.not.eq.1',
      'constructor.1',
    ])
      assert.throws(() => parseFilter(a, text), refused('PGRST100'), text)
  })
  it('tells where a condition cannot be read', () => {
    assert.throws(
      () => parseFilter(a, 'abc.1'),
      (error: DataError) => {
        assert.equal(error.message, '"failed to parse filter (abc.1)" (line 1, column 1)')
        assert.match(String(error.details), /^unexpected "a" expecting "not" or operator \(eq, gt, \.\.\.\)$/)
        return true
      },
    )
  })
  it('reads trees, whose values end at commas and brackets', () => {
    const tree = parseLogic('or', true, '(a.gte.0,not.and(b.eq."x,)",c.not.in.(1,2)),d->>e.cs.{1,2},f.is.null)')
    assert.deepEqual([tree.kind, tree.isNegated, tree.of.length], ['or', true, 4])
    assert.deepEqual(tree.of[1], {
      kind: 'and',
      isNegated: true,
      of: [
        { kind: 'filter', field: { name: 'b', path: [] }, isNegated: false, operation: { kind: 'compare', operator: '=', quantifier: null, value: 'x,)' } },
        { kind: 'filter', field: { name: 'c', path: [] }, isNegated: true, operation: { kind: 'in', values: ['1', '2'] } },
      ],
    })
    assert.deepEqual(tree.of[2], {
      kind: 'filter',
      field: { name: 'd', path: [{ asText: true, key: 'e' }] },
      isNegated: false,
      operation: { kind: 'compare', operator: '@>', quantifier: null, value: '{1,2}' },
    })
    for (const text of ['a.eq.1', '(a.eq.1', '(a.eq.1))', '()', '(a.eq.1,)', '(a)'])
      assert.throws(() => parseLogic('and', false, text), refused('PGRST100'), text)
    const nested = (depth: number) => `${'(and'.repeat(depth)}(a.eq.1)${')'.repeat(depth)}`
    assert.equal(parseLogic('and', false, nested(LIMITS.logicDepth.value)).of.length, 1)
    assert.throws(() => parseLogic('and', false, nested(LIMITS.logicDepth.value + 1)), refused('PGRST100'))
  })
  it('reads `not` before a condition in a tree', () => {
    const tree = parseLogic('or', false, '(not.a.eq.1,a.not.eq.1)')
    assert.deepEqual(tree.of[0], tree.of[1])
  })
  it('reads orders and ways to embeds', () => {
    assert.deepEqual(parseOrder('a,b->c.desc.nullslast,r(d).asc,"x.y".nullsfirst'), [
      { field: a, relation: null, direction: null, nulls: null },
      { field: { name: 'b', path: [{ asText: false, key: 'c' }] }, relation: null, direction: 'desc', nulls: 'last' },
      { field: { name: 'd', path: [] }, relation: 'r', direction: 'asc', nulls: null },
      { field: { name: 'x.y', path: [] }, relation: null, direction: null, nulls: 'first' },
    ])
    for (const text of ['a.down', 'a;', 'a.desc.asc', 'a desc)', '']) assert.throws(() => parseOrder(text), refused('PGRST100'), text)
    assert.deepEqual(parseTreePath('r."x.y".a->>b'), { path: ['r', 'x.y'], value: { name: 'a', path: [{ asText: true, key: 'b' }] } })
  })
})

describe('a query', () => {
  it('knows conditions, modifiers and reserved words', () => {
    const query = readQuery(
      'select=a&a=eq.1&r.b=gt.2&order=a&r.order=b&limit=3&r.offset=1&r.or=(b.eq.1)&not.and=(a.eq.1)&flag&a=lt.5&columns=a&on_conflict=a',
      false,
    )
    assert.deepEqual(
      query.filters.map(({ path, value }) => [...path, value.field.name]),
      [['a'], ['r', 'b'], ['a']],
    )
    assert.deepEqual(
      query.logic.map(({ path, value }) => [path, value.kind, value.isNegated]),
      [
        [['r'], 'or', false],
        [[], 'and', true],
      ],
    )
    assert.deepEqual(query.ranges, [
      { path: [], value: { offset: 0, max: 3 } },
      { path: ['r'], value: { offset: 1, max: null } },
    ])
    assert.deepEqual([query.columns, query.onConflict], [['a'], ['a']])
  })
  it('takes what is no condition for an argument of a function that is read', () => {
    const query = readQuery('a=1&b=eq.x&c=not.in.(1)&d=equals.1&e=a.b', true)
    assert.deepEqual(query.arguments, [
      ['a', '1'],
      ['d', 'equals.1'],
      ['e', 'a.b'],
    ])
    assert.equal(query.filters.length, 2)
    assert.throws(() => readQuery('a=1', false), refused('PGRST100'))
  })
  it('a plus is a blank, and any bytes are only text', () => {
    assert.deepEqual(readQuery('a=eq.x+y%2B%27%3B--', false).filters[0]?.value.operation, {
      kind: 'compare',
      operator: '=',
      quantifier: null,
      value: "x y+';--",
    })
  })
  it('reads what is not encoded as what it would be if it were', () => {
    const asked = [
      'id=eq.1',
      'b=eq.2&a=eq.1&b=eq.1',
      'select=id,name&order=id.desc',
      '?id=eq.1',
      'id=eq.a=b&&x',
      'a%2eb=eq.1',
      'id=eq.%C3%A9+%26',
      'id=eq.\u00e9',
      'n=eq.~tilde!(x)',
      'constructor=eq.1',
    ]
    for (const text of asked) {
      const all = text
        .split('&')
        .filter((part) => part.includes('='))
        .flatMap((part) => [...new URLSearchParams(part)])
      const sorted = new URLSearchParams(all.toSorted(([a], [b]) => ((a as string) < (b as string) ? -1 : (a as string) > (b as string) ? 1 : 0)))
      const read = readQuery(text, false)
      assert.equal(read.canonicalQuery, sorted.toString(), text)
      assert.deepEqual(
        read.filters.map(({ value: { field, operation } }) => [field.name, operation.kind === 'compare' ? operation.value : null]),
        all.filter(([key]) => key !== 'select' && key !== 'order').map(([key = '', value = '']) => [key.split('.').at(-1), value.replace('eq.', '')]),
        text,
      )
    }
  })
  it('refuses limits below nothing', () => assert.throws(() => readQuery('limit=-1', false), refused('PGRST103')))
})

describe('a request', () => {
  it('has a target and an action', async () => {
    assert.deepEqual((await read({ path: 'a%20b' })).target, { kind: 'relation', name: 'a b' })
    assert.deepEqual([(await read({ path: 'rpc/f', method: 'POST' })).action, (await read({ path: 'rpc/f' })).isRead], ['call', true])
    await assert.rejects(read({ path: 'rpc/f', method: 'PATCH' }), refused('PGRST101'))
    await assert.rejects(read({ path: 'a/b' }), refused('PGRST125'))
    await assert.rejects(read({ method: 'TRACE' }), refused('PGRST117'))
    await assert.rejects(read({ method: 'constructor' }), refused('PGRST117'))
  })
  it('has a range by header and by query, of which both hold', async () => {
    assert.deepEqual((await read({ headers: { range: '2-9' }, rawQuery: 'limit=3&offset=1' })).ranges, [{ path: [], value: { offset: 2, max: 2 } }])
    assert.deepEqual((await read({ headers: { range: '5-' } })).ranges, [{ path: [], value: { offset: 5, max: null } }])
    assert.deepEqual((await read({ headers: { range: 'bytes=0-1' } })).ranges, [])
    await assert.rejects(read({ headers: { range: '9-2' } }), refused('PGRST103'))
  })
  it('is of the schema that its profile names', async () => {
    const headers = { 'accept-profile': 'a', 'content-profile': 'b' }
    const body = async () => Buffer.from('{}')
    assert.deepEqual([(await read({ headers })).profile, (await read({ headers, method: 'POST', body })).profile], ['a', 'b'])
  })
})

describe('preferences', () => {
  it('of each kind the first counts', () => {
    const said = parsePreferences('count=exact,return=minimal, return=representation,foo=bar')
    assert.deepEqual([said.count, said.return, said.maxAffected], ['exact', 'minimal', null])
    assert.deepEqual([parsePreferences('timezone=Asia/Seoul').timezone, parsePreferences('timezone=Moon/Sea').timezone], ['Asia/Seoul', null])
    assert.equal(parsePreferences('max-affected=2').maxAffected, null)
    assert.equal(parsePreferences('handling=strict,max-affected=2').maxAffected, 2)
  })
  it('refuses unknown ones when it is asked to', () => {
    assert.equal(parsePreferences('timezone=+05:30').timezone, null)
    assert.throws(
      () => parsePreferences('handling=strict, a=b, count=some'),
      (error: DataError) => error.code === 'PGRST122' && error.details === 'Invalid preferences: a=b, count=some',
    )
  })
})

describe('media types', () => {
  it('are tried as they are wanted', () => {
    assert.deepEqual(
      parseAccept('text/csv;q=0.5, application/vnd.pgrst.object+json;nulls=stripped, image/png;q=0').map((type) => type.kind),
      ['object', 'csv'],
    )
    const [plan] = parseAccept('application/vnd.pgrst.plan+json; for="application/json"; options=analyze|verbose|drop;')
    assert.deepEqual(plan, { kind: 'plan', format: 'json', of: 'application/json', options: ['analyze', 'verbose'] })
    assert.equal(contentTypeOf({ kind: 'object', isStripped: true }), 'application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8')
    assert.deepEqual(
      ['', '*/*', 'application/*', 'application/json'].map((accept) => parseAccept(accept)[0]?.kind),
      ['any', 'any', 'any', 'json'],
    )
  })
})

describe('bodies', () => {
  const json = (text: string, columns: string[] | null = null, isCall = false) =>
    parsePayload(Buffer.from(text), 'application/json; charset=utf-8', columns, isCall, clock)
  const clock = { monotonic: () => 0 }
  const csv = (text: string) => parseCsv(text, new Turns(clock, 5))
  it('JSON keeps its text, and its keys are known', async () => {
    const body = await json('[{"a":9007199254740993},{"a":1}]')
    assert.deepEqual(body, { kind: 'json', text: '[{"a":9007199254740993},{"a":1}]', isArray: true, isEmpty: false, keys: ['a'] })
    assert.deepEqual(await json('5'), { kind: 'json', text: '[]', isArray: true, isEmpty: true, keys: [] })
    await assert.rejects(() => json('[{"a":1},{"b":1}]'), refused('PGRST102'))
    await assert.rejects(() => json('[{"a":1},5]'), refused('PGRST102'))
    await assert.rejects(() => json('{'), refused('PGRST102'))
    await assert.rejects(() => json(''), refused('PGRST102'))
    assert.deepEqual(((await json('', null, true)) as { text: string }).text, '{}')
    assert.deepEqual(((await json('[{"a":1},{"b":1}]', ['a', 'b'])) as { keys: readonly string[] }).keys, ['a', 'b'])
    assert.deepEqual(((await json('{"__proto__":1,"constructor":2}')) as { keys: readonly string[] }).keys, ['__proto__', 'constructor'])
  })
  it('CSV and forms become rows', async () => {
    const rows = await csv('a,b\r\n1,"x,""y"""\r\n\r\nNULL,\n"NULL",z')
    assert.deepEqual([rows.names, rows.isEmpty], [['a', 'b'], false])
    assert.deepEqual(JSON.parse(rows.text), [
      { a: '1', b: 'x,"y"' },
      { a: null, b: '' },
      { a: 'NULL', b: 'z' },
    ])
    await assert.rejects(() => csv('a,b\n1'), refused('PGRST102'))
    await assert.rejects(() => csv('a\n"1'), refused('PGRST102'))
    await assert.rejects(() => csv('a\n"1"2'), refused('PGRST102'))
    assert.deepEqual(await csv('a,b\n'), { text: '[]', names: ['a', 'b'], isEmpty: true })
    const form = await parsePayload(Buffer.from('a=1&b=x+y'), 'application/x-www-form-urlencoded', null, false, clock)
    assert.equal((form as { text: string }).text, '{"a":"1","b":"x y"}')
    await assert.rejects(() => parsePayload(Buffer.from('x'), 'text/plain', null, false, clock), refused('PGRST102'))
    assert.equal((await parsePayload(Buffer.from('x'), 'text/plain', null, true, clock)).kind, 'raw')
  })
  it('that would be far more as rows than they are as bytes are refused', async () => {
    const isTooLarge = (error: unknown) => error instanceof MayflyError && error.code === 'payload_too_large'
    await assert.rejects(() => csv(`${'n'.repeat(1_000_000)}\n${'1\n'.repeat(100)}`), isTooLarge)
    assert.equal((await csv(`a${'\n'.repeat(100_000)}`)).text, '[]')
    await assert.rejects(() => parsePayload(Buffer.from('a&'.repeat(2_000)), 'application/x-www-form-urlencoded', null, false, clock), refused('PGRST102'))
  })
})

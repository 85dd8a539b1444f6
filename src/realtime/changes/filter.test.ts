import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { LIMITS } from '../../core/limits.ts'
import { type Condition, FilterError, fulfils, isLike, parseFilter } from './filter.ts'
import type { SqlType } from './values.ts'

const type = (base: string, category: string): SqlType => ({ oid: 1, name: base, sql: base, category, base, element: null })
const int8 = type('int8', 'N')
const numeric = type('numeric', 'N')
const text = type('text', 'S')
const timestamptz = type('timestamptz', 'D')
const holds = (of: SqlType, filter: string, value: string | null | undefined) =>
  parseFilter(filter).every((condition: Condition) => fulfils({ ...condition, type: of }, value))

describe('filters of row changes', () => {
  it('are read by their grammar', () => {
    const read = (filter: string) => parseFilter(filter).map(({ column, operator, negated, values }) => [column, operator, negated, ...values])
    const rows: [string, unknown[][]][] = [
      ['id=eq.1', [['id', 'eq', false, '1']]],
      ['a=eq.x.y=z', [['a', 'eq', false, 'x.y=z']]],
      [
        'a=in.(1,"2,3",x),b=not.is.null',
        [
          ['a', 'in', false, '1', '2,3', 'x'],
          ['b', 'is', true, 'null'],
        ],
      ],
      ['"odd, name"=eq."a,\\"b"', [['odd, name', 'eq', false, 'a,"b']]],
      ['a=like.%x\\_%', [['a', 'like', false, '%x\\_%']]],
    ]
    for (const [filter, expected] of rows) assert.deepEqual(read(filter), expected, filter)
    for (const bad of ['', 'id', 'id=1', 'id=eqq.1', 'id=in.1', 'id=in.(1', '"id=eq.1', 'id=is.maybe', `id=in.(${'1,'.repeat(100)}1)`])
      assert.throws(() => parseFilter(bad), FilterError, bad)
  })
  it('are bounded: realtimeFilter characters, realtimeConditions conditions', () => {
    const { realtimeFilter, realtimeConditions } = LIMITS
    const of = (length: number) => `a=eq.${'x'.repeat(length - 5)}`
    assert.equal(parseFilter(of(realtimeFilter.value)).length, 1)
    assert.throws(() => parseFilter(of(realtimeFilter.value + 1)), FilterError)
    const many = (count: number) => Array.from({ length: count }, () => 'a=eq.1').join(',')
    assert.equal(parseFilter(many(realtimeConditions.value)).length, realtimeConditions.value)
    assert.throws(() => parseFilter(many(realtimeConditions.value + 1)), FilterError)
    // What clients are promised fits: a hundred uuids.
    assert.equal(parseFilter(`id=in.(${Array.from({ length: 100 }, () => crypto.randomUUID()).join(',')})`).length, 1)
  })
  it('give a pattern up that costs more than realtimeLikeSteps a letter, and only such a one', () => {
    const { value: steps } = LIMITS.realtimeLikeSteps
    const text = 'a'.repeat(20_000)
    // Each start of a run of n letters is compared n times: it fits below the bound, and is given up past it.
    assert.equal(isLike(`${text}b`, `%${'a'.repeat(steps - 2)}b`), true)
    assert.equal(isLike(`${text}b`, `%${'a'.repeat(steps * 4)}b`), false)
  })
  it('any text is a filter or a FilterError', () => {
    fc.assert(
      fc.property(fc.string(), (any) => {
        try {
          parseFilter(any)
        } catch (error) {
          assert.ok(error instanceof FilterError)
        }
      }),
    )
  })
  it('compare as PostgreSQL does', () => {
    const rows: [SqlType, string, string | null | undefined, boolean][] = [
      [int8, 'a=gt.9', '10', true],
      [int8, 'a=eq.9007199254740993', '9007199254740992', false],
      [numeric, 'a=eq.1.50', '1.5', true],
      [numeric, 'a=gt.-1.5', '-1.49', true],
      [numeric, 'a=lt.NaN', '1e400', true],
      [text, 'a=lt.b', 'B', true],
      [text, 'a=gt.\uffff', '\u{1f600}', true],
      [timestamptz, 'a=lt.2026-01-01 00:00:00.5+00', '2026-01-01 00:00:00.25+00', true],
      [timestamptz, 'a=gt.9999-01-01 00:00:00+00', '10000-01-01 00:00:00+00', true],
      [timestamptz, 'a=lt.infinity', '10000-01-01 00:00:00+00', true],
      [text, 'a=neq.x', null, false],
      [text, 'a=not.eq.x', null, false],
      [text, 'a=isdistinct.x', null, true],
      [text, 'a=eq.x', undefined, false],
      [text, 'a=not.eq.x', undefined, false],
      [type('bool', 'B'), 'a=is.true', 't', true],
      [type('bool', 'B'), 'a=is.false', null, false],
      [type('bpchar', 'S'), 'a=eq.x', 'x   ', true],
    ]
    for (const [of, filter, value, expected] of rows) assert.equal(holds(of, filter, value), expected, `${filter} of ${value}`)
    fc.assert(fc.property(fc.bigInt(), fc.bigInt(), (a, b) => assert.equal(holds(int8, `a=lt.${b}`, String(a)), a < b)))
  })
  it('like is what SQL says, in no more time than the text is long for each piece of the pattern', () => {
    const letters = fc.stringMatching(/^[ab%_\\]{0,8}$/)
    fc.assert(
      fc.property(fc.stringMatching(/^[ab]{0,10}$/), letters, (subject, pattern) => {
        const source = pattern.replace(/\\(.)|[%_\\]/g, (all, escaped: string | undefined) =>
          escaped !== undefined ? escaped.replace(/[\\%_]/, (one) => `\\${one}`) : all === '%' ? '[^]*' : all === '_' ? '[^]' : '\\\\',
        )
        assert.equal(isLike(subject, pattern), new RegExp(`^${source}$`).test(subject), pattern)
      }),
    )
    const from = performance.now()
    assert.equal(isLike('a'.repeat(20_000), `${'%a'.repeat(50)}%b`), false)
    assert.ok(performance.now() - from < 2_000)
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { logPattern, logPatternFault } from './log-pattern.ts'

const fits = (pattern: string, lines: readonly string[]) => lines.map((line) => logPattern(pattern)(line))

describe('a filter pattern of terms', () => {
  // Examples of the documentation of CloudWatch Logs.
  it('asks for all of its terms, in capitals or small letters as they are', () => {
    assert.deepEqual(fits('ERROR', ['[ERROR 400] BAD REQUEST', 'error', 'ERRORS']), [true, false, true])
    assert.deepEqual(fits('ERROR ARGUMENTS', ['[ERROR 419] MISSING ARGUMENTS', '[ERROR 400] BAD REQUEST']), [true, false])
    assert.deepEqual(fits('  ', ['', 'anything']), [true, true])
  })
  it('takes phrases, terms that must not be, and those of which one has to be', () => {
    assert.deepEqual(fits('"INTERNAL SERVER ERROR"', ['[ERROR 500] INTERNAL SERVER ERROR', 'SERVER INTERNAL ERROR']), [true, false])
    assert.deepEqual(fits('"a \\"b\\" \\\\"', ['x a "b" \\ y', 'a b']), [true, false])
    assert.deepEqual(fits('ERROR -ARGUMENTS', ['[ERROR 400] BAD REQUEST', '[ERROR 419] MISSING ARGUMENTS']), [true, false])
    assert.deepEqual(fits('?ERROR ?ARGUMENTS', ['ERROR', 'MISSING ARGUMENTS', 'fine']), [true, true, false])
    assert.deepEqual(fits('?ERROR ?WARN -"no matter"', ['WARN x', 'ERROR no matter']), [true, false])
    assert.deepEqual(fits('-"a b"', ['a b', 'ab', '']), [false, true, true])
  })
})

describe('a filter pattern of JSON', () => {
  const line = JSON.stringify({
    eventType: 'UpdateTrail',
    sourceIPAddress: '111.111.111.111',
    arrayKey: ['value', 'another value'],
    objectList: [
      { name: 'a', id: 1 },
      { name: 'b', id: 2 },
    ],
    SomeObject: null,
    cluster: { 'c.name': 'c' },
    level: 'error',
    ms: 120.5,
    text: '42',
    yes: true,
    no: false,
  })
  const is = (pattern: string) => logPattern(pattern)(line)

  it('compares texts, with stars, and numbers', () => {
    for (const pattern of [
      '{ $.eventType = "UpdateTrail" }',
      '{ $.eventType = UpdateTrail }',
      '{$.eventType="Update*"}',
      '{ $.sourceIPAddress != 123.123.* }',
      '{ $.sourceIPAddress = 111.111.* }',
      '{ $.arrayKey[0] = "value" }',
      '{ $.objectList[1].id = 2 }',
      '{ $.arrayKey[*] = "another*" }',
      '{ $.objectList[*].name = "b" }',
      '{ $.cluster["c.name"] = "c" }',
      '{ $.level = "error" && $.ms > 100 }',
      '{ $.ms >= 120.5 && $.ms <= 1.205e2 }',
      '{ $.ms < 121 }',
      '{ $.text > 41 }',
      '{ $.text = 42.0 }',
      '{ ($.level = "warn" || $.level = "error") && ($.ms != 7) }',
      '{ $.level = x || $.ms > 100 && $.eventType = U* }',
      '{ $.yes IS TRUE }',
      '{ $.no IS FALSE }',
      '{ $.yes = true }',
      '{ $.SomeObject IS NULL }',
      '{ $.SomeOtherObject NOT EXISTS }',
      '{ $.SomeObject EXISTS }',
    ])
      assert.ok(is(pattern), pattern)
    for (const pattern of [
      '{ $.eventType = "updateTrail" }',
      '{ $.arrayKey = "value" }',
      '{ $.arrayKey[2] EXISTS }',
      '{ $.absent != "x" }',
      '{ $.absent = "*" }',
      '{ $.level > 3 }',
      '{ $.ms > 120.5 }',
      '{ $.text = "42.0" }',
      '{ $.eventType NOT EXISTS }',
      '{ $.absent IS NULL }',
      '{ $.toString EXISTS }',
      '{ $.arrayKey.length EXISTS }',
      '{ $.eventType = "Update*Tail" }',
    ])
      assert.ok(!is(pattern), pattern)
  })
  it('looks behind what Lambda writes before a line, and at no line that is none', () => {
    const test = logPattern('{ $.level = "error" }')
    assert.ok(test('2026-01-01T00:00:00.000Z\t6a7e8feb-b491-4cf7-a9f1-bf3703467718\tINFO\t{"level":"error"}'))
    for (const none of ['level error', '{"level":"error"', '', '"error"', `${'['.repeat(60_000)}`, 'x {"level":"error"}']) assert.equal(test(none), false)
  })
})

describe('a filter pattern of fields', () => {
  const line = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache.gif HTTP/1.0" 404 1534'
  it('holds each field, or those before and behind the dots', () => {
    for (const pattern of [
      '[ip, user, username, timestamp, request, status_code, bytes]',
      '[ip, user, username, timestamp, request = "GET *", status_code = 4*, bytes > 1000]',
      '[..., status_code = 4*, bytes]',
      '[ip = 127.*, ...]',
      '[ip, ..., bytes >= 1534]',
      '[ip, user, username = frank || username = joe, ...]',
      '[..., status_code = 404 && status_code != 500, bytes]',
      '[...]',
    ])
      assert.ok(logPattern(pattern)(line), pattern)
    for (const pattern of [
      '[ip, user]',
      '[..., status_code = 5*, bytes]',
      '[ip, user, username, timestamp, request, status_code, bytes, more]',
      '[ip != 127.*, ...]',
    ])
      assert.ok(!logPattern(pattern)(line), pattern)
    assert.ok(logPattern('[time, id, level = ERROR, ...]')('2026-01-01T00:00:00.000Z\tid\tERROR\toh no'))
  })
})

describe('filter patterns', () => {
  it('that are none are told in words', () => {
    for (const [pattern, told] of [
      ['"open', /quote is not ended/],
      ['-', /a term is missing/],
      ['%a+%', /regular expressions/],
      ['{ $.a = %x% }', /regular expressions/],
      ['ERROR ?WARN', /cannot stand beside/],
      ['{ a = 1 }', /`\$` is missing/],
      ['{ $.a }', /`=`, `!=`/],
      ['{ $.a = 1 ', /`}` is missing/],
      ['{ $.a = 1 } x', /nothing may follow/],
      ['{ $ = 1 }', /written as/],
      ['{ $.a > x }', /takes a number/],
      ['{ $.a IS 3 }', /TRUE, FALSE or NULL/],
      ['{ $.a NOT 3 }', /NOT EXISTS/],
      ['[a, ..., b, ...]', /once/],
      ['[a = 1 || b = 2]', /cannot be one of/],
      ['[a', /`,` is missing|`\]`/],
      [`{ ${'('.repeat(20)}$.a = 1${')'.repeat(20)} }`, /deeper than 16/],
      ['x'.repeat(1_025), /1024/],
      ['x '.repeat(65), /64 terms/],
    ] as const)
      assert.match(logPatternFault(pattern) ?? 'no fault', told, pattern)
  })
  it('are read or refused, and never fail, whatever they are and the line is', () => {
    const bits = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '(',
      ')',
      '$',
      '.',
      '*',
      '"',
      '\\',
      '=',
      '!=',
      '>',
      '&&',
      '||',
      ' ',
      ',',
      '...',
      '-',
      '?',
      '%',
      'a',
      '1',
      'IS',
      'NULL',
    )
    const texts = fc.oneof(
      fc.string(),
      fc.array(bits, { maxLength: 24 }).map((all) => all.join('')),
      fc.json(),
    )
    fc.assert(
      fc.property(texts, texts, (pattern, line) => {
        if (logPatternFault(pattern) === null) assert.equal(typeof logPattern(pattern)(line), 'boolean')
      }),
      { numRuns: 2_000 },
    )
  })
  it('of terms say what looking for each of them says', () => {
    const term = fc.stringMatching(/^[a-c]{1,3}$/)
    const line = fc.stringMatching(/^[a-c ]{0,12}$/)
    fc.assert(
      fc.property(fc.array(term, { minLength: 1, maxLength: 3 }), fc.array(term, { maxLength: 2 }), line, (all, none, text) => {
        const pattern = [...all, ...none.map((one) => `-${one}`)].join(' ')
        assert.equal(logPattern(pattern)(text), all.every((one) => text.includes(one)) && !none.some((one) => text.includes(one)))
      }),
    )
  })
  it('with stars fit what an expression with `.*` in their place fits', () => {
    const wanted = fc.stringMatching(/^[ab*]{1,6}$/)
    const text = fc.stringMatching(/^[ab]{0,8}$/)
    fc.assert(
      fc.property(wanted, text, (pattern, value) => {
        const expected = new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(value)
        assert.equal(logPattern(`{ $.v = "${pattern}" }`)(JSON.stringify({ v: value })), expected)
      }),
      { numRuns: 1_000 },
    )
  })
})

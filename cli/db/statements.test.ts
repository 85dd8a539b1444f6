import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isBlank, splitStatements } from './statements.ts'

const texts = (script: string) => splitStatements(script, true).pieces.map(({ text }) => text)

describe('scripts are cut into statements', () => {
  it('at semicolons, and nowhere inside quotes, comments and brackets', () => {
    assert.deepEqual(texts("select 1; select ';''' ; select \"a;b\";\n-- no; \nselect 2 /* ; /* ; */ ; */ ;"), [
      'select 1',
      "select ';'''",
      'select "a;b"',
      'select 2 /* ; /* ; */ ; */',
    ])
    assert.deepEqual(texts("select E'\\';' ; select 'a\\'; select 3"), ["select E'\\';'", "select 'a\\'", 'select 3'])
    assert.deepEqual(texts('create rule r as on insert to t do also (delete from a; delete from b); select 1'), [
      'create rule r as on insert to t do also (delete from a; delete from b)',
      'select 1',
    ])
    assert.deepEqual(texts(' ;; -- nothing\n ; /* at all */'), [])
  })
  it('not in dollar quotes, whatever their tag, nor in a body of standard SQL', () => {
    const body = 'do $한$ begin perform $$;$$; end $한$'
    assert.deepEqual(texts(`${body}; select a$b$ from t; select $1`), [body, 'select a$b$ from t', 'select $1'])
    const routine = 'create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end'
    assert.deepEqual(texts(`${routine}; begin; commit; end;`), [routine, 'begin', 'commit', 'end'])
  })
  it('tells the line of each, and keeps what is not ended', () => {
    const { pieces, rest, restLine } = splitStatements("select 1;\n\n-- two\nselect\n 2; select 'not\nended", false)
    assert.deepEqual(
      pieces.map(({ line }) => line),
      [1, 4],
    )
    assert.equal(rest.trim(), "select 'not\nended")
    assert.equal(restLine, 5)
    assert.ok(isBlank(splitStatements('  -- a word\n', false).rest) && !isBlank(rest))
  })
  it('takes commands by themselves, and stops in front of the rows behind COPY', () => {
    const script = "\\dt\nselect 1;\n\\x\ncopy t from stdin;\na;\tb'\nc\n\\.\nselect 2;"
    const { pieces, rest, restLine, copies } = splitStatements(script, true)
    assert.deepEqual(
      pieces.map(({ kind, text, line }) => [kind, text, line]),
      [
        ['command', '\\dt', 1],
        ['statement', 'select 1', 2],
        ['command', '\\x', 3],
        ['statement', 'copy t from stdin', 4],
      ],
    )
    assert.deepEqual([rest, restLine, copies], ["a;\tb'\nc\n\\.\nselect 2;", 5, true])
    // Until its line is ended nobody knows where they begin.
    assert.deepEqual(
      splitStatements('select 1; copy t from stdin; ', false).pieces.map(({ text }) => text),
      ['select 1'],
    )
  })
})

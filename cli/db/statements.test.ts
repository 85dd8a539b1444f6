import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { splitStatements } from './statements.ts'

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
    assert.equal(splitStatements('  -- a word\n', false).rest, '')
  })
  it('takes commands by themselves, and the data behind COPY', () => {
    const { pieces } = splitStatements("\\dt\nselect 1;\n\\x\ncopy t from stdin;\na;\tb'\nc\n\\.\nselect 2;", true)
    assert.deepEqual(
      pieces.map(({ kind, text, line, data }) => [kind, text, line, data]),
      [
        ['command', '\\dt', 1, null],
        ['statement', 'select 1', 2, null],
        ['command', '\\x', 3, null],
        ['statement', 'copy t from stdin', 4, "a;\tb'\nc\n"],
        ['statement', 'select 2', 8, null],
      ],
    )
  })
})

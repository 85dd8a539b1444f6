import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { lineAt, parseScript, ScriptError, statementsIn, type Statement } from './script.ts'

const texts = (sql: string) => statementsIn(sql).map(({ text }) => text)

describe('a file of SQL', () => {
  const rows: readonly (readonly [why: string, sql: string, ...statements: string[]])[] = [
    ['nothing', ' \n-- a comment\n/* another */ ;; '],
    ['two statements', 'select 1; select 2;', 'select 1', 'select 2'],
    ['the last without its semicolon', 'select 1;\nselect 2 -- end', 'select 1', 'select 2 -- end'],
    ['texts', "select 'a;''b'; select 2", "select 'a;''b'", 'select 2'],
    ['texts with escapes', "select e'a\\';b'; select 2", "select e'a\\';b'", 'select 2'],
    ['a backslash in a plain text', "select '\\'; select 2", "select '\\'", 'select 2'],
    ['names', 'select 1 as "a;""b"; select 2', 'select 1 as "a;""b"', 'select 2'],
    ['comments', 'select 1 -- a;\n; select /* ; /* ; */ ; */ 2', 'select 1 -- a;', 'select /* ; /* ; */ ; */ 2'],
    ['bodies', 'do $$ begin; end $$; do $a$ $$;$$ $a$; select 1', 'do $$ begin; end $$', 'do $a$ $$;$$ $a$', 'select 1'],
    ['a dollar in a name, and a parameter', 'select a$b$ from t; select $1; select 2', 'select a$b$ from t', 'select $1', 'select 2'],
    [
      'bodies in SQL',
      'create function f() returns int begin atomic select 1; select case when true then 1 else 2 end; end; select 1',
      'create function f() returns int begin atomic select 1; select case when true then 1 else 2 end; end',
      'select 1',
    ],
    [
      'rules',
      'create rule r as on insert to t do also (delete from u; delete from v); select 1',
      'create rule r as on insert to t do also (delete from u; delete from v)',
      'select 1',
    ],
    ['a text without end', "select 'a; select 2", "select 'a; select 2"],
  ]
  for (const [why, sql, ...statements] of rows) it(`is taken apart: ${why}`, () => assert.deepEqual(texts(sql), statements))

  it('knows the lines of its statements, and of faults in them', () => {
    const [first, second] = statementsIn("-- head\n\nselect 1;\n\n  select\n  '😀',\n  wrong;") as [Statement, Statement]
    assert.deepEqual([first.line, second.line], [3, 5])
    assert.equal(lineAt(second, null), 5)
    assert.equal(lineAt(second, Array.from(second.text).indexOf('w') + 1), 7)
  })
})

describe('a migration', () => {
  it('is one transaction, whether or not it says so', () => {
    assert.deepEqual(
      parseScript('begin; select 1; commit;').statements.map(({ text }) => text),
      ['select 1'],
    )
    assert.equal(parseScript('select 1').inTransaction, true)
    assert.equal(parseScript('-- about\n-- mayfly: no transaction\ncreate index concurrently i on t (a);').inTransaction, false)
    assert.equal(parseScript('select 1;\n-- mayfly: no transaction').inTransaction, true)
  })
  it('may go back to a point of its own', () => {
    assert.equal(parseScript('savepoint a; select 1; rollback to a; rollback to savepoint a; release a').statements.length, 5)
  })
  const refused: readonly (readonly [sql: string, line: number])[] = [
    ['select 1;\ncommit;\nselect 2', 2],
    ['begin; select 1', 1],
    ['select 1;\nrollback', 2],
    ['select 1;\nend', 2],
    ['start transaction isolation level serializable; select 1', 1],
    ["select 1;\n/* a */ prepare transaction 'x'", 2],
    ["commit prepared 'x'", 1],
    ['select 1;\n\\i other.sql', 2],
    ['select 1;\ncopy t from stdin;\n1\n\\.', 2],
    ['-- mayfly: no transaction\nbegin; select 1; commit', 2],
  ]
  for (const [sql, line] of refused)
    it(`is refused: ${JSON.stringify(sql)}`, () =>
      assert.throws(
        () => parseScript(sql),
        (error) => error instanceof ScriptError && error.line === line,
      ))
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { UsageError } from '../output.ts'
import { readStatements } from './script.ts'

async function* cut(script: string, size: number): AsyncGenerator<string> {
  for (let at = 0; at < script.length; at += size) yield script.slice(at, at + size)
}
/** Each statement with its line, and the rows behind it where they are asked for. */
async function all(chunks: AsyncIterable<string>, takesRows = true) {
  const found: (readonly [line: number, text: string, rows: string | null])[] = []
  for await (const { line, text, data } of readStatements(chunks)) {
    let rows = ''
    if (takesRows) for await (const part of data ?? []) rows += part
    found.push([line, text, data === null ? null : rows])
  }
  return found
}

describe('a script that is read in parts', () => {
  const script = `-- a dump;
/* of; two */ create table t (a text);

\\x
copy t from stdin; -- these
a;\tb'
\\.x
x\u2028\\.
\\N
\\.
do $한$ begin perform 1; end $한$;
copy t (a) from stdin;\r
\\.\r
select E'\\';',
  "a;b"; create function f() returns int begin atomic select 1; end;
select 'the last'`
  const wanted = [
    [2, 'create table t (a text)', null],
    [4, '\\x', null],
    [5, 'copy t from stdin', "a;\tb'\n\\.x\nx\u2028\\.\n\\N\n"],
    [11, 'do $한$ begin perform 1; end $한$', null],
    [12, 'copy t (a) from stdin', ''],
    [14, `select E'\\';',\n  "a;b"`, null],
    [15, 'create function f() returns int begin atomic select 1; end', null],
    [16, "select 'the last'", null],
  ]
  it('has the same statements, lines and rows wherever it is cut', async () => {
    for (let size = 1; size <= script.length; size++) assert.deepEqual(await all(cut(script, size)), wanted, `in parts of ${size}`)
  })
  it('passes over rows that nobody takes', async () => {
    assert.deepEqual(
      (await all(cut(script, 7), false)).map(([line, text]) => [line, text]),
      wanted.map(([line, text]) => [line, text]),
    )
  })
  it('says so when rows do not end, and hands on nothing that follows as a statement', async () => {
    await assert.rejects(all(cut('copy t from stdin;\na\nselect 1;\n', 5)), /\\\. on a line of its own/)
    await assert.rejects(all(cut('copy t from stdin', 5)), /no data follows/)
  })
  it('is held by no more than one statement and what is read at once', async () => {
    let read = 0
    let taken = 0
    let most = 0
    const count = (chunk: string) => {
      read += chunk.length
      most = Math.max(most, read - taken)
      return chunk
    }
    async function* large() {
      for (let n = 0; n < 2_000; n++) yield count(`insert into t values ('${'x'.repeat(1_000)}');\n`)
      yield count('copy t from stdin;\n')
      for (let n = 0; n < 2_000; n++) yield count(`${'y'.repeat(1_000)}\n`)
      // A row without an end in sight is handed on, too.
      for (let n = 0; n < 2_000; n++) yield count('z'.repeat(1_000))
      yield count('\n\\.\n')
    }
    for await (const { text, data } of readStatements(large())) {
      taken += text.length
      for await (const rows of data ?? []) taken += rows.length
    }
    assert.ok(read > 6_000_000 && most < 20_000, `${most} of ${read}`)
  })
  it('is refused where a statement does not end', async () => {
    async function* endless() {
      yield "select 1;\nselect '"
      for (;;) yield 'x'.repeat(4 * 1_048_576)
    }
    await assert.rejects(all(endless()), (error) => error instanceof UsageError && /begins at line 1 is longer than 64 MiB/.test(error.message))
  })
})

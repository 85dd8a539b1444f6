import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { FolderError } from './mayfly-json.ts'
import { nextMigration, readMigrationFolder } from './migration-folder.ts'

function withFolder(files: Readonly<Record<string, string>>, work: (root: string) => void): void {
  const root = mkdtempSync(path.join(tmpdir(), 'mayfly-migrations-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
      writeFileSync(path.join(root, name), text)
    }
    work(root)
  } finally {
    rmSync(root, { recursive: true })
  }
}
const namesOf = (root: string, dir: string | null = null) => readMigrationFolder(root, dir).files.map((file) => file.name)

test('migrations run by their numbers, not by their letters', () => {
  withFolder({ 'migrations/10_c.sql': '', 'migrations/9_b.sql': '', 'migrations/0001_a.sql': '', 'migrations/README.md': '' }, (root) =>
    assert.deepEqual(namesOf(root), ['0001_a.sql', '9_b.sql', '10_c.sql']),
  )
})

test('the folder is what was asked for, else what mayfly.json says, else a usual one', () => {
  const files = { 'sql/1_sql.sql': '', 'other/1_other.sql': '', 'supabase/migrations/20260101000000_theirs.sql': '' }
  withFolder(files, (root) => {
    assert.deepEqual(namesOf(root), ['20260101000000_theirs.sql'])
    writeFileSync(path.join(root, 'mayfly.json'), '{"migrations": "sql"}')
    assert.deepEqual(namesOf(root), ['1_sql.sql'])
    assert.deepEqual(namesOf(root, 'other'), ['1_other.sql'])
  })
  withFolder({}, (root) => assert.deepEqual(readMigrationFolder(root, null), { folder: path.join(root, 'migrations'), files: [] }))
  withFolder({}, (root) => {
    assert.throws(() => readMigrationFolder(root, 'mistyped'), new FolderError(`There is no folder ${root}/mistyped.`))
    assert.deepEqual(readMigrationFolder(root, 'to-be', true), { folder: path.join(root, 'to-be'), files: [] })
  })
})

test('what is named as no migration, and two of one number, are refused', () => {
  withFolder({ 'migrations/todos.sql': '' }, (root) =>
    assert.throws(
      () => namesOf(root),
      new FolderError(`${root}/migrations/todos.sql is named as no migration is: a number, \`_\`, a name and \`.sql\`, such as 0001_todos.sql.`),
    ),
  )
  withFolder({ 'migrations/1_a.sql': '', 'migrations/01_b.sql': '' }, (root) => assert.throws(() => namesOf(root), /same number/))
})

test('how lines end makes no other migration', () => {
  withFolder({ 'migrations/1_a.sql': 'select 1;\nselect 2;\n', 'migrations/2_a.sql': 'select 1;\r\nselect 2;\r\n' }, (root) => {
    const [a, b] = readMigrationFolder(root, null).files
    assert.equal(a?.checksum, b?.checksum)
  })
})

test('the next number follows the last, in its form', () => {
  const now = new Date('2026-03-04T05:06:07.890Z')
  const rows: readonly (readonly [last: string | null, next: string])[] = [
    [null, '0001_x.sql'],
    ['0009_a.sql', '0010_x.sql'],
    ['9_a.sql', '10_x.sql'],
    ['20260101000000_a.sql', '20260304050607_x.sql'],
    ['20270101000000_a.sql', '20270101000001_x.sql'],
  ]
  for (const [last, next] of rows) assert.equal(nextMigration(last === null ? [] : [{ name: last }], 'x', now), next)
})

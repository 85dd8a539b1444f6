import { createHash } from 'node:crypto'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Database } from './database.ts'
import { quoteIdentifier, quoteLiteral } from './postgres.ts'

/** Why a database cannot be brought to this code's state; a sentence for the operator. */
export class MigrationError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'MigrationError'
  }
}

interface Migration {
  readonly number: number
  readonly name: string
  readonly text: string
  readonly checksum: string
}

const FILE = /^(\d{4})_([a-z0-9_]+)\.sql$/
// One number for all of Mayfly: two nodes that start at once on one database go one after the other.
const LOCK = 7_291_064_113

/**
 * Reads the numbered files of a folder, in order. `:"name"` and `:'name'` stand for a variable as identifier and as text, as in psql.
 * @throws MigrationError for a number that stands twice or a variable that has no value
 */
export async function readMigrations(folder: string, variables: Readonly<Record<string, string>> = {}): Promise<readonly Migration[]> {
  const filled = (text: string) =>
    text.replace(/:(["'])([a-z_]+)\1/g, (_, quote: string, name: string) => {
      const value = variables[name]
      if (value === undefined) throw new MigrationError(`a migration in ${folder} names ${name}, which has no value`)
      return quote === '"' ? quoteIdentifier(value) : quoteLiteral(value)
    })
  const migrations: Migration[] = []
  for (const file of (await fs.readdir(folder)).toSorted()) {
    const match = FILE.exec(file)
    if (!match) continue
    const text = await fs.readFile(path.join(folder, file), 'utf8')
    const number = Number(match[1])
    if (migrations.some((other) => other.number === number)) throw new MigrationError(`migration ${number} stands twice in ${folder}`)
    migrations.push({ number, name: match[2] as string, text: filled(text), checksum: createHash('sha256').update(text).digest('hex') })
  }
  return migrations
}

/**
 * Brings a database to the state of the given migrations: each in a transaction of its own, under a lock,
 * written into the ledger `mayfly.migration`.
 * @throws MigrationError when an applied file was changed, or when the database is newer than this code
 */
export async function migrate(database: Database, migrations: readonly Migration[]): Promise<number> {
  const applied = await ledger(database)
  check(applied, migrations)
  if (migrations.every((migration) => applied.has(migration.number))) return 0
  let done = 0
  for (const migration of migrations) {
    const body = `
      begin;
      select pg_advisory_xact_lock(${LOCK});
      create schema if not exists mayfly;
      create table if not exists mayfly.migration (
        number int primary key, name text not null, checksum text not null, applied_at timestamptz not null default clock_timestamp());
      commit;`
    if (done === 0) await database.script(body)
    // The lock was given up between the two: whoever came first has applied it.
    const now = await ledger(database)
    check(now, migrations)
    if (now.has(migration.number)) continue
    try {
      await database.script(`
        begin;
        select pg_advisory_xact_lock(${LOCK});
        insert into mayfly.migration (number, name, checksum) values (${migration.number}, '${migration.name}', '${migration.checksum}');
        ${migration.text}
        ;commit;`)
      done++
    } catch (error) {
      if ((await ledger(database)).has(migration.number)) continue
      throw new MigrationError(`migration ${migration.number} (${migration.name}) failed: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      })
    }
  }
  return done
}

async function ledger(database: Database): Promise<ReadonlyMap<number, string>> {
  const [there] = await database.sql<{ there: boolean }>`select to_regclass('mayfly.migration') is not null as there`
  if (!there?.there) return new Map()
  const rows = await database.sql<{ number: number; checksum: string }>`select number, checksum from mayfly.migration`
  return new Map(rows.map((row) => [row.number, row.checksum]))
}

function check(applied: ReadonlyMap<number, string>, migrations: readonly Migration[]): void {
  const known = new Map(migrations.map((migration) => [migration.number, migration]))
  for (const [number, checksum] of applied) {
    const migration = known.get(number)
    if (!migration) throw new MigrationError(`the database was migrated by a newer Mayfly (migration ${number} is not known here); start it with that version`)
    if (migration.checksum !== checksum)
      throw new MigrationError(`migration ${number} (${migration.name}) was changed after it had been applied; restore the file as it was`)
  }
}

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { FolderError, readMayflyJson } from './mayfly-json.ts'

/** A file of SQL that makes the tables of a project what the next one takes them for. */
export interface MigrationFile {
  /** Its file name: `0001_todos.sql`, or `20260102030405_todos.sql`. */
  readonly name: string
  readonly sql: string
  /** SHA-256 of what it says, whichever way its lines end. */
  readonly checksum: string
}

export interface MigrationFolder {
  readonly folder: string
  /** In the order in which they run. */
  readonly files: readonly MigrationFile[]
}

const NAME = /^(\d{1,20})_[\w.-]{1,150}\.sql$/
const USUAL = ['migrations', path.join('supabase', 'migrations')]

/**
 * The migrations of a project's folder.
 * @param dir  the folder that was asked for; null for what mayfly.json says, else the usual ones
 * @param isToBe  whether one that was asked for may be missing, as it is about to be made
 * @throws FolderError when it holds what is no migration, or two of one number, or when the one that was asked for is not there
 */
export function readMigrationFolder(root: string, dir: string | null, isToBe = false): MigrationFolder {
  const folder = path.resolve(root, dir ?? said(root) ?? USUAL.find((one) => isFolder(path.join(root, one))) ?? 'migrations')
  if (!existsSync(folder)) {
    if (dir !== null && !isToBe) throw new FolderError(`There is no folder ${folder}.`)
    return { folder, files: [] }
  }
  if (!isFolder(folder)) throw new FolderError(`${folder} is no folder of migrations.`)
  return { folder, files: filesIn(folder) }
}

function said(root: string): string | null {
  const { migrations } = readMayflyJson(root) ?? {}
  return typeof migrations === 'string' ? migrations : null
}

function filesIn(folder: string): MigrationFile[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sql') && !name.startsWith('.') && name !== 'seed.sql')
  const odd = names.filter((name) => !NAME.test(name))
  if (odd.length > 0)
    throw new FolderError(`${path.join(folder, odd[0] ?? '')} is named as no migration is: a number, \`_\`, a name and \`.sql\`, such as 0001_todos.sql.`)
  const sorted = names.toSorted(inOrder)
  for (const [at, name] of sorted.entries()) {
    const before = sorted[at - 1]
    if (before !== undefined && numberOf(before) === numberOf(name))
      throw new FolderError(`${before} and ${name} in ${folder} have the same number: give one of them the next.`)
  }
  return sorted.map((name) => {
    const sql = readFileSync(path.join(folder, name), 'utf8')
    return { name, sql, checksum: checksumOf(sql) }
  })
}

export const checksumOf = (sql: string): string => createHash('sha256').update(sql.replaceAll('\r\n', '\n')).digest('hex')

const isFolder = (at: string): boolean => statSync(at, { throwIfNoEntry: false })?.isDirectory() === true
const numberOf = (name: string): bigint => BigInt(NAME.exec(name)?.[1] ?? 0)
const inOrder = (a: string, b: string): number => (numberOf(a) < numberOf(b) ? -1 : numberOf(a) > numberOf(b) ? 1 : a < b ? -1 : 1)

const TIMESTAMP_DIGITS = 14

/** The file name of the migration behind these: by the number that follows, or by the time where they are named so. */
export function nextMigration(files: readonly Pick<MigrationFile, 'name'>[], name: string, now: Date): string {
  const digits = NAME.exec(files.at(-1)?.name ?? '')?.[1] ?? '0000'
  const next = BigInt(digits) + 1n
  if (digits.length < TIMESTAMP_DIGITS) return `${String(next).padStart(digits.length, '0')}_${name}.sql`
  const time = now.toISOString().replace(/\D/g, '').slice(0, TIMESTAMP_DIGITS)
  return `${BigInt(time) > BigInt(digits) ? time : next}_${name}.sql`
}

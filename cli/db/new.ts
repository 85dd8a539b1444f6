import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Command } from 'commander'
import { nextMigration, readMigrationFolder } from '../../client/migration-folder.ts'
import { FolderError } from '../../client/mayfly-json.ts'
import { print, UsageError } from '../output.ts'
import type { OnNode } from './place.ts'

export const FOLDER_OPTION = ['--dir <folder>', 'where the migrations lie (`migrations` of mayfly.json, else ./migrations or ./supabase/migrations)'] as const

/** `mayfly db new <name>`: an empty migration, numbered after the last one. */
// It asks no node; who passes the options of one, as to its neighbours, is not sent away.
export function newCommand(group: Command, onNode: OnNode): void {
  onNode(group.command('new <name>').description('make an empty migration, numbered after the last one'))
    .option(...FOLDER_OPTION)
    .action((name: string, options: { readonly dir?: string; readonly json?: boolean }) => {
      const file = writeMigration(options.dir ?? null, name, `-- ${name}\n`)
      print(options.json ? JSON.stringify({ file }) : `Wrote ${file}. Write SQL into it, then: npx mayfly db up`)
    })
}

/** Writes a new migration behind those that are there. @returns its path @throws FolderError, UsageError */
export function writeMigration(dir: string | null, name: string, sql: string): string {
  const own = name
    .trim()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '')
  if (own === '' || own.length > 100) throw new UsageError('a migration is named by letters, digits and `_`, 100 at most, such as `create_todos`')
  const { folder, files } = readMigrationFolder(process.cwd(), dir, true)
  const file = path.join(folder, nextMigration(files, own, new Date()))
  try {
    mkdirSync(folder, { recursive: true })
    writeFileSync(file, sql, { flag: 'wx' })
  } catch (error) {
    throw new FolderError(`${file} cannot be written: ${(error as Error).message}`)
  }
  return path.relative(process.cwd(), file) || file
}

import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import type { Client } from '../../client/client.ts'
import { FolderError } from '../../client/mayfly-json.ts'
import { readMigrationFolder } from '../../client/migration-folder.ts'
import { resetDatabase, seedDatabase } from '../../client/migrations.ts'
import { complain, dim, green, harmless, print, UsageError } from '../output.ts'
import type { At, OnNode } from './place.ts'
import { FOLDER_OPTION } from './new.ts'
import { runAll } from './up.ts'

interface Options {
  readonly dir?: string
  readonly yes?: boolean
  readonly seed?: boolean
  readonly json?: boolean
}

/** `mayfly db seed` and `mayfly db reset`: rows to begin with, and beginning again. */
export function resetCommands<O>(group: Command, onNode: OnNode, at: At<O>): void {
  onNode(group.command('seed [file]').description('run a file of SQL in one transaction (seed.sql beside the migrations, or in the folder above)'))
    .option(...FOLDER_OPTION)
    .action(async (file: string | undefined, options: O & Options) => {
      const { client, project } = at(options)
      const found = file ?? seedOf(options.dir ?? null)
      if (found === null) throw new FolderError('There is no seed.sql here. Write one, or name a file: npx mayfly db seed <file>')
      await seed(client, project, found, options.json === true)
      if (options.json) print(JSON.stringify({ project, seeded: found }))
    })
  onNode(group.command('reset').description("drop all tables, functions and extensions of the project's own, run all migrations again, then the seed"))
    .option(...FOLDER_OPTION)
    .option('--yes', 'ask nothing: the rows are gone')
    .option('--no-seed', 'do not run seed.sql')
    .action(async (options: O & Options) => {
      const { client, project } = at(options)
      const { folder, files } = readMigrationFolder(process.cwd(), options.dir ?? null)
      // From a wrong folder all would be dropped and nothing made again.
      if (files.length === 0) throw new FolderError(`No migrations in ${folder}, so nothing would make the tables again. Say where they lie: --dir <folder>`)
      if (!options.yes) await mustMean(project)
      await resetDatabase(client, project)
      if (!options.json) print(`Emptied the database of ${project}. Users, stored files and functions stay.`)
      await runAll(client, project, files, { includeAll: false, json: options.json === true })
      const found = options.seed === false ? null : seedOf(options.dir ?? null)
      if (found !== null) await seed(client, project, found, options.json === true)
    })
}

function seedOf(dir: string | null): string | null {
  const { folder } = readMigrationFolder(process.cwd(), dir)
  return [path.join(folder, 'seed.sql'), path.join(folder, '..', 'seed.sql'), 'seed.sql'].find((file) => existsSync(file)) ?? null
}

async function seed(client: Client, project: string, file: string, isQuiet: boolean): Promise<void> {
  let sql: string
  try {
    sql = readFileSync(file, 'utf8')
  } catch (error) {
    throw new FolderError(`${file} cannot be read: ${(error as Error).message}`)
  }
  const name = path.relative(process.cwd(), path.resolve(file))
  const { notices } = await seedDatabase(client, project, name, sql)
  if (isQuiet) return
  print(`${green('ran')} ${name}`)
  for (const notice of notices) complain(dim(`  ${harmless(notice)}`))
}

/** @throws UsageError unless the name of the project is typed */
async function mustMean(project: string): Promise<void> {
  if (process.stdin.isTTY !== true) throw new UsageError('db reset drops all rows; where nobody can be asked, say --yes')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await lines.question(`This drops all tables and rows of ${project}. Type the name of the project to go on: `)
    if (answer.trim() !== project) throw new UsageError('Nothing was changed: that is not its name.')
  } finally {
    lines.close()
  }
}

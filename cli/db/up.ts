import type { Command } from 'commander'
import type { Client } from '../../client/client.ts'
import { type MigrationFile, readMigrationFolder } from '../../client/migration-folder.ts'
import { type MigrationInfo, migrationStatus, type RanMigration, runMigrations } from '../../client/migrations.ts'
import { complain, dim, EXIT, green, harmless, ms, print, red, table, yellow } from '../output.ts'
import type { At, OnNode } from './place.ts'
import { FOLDER_OPTION } from './new.ts'

interface Options {
  readonly dir?: string
  readonly dryRun?: boolean
  readonly includeAll?: boolean
  readonly json?: boolean
}

const STATES: Readonly<Record<MigrationInfo['state'], string>> = {
  applied: green('applied'),
  pending: yellow('pending'),
  changed: red('changed since it ran'),
  missing: yellow('ran, but there is no such file'),
  unfinished: red('broke off in the middle'),
}

/** `mayfly db status` and `mayfly db up`: what has run of the folder's migrations, and running the rest. */
export function upCommands<O>(group: Command, onNode: OnNode, at: At<O>): void {
  onNode(group.command('status').description('show which migrations ran, which have yet to, which are changed or gone; exits with 1 for the last two'))
    .option(...FOLDER_OPTION)
    .action(async (options: O & Options) => {
      const { client, project } = at(options)
      const { folder, files } = readMigrationFolder(process.cwd(), options.dir ?? null)
      const migrations = await migrationStatus(client, project, files)
      if (migrations.some(({ state }) => state === 'changed' || state === 'missing' || state === 'unfinished')) process.exitCode = EXIT.failed
      if (options.json) return print(JSON.stringify({ project, migrations }))
      if (migrations.length === 0) return print(`No migrations in ${folder}. Make one: npx mayfly db new <name>`)
      print(
        table(
          ['MIGRATION', 'STATE', 'RAN AT'],
          migrations.map((one) => [harmless(one.name), STATES[one.state] + (one.isLate ? yellow(', but one behind it ran') : ''), one.appliedAt ?? '']),
        ),
      )
    })
  onNode(group.command('up').description('run the migrations that have yet to run, in order, each in a transaction of its own'))
    .option(...FOLDER_OPTION)
    .option('--dry-run', 'show what would run, and run nothing')
    .option('--include-all', 'run files, too, whose number lies before one that ran')
    .action(async (options: O & Options) => {
      const { client, project } = at(options)
      const { folder, files } = readMigrationFolder(process.cwd(), options.dir ?? null)
      if (files.length === 0 && !options.json) complain(dim(`No migrations in ${folder}. Make one: npx mayfly db new <name>`))
      if (!options.dryRun) return await runAll(client, project, files, { includeAll: options.includeAll === true, json: options.json === true })
      const status = await migrationStatus(client, project, files)
      const pending = status.filter(({ state }) => state === 'pending' || state === 'unfinished').map(({ name }) => name)
      const wrong = status.filter(({ state, isLate }) => state === 'changed' || (isLate && !options.includeAll))
      if (wrong.length > 0) process.exitCode = EXIT.failed
      if (options.json) return print(JSON.stringify({ project, dryRun: true, pending, refused: wrong.map(({ name }) => name) }))
      for (const { name, state } of wrong)
        complain(red(`${harmless(name)} would be refused: ${state === 'changed' ? 'it is changed since it ran' : 'one behind it ran already'}`))
      if (pending.length === 0) return print('Nothing has yet to run.')
      for (const name of pending) print(`would run ${name}`)
    })
}

/** Runs what has yet to run and tells of each. @throws ApiError */
export async function runAll(
  client: Client,
  project: string,
  files: readonly MigrationFile[],
  how: { readonly includeAll: boolean; readonly json: boolean },
): Promise<void> {
  const ran: RanMigration[] = []
  await runMigrations(client, project, files, how.includeAll, (one) => {
    ran.push(one)
    if (how.json) return
    print(`${green('ran')} ${one.name}  ${dim(ms(one.ms))}`)
    for (const notice of one.notices) complain(dim(`  ${harmless(notice)}`))
  })
  if (how.json) return print(JSON.stringify({ project, ran }))
  if (ran.length === 0) print('Nothing has yet to run.')
}

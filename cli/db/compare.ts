import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { readMigrationFolder } from '../../client/migration-folder.ts'
import { diffDatabase, dumpSchema, lintDatabase, sqlOf } from '../../client/migrations.ts'
import { complain, dim, EXIT, green, harmless, print, red, UsageError, yellow } from '../output.ts'
import { type Common, locate } from '../place.ts'
import { FOLDER_OPTION, writeMigration } from './new.ts'
import type { At, OnNode } from './place.ts'

interface Options {
  readonly dir?: string
  readonly file?: string
  readonly output?: string
  readonly withData?: boolean
  readonly dataOnly?: boolean
  readonly json?: boolean
}

/** `mayfly db diff`, `dump` and `lint`: what a database has beside its files, all that it has, and what of it is unsafe. */
export function compareCommands<O extends Common>(group: Command, onNode: OnNode, at: At<O>): void {
  onNode(group.command('diff').description('show, as SQL for a new migration, what was changed in the database and is in no file'))
    .option(...FOLDER_OPTION)
    .option('-f, --file <name>', 'write it as a migration of this name, which counts as yet to run')
    .action(async (options: O & Options) => {
      const { client, project } = at(options)
      const found = await diffDatabase(client, project, readMigrationFolder(process.cwd(), options.dir ?? null).files)
      const sql = sqlOf(found)
      for (const what of found.notCompared) complain(yellow(`not compared: ${harmless(what)}`))
      const file = sql === '' || options.file === undefined ? null : writeMigration(options.dir ?? null, options.file, sql)
      if (options.json) return print(JSON.stringify({ project, sql, file, notCompared: found.notCompared }))
      if (sql === '') return print('The database has what the files make, and nothing else.')
      print(file === null ? sql.trimEnd() : `Wrote ${file}. Read it before it runs anywhere.`)
    })
  onNode(group.command('dump').description('write the schema of the database as SQL: tables, functions, policies, rights; no rows but by --with-data'))
    .option('-o, --output <file>', 'a file to write, in place of showing it')
    .option('--with-data', 'the rows of its tables as well, for `mayfly db psql -f`')
    .option('--data-only', 'the rows alone')
    .action(async (options: O & Options) => {
      const { client, project } = at(options)
      const hasRows = options.withData === true || options.dataOnly === true
      if (hasRows && options.json) throw new UsageError('--json goes with the schema alone')
      const found = options.dataOnly ? { statements: [], notCompared: [] } : await dumpSchema(client, project)
      const sql = sqlOf(found)
      for (const what of found.notCompared) complain(yellow(`not in it: ${harmless(what)}`))
      if (hasRows) {
        // The driver is loaded by who needs it.
        const { dumpRows } = await import('./data.ts')
        const { url, key } = locate(options)
        await dumpRows({ url, key, project }, options.output, options.dataOnly ? null : sql)
        if (options.output !== undefined) print(`Wrote ${options.output}.`)
        return
      }
      if (options.output !== undefined) writeFileSync(options.output, sql)
      if (options.json)
        return print(
          JSON.stringify({ project, file: options.output ?? null, notCompared: found.notCompared, ...(options.output === undefined ? { sql } : {}) }),
        )
      print(options.output === undefined ? sql.trimEnd() : `Wrote ${options.output}.`)
    })
  onNode(group.command('lint').description('look for what is unsafe or slow in the database; exits with 1 when it finds an error')).action(
    async (options: O & Options) => {
      const { client, project } = at(options)
      const findings = await lintDatabase(client, project)
      if (findings.some(({ level }) => level === 'error')) process.exitCode = EXIT.failed
      if (options.json) return print(JSON.stringify({ project, findings }))
      if (findings.length === 0) return print(green('Nothing was found.'))
      for (const { rule, level, object, why, mend } of findings)
        print(`${level === 'error' ? red('error') : yellow('warning')}  ${rule}  ${harmless(object)}\n  ${why}\n  ${dim(mend)}`)
    },
  )
}

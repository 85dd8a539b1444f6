import type { Command } from 'commander'
import { databaseLogin } from '../../client/database.ts'
import { complain, dim, print, UsageError } from '../output.ts'
import { at, type Common } from '../place.ts'

const each = (one: string, others: readonly string[] = []): readonly string[] => [...others, one]

/** `mayfly db psql`, `url` and `password`: SQL by hand, and by any PostgreSQL client. */
export function sqlCommands(group: Command, onNode: (made: Command) => Command): void {
  onNode(group.command('psql').description("SQL in the project's database, as its owner: at a prompt, or by -c, -f or stdin"))
    .option('-c, --command <sql>', 'run this and end; may stand several times', each)
    .option('-f, --file <file>', 'run a script and end; - for stdin')
    .action(async (options: Common & { command?: readonly string[]; file?: string }) => {
      // The driver is loaded by who needs it.
      await (await import('./psql.ts')).psql(options)
    })
  onNode(group.command('url').description('print a connection string for any PostgreSQL client, password and all')).action(async (options: Common) => {
    const { client, project } = at(options)
    const login = await databaseLogin(client, project, false)
    if (options.json) return print(JSON.stringify(login))
    if (login.url === null) throw new UsageError('this node hears no PostgreSQL clients: it runs with --door-port off. `mayfly db psql` reaches the database.')
    print(login.url)
  })
  onNode(group.command('password').description("print the password of the project's database"))
    .option('--rotate', 'make another first; sessions that came in by the one before are ended')
    .action(async (options: Common & { rotate?: boolean }) => {
      const { client, project } = at(options)
      const login = await databaseLogin(client, project, options.rotate === true)
      if (options.json) return print(JSON.stringify(login))
      if (options.rotate) complain(dim('The password before this one opens nothing any more.'))
      print(login.password)
    })
}

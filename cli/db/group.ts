import type { Command } from 'commander'
import type { Client } from '../../client/client.ts'
import { newCommand } from './new.ts'

/** Gives a command of the group the options that say which node is meant. */
export type OnNode = (made: Command) => Command
/** Which node and project its options say. */
export type At<O> = (options: O) => { readonly client: Client; readonly project: string }

/** `mayfly db …`: the tables of a project as files, and its SQL. Each command of the group is a file in this folder. */
export function dbCommand<O>(program: Command, _onNode: OnNode, _at: At<O>): void {
  const group = program.command('db').description('the tables of a project as code: migrations, what differs, what is unsafe').helpCommand(false)
  newCommand(group)
}

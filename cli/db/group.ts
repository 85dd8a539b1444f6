import type { Command } from 'commander'
import { compareCommands } from './compare.ts'
import { newCommand } from './new.ts'
import type { Common } from '../place.ts'
import type { At, OnNode } from './place.ts'
import { resetCommands } from './reset.ts'
import { sqlCommands } from './sql.ts'
import { upCommands } from './up.ts'

/** `mayfly db …`: the tables of a project as files, and its SQL. Each command of the group is a file in this folder. */
export function dbCommand<O extends Common>(program: Command, onNode: OnNode, at: At<O>): void {
  const group = program.command('db').description('the tables of a project as code: migrations, what differs, what is unsafe').helpCommand(false)
  newCommand(group, onNode)
  upCommands(group, onNode, at)
  resetCommands(group, onNode, at)
  compareCommands(group, onNode, at)
  sqlCommands(group, onNode)
}

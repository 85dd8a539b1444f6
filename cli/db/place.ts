import type { Command } from 'commander'
import type { Client } from '../../client/client.ts'

/** Gives a command of the group the options that say which node is meant. */
export type OnNode = (made: Command) => Command
/** Which node and project its options say. */
export type At<O> = (options: O) => { readonly client: Client; readonly project: string }

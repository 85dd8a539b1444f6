import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import { typesOf } from '../client/projects.ts'
import { print } from './output.ts'

/** `mayfly types`: the project's tables as types for `createClient<Database>`. */
export function typesCommand<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command('types', "write the TypeScript types of the project's tables, for `createClient<Database>` of supabase-js")
    .option('-o, --output <file>', 'a file to write, in place of showing them')
    .action(async (options: O & { readonly output?: string; readonly json?: boolean }) => {
      const { client, project } = at(options)
      const text = await typesOf(client, project)
      if (options.output !== undefined) writeFileSync(options.output, text)
      if (options.json) return print(JSON.stringify(options.output === undefined ? { types: text } : { file: options.output }))
      print(options.output === undefined ? text.trimEnd() : `Wrote ${options.output}.`)
    })
}

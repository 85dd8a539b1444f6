import type { Command } from 'commander'
import type { Client, FunctionInfo } from '../client/client.ts'
import { listTriggers } from '../client/triggers.ts'
import { concurrencyOf, keptOf, whyNotKept } from './concurrency.ts'
import { bold, print, size, table, yellow } from './output.ts'
import { startsOf } from './triggers.ts'

/** `mayfly ls`: the functions of a project, or one with all that was chosen for it. */
export function lsCommand<O extends { readonly json?: boolean }>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command('ls [function]', 'list the functions of the project, or show one with its settings').action(async (name: string | undefined, options: O) => {
    const { client, project } = at(options)
    if (name !== undefined) {
      const one = await client.function(project, name)
      return print(options.json ? JSON.stringify({ project, function: one }) : settingsOf(one, startsOf(await listTriggers(client, project), name)))
    }
    const functions = await client.functions(project)
    if (options.json) return print(JSON.stringify({ project, functions }))
    if (functions.length === 0) return print(`The project ${project} has no functions. Deploy one: npx mayfly deploy <folder>`)
    const triggers = await listTriggers(client, project)
    print(
      table(
        ['NAME', 'RUNTIME', 'MEMORY', 'TIMEOUT', 'STATE', 'AT ONCE', 'STARTS AT'],
        functions.map((one) => [one.name, one.runtime, `${one.memory} MB`, `${one.timeout} s`, one.state, concurrencyOf(one), startsOf(triggers, one.name)]),
      ),
    )
  })
}

/** By the names that they have in mayfly.json, so that what is read here can be written there. */
function settingsOf(one: FunctionInfo, starts: string): string {
  const list = (value: unknown) => (Array.isArray(value) ? value.join(', ') || 'none' : String(value))
  const { provisionedNow: kept } = one
  const rows: [string, string][] = [
    ['name', one.name],
    ['state', one.state],
    ['runtime', one.runtime],
    ['handler', one.handler],
    ['memory', `${one.memory} MB`],
    ['timeout', `${one.timeout} s`],
    ['tmp', `${String(one['tmp'])} MB`],
    ['concurrency', `${String(one['concurrency'])} at once in a sandbox`],
    ['reuse', String(one['reuse'])],
    ['sandbox', String(one['sandbox'])],
    ['egress', list(one['egress'])],
    ['reservedConcurrency', one.reservedConcurrency === null ? 'none' : `${one.reservedConcurrency} calls at once`],
    ['provisioned', kept === null ? 'none' : keptOf(kept)],
    ['role', String(one['role'])],
    ['environment', list(one['environmentNames'])],
    ['secrets', list(one['secrets'])],
    ['layers', list(one['layers'])],
    ['code', size(Number(one['codeBytes']))],
    ['changed', String(one['modifiedAt'])],
    ['version', String(one['versionId'])],
    ['starts at', starts || 'its calls alone'],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  const lines = rows.map(([name, value]) => `${bold(name)}${' '.repeat(width - name.length)}  ${value}`)
  return [...lines, ...(kept?.reason ? [`${yellow('problem')}${' '.repeat(width - 7)}  ${whyNotKept(kept)}`] : [])].join('\n')
}

import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import { createToken, listTokens, revokeToken } from '../client/tokens.ts'
import { complain, dim, green, harmless, print, table, UsageError, yellow } from './output.ts'

interface Options {
  readonly name?: string
  readonly expires: string
  readonly json?: boolean
}

const HOURS: Readonly<Record<string, number>> = { h: 1, d: 24, w: 168 }

/** `30d` and the like, in hours. @throws UsageError */
function hoursOf(text: string): number {
  const [, count, unit] = /^(\d{1,5})([hdw])$/.exec(text) ?? []
  if (count === undefined || unit === undefined) throw new UsageError('--expires: a number with h, d or w, such as 90d')
  return Number(count) * (HOURS[unit] as number)
}

/** `mayfly tokens …`: what build servers show to deploy. */
export function tokensCommand<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command('tokens <what> [name]', 'deploy tokens of the project, for MAYFLY_TOKEN of a build server: `tokens create <name>`, `tokens ls`, `tokens rm <name>`')
    .option('--expires <time>', 'of `create`: how long it is valid, such as 12h, 30d or 52w', '90d')
    .action(async (what: string, name: string | undefined, options: O & Options) => {
      if (what === 'ls') return await list(options, at(options))
      if (what !== 'create' && what !== 'rm') throw new UsageError(`tokens ${what}: there is \`tokens create\`, \`tokens ls\` and \`tokens rm\``)
      if (name === undefined) throw new UsageError(`tokens ${what}: say which, by a name`)
      if (what === 'create') {
        const hours = hoursOf(options.expires)
        const { client, project } = at(options)
        const made = await createToken(client, project, name, hours)
        if (options.json) return print(JSON.stringify(made))
        complain(green(`Made ${name}: it deploys to ${project} and does nothing else, until ${made.expiresAt}. It is shown this once; keep it as a secret:`))
        return print(made.token)
      }
      const { client, project } = at(options)
      await revokeToken(client, project, name)
      print(options.json ? JSON.stringify({ removed: name }) : `Revoked ${harmless(name)}: it opens nothing any more.`)
    })
}

async function list({ json }: Options, { client, project }: { readonly client: Client; readonly project: string }): Promise<void> {
  const tokens = await listTokens(client, project)
  if (json) return print(JSON.stringify({ project, tokens }))
  if (tokens.length === 0) return print(`The project ${project} has no deploy tokens. Make one: npx mayfly tokens create ci`)
  print(
    table(
      ['NAME', 'MADE', 'ENDS', 'USED LAST'],
      tokens.map((one) => [harmless(one.name), one.createdAt, one.hasEnded ? yellow(`ended ${one.expiresAt}`) : one.expiresAt, one.lastUsedAt ?? dim('never')]),
    ),
  )
}

import type { Command } from 'commander'
import { ApiError, type Client } from '../client/client.ts'
import { type AliasInfo, listAliases, listVersions, promote, putAlias, removeAlias, rollback } from '../client/versions.ts'
import { keptOf, whyNotKept } from './concurrency.ts'
import { bold, complain, dim, green, harmless, print, size, table, UsageError, yellow } from './output.ts'

interface Json {
  readonly json?: boolean
}

/** Where calls go that name no alias of their own in these commands. */
const LIVE = 'live'

/** `mayfly versions`, `alias`, `promote`, `rollback`. */
export function versionCommands<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command('versions <function>', 'list the published versions of a function, and which aliases name them').action(async (name: string, options: O & Json) => {
    const { client, project } = at(options)
    const { versions, latest } = await listVersions(client, project, name)
    if (options.json) return print(JSON.stringify({ function: name, versions, latest }))
    if (versions.length === 0) return print(`${name} has no published version. Publish what it is now: npx mayfly promote ${name}`)
    print(
      table(
        ['VERSION', 'PUBLISHED', 'SIZE', 'ALIASES', 'KEPT', 'DESCRIPTION'],
        versions.map((one) => [
          one.version,
          one.publishedAt,
          size(one.codeBytes),
          one.aliases.join(', '),
          one.provisioned === null ? '' : keptOf(one.provisioned),
          harmless(one.description),
        ]),
      ),
    )
    for (const { version, provisioned } of versions) if (provisioned?.reason) complain(yellow(`${version}: ${whyNotKept(provisioned)}`))
    print(dim(latest === null ? 'The function was changed since the last of them.' : `The function equals version ${latest}.`))
  })

  command('alias <function> [name] [version]', 'list the aliases of a function, show one, or point one at a version or $LATEST')
    .option('--weight <version=share>', 'so much of the calls, from 0 to 1, goes to another version: `--weight 3=0.1`; `--weight none` ends that')
    .option('--rm', 'remove it')
    .action(async (name: string, alias: string | undefined, version: string | undefined, options: O & Json & { weight?: string; rm?: boolean }) => {
      const other = options.weight === undefined ? undefined : weightOf(options.weight)
      const changes = version !== undefined || other !== undefined
      if (options.rm && changes) throw new UsageError('alias --rm: it goes without a version and without --weight')
      if (alias === undefined && (options.rm || changes)) throw new UsageError('alias: say which, by its name')
      const { client, project } = at(options)
      if (alias !== undefined && options.rm) {
        await removeAlias(client, project, name, alias)
        return print(options.json ? JSON.stringify({ removed: `${name}:${alias}` }) : `Removed ${name}:${alias}.`)
      }
      if (alias !== undefined && changes) {
        const made = await putAlias(client, project, name, alias, { ...(version === undefined ? {} : { version }), ...(other === undefined ? {} : { other }) })
        return print(options.json ? JSON.stringify({ function: name, alias: made }) : green(told(name, made)))
      }
      const aliases = await listAliases(client, project, name)
      const shown = alias === undefined ? aliases : aliases.filter((one) => one.name === alias)
      if (alias !== undefined && shown.length === 0)
        throw new ApiError(404, {
          code: 'alias_not_found',
          message: `the function "${name}" has no alias "${alias}"`,
          hint: `Make it: npx mayfly alias ${name} ${alias} <version>`,
        })
      if (options.json) return print(JSON.stringify(alias === undefined ? { function: name, aliases } : { function: name, alias: shown[0] }))
      if (shown.length === 0) return print(`${name} has no alias. Make one: npx mayfly promote ${name}`)
      print(
        table(
          ['ALIAS', 'VERSION', 'SHARE', 'BEFORE', 'CHANGED'],
          shown.map((one) => [one.name, one.version, shareOf(one), one.former.at(-1) ?? '', one.modifiedAt]),
        ),
      )
    })

  command('promote <function>', 'point an alias at what the function is now, publishing it if it is not yet, or at a version')
    .option('--version <number>', 'this version instead')
    .option('--to <alias>', 'which alias; it is made when it is not there', LIVE)
    .allowExcessArguments()
    .action(async (name: string, options: O & Json & { version?: string; to: string }, { args }: Command) => {
      refuseSecond('promote', args)
      const { client, project } = at(options)
      const { alias, published, changed } = await promote(client, project, name, options.to, options.version ?? null)
      if (options.json) return print(JSON.stringify({ function: name, alias, published, changed }))
      if (published) print(`Published version ${alias.version}.`)
      print(changed ? green(told(name, alias)) : `Nothing changes: ${told(name, alias)}`)
    })

  command('rollback <function>', 'point an alias back at the version that it named before')
    .option('--to <alias>', 'which alias', LIVE)
    .allowExcessArguments()
    .action(async (name: string, options: O & Json & { to: string }, { args }: Command) => {
      refuseSecond('rollback', args)
      const { client, project } = at(options)
      const alias = await rollback(client, project, name, options.to)
      print(options.json ? JSON.stringify({ function: name, alias }) : green(told(name, alias)))
    })
}

/** Aliases and versions are options here, and easily typed as a second word. */
function refuseSecond(command: string, [name, second, ...more]: readonly string[]): void {
  if (second === undefined) return
  if (more.length > 0) throw new UsageError(`${command}: one function at a time, such as \`${command} ${name}\``)
  const isNumber = /^\d+$/.test(second)
  if (isNumber && command === 'rollback') throw new UsageError(`rollback: it goes to the version before; to choose one, \`alias ${name} ${LIVE} ${second}\``)
  throw new UsageError(`${command} ${name} ${second}: write \`${command} ${name} ${isNumber ? '--version' : '--to'} ${second}\``)
}

const shareOf = ({ other }: AliasInfo): string => (other === null ? '' : `${other.weight * 100} % to ${other.version}`)

export const told = (name: string, alias: AliasInfo): string =>
  `${bold(`${name}:${alias.name}`)} is version ${alias.version}${alias.other === null ? '' : `, ${shareOf(alias)}`}.`

/** `3=0.1`, also `v3=0.1`; null takes a share away. */
function weightOf(text: string): AliasInfo['other'] {
  if (text === 'none') return null
  const [, version, share] = /^v?(\d{1,10})=(\d(?:\.\d{1,6})?|\.\d{1,6})$/.exec(text) ?? []
  const weight = Number(share)
  if (version === undefined || !(weight >= 0 && weight <= 1))
    throw new UsageError(`--weight ${text}: say a version and a share from 0 to 1, such as 3=0.1, or none`)
  return { version, weight }
}

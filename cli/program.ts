import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Command, Option } from 'commander'
import { ApiError, type LogLine, UnreachableError } from '../client/client.ts'
import { NoNodeError } from '../client/nodes.ts'
import { isAppOfSeveral } from '../client/framework.ts'
import { byTime, inOrderOfTime } from '../client/log-order.ts'
import { isProjectFile, readMayflyJson } from '../client/mayfly-json.ts'
import type { UsageTotal } from '../client/usage.ts'
import { dbCommand } from './db/group.ts'
import { devCommand } from './dev.ts'
import { type DeploySettings, flagOf, overridesOf, withDeploySettings } from './deploy-settings.ts'
import { eventsCommand } from './events.ts'
import { initCommand } from './init.ts'
import { inspectCommand } from './inspect.ts'
import { invocationsCommand } from './invocations.ts'
import { invokeCommand } from './invoke.ts'
import { layers } from './layers.ts'
import { loginCommands } from './login.ts'
import { lsCommand } from './ls.ts'
import { bold, complain, dim, harmless, print, red, size, table, UsageError, yellow } from './output.ts'
import { at, clientOf, type Common, locate } from './place.ts'
import { keysCommand } from './keys.ts'
import { projectsCommand } from './projects.ts'
import { queueCommands } from './queue.ts'
import { queuesCommand } from './queues.ts'
import { sandboxesCommand } from './sandboxes.ts'
import { secretsCommand } from './secrets.ts'
import { ToldStacks } from './told-stacks.ts'
import { tokensCommand } from './tokens.ts'
import { triggersCommand } from './triggers.ts'
import { typesCommand } from './types.ts'
import { versionCommands } from './versions.ts'
import { urlCommand } from './url.ts'

const bytes = (count: number) => (count < 1024 ? `${count} B` : size(count))

/** All commands, with what they take. */
export const program = new Command('mayfly')
  .description('A self-hosted serverless platform.')
  .helpCommand(false)
  // `promote --version 3` is a version of a function.
  .enablePositionalOptions()
  .version(
    (JSON.parse(readFileSync(path.join(import.meta.dirname, '..', 'package.json'), 'utf8')) as { version: string }).version,
    '-v, --version',
    'show the version',
  )
  .showHelpAfterError('(--help says more)')
  .addHelpText(
    'after',
    `
  up [options]       start a node (mayfly up --help)
  config [--json]    show each setting and where it came from; needs no running node
  doctor [--json]    show what is in force on this machine, what is missing and what to do

Which node: --url with --key (or MAYFLY_URL with MAYFLY_KEY or MAYFLY_TOKEN), else --profile (or MAYFLY_PROFILE), else --data,
else the profile that was signed in to last, else the one that runs on this machine.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node found or reached, 4 not allowed, 5 not found, 6 the function ended with an error.`,
  )

const KEY = new Option('--key <key>', "the operator token, or the project's secret key")
const onNode = (made: Command, key = KEY) =>
  made
    .option('--url <url>', 'the address of a node; needs --key')
    .addOption(key)
    .option('--profile <name>', 'a node that `mayfly login` keeps a key for')
    .option('--project <ref>', 'the project (the default project when not given)')
    .option('--json', 'one JSON document on stdout')
const bare = (name: string, description: string, key = KEY) => onNode(program.command(name).description(description), key)
const here = (made: Command) => made.option('--data <folder>', 'the data directory of a node on this machine')

initCommand(program)
loginCommands(program)

const command = (name: string, description: string) => here(bare(name, description))

withDeploySettings(
  command(
    'deploy [folder]',
    'make a folder (where none is named: this one, by its mayfly.json) a function, or a whole project by its mayfly.json: bundle, pack, plan, send',
  ),
)
  .option('--name <name>', 'its name, instead of the one in mayfly.json or of the folder')
  .option('--to <alias>', 'then publish what was deployed, and point this alias at it')
  .option('--dry-run', 'show what would change, and change nothing; exits with 0 whether something would or not')
  .action(async (named: string | undefined, options: Common & DeploySettings & { name?: string; to?: string; dryRun?: boolean }) => {
    // Nobody's home directory becomes a function because its name was forgotten.
    if (named === undefined && readMayflyJson(process.cwd()) === null) throw new UsageError('deploy: say which folder, or run it in one that has a mayfly.json')
    const folder = named ?? '.'
    const { name = null, to = null, dryRun = false, json = false } = options
    const overrides = overridesOf(options)
    const node = locate(options)
    const client = clientOf(node)
    // What bundles and packs is loaded by who deploys: every other command starts in half the time.
    if (isProjectFile(readMayflyJson(path.resolve(folder)))) {
      const [flag] = Object.keys(overrides)
      if (flag !== undefined) throw new UsageError(`--${flagOf(flag)} is of one function: this folder is a project, whose mayfly.json says it for each.`)
      return await (await import('./deploy-project.ts')).deployProject(client, node.project, folder, { name, to, dryRun, json })
    }
    if (isAppOfSeveral(path.resolve(folder)))
      return await (await import('./deploy-project.ts')).deployProject(client, node.project, folder, { name, to, dryRun, json }, overrides)
    // The publishable key may be seen by anyone; only that of the default project stands in run.json.
    const key = node.run?.project.ref === node.project ? node.run.project.publishableKey : null
    const callOf = (own: string) =>
      `Call it: curl -X POST ${node.run?.url ?? node.url}${key === null ? `/p/${node.project}` : ''}/functions/v1/${own} -H "apikey: ${key ?? '<a key of the project>'}"`
    const { deployFunction } = await import('./deploy-function.ts')
    await deployFunction({ client, project: node.project, callOf }, folder, { name, to, dryRun, json }, overrides)
  })

invokeCommand(bare)

devCommand(command)

inspectCommand(command)

command('logs <function>', 'show what a function wrote')
  .option('-f, --follow', 'go on until Ctrl-C')
  .option('-n, --lines <count>', 'how many of the last lines', '100')
  .action(async (name: string, options: Common & { follow?: boolean; lines: string }) => {
    const node = locate(options)
    const count = Number(options.lines)
    if (!Number.isInteger(count) || count < 1) throw new UsageError('--lines must be a whole number from 1 on')
    const client = clientOf(node)
    const stacks = new ToldStacks(client, node.project, name)
    const show = async (line: LogLine) => {
      if (options.json) return print(JSON.stringify(line))
      const text = harmless(await stacks.line(line))
      print(`${dim(line.at)} ${line.source === 'platform' ? dim(text) : line.source === 'stderr' ? red(text) : text}`)
    }
    const { lines, dropped } = await client.logs(node.project, name, options.follow ? 1 : count)
    // What was removed keeps its lines; without any it may be a name that never was.
    if (lines.length === 0) await client.function(node.project, name)
    if (!options.follow) {
      for (const line of byTime(lines)) await show(line)
      if (dropped.lines > 0)
        complain(dim(`${dropped.lines} older lines of this project were dropped: it has written more than is kept (--observe-project-log-mb)`))
      return
    }
    const stop = new AbortController()
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => stop.abort())
    try {
      for await (const line of inOrderOfTime(client.followLogs(node.project, name, count, stop.signal))) await show(line)
    } catch (error) {
      if (stop.signal.aborted) return
      throw error instanceof ApiError || error instanceof UnreachableError ? error : new UnreachableError(node.url, error)
    }
    if (!stop.signal.aborted) throw new NoNodeError(`The node at ${node.url} ended the stream: it stops.`)
  })

lsCommand(command, at)

triggersCommand(command)

command('sites', 'list the sites of the project with their addresses').action(async (options: Common) => {
  const node = locate(options)
  const sites = await clientOf(node).sites(node.project)
  if (options.json) return print(JSON.stringify({ project: node.project, sites }))
  if (sites.length === 0) return print(`The project ${node.project} has no sites.`)
  print(
    table(
      ['NAME', 'FILES', 'SIZE', 'URL'],
      sites.map((one) => [one.name, String(one.files), size(one.bytes), one.url ?? '(not reached by this host name)']),
    ),
  )
})

command('rm <function>', 'remove a function').action(async (name: string, options: Common) => {
  const node = locate(options)
  await clientOf(node).removeFunction(node.project, name)
  print(options.json ? JSON.stringify({ removed: name }) : `Removed ${name}.`)
})

command('layers <what> [name] [from]', 'layers of functions: `layers ls [name]`, `layers publish <name> <folder or zip>`, `layers rm <name>:<version>`')
  .option('--description <text>', 'of `publish`: a sentence for people', '')
  .action(async (what: string, name: string | undefined, from: string | undefined, options: Common & { description: string }) => {
    const { json = false, description } = options
    const node = locate(options)
    await layers(clientOf(node), node.project, what, [name, from], { json, description }, fail)
  })

command('usage', 'show what ran, per function and day, and what it costs')
  .option('--days <count>', 'how many days back (UTC, today among them)', '31')
  .option('--by <what>', 'add up by: day, or function')
  .action(async (options: Common & { days: string; by?: string }) => {
    const node = locate(options)
    const days = Number(options.days)
    if (!Number.isInteger(days) || days < 1) throw new UsageError('--days must be a whole number from 1 on')
    const by = options.by ?? 'day,function'
    if (by !== 'day,function' && by !== 'day' && by !== 'function') throw new UsageError('--by must be day or function')
    const { usage, total, prices } = await clientOf(node).usage(node.project, days, by)
    if (options.json) return print(JSON.stringify({ project: node.project, usage, total, prices }))
    if (usage.length === 0) return print('Nothing has run yet.')
    const numbers = (one: UsageTotal) =>
      [
        one.executions,
        one.errors,
        one.cold,
        one.gbSeconds.toFixed(6),
        bytes(one.bytesIn),
        bytes(one.bytesOut),
        bytes(one.egressIn),
        bytes(one.egressOut),
        one.cost,
      ].map(String)
    const names = (day: string | null, name: string | null) => [...(by === 'function' ? [] : [day ?? '']), ...(by === 'day' ? [] : [name ?? ''])]
    print(
      table(
        [...names('DAY', 'FUNCTION'), 'EXECUTIONS', 'ERRORS', 'COLD', 'GB-SECONDS', 'IN', 'OUT', 'EGRESS IN', 'EGRESS OUT', `COST (${prices.currency})`],
        [
          ...usage.map((one) => [...names(one.day, one.functionName), ...numbers(one)]),
          [...(by === 'day,function' ? ['total', ''] : ['total']), ...numbers(total)],
        ],
      ),
    )
    if (total.cut > 0) print(dim(`${total.cut} more came to no end (refused, or lost with their node) and cost nothing.`))
    print(dim(`Priced by: ${prices.name}${prices.asOf === '' ? '' : `, ${prices.asOf}`}. ${prices.note}`.trim()))
  })

queueCommands(command)

queuesCommand(command)
eventsCommand(bare)
secretsCommand(command, at)
keysCommand(command, at)
projectsCommand(command, at)
versionCommands(command, at)
invocationsCommand(command, at)
sandboxesCommand(command, at)
typesCommand(command, at)
urlCommand(command, at)
tokensCommand(command, at)
dbCommand(program, (made) => here(onNode(made)), at)

command('console', 'print an address of the console that signs in whoever opens it first, valid 15 minutes')
  .option('--sign-out', 'end every session of the console and every such address instead')
  .action(async (options: Common & { signOut?: boolean }) => {
    const client = clientOf(locate(options))
    if (options.signOut) {
      const ended = await client.endConsoleSessions()
      return print(options.json ? JSON.stringify({ ended }) : `Ended ${ended} session${ended === 1 ? '' : 's'} of the console.`)
    }
    const url = await client.consoleLogin()
    print(options.json ? JSON.stringify({ url }) : url)
  })

command('status', 'show a running node').action(async (options: Common) => {
  const node = locate(options)
  const { pool, ...status } = await clientOf(node).status()
  if (options.json) return print(JSON.stringify(status))
  print(`${bold('url')}       ${status.url}\n${bold('console')}   ${status.console}\n${bold('project')}   ${status.project.ref}  ${status.project.url}`)
  print(
    `${bold('keys')}      publishable ${status.project.publishableKey}\n          secret      ${status.project.secretKey}\n          access key  ${status.accessKey.id} ${status.accessKey.secret}  ${status.region}`,
  )
  print(`${bold('sandbox')}   ${status.sandbox.driver}: ${status.sandbox.limits.join(', ')}`)
  const count = (state: (state: string) => boolean) => pool.sandboxes.filter((one) => state(one.state)).length
  print(
    `          ${pool.generic} waiting for a function, ${count((state) => state === 'busy')} at work, ${count((state) => state !== 'busy')} kept for their next call`,
  )
  for (const one of pool.problems) print(`${yellow('problem')}   ${one.what}: ${one.why}\n          ${one.todo}`)
  for (const gap of pool.missing) print(`${yellow('missing')}   ${gap.what}: ${gap.why}\n          ${gap.todo}`)
})

function fail(message: string): never {
  throw new UsageError(message)
}

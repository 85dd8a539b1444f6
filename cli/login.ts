import { text as textOf } from 'node:stream/consumers'
import type { Command } from 'commander'
import { Client } from '../client/client.ts'
import { ask } from '../client/http.ts'
import { projectOfToken, whoAmI } from '../client/tokens.ts'
import { askSilently } from './ask.ts'
import { green, print, table, UsageError } from './output.ts'
import { checkProfileName, type Profile, readProfiles, writeProfiles } from './profiles.ts'

interface Options {
  readonly profile?: string
  readonly project?: string
  readonly tokenStdin?: boolean
  readonly json?: boolean
}

const KINDS = { operator: 'the operator', service: 'the secret key', deployer: 'a deploy token', anon: 'the publishable key' } as const

/** `mayfly login` and `mayfly profiles`: nodes that are elsewhere, by a name. */
export function loginCommands(program: Command): void {
  program
    .command('login <url>')
    .description('keep a key for a node, so that commands go there; it is asked for and not shown, or comes by --token-stdin')
    .option('--profile <name>', 'the name to keep it under, instead of the host name')
    .option('--project <ref>', 'what commands are about where they name no project')
    .option('--token-stdin', 'read the key from standard input')
    .option('--json', 'one JSON document on stdout')
    .action(async (url: string, options: Options) => await login(url, options))
  program
    .command('profiles [what] [name]')
    .description('nodes that you signed in to: `profiles`, `profiles use <name>`, `profiles use local`, `profiles rm <name>`')
    .option('--json', 'one JSON document on stdout')
    .action((what: string | undefined, name: string | undefined, options: Options) => profiles(what ?? 'ls', name, options))
}

async function login(given: string, options: Options): Promise<void> {
  const url = originOf(given)
  const name = checkProfileName(options.profile ?? new URL(url).hostname.replace(/[^a-zA-Z0-9_-]/g, '-').slice(0, 40))
  if (name === LOCAL) throw new UsageError(`--profile ${LOCAL}: so the node of this machine is called`)
  const key = (options.tokenStdin || !process.stdin.isTTY ? await textOf(process.stdin) : await askSilently(`Key or token for ${url} (not shown): `)).trim()
  if (key === '') throw new UsageError('login: no key came. It is the operator token, the secret key of a project, or a deploy token.')
  const self = await whoAmI(new Client(url, key, ask))
  if (self.kind === 'anon' || self.kind === 'nobody')
    throw new UsageError('login: this is the publishable key of a project, which manages nothing. Give its secret key.')
  const project = options.project ?? self.project ?? projectOfToken(key) ?? 'demo'
  if (self.project !== null && project !== self.project) throw new UsageError(`login: the key is of the project ${self.project}, not of ${project}`)
  const kept = readProfiles()
  writeProfiles({ current: name, profiles: { ...kept.profiles, [name]: { url, key, project } } })
  if (options.json) return print(JSON.stringify({ profile: name, url, project, kind: self.kind }))
  print(green(`Signed in to ${url} with ${KINDS[self.kind]}${self.project === null ? '' : ` of ${self.project}`}; commands go there now (profile ${name}).`))
  print(`Back to the node of this machine: npx mayfly profiles use ${LOCAL}`)
}

function originOf(given: string): string {
  let url: URL
  try {
    url = new URL(given.includes('://') ? given : `https://${given}`)
  } catch {
    throw new UsageError(`login ${given}: this is no address`)
  }
  if (!/^https?:$/.test(url.protocol) || url.username !== '' || (url.pathname !== '/' && url.pathname !== ''))
    throw new UsageError(`login ${given}: an address such as https://api.example.com, without a path`)
  const isLoopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname)
  if (url.protocol === 'http:' && !isLoopback) throw new UsageError(`login ${given}: without TLS the key could be read on its way; use https://`)
  return url.origin
}

/** The node of this machine, which needs no key. */
const LOCAL = 'local'

function profiles(what: string, name: string | undefined, { json }: Options): void {
  const kept = readProfiles()
  const all = Object.entries(kept.profiles)
  if (what === 'ls') {
    list(kept.current, all, json === true)
    return
  }
  if (what !== 'use' && what !== 'rm') throw new UsageError(`profiles ${what}: there is \`profiles\`, \`profiles use\` and \`profiles rm\``)
  if (name === undefined) throw new UsageError(`profiles ${what}: say which`)
  const isLocal = what === 'use' && name === LOCAL
  if (!isLocal && !kept.profiles[name]) throw new UsageError(`there is no profile ${name}`)
  if (what === 'use') {
    writeProfiles({ ...kept, current: isLocal ? null : name })
    print(json ? JSON.stringify({ current: isLocal ? null : name }) : `Commands go to ${isLocal ? 'the node of this machine' : name} now.`)
  } else {
    writeProfiles({ current: kept.current === name ? null : kept.current, profiles: Object.fromEntries(all.filter(([own]) => own !== name)) })
    print(json ? JSON.stringify({ removed: name }) : `Removed the profile ${name} with its key.`)
  }
}

/** Never a key. */
function list(current: string | null, all: readonly (readonly [string, Profile])[], json: boolean): void {
  const shown = all.map(([name, { url, project }]) => ({ name, url, project }))
  if (json) print(JSON.stringify({ current, profiles: shown }))
  else if (all.length === 0) print('There are no profiles. Sign in to a node: npx mayfly login <url>')
  else
    print(
      table(
        ['', 'NAME', 'URL', 'PROJECT'],
        shown.map(({ name, url, project }) => [name === current ? '*' : '', name, url, project]),
      ),
    )
}

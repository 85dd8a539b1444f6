import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import { type FunctionUrlInfo, listUrls, putUrl, removeUrl, setUrlPolicies } from '../client/urls.ts'
import { green, print, table, UsageError } from './output.ts'

interface Options {
  readonly create?: boolean
  readonly rm?: boolean
  readonly auth?: string
  readonly stream?: boolean
  readonly alias?: string
  readonly policies?: string
  readonly json?: boolean
}

/** `mayfly url …`: addresses of functions. */
export function urlCommand<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command('url [function]', 'show the addresses of a function; with --create give it one, with --rm take it away')
    .option('--create', 'give it an address, or change the one that it has')
    .option('--rm', 'take the address away')
    .option('--auth <who>', 'who may call it: none (anyone) or iam (who signs with an access key)')
    .option('--stream', 'what it streams goes out as it is made')
    .option('--no-stream', 'what it answers goes out in one piece')
    .option('--alias <alias>', 'the address of an alias instead')
    .option('--policies <on|off>', 'of the whole project: whether addresses with --auth none let in only whom a policy lets in, as on AWS')
    .action(async (name: string | undefined, options: O & Options) => {
      const { auth, alias = null, policies, stream } = options
      if (policies !== undefined) {
        if (name !== undefined) throw new UsageError('--policies is a setting of the project: leave the function away')
        if (policies !== 'on' && policies !== 'off') throw new UsageError('--policies must be on or off')
        const { client, project } = at(options)
        await setUrlPolicies(client, project, policies === 'on')
        return print(
          options.json
            ? JSON.stringify({ policies: policies === 'on' })
            : policies === 'on'
              ? 'Addresses without signatures let in whom a policy lets in.'
              : 'Addresses without signatures let in anyone.',
        )
      }
      if (name === undefined) throw new UsageError('url: say which function')
      if (options.create && options.rm) throw new UsageError('--create and --rm exclude each other')
      if (auth !== undefined && auth !== 'none' && auth !== 'iam') throw new UsageError('--auth must be none or iam')
      if (!options.create && (auth !== undefined || stream !== undefined)) throw new UsageError('--auth and --stream go with --create')
      const { client, project } = at(options)
      if (options.rm) {
        await removeUrl(client, project, name, alias)
        return print(
          options.json ? JSON.stringify({ removed: name, alias }) : `${name}${alias === null ? '' : `:${alias}`} has no address of its own any more.`,
        )
      }
      if (options.create) {
        const { url, changed } = await putUrl(client, project, name, alias, { ...(auth ? { auth } : {}), ...(stream === undefined ? {} : { stream }) })
        if (options.json) return print(JSON.stringify({ ...url, changed }))
        print(url.url)
        return print(changed ? green(words(url)) : 'Nothing changes: it has exactly this address already.')
      }
      const urls = (await listUrls(client, project, name)).filter((one) => alias === null || one.alias === alias)
      // Without any it may be a name that never was.
      if (urls.length === 0) await client.function(project, name)
      if (options.json) return print(JSON.stringify({ project, urls }))
      if (urls.length === 0) return print(`${name}${alias === null ? '' : `:${alias}`} has no address of its own. Give it one: npx mayfly url ${name} --create`)
      print(
        table(
          ['ALIAS', 'AUTH', 'ANSWER', 'URL'],
          urls.map((one) => [one.alias ?? '-', one.auth, one.stream ? 'streamed' : 'in one piece', one.url]),
        ),
      )
    })
}

const words = ({ auth, stream }: FunctionUrlInfo) =>
  `${auth === 'none' ? 'Anyone may call it' : 'Who signs with an access key of the project may call it'}; answers go out ${stream ? 'as they are made' : 'in one piece'}.`

import { promises as fs } from 'node:fs'
import { text as textOf } from 'node:stream/consumers'
import { parseEnv } from 'node:util'
import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import { listSecrets, removeSecrets, setSecrets } from '../client/secrets.ts'
import { askSilently } from './ask.ts'
import { green, print, table, UsageError } from './output.ts'

interface Options {
  readonly fromFile?: string
  readonly json?: boolean
}

/** `mayfly secrets …`. No value is ever printed. */
export function secretsCommand<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command(
    'secrets <what> [names...]',
    'secrets of the project: `secrets set NAME`, `secrets set NAME=value`, `secrets ls`, `secrets rm NAME`, `secrets import .env`',
  )
    .option('--from-file <file>', 'of `set NAME`: the value is what is in this file')
    .action(async (what: string, names: string[], options: O & Options) => {
      switch (what) {
        case 'set':
          return await set(names, options, () => at(options))
        case 'import':
          return await importFile(names, options, () => at(options))
        case 'ls':
          return await list(options, at(options))
        case 'rm': {
          if (names.length === 0) throw new UsageError('secrets rm: say which, by the names that `secrets ls` shows')
          const { client, project } = at(options)
          await removeSecrets(client, project, names)
          return print(
            options.json
              ? JSON.stringify({ removed: names })
              : `Removed ${names.join(', ')}. Functions that name ${names.length === 1 ? 'it' : 'them'} go without from their next call on.`,
          )
        }
        default:
          throw new UsageError(`secrets ${what}: there is \`secrets set\`, \`secrets ls\`, \`secrets rm\` and \`secrets import\``)
      }
    })
}

type Where = () => { readonly client: Client; readonly project: string }

async function set(args: readonly string[], options: Options, where: Where): Promise<void> {
  if (args.length === 0) throw new UsageError('secrets set: say what, as NAME (its value from --from-file or standard input) or NAME=value')
  const plain = args.filter((arg) => !arg.includes('='))
  if (plain.length > 0 && args.length > 1)
    throw new UsageError('secrets set: one NAME without a value at a time; several go as NAME=value or by `secrets import`')
  const [name] = plain
  if (options.fromFile !== undefined && name === undefined) throw new UsageError('secrets set: --from-file goes with one NAME that has no value of its own')
  const values = name === undefined ? Object.fromEntries(args.map(split)) : { [name]: await contentFor(name, options.fromFile ?? null) }
  await send(values, options, where)
}

const split = (arg: string): [string, string] => {
  const mark = arg.indexOf('=')
  return [arg.slice(0, mark), arg.slice(mark + 1)]
}

/** Of a file or of standard input: neither the history of a shell nor the list of processes shows it. One line's end is not part of it. */
async function contentFor(name: string, file: string | null): Promise<string> {
  const content = file !== null ? await read(file) : process.stdin.isTTY ? await askSilently(`Value of ${name} (not shown): `) : await textOf(process.stdin)
  // What was to say it, has failed.
  if (content === '' && file === null) throw new UsageError(`secrets set: no value came for ${name}; an empty one is \`secrets set ${name}=\``)
  return content.replace(/\r?\n$/, '')
}

async function importFile(names: readonly string[], options: Options, where: Where): Promise<void> {
  const [file, ...more] = names
  if (file === undefined || more.length > 0) throw new UsageError('secrets import: say one file, such as .env, or - for standard input')
  const content = file === '-' ? await textOf(process.stdin) : await read(file)
  const stray = strayLine(content)
  if (stray !== null) throw new UsageError(`secrets import: line ${stray} of ${file} is not NAME=value, and no comment (#) either; nothing was set`)
  const values = parseEnv(content) as Record<string, string>
  if (Object.keys(values).length === 0) throw new UsageError(`secrets import: ${file} has no line of the form NAME=value`)
  await send(values, options, where)
}

/** The number of the first line that would be dropped without a word, or null. A value in quotes may go over several. */
function strayLine(content: string): number | null {
  const lines = content.split(/\r?\n/)
  for (let at = 0; at < lines.length; at++) {
    const line = (lines[at] as string).trim()
    if (line === '' || line.startsWith('#')) continue
    const mark = line.indexOf('=')
    if (mark <= 0) return at + 1
    const value = line.slice(mark + 1).trim()
    const quote = /^["'`]/.exec(value)?.[0]
    if (quote === undefined || value.includes(quote, 1)) continue
    const end = lines.findIndex((later, index) => index > at && later.includes(quote))
    if (end !== -1) at = end
  }
  return null
}

const read = (file: string) =>
  fs.readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`secrets: the file cannot be read: ${error.message}`)
  })

async function send(values: Readonly<Record<string, string>>, options: Options, where: Where): Promise<void> {
  const { client, project } = where()
  const changed = await setSecrets(client, project, values)
  const same = Object.keys(values).filter((name) => !changed.includes(name))
  if (options.json) return print(JSON.stringify({ changed, same }))
  if (changed.length > 0) print(green(`Set ${changed.join(', ')}.`))
  if (same.length > 0) print(`${same.join(', ')}: as before.`)
  if (changed.length > 0) print('Functions that name them in "secrets" of their mayfly.json have them from their next call on.')
}

async function list(options: Options, { client, project }: ReturnType<Where>): Promise<void> {
  const secrets = await listSecrets(client, project)
  if (options.json) return print(JSON.stringify({ project, secrets }))
  if (secrets.length === 0) return print(`The project ${project} has no secrets. Set one: npx mayfly secrets set NAME`)
  print(
    table(
      ['NAME', 'DIGEST', 'SET AT', 'SINCE'],
      secrets.map((one) => [one.name, one.digest, one.modifiedAt, one.createdAt]),
    ),
  )
}

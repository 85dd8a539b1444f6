import { createHash, randomUUID } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { type Command, Option } from 'commander'
import { EVENT_KINDS, EventError, type EventWishes, makeEvent } from '../client/events.ts'
import { complain, dim, EXIT, harmless, ms, print, UsageError } from './output.ts'
import { clientOf, type Common, locate } from './place.ts'
import { ToldStacks } from './told-stacks.ts'

interface Options extends Omit<Common, 'data' | 'key'>, Omit<EventWishes, 'key' | 'size'> {
  readonly data?: readonly string[]
  readonly key?: readonly string[]
  readonly size?: string
  readonly async?: boolean
  readonly event?: string
  readonly print?: boolean
  readonly idempotencyKey?: string
  readonly orderKey?: string
}

export const isEvent = (value: string) => /^\s*([[{"@\d-]|(true|false|null)\s*$)/.test(value)
const isKeyOfNode = (value: string) => /^(sb_|mayfly_)/.test(value)
export const several = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]
const WISHES = ['bucket', 'body', 'method', 'path', 'header', 'source', 'table', 'schema', 'record', 'old', 'detailType'] as const

/** `mayfly invoke`: with an event of one's own, or one written as its source writes it. */
export function invokeCommand(bare: (name: string, description: string, key: Option) => Command): void {
  const key = new Option('--key <key>', "the operator token, or the project's secret key; with --event that of an object too (may stand twice)")
  bare('invoke <function>', 'run a function with an event and print what it returned', key.argParser(several))
    .option('--data <json|@file|folder>', 'the event, as JSON or @file; a folder names the node by its data directory (may stand twice)', several)
    .option('--async', 'queue it and do not wait: it runs at least once, or becomes a dead letter')
    .option('--idempotency-key <key>', 'with --async: what the event is known by, so that it is queued once')
    .option('--order-key <key>', 'with --async: those of one key run one after the other, in their order')
    .option('--event <kind>', `write the event as its source does: ${[...EVENT_KINDS.keys()].join(', ')}`)
    .option('--print', 'with --event: show the event, and run nothing')
    .option('--bucket <name>', 'of s3: the bucket')
    .option('--size <bytes>', 'of s3: the size of the object')
    .option('--method <method>', 'of http: GET, or POST where there is a body')
    .option('--path <path>', "of http: such as '/notes?all=1'")
    .option('--header <line>', "of http: 'name: value' (may stand several times)", several)
    .option('--body <text|@file>', 'of http, queue, topic, kinesis, logs, bus: what it carries; of s3: what the object holds')
    .option('--source <name>', 'of schedule, queue, topic, kinesis, logs, bus: which one')
    .option('--detail-type <text>', 'of bus: what happened')
    .option('--table <name>', 'of row, dynamodb: the table')
    .option('--schema <name>', 'of row: its schema')
    .option('--record <json>', 'of row, dynamodb: the row as it is')
    .option('--old <json>', 'of row: the row as it was')
    .addHelpText('after', `\nEvents:\n${[...EVENT_KINDS].map(([name, { what }]) => `  ${name.padEnd(12)} ${what}`).join('\n')}`)
    .action(async (name: string, options: Options) => await invoke(name, options))
}

async function invoke(name: string, options: Options): Promise<void> {
  const { data = [], key = [], event: kind, ...rest } = options
  const folder = data.find((value) => !isEvent(value))
  const given = data.find(isEvent)
  if (folder !== undefined && !(await fs.stat(folder).catch(() => null))?.isDirectory())
    throw new UsageError(`--data ${folder}: this is neither JSON, nor @file, nor the data directory of a node.`)
  if (kind !== undefined && given !== undefined) {
    const own = (['body', 'record'] as const).find((wish) => EVENT_KINDS.get(kind)?.takes.includes(wish))
    throw new UsageError(`--event writes the event, so --data has none to say${own === undefined ? '' : `; what it carries is --${own}`}`)
  }
  const objectKeys = key.filter((one) => !isKeyOfNode(one))
  const wishes: EventWishes = {
    ...Object.fromEntries(WISHES.filter((wish) => options[wish] !== undefined).map((wish) => [wish, options[wish]])),
    ...(options.size === undefined ? {} : { size: sizeOf(options.size) }),
    ...(options.body?.startsWith('@') ? { body: await contentOf(options.body.slice(1)) } : {}),
  }
  const [own] = kind === undefined ? key : key.filter(isKeyOfNode)
  const find = () => locate({ ...common(rest), ...(own === undefined ? {} : { key: own }), ...(folder === undefined ? {} : { data: folder }) })
  if (kind === undefined && (Object.keys(wishes).length > 0 || options.print)) throw new UsageError('that is of an event: say which with --event')
  if (kind !== undefined) {
    // What is only shown needs no node.
    const text = eventText(kind, { ...wishes, ...(objectKeys[0] === undefined ? {} : { key: objectKeys[0] }) }, name, options.print ? null : find())
    return options.print ? print(text) : await run(name, text, options, find())
  }
  await run(name, await givenText(given), options, find())
}

const common = ({ url, project, profile, json }: Pick<Options, 'url' | 'project' | 'profile' | 'json'>): Common => ({
  ...(profile === undefined ? {} : { profile }),
  ...(url === undefined ? {} : { url }),
  ...(project === undefined ? {} : { project }),
  ...(json === undefined ? {} : { json }),
})

function sizeOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError('--size must be a whole number of bytes')
  return Number(text)
}

export const contentOf = async (file: string) =>
  await fs.readFile(file, 'utf8').catch((error: Error) => {
    throw new UsageError(`The event cannot be read from a file: ${error.message}`)
  })

export async function givenText(given: string | undefined): Promise<string> {
  const text = given === undefined ? '{}' : given.startsWith('@') ? await contentOf(given.slice(1)) : given
  try {
    JSON.parse(text)
  } catch (error) {
    throw new UsageError(`The event is not JSON: ${(error as Error).message}`)
  }
  return text
}

function eventText(kind: string, wishes: EventWishes, name: string, node: ReturnType<typeof locate> | null): string {
  try {
    const event = makeEvent(kind, wishes, {
      nowMs: Date.now(),
      id: randomUUID(),
      region: node?.run?.region ?? 'us-east-1',
      project: node?.project ?? 'demo',
      functionName: name.split(':')[0] as string,
      md5: (bytes) => createHash('md5').update(bytes).digest('hex'),
      gzip: (text) => gzipSync(text),
    })
    return JSON.stringify(event, null, node === null ? 2 : 0)
  } catch (error) {
    throw error instanceof EventError ? new UsageError(error.message) : error
  }
}

async function run(name: string, text: string, options: Options, node: ReturnType<typeof locate>): Promise<void> {
  if (options.async) {
    const { idempotencyKey: once, orderKey: order } = options
    const keys = { ...(once === undefined ? {} : { once }), ...(order === undefined ? {} : { order }) }
    const { invocation, duplicate = false } = await clientOf(node).invokeAsync(node.project, name, text, keys)
    if (options.json) return print(JSON.stringify({ invocation, ...(duplicate ? { duplicate } : {}) }))
    if (duplicate) return print(`It is queued already, as ${invocation}.`)
    return print(`Queued as ${invocation}. Watch it: npx mayfly invocation ${invocation}`)
  }
  const client = clientOf(node)
  const reply = await client.invoke(node.project, name, text)
  const payload = reply.failed ? await new ToldStacks(client, node.project, name).payload(reply.payload, reply.version) : reply.payload
  if (options.json)
    print(
      JSON.stringify({
        payload: JSON.parse(payload) as unknown,
        failed: reply.failed,
        invocationId: reply.invocationId,
        cold: reply.cold,
        durationMs: reply.durationMs,
      }),
    )
  else {
    print(harmless(payload))
    complain(dim(`${reply.invocationId}  ${ms(reply.durationMs)}  ${reply.cold === null ? 'warm' : `cold: ${reply.cold}`}`))
  }
  if (reply.failed) process.exitCode = EXIT.functionError
}

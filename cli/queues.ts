import type { Command } from 'commander'
import { type QueueInfo, type QueueSpec, QueuesClient } from '../client/queues.ts'
import { contentOf } from './invoke.ts'
import { dim, harmless, print, size, table, UsageError } from './output.ts'
import { clientOf, type Common, locate } from './place.ts'

interface Options extends Common {
  readonly n?: string
  readonly wait?: string
  readonly keep?: boolean
  readonly delay?: string
  readonly visibility?: string
  readonly retention?: string
  readonly deadLetter?: string
  readonly maxReceives?: string
  readonly to?: string
  readonly rate?: string
  readonly yes?: boolean
}

const WHATS = ['ls', 'create', 'show', 'send', 'receive', 'purge', 'redrive', 'rm']
/** What stands behind which of them. */
const OF: Readonly<Record<string, readonly string[]>> = {
  n: ['show', 'receive'],
  wait: ['receive'],
  keep: ['receive'],
  delay: ['create', 'send'],
  visibility: ['create'],
  retention: ['create'],
  deadLetter: ['create'],
  maxReceives: ['create'],
  to: ['redrive'],
  rate: ['redrive'],
  yes: ['rm', 'purge'],
}
const BATCH = 10

/** `mayfly queues …`: the queues of a project, and what is in them. */
export function queuesCommand(command: (name: string, description: string) => Command): void {
  command(
    'queues [what] [name] [message]',
    'queues of the project: `queues ls`, `create <name>` (again: with other settings), `show <name>` (with its first messages), `send <name> <message|@file>`, `receive <name>` (takes messages out), `purge <name> --yes`, `redrive <name>` (dead letters go back), `rm <name>`',
  )
    .option('--visibility <time>', 'of create: how long a message that was received is hidden from others, such as 30s, 5m')
    .option('--delay <time>', 'of create: how long each message waits before it can be received; of send: this one')
    .option('--retention <time>', 'of create: how long messages are kept, such as 4d')
    .option('--dead-letter <queue>', 'of create: where a message goes that was received --max-receives times and is still there')
    .option('--max-receives <n>', 'of create: 5 when nothing is said')
    .option('-n <count>', 'of show and receive: how many messages')
    .option('--wait <time>', 'of receive: how long it waits for a first one, up to 20s')
    .option('--keep', 'of receive: leaves them, hidden for the visibility of the queue')
    .option('--to <queue>', 'of redrive: there instead of back to where they came from')
    .option('--rate <n>', 'of redrive: at most so many a second')
    .option('--yes', 'of rm: with its messages; of purge: they are gone for good')
    .action(async (what = 'ls', name: string | undefined, message: string | undefined, options: Options) => await run(what, name, message, options))
}

async function run(what: string, name: string | undefined, message: string | undefined, options: Options): Promise<void> {
  if (!WHATS.includes(what)) throw new UsageError(`queues ${what}: there is ${WHATS.map((one) => `\`queues ${one}\``).join(', ')}`)
  for (const [option, of] of Object.entries(OF))
    if (options[option as keyof Options] !== undefined && !of.includes(what))
      throw new UsageError(`queues ${what}: --${option.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} is of ${of.map((one) => `\`${one}\``).join(' and ')}`)
  if (what !== 'ls' && name === undefined) throw new UsageError(`queues ${what}: say which queue`)
  if (message !== undefined && what !== 'send') throw new UsageError(`queues ${what}: takes no message`)
  const node = locate(options)
  const queues = new QueuesClient(clientOf(node), node.project)
  const own = name ?? ''
  const json = options.json ?? false
  switch (what) {
    case 'ls':
      return await list(queues, node.project, json)
    case 'create': {
      const { queue, changed } = await queues.put(own, specOf(options))
      return print(json ? JSON.stringify({ queue, changed }) : changed ? `The queue ${own} is there:\n${settingsText(queue)}` : `${own} is so already.`)
    }
    case 'show':
      return await show(queues, own, countOf('-n', options.n ?? '10', 100), json)
    case 'send': {
      if (message === undefined) throw new UsageError('queues send: say what, as a text or @file')
      const delay = options.delay === undefined ? undefined : secondsOf('--delay', options.delay)
      const [id = ''] = await queues.send(own, message.startsWith('@') ? await contentOf(message.slice(1)) : message, delay)
      return print(json ? JSON.stringify({ queue: own, id }) : `Sent as ${id}.`)
    }
    case 'receive':
      return await receive(queues, own, options)
    case 'purge': {
      if (!options.yes) throw new UsageError(`queues purge: all messages of ${own} would be gone for good; say --yes`)
      await queues.purge(own)
      return print(json ? JSON.stringify({ purged: own }) : `${own} is empty.`)
    }
    case 'redrive': {
      const perSecond = options.rate === undefined ? undefined : countOf('--rate', options.rate, 500)
      const move = await queues.redrive(own, { ...(options.to === undefined ? {} : { to: options.to }), ...(perSecond === undefined ? {} : { perSecond }) })
      const [what, they] = move.total === 1 ? ['message goes', 'it'] : ['messages go', 'they']
      if (move.total === 0 && !json) return print(`Nothing lies in ${own}.`)
      const where = move.to === null ? `where ${they} came from` : move.to
      return print(json ? JSON.stringify({ queue: own, move }) : `From ${own} ${move.total} ${what} to ${where}. How far it is: npx mayfly queues show ${own}`)
    }
    default:
      await queues.remove(own, options.yes ?? false)
      return print(json ? JSON.stringify({ removed: own }) : `Removed ${own}.`)
  }
}

async function list(queues: QueuesClient, project: string, json: boolean): Promise<void> {
  const all = await queues.list()
  if (json) return print(JSON.stringify({ project, queues: all }))
  if (all.length === 0) return print('No queues. Make one: npx mayfly queues create <name>')
  const rows = all.map((one) => [
    one.name,
    ...[one.visible, one.inFlight, one.delayed].map(String),
    size(one.bytes),
    one.oldestSentAt ?? '',
    one.settings.deadLetter ? `${one.settings.deadLetter.queue} after ${one.settings.deadLetter.maxReceives}` : '',
  ])
  print(table(['QUEUE', 'WAITING', 'IN FLIGHT', 'DELAYED', 'SIZE', 'OLDEST', 'DEAD LETTERS TO'], rows))
}

async function show(queues: QueuesClient, name: string, limit: number, json: boolean): Promise<void> {
  const { queue, moves } = await queues.show(name)
  const messages = await queues.peek(name, limit)
  if (json) return print(JSON.stringify({ queue, moves, messages }))
  print(`${settingsText(queue)}\n${queue.visible} waiting, ${queue.inFlight} in flight, ${queue.delayed} delayed, ${size(queue.bytes)}`)
  for (const { to, state, moved, total, startedAt } of moves)
    print(dim(`moved ${moved} of ${total} to ${to ?? 'where they came from'}, since ${startedAt}: ${state}`))
  if (messages.length === 0) return
  const line = (text: string) => harmless(text.length > 80 ? `${text.slice(0, 79)}…` : text).replaceAll('\n', ' ')
  print(
    table(
      ['SENT', 'RECEIVED', 'SEEN FROM', 'MESSAGE'],
      messages.map((one) => [one.sentAt, String(one.receiveCount), one.visibleAt, line(one.body)]),
    ),
  )
}

async function receive(queues: QueuesClient, name: string, { n = '1', wait = '0', keep = false, json = false }: Options): Promise<void> {
  const waitSeconds = secondsOf('--wait', wait)
  let left = countOf('-n', n, 10_000)
  for (let isFirst = true; left > 0; isFirst = false) {
    const messages = await queues.receive(name, { most: Math.min(BATCH, left), waitSeconds: isFirst ? waitSeconds : 0 })
    if (messages.length === 0) return isFirst && !json ? print(`Nothing can be received from ${name} now.`) : undefined
    for (const one of messages) print(json ? JSON.stringify(one) : harmless(one.body))
    // What was shown is done; whoever is cut off in between sees it again.
    if (!keep)
      await queues.done(
        name,
        messages.map(({ receipt }) => receipt),
      )
    left -= messages.length
  }
}

function specOf({ visibility, delay, retention, deadLetter, maxReceives }: Options): QueueSpec {
  if (maxReceives !== undefined && deadLetter === undefined) throw new UsageError('--max-receives goes with --dead-letter')
  return {
    ...(visibility === undefined ? {} : { visibilitySeconds: secondsOf('--visibility', visibility) }),
    ...(delay === undefined ? {} : { delaySeconds: secondsOf('--delay', delay) }),
    ...(retention === undefined ? {} : { retentionSeconds: secondsOf('--retention', retention) }),
    ...(deadLetter === undefined ? {} : { deadLetter: { queue: deadLetter, maxReceives: countOf('--max-receives', maxReceives ?? '5', 1000) } }),
  }
}

const settingsText = ({ settings: { visibilitySeconds, retentionSeconds, delaySeconds, deadLetter }, deadLettersOf }: QueueInfo) =>
  [
    `hidden for ${timeText(visibilitySeconds)} when received, kept for ${timeText(retentionSeconds)}${delaySeconds > 0 ? `, received ${timeText(delaySeconds)} after they were sent` : ''}`,
    ...(deadLetter ? [`given up to ${deadLetter.queue} after ${deadLetter.maxReceives} receives`] : []),
    ...(deadLettersOf.length > 0 ? [`takes what is given up by ${deadLettersOf.join(', ')}`] : []),
  ].join('\n')

const SECONDS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3_600, d: 86_400 }
/** As `--retention` takes it, in the largest unit that leaves nothing over. */
function timeText(seconds: number): string {
  const [unit, of] = Object.entries(SECONDS).findLast(([, of]) => seconds > 0 && seconds % of === 0) ?? ['s', 1]
  return `${seconds / of} ${unit}`
}

/** `30`, `30s`, `5m`, `4d`. @throws UsageError */
function secondsOf(option: string, text: string): number {
  const [, count, unit = ''] = /^(\d{1,7})([smhd]?)$/.exec(text) ?? []
  if (count === undefined) throw new UsageError(`${option}: a number with s, m, h or d, such as 30s`)
  return Number(count) * (SECONDS[unit] as number)
}

function countOf(option: string, text: string, most: number): number {
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1 || count > most) throw new UsageError(`${option} must be a whole number from 1 to ${most}, not ${text}`)
  return count
}

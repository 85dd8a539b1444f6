import { promises as fs } from 'node:fs'
import type { Command } from 'commander'
import type { Client, DeadLetter } from '../client/client.ts'
import { type LettersMeant, type LifeInfo, type MomentInfo, QueueClient, type ToldInfo } from '../client/queue.ts'
import { bold, dim, harmless, ms, print, red, table, UsageError, yellow } from './output.ts'
import { clientOf, type Common, locate } from './place.ts'

interface DlqOptions extends Common {
  readonly n: string
  readonly reason?: string
  readonly error?: string
  readonly from?: string
  readonly to?: string
  readonly all?: boolean
  readonly event?: string
}

interface ListOptions extends Common {
  readonly n: string
  readonly state?: string
  readonly from?: string
  readonly to?: string
}

/** The queue of the node and project that are meant. */
export const here = (options: Common) => {
  const node = locate(options)
  const client = clientOf(node)
  return { node, client, queue: new QueueClient(client, node.project) }
}

const ERROR_CHARS = 80
const WHATS = ['ls', 'show', 'replay', 'drop', 'rm', 'export']
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** What is queued and what became of it: `dlq`, `invocation`, `queue`, `pause`, `resume`. */
export function queueCommands(command: (name: string, description: string) => Command): void {
  command(
    'dlq <what> [which]',
    'dead letters, queued invocations that were given up: `dlq ls [function]`, `show <id>`, `replay <id>`, `drop <id>`, `export [function]`; `replay` and `drop` with --all [function] take all that are meant',
  )
    .option('-n <count>', 'how many are listed, or taken at most', '100')
    .option('--reason <reason>', 'only those given up for it: attempts, age, node, function_gone, recursion, destination')
    .option('--error <type>', 'only those whose last error was of this type')
    .option('--from <time>', 'only those given up from then on, such as 2026-01-31T12:00:00+09:00')
    .option('--to <time>', 'only those given up until then')
    .option('--all', 'of replay and drop: all that are meant')
    .option('--event <json|@file>', 'of replay: another event in the place of its own')
    .action(async (what: string, which: string | undefined, options: DlqOptions) => await dlq(what, which, options))

  command(
    'invocation <what> [function]',
    'show the life of an invocation by its id: its attempts with their errors, when the next is, its outcome and who was told; `invocation ls [function]` lists the last of all functions, or of one',
  )
    .option('-n <count>', 'of ls: how many', '20')
    .option('--state <state>', `of ls: only those that are ${[...EXECUTED, ...QUEUED, 'dead'].join(', ')}`)
    .option('--from <time>', 'of ls: only those begun (dead: given up) from then on, such as 2026-01-31T12:00:00+09:00')
    .option('--to <time>', 'of ls: only those begun (dead: given up) until then')
    .action(async (what: string, name: string | undefined, options: ListOptions) => {
      if (what === 'ls') return await listCalls(name, options)
      if (name !== undefined) throw new UsageError(`invocation ${what}: say \`invocation ls ${name}\`, or the id alone`)
      const life = await here(options).queue.life(what)
      print(options.json ? JSON.stringify(life) : lifeText(life))
    })

  command('queue [function]', 'list what waits in the queue and what runs from it')
    .option('-n <count>', 'how many are listed', '100')
    .option('--state <state>', 'only those that are: running, waiting, retrying, held (behind another of their key), paused')
    .action(async (name: string | undefined, options: Common & { n: string; state?: string }) => {
      const { node, queue } = here(options)
      const of = {
        ...(name === undefined ? {} : { function: name }),
        ...(options.state === undefined ? {} : { state: options.state }),
        limit: countOf(options.n),
      }
      showQueue(node.project, await queue.waiting(of), options.json ?? false)
    })

  command('pause <function>', 'let the queued calls of a function wait; nothing is lost meanwhile').action(async (name: string, options: Common) => {
    const { pausedAt } = await here(options).queue.pause(name)
    print(
      options.json
        ? JSON.stringify({ paused: name, pausedAt })
        : `The queued calls of ${name} wait since ${pausedAt}. Let them go on: npx mayfly resume ${name}`,
    )
  })
  command('resume <function>', 'let the queued calls of a function go on').action(async (name: string, options: Common) => {
    const { resumed } = await here(options).queue.resume(name)
    print(options.json ? JSON.stringify({ function: name, resumed }) : resumed ? `The queued calls of ${name} go on.` : `${name} was not paused.`)
  })
}

/** Of calls that ran, of those in the queue, and of those that were given up. */
const EXECUTED = ['succeeded', 'failed', 'cut', 'running']
const QUEUED = ['waiting', 'retrying', 'held', 'paused']

async function listCalls(name: string | undefined, options: ListOptions): Promise<void> {
  const { node, client, queue } = here(options)
  const { state, from, to } = options
  const limit = countOf(options.n)
  const span = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) }
  const of = name === undefined ? {} : { function: name }
  if (state !== undefined && ![...EXECUTED, ...QUEUED, 'dead'].includes(state))
    throw new UsageError(`--state must be one of ${[...EXECUTED, ...QUEUED, 'dead'].join(', ')}`)
  if (state === 'dead') return await list(client, node.project, { ...of, ...span, limit }, options.json ?? false)
  if (state !== undefined && QUEUED.includes(state)) {
    if (from !== undefined || to !== undefined) throw new UsageError(`--from and --to are of calls that began; what is ${state} stands in \`mayfly queue\``)
    showQueue(node.project, await queue.waiting({ ...of, state, limit }), options.json ?? false)
    return
  }
  const { invocations, next } = await queue.executions({ ...of, ...span, ...(state === undefined ? {} : { state }), limit })
  if (options.json) return print(JSON.stringify({ project: node.project, invocations, next }))
  if (invocations.length === 0) return print('No call of these ran.')
  const rows = invocations.map((one) => [
    one.startedAt,
    one.function,
    one.outcome === null ? yellow('running') : one.outcome === 'ok' ? 'succeeded' : red(one.outcome),
    String(one.attempt),
    one.queueMs === null ? '' : ms(one.queueMs),
    one.outcome === null ? '' : ms(one.durationMs),
    one.version,
    one.id,
  ])
  print(table(['STARTED', 'FUNCTION', 'STATE', 'ATTEMPT', 'QUEUED FOR', 'RAN', 'VERSION', 'INVOCATION'], rows))
}

function showQueue(project: string, { waiting, running, entries }: Awaited<ReturnType<QueueClient['waiting']>>, json: boolean): void {
  if (json) {
    print(JSON.stringify({ project, waiting, running, entries }))
    return
  }
  print(`${waiting} waiting, ${running} running`)
  if (entries.length === 0) return
  const rows = entries.map((one) => [
    one.enqueuedAt,
    one.webhook === undefined ? one.function : `${one.function} → ${harmless(one.webhook)}`,
    one.state,
    String(one.spent),
    one.dueAt,
    harmless(one.orderKey ?? ''),
    one.id,
  ])
  print(table(['QUEUED', 'FUNCTION', 'STATE', 'FAILED', 'DUE', 'KEY', 'INVOCATION'], rows))
}

async function dlq(what: string, which: string | undefined, options: DlqOptions): Promise<void> {
  if (!WHATS.includes(what)) throw new UsageError(`dlq ${what}: there is ${WHATS.map((one) => `\`dlq ${one}\``).join(', ')}`)
  const isOfOne = what === 'show' || ((what === 'replay' || what === 'drop' || what === 'rm') && !options.all)
  if (isOfOne && (which === undefined || !UUID.test(which)))
    throw new UsageError(`dlq ${what}: say which, by the id that \`dlq ls\` shows under INVOCATION${what === 'show' ? '' : ', or --all'}`)
  const { node, client, queue } = here(options)
  const id = which ?? ''
  const meant: LettersMeant = {
    ...(which === undefined ? {} : { function: which }),
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.error === undefined ? {} : { error: options.error }),
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.to === undefined ? {} : { to: options.to }),
    limit: countOf(options.n),
  }
  if (what === 'ls') return await list(client, node.project, meant, options.json ?? false)
  if (what === 'export') {
    for await (const line of queue.export(meant)) print(line)
    return
  }
  if (what === 'show') {
    const letter = await queue.letter(id)
    if (options.json) return print(JSON.stringify(letter))
    const { payload, encoding, payloadIsWhole, ...rest } = letter
    for (const [name, value] of Object.entries(rest)) if (value !== null) print(`${bold(name.padEnd(14))} ${harmless(String(value))}`)
    print(`\n${harmless(payload)}${payloadIsWhole ? '' : dim('… (the beginning)')}${encoding === 'base64' ? dim(' (base64)') : ''}`)
    return
  }
  if (what === 'replay') {
    if (!isOfOne) {
      const { replayed, stayed } = await queue.replayMany(meant)
      return print(
        options.json
          ? JSON.stringify({ replayed, stayed })
          : `Queued ${replayed} again${stayed > 0 ? `; ${stayed} stay, as their function or queue is gone` : ''}.`,
      )
    }
    const { invocation } = await queue.replay(id, options.event === undefined ? null : await eventOf(options.event))
    return print(options.json ? JSON.stringify({ invocation }) : `Queued again as ${invocation}.`)
  }
  if (isOfOne) await client.removeDeadLetter(node.project, id)
  const removed = isOfOne ? 1 : (await queue.dropMany(meant)).removed
  print(options.json ? JSON.stringify({ removed: isOfOne ? id : removed }) : isOfOne ? `Removed ${harmless(id)}.` : `Removed ${removed}.`)
}

async function list(client: Client, project: string, meant: LettersMeant, json: boolean): Promise<void> {
  const letters = await client.deadLetters(project, meant)
  if (json) return print(JSON.stringify({ project, deadLetters: letters }))
  if (letters.length === 0) return print('No invocation was given up.')
  const rows = letters.map((one) => [one.deadAt, whoseOf(one), one.reason, String(one.attempts), errorOf(one), one.id])
  print(table(['DEAD AT', 'FUNCTION', 'REASON', 'ATTEMPTS', 'ERROR', 'INVOCATION'], rows))
}

/** In a line; `dlq show` has the whole of it. */
function errorOf({ errorType, errorMessage }: DeadLetter): string {
  const text = harmless([errorType, errorMessage].filter((part) => part).join(': ')).replaceAll(/\s+/g, ' ')
  return text.length > ERROR_CHARS ? `${text.slice(0, ERROR_CHARS - 1).toWellFormed()}…` : text
}

/** Of an outcome that could not be told: also to whom. */
function whoseOf({ function: name, qualifier, queue, webhook }: DeadLetter): string {
  const to = webhook ?? queue
  return `${qualifier === null ? name : `${name}:${qualifier}`}${to === undefined ? '' : ` → ${harmless(to)}`}`
}

function countOf(text: string): string {
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1 || count > 1000) throw new UsageError('-n must be a whole number from 1 to 1000')
  return String(count)
}

async function eventOf(given: string): Promise<string> {
  const text = given.startsWith('@') ? await fs.readFile(given.slice(1), 'utf8') : given
  try {
    JSON.parse(text)
  } catch (error) {
    throw new UsageError(`The event is not JSON: ${(error as Error).message}`)
  }
  return text
}

const paint = (status: string) =>
  status === 'dead' || status === 'failed' ? red(status) : status === 'retrying' || status === 'paused' ? yellow(status) : status

function lifeText(life: LifeInfo): string {
  const { deadLetter, destination, sentLetter, result } = life
  const pairs: readonly (readonly [string, string | null])[] = [
    ['invocation', life.id],
    ['function', life.function],
    ['status', paint(life.status)],
    ['queued', life.enqueuedAt],
    ['next attempt', life.nextAttemptAt],
    ['order key', life.orderKey],
    ['webhook', life.webhook],
    ['queue', life.queue],
    ['given up', deadLetter && `${deadLetter.deadAt}  ${deadLetter.reason}`],
    ['told', destination && toldText(destination)],
    ['letter', sentLetter && toldText(sentLetter)],
    ['result', result && (result.encoding === 'json' ? JSON.stringify(result.payload) : String(result.payload))],
  ]
  const head = pairs.flatMap(([name, value]) => (value === null ? [] : [`${bold(name.padEnd(14))} ${name === 'status' ? value : harmless(value)}`])).join('\n')
  if (life.attempts.length === 0) return head
  const rows = life.attempts.map((one) => [
    String(one.attempt),
    one.startedAt ?? '',
    one.outcome ?? 'running',
    one.durationMs === null ? '' : ms(one.durationMs),
    harmless([one.errorType, one.errorMessage].filter(Boolean).join(': ').replaceAll('\n', ' ')),
    one.nextAt ?? '',
  ])
  return `${head}\n\n${table(['ATTEMPT', 'STARTED', 'OUTCOME', 'RAN', 'ERROR', 'NEXT AT'], rows)}`
}

const toldText = ({ kind, target, condition, delivery, isDead }: ToldInfo) =>
  `${kind} ${target}  ${condition}  ${isDead ? 'not taken: the dead letter' : 'as'} ${delivery}`

export function momentText(one: MomentInfo): string {
  const padded = one.what.padEnd(9)
  const what = one.what === 'dead' ? red(padded) : one.what === 'failed' ? yellow(padded) : padded
  const said = [one.reason, one.errorType, one.errorMessage, one.nextAt && `again at ${one.nextAt}`, one.url && `→ ${one.url}`].filter((text): text is string =>
    Boolean(text),
  )
  return `${dim(one.at)} ${what} ${one.function} ${one.invocation}${one.attempt === undefined ? '' : ` attempt ${one.attempt}`}${said.length > 0 ? `  ${harmless(said.join('  ').replaceAll('\n', ' '))}` : ''}`
}

import { promises as fs } from 'node:fs'
import type { Command } from 'commander'
import { sendEvent } from '../client/bus.ts'
import { UnreachableError } from '../client/client.ts'
import { givenText, isEvent, several } from './invoke.ts'
import { complain, harmless, print, UsageError, yellow } from './output.ts'
import type { Common } from './place.ts'
import { here, momentText } from './queue.ts'

interface Options extends Omit<Common, 'data'> {
  readonly data?: readonly string[]
  readonly source?: string
  readonly id?: string
  readonly bus?: string
}

/** `mayfly events`: sends events of one's own, and shows what happens. */
export function eventsCommand(bare: (name: string, description: string) => Command): void {
  bare(
    'events <what> [which]',
    '`events send <detail-type>`: an event of your own, for the functions whose `bus` trigger waits for it; `events tail [function]`: what happens in the queue as it happens, until Ctrl-C',
  )
    .option('--data <json|@file|folder>', 'of send: the detail, as JSON or @file; a folder names the node by its data directory (may stand twice)', several)
    .option('--source <name>', 'of send: who sends it')
    .option('--id <id>', 'of send: what it is known by: the same again within a day starts nothing')
    .option('--bus <name>', 'of send: another bus than default')
    .action(async (what: string, which: string | undefined, { data = [], ...options }: Options) => {
      const folder = data.find((value) => !isEvent(value))
      if (folder !== undefined && !(await fs.stat(folder).catch(() => null))?.isDirectory())
        throw new UsageError(`--data ${folder}: this is neither JSON, nor @file, nor the data directory of a node.`)
      const place: Common = { ...options, ...(folder === undefined ? {} : { data: folder }) }
      if (what === 'tail') return await tail(which, place)
      if (what !== 'send') throw new UsageError(`events ${what}: there is \`events send\` and \`events tail\``)
      if (which === undefined) throw new UsageError('events send: say what happened, such as `events send order.placed`')
      const detail: unknown = JSON.parse(await givenText(data.find(isEvent)))
      const { node, client } = here(place)
      const { source = 'mayfly.cli', id, bus = 'default', json } = options
      const sent = await sendEvent(client, node.project, bus, { 'detail-type': which, source, detail, ...(id === undefined ? {} : { id }) })
      if (json) return print(JSON.stringify(sent))
      const shown = harmless(sent.id)
      if (sent.seen) return print(`${shown} was sent before: it starts nothing again.`)
      print(
        `Sent as ${shown}: ${sent.started === 0 ? 'no function waits for it.' : `it starts ${sent.started === 1 ? 'a function' : `${sent.started} functions`}.`}`,
      )
    })
}

async function tail(name: string | undefined, options: Common): Promise<void> {
  const { node, client, queue } = here(options)
  if (name !== undefined) await client.function(node.project, name)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => stop.abort())
  try {
    for await (const moment of queue.feed(name ?? null, stop.signal)) {
      if (options.json) print(JSON.stringify(moment))
      else if ('missed' in moment) complain(yellow(`${moment.missed} were missed: they came faster than they were read`))
      else print(momentText(moment))
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error instanceof Error && 'status' in error ? error : new UnreachableError(node.url, error)
  }
}

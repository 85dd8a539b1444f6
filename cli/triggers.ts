import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import { listTriggers, saysTrigger, type TriggerInfo } from '../client/triggers.ts'
import { harmless, print, table } from './output.ts'
import { clientOf, type Common, locate } from './place.ts'

/** `mayfly triggers`: what starts which function, and what nothing starts yet. */
export function triggersCommand(command: (name: string, description: string) => Command): void {
  command('triggers [function]', 'list what starts the functions of the project, and what nothing starts yet').action(
    async (name: string | undefined, options: Common) => {
      const node = locate(options)
      const client = clientOf(node)
      // A name that is none is told as such.
      if (name !== undefined) await client.function(node.project, name)
      const triggers = (await listTriggers(client, node.project)).filter((one) => name === undefined || one.function === name)
      if (options.json) return print(JSON.stringify({ project: node.project, triggers }))
      if (triggers.length === 0) return print('Nothing starts a function by itself here. Write `triggers` into its mayfly.json, and deploy it again.')
      print(
        table(
          ['FUNCTION', 'STARTS AT', 'STARTED BY'],
          triggers.map((one) => [one.function, harmless(saysTrigger(one)), startedBy(one)]),
        ),
      )
    },
  )
}

const startedBy = (one: TriggerInfo) =>
  one.enabled === false
    ? 'nothing: it rests'
    : one.schedule?.at !== undefined && !one.nextAt
      ? 'nothing any more: its time is over'
      : one.started
        ? `the node${one.nextAt ? `, next ${one.nextAt.slice(0, 19)}Z` : ''}${one.unseen ? `; ${one.unseen} lines went before it saw them` : ''}`
        : `nothing yet; mayfly invoke ${one.function} --event ${one.invokedBy}`

/** Where webhooks of these functions are to be sent, and what paths they answer, for who has just deployed them. */
export async function printAddresses(
  client: Client,
  project: string,
  functions: readonly { readonly name: string; readonly definition: object }[],
): Promise<void> {
  const names = functions
    .filter(({ definition }) => 'triggers' in definition && /"(webhook|http)":/.test(JSON.stringify(definition.triggers)))
    .map(({ name }) => name)
  if (names.length === 0) return
  for (const one of await listTriggers(client, project))
    if (one.address !== undefined && names.includes(one.function)) print(`${one.function}: ${harmless(saysTrigger(one))}`)
}

/** Of a list of functions: the kinds of what starts each. */
export function startsOf(triggers: readonly TriggerInfo[], name: string): string {
  const kinds = triggers.filter((one) => one.function === name).map((one) => `${saysTrigger(one).split(' ', 1)[0]}${one.started ? '' : ' (not yet)'}`)
  return [...new Set(kinds)].join(', ')
}

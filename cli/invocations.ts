import type { Command } from 'commander'
import type { Client, InvocationInfo } from '../client/client.ts'
import { dim, ms, print, red, table, UsageError, yellow } from './output.ts'

interface Options {
  readonly json?: boolean
  readonly n: string
}

/** `mayfly invocations`: each by whether it was cold and why, and where its time went. */
export function invocationsCommand<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command('invocations <function>', 'list the last invocations of a function: cold or warm, and where the time of each went')
    .option('-n <count>', 'how many are listed', '20')
    .action(async (name: string, options: O & Options) => {
      const count = Number(options.n)
      if (!Number.isInteger(count) || count < 1 || count > 1000) throw new UsageError('-n must be a whole number from 1 to 1000')
      const { client, project } = at(options)
      const { invocations } = await client.invocations(project, name, count)
      // What was removed keeps its invocations; without any it may be a name that never was.
      if (invocations.length === 0) await client.function(project, name)
      if (options.json) return print(JSON.stringify({ function: name, invocations }))
      if (invocations.length === 0) return print(`${name} has not run yet.`)
      print(
        table(
          ['STARTED', 'OUTCOME', 'START', 'QUEUE', 'SANDBOX', 'INIT', 'RUN', 'RESPONSE', 'MEMORY', 'VERSION', 'INVOCATION'],
          invocations.map((one) => [
            one.startedAt,
            outcomeOf(one),
            one.outcome === null || one.outcome === 'cut' ? '' : one.cold === null ? 'warm' : `cold: ${one.cold}`,
            took(one.queueMs),
            ...(one.outcome === null ? ['', '', '', ''] : [took(one.waitMs), one.cold === null ? '' : took(one.initMs), took(one.runMs), took(one.responseMs)]),
            `${one.maxMemoryMb ?? '?'}/${one.memoryMb} MB`,
            one.version,
            one.attempt === 1 ? one.id : `${one.id} (attempt ${one.attempt})`,
          ]),
        ),
      )
      print(dim('queue: since its event was taken; sandbox: waiting for one; init: loading; run: until the answer; response: from there to its last byte'))
    })
}

const took = (value: number | null) => (value === null ? '' : ms(value))
const outcomeOf = ({ outcome }: InvocationInfo) => (outcome === null ? yellow('running') : outcome === 'ok' ? 'ok' : red(outcome))

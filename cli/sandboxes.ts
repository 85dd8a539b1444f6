import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import { bold, dim, print, table, yellow } from './output.ts'

/** `mayfly sandboxes`: what waits for functions, what serves them, and what ended. Of the whole node. */
export function sandboxesCommand<O>(command: (name: string, description: string) => Command, at: (options: O) => { readonly client: Client }): void {
  command('sandboxes', 'show the sandboxes of a node: those that wait, those of each function, and why others ended').action(
    async (options: O & { readonly json?: boolean }) => {
      const { pool } = await at(options).client.status()
      const { waiting, memory, ended, sandboxes, problems } = pool
      if (options.json) return print(JSON.stringify({ waiting, memory, ended, problems, sandboxes }))
      if (sandboxes.length > 0)
        print(
          table(
            ['FUNCTION', 'VERSION', 'RUNTIME', 'BY', 'STATE', 'FOR', 'CALLS', 'USED', 'CHARGED', 'LIMIT', 'SANDBOX'],
            sandboxes
              .toSorted((a, b) => compare(a.project, b.project) || compare(a.functionName, b.functionName))
              .map((one) => [
                `${one.project}/${one.functionName}`,
                one.version,
                one.runtime,
                one.driver,
                one.busy > 1 ? `${one.state} (${one.busy})` : one.provisioned ? `${one.state}, kept` : one.state,
                one.idleMs === null ? '' : `${Math.round(one.idleMs / 1000)} s`,
                String(one.calls),
                one.usedMb === null ? '' : `${Math.round(one.usedMb)} MB`,
                `${Math.round(one.memoryMb)} MB`,
                `${one.limitMb} MB`,
                one.id,
              ]),
          ),
        )
      else print('No sandbox serves a function now.')
      print(`${bold('waiting')}  ${waiting.map((one) => `${one.runtime}: ${one.booted} of ${one.wanted}`).join(', ') || 'none'}`)
      print(`${bold('memory')}   ${Math.round(memory.usedMb)} of ${memory.budgetMb} MB`)
      if (memory.machine !== null)
        print(`${bold('machine')}  ${memory.machine.availableMb} of ${memory.machine.totalMb} MB available${memory.machine.isShort ? ': short of memory' : ''}`)
      for (const one of problems) print(`${yellow('problem')}  ${one.what}: ${one.why}`)
      print(
        `${bold('ended')}    ${Object.entries(ended)
          .map(([why, count]) => `${why}: ${count}`)
          .join(', ')}`,
      )
      print(dim('A frozen sandbox is charged the memory that it keeps; another, and one that is kept loaded, its limit.'))
    },
  )
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

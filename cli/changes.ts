import type { DeploymentChange } from '../client/client.ts'
import { dim, green, harmless, print, red, table, yellow } from './output.ts'

export interface HowToDeploy {
  readonly name: string | null
  /** Only say what would change. */
  readonly dryRun: boolean
  /** The alias that is pointed at what was deployed. */
  readonly to: string | null
  readonly json: boolean
}

const MARKS: Readonly<Record<DeploymentChange['action'], string>> = {
  create: green('+ create'),
  update: yellow('~ update'),
  remove: red('- remove'),
  keep: yellow('! keep'),
  same: dim('  same'),
}

/** What differs, in a table. @returns whether anything does */
export function showChanges(all: readonly DeploymentChange[]): boolean {
  const changes = all.filter((change) => change.action !== 'same')
  if (changes.length === 0) print('Nothing changes: the node has exactly this already.')
  else
    print(
      table(
        ['', 'KIND', 'NAME', 'WHY'],
        changes.map((one) => [MARKS[one.action], one.kind, one.name, harmless(one.why.join(', '))]),
      ),
    )
  return changes.length > 0
}

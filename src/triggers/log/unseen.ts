import type { Tx } from '../../backends/database/database.ts'
import type { Log } from '../../core/log.ts'
import type { DefinitionOf } from '../event-source.ts'
import { addUnseen, lockCursorsOf } from './store.ts'

/** What the log gives up, of whichever function. */
export interface GoneLines {
  readonly project: string
  readonly functionName: string
  readonly seq: string
  readonly lines: number
}

/**
 * Counts, for each trigger that waits for lines of the functions that wrote these, those that it had not looked at: they
 * start nothing. In the transaction in which they go, so that each is either looked at or counted.
 */
export async function noteUnseen(tx: Tx, gone: readonly GoneLines[], log: Log): Promise<void> {
  const projects = Map.groupBy(gone, ({ project }) => project)
  for (const { id, project, functionName, definition, seq } of await lockCursorsOf(tx, [...projects.keys()])) {
    const wanted = (definition as DefinitionOf<'log'>).log.function
    const waitsFor = (name: string) => (wanted === '*' ? name !== functionName : name === wanted)
    const unseen = (projects.get(project) ?? []).filter((one) => BigInt(one.seq) > BigInt(seq) && waitsFor(one.functionName))
    const lines = unseen.reduce((sum, one) => sum + one.lines, 0)
    if (lines === 0) continue
    await addUnseen(tx, id, lines)
    log.warn({ project, function: functionName, of: wanted, lines }, 'lines of a log were given up before a function that waits for them was told')
  }
}

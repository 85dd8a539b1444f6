import { once } from 'node:events'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Connection } from './database.ts'

export interface Difference {
  /** Statements that make the one what the other is, in an order in which they run. */
  readonly statements: readonly { readonly sql: string; readonly losesRows: boolean; readonly inTransaction: boolean }[]
  /** What was seen and is not compared. */
  readonly notCompared: readonly string[]
}

/** What the thread is told. */
export interface Compared {
  readonly from: Connection
  readonly to: Connection
  readonly schemasOfTheNode: readonly string[]
}

/** Far more than a schema of thousands of tables takes; who has more ends the comparison, and not the node. */
const MOST_MEMORY_MB = 1_024

/**
 * What has to be run in one database so that it has what the other has: schemas, tables, functions, policies, rights, no
 * rows. Both are read in sessions of the roles that the connections name, whose rights are all that what was found runs by:
 * so policies in schemas of the node are left out, but those that the owner made for its files.
 * @throws Error what the driver or the library met, as the thread could send it
 */
export async function difference(from: Connection, to: Connection, schemasOfTheNode: readonly string[]): Promise<Difference> {
  const workerData: Compared = { from, to, schemasOfTheNode }
  const worker = new Worker(path.join(import.meta.dirname, 'compare-worker.ts'), { workerData, resourceLimits: { maxOldGenerationSizeMb: MOST_MEMORY_MB } })
  try {
    const [found] = await once(worker, 'message')
    return found as Difference
  } finally {
    await worker.terminate()
  }
}

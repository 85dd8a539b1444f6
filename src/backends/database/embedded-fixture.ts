import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { giveCluster } from '../../../tools/cluster.ts'
import { systemClock } from '../../lib/clock.ts'
import { EmbeddedDatabases } from './embedded.ts'

/** A real PostgreSQL for the tests of a room, in a folder that goes with it. */
export async function openTestDatabases(): Promise<{ databases: EmbeddedDatabases; folder: string; close: () => Promise<void> }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-room-'))
  const pg = path.join(folder, 'pg')
  mkdirSync(pg)
  await giveCluster(pg)
  const databases = await EmbeddedDatabases.open({
    folder: pg,
    runtimeBase: tmpdir(),
    migrations: path.join(import.meta.dirname, '../../../migrations'),
    clock: systemClock,
    log: () => {},
  })
  const close = async () => {
    await databases[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  }
  return { databases, folder, close }
}

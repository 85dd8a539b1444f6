import { constants, promises as fs } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { randomToken } from '../../lib/ids.ts'
import { type Connection, DatabaseError } from './database.ts'
import { asDatabaseError, OWN_PATH } from './postgres.ts'

/** What belongs to the running server, or is made again by one that starts; the log is copied last. */
const LEFT_OUT = new Set(['postmaster.pid', 'postmaster.opts', 'pg_internal.init', 'backup_label', 'tablespace_map', 'recovery.signal', 'standby.signal'])
const EMPTIED = new Set(['pg_wal', 'pg_replslot', 'pg_dynshmem', 'pg_notify', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans'])
const SEGMENT = /^[0-9A-F]{24}$/
const CONTROL = path.join('global', 'pg_control')

/**
 * Copies the files of a server that runs, by its own protocol for backups: what is torn by writes meanwhile is made good
 * from the log when a server first starts on the copy. It has what was committed when the copying ended.
 * @throws DatabaseError
 */
export async function copyCluster(connection: Connection, from: string, to: string): Promise<void> {
  const client = new pg.Client({ ...connection, application_name: 'mayfly clone', connectionTimeoutMillis: 10_000, options: `-c search_path=${OWN_PATH}` })
  client.on('error', () => {})
  try {
    await client.connect()
    // Ends with the session: until then the server keeps the log that the copy will need.
    await client.query('select pg_create_physical_replication_slot($1, true, true)', [
      `mayfly_clone_${randomToken(8)
        .toLowerCase()
        .replaceAll(/[^a-z0-9]/g, '0')}`,
    ])
    const started = await client.query<{ segment: string }>("select pg_walfile_name(pg_backup_start('mayfly clone', fast => true)) as segment")
    await copyFolder(from, to, '')
    await copyFile(from, to, CONTROL)
    const stopped = await client.query<{ segment: string; label: string }>(
      'select pg_walfile_name(lsn) as segment, labelfile as label from pg_backup_stop(wait_for_archive => false)',
    )
    const first = started.rows[0]?.segment ?? ''
    const last = stopped.rows[0]
    if (!last) throw new DatabaseError('XX000', 'the server did not end its backup')
    for (const name of await fs.readdir(path.join(from, 'pg_wal')))
      if (SEGMENT.test(name) && name >= first && name <= last.segment) await copyFile(from, to, path.join('pg_wal', name), true)
    await fs.writeFile(path.join(to, 'backup_label'), last.label, { mode: 0o600 })
    await takeOwner(from, path.join(to, 'backup_label'))
  } catch (error) {
    throw asDatabaseError(error)
  } finally {
    await client.end().catch(() => {})
  }
}

async function copyFolder(from: string, to: string, at: string): Promise<void> {
  await fs.mkdir(path.join(to, at), { mode: 0o700 })
  await takeOwner(path.join(from, at), path.join(to, at))
  for (const entry of await fs.readdir(path.join(from, at), { withFileTypes: true })) {
    const name = path.join(at, entry.name)
    if (LEFT_OUT.has(entry.name) || /^(pgsql_tmp|pg_internal\.init)/.test(entry.name) || name === CONTROL) continue
    if (entry.isFile()) await copyFile(from, to, name)
    else if (entry.isDirectory() && !EMPTIED.has(name)) await copyFolder(from, to, name)
    else if (entry.isDirectory()) await copyEmpty(from, to, name)
  }
}

/** With the folders that a server expects in it. */
async function copyEmpty(from: string, to: string, at: string): Promise<void> {
  const inner = at === 'pg_wal' ? ['archive_status', 'summaries'] : []
  for (const name of [at, ...inner.map((one) => path.join(at, one))]) {
    const folder = path.join(to, name)
    await fs.mkdir(folder, { mode: 0o700 })
    await takeOwner(path.join(from, at), folder)
  }
}

/** One that is gone by now is gone from the log on, too. */
async function copyFile(from: string, to: string, name: string, mustBeThere = false): Promise<void> {
  const target = path.join(to, name)
  try {
    await fs.copyFile(path.join(from, name), target, constants.COPYFILE_FICLONE)
  } catch (error) {
    if (!mustBeThere && (error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  await fs.chmod(target, 0o600)
  await takeOwner(path.dirname(path.join(from, name)), target)
}

async function takeOwner(like: string, target: string): Promise<void> {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = await fs.stat(like)
  await fs.chown(target, uid, gid)
}

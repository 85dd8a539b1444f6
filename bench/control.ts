import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Connection } from '../src/backends/database/database.ts'

/** The control database of the node whose data directory this is. */
export const controlOf = (data: string): Connection => ({
  host: socketOf(data),
  port: 5432,
  user: 'mayfly',
  password: readFileSync(path.join(data, 'pg', 'password'), 'utf8'),
  database: 'postgres',
})

/** Where its server listens: its command line says it. */
function socketOf(data: string): string {
  const [pid] = readFileSync(path.join(data, 'pg', 'control', 'postmaster.pid'), 'utf8').split('\n')
  const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  return args.find((arg) => arg.startsWith('unix_socket_directories='))?.slice('unix_socket_directories='.length) as string
}

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { ROOT } from './sources.ts'

/**
 * For tests: an empty cluster of PostgreSQL as the first of them made it, with its password. Making one takes a third of
 * the processor time of a first start, and it is the same each time.
 */
const CLUSTER = path.join(
  ROOT,
  'node_modules',
  '.cache',
  `mayfly-cluster-${createHash('sha256')
    .update(readFileSync(path.join(ROOT, 'src', 'backends', 'database', 'embedded.ts')))
    .update(readFileSync(path.join(ROOT, 'package-lock.json')))
    .digest('hex')
    .slice(0, 16)}`,
)

function copyCluster(from: string, to: string, how: '--link' | '--reflink=auto'): void {
  mkdirSync(to, { recursive: true })
  chmodSync(to, 0o711)
  execFileSync('cp', ['-a', how, path.join(from, 'template'), to], { stdio: 'ignore' })
  copyFileSync(path.join(from, 'password'), path.join(to, 'password'))
}

/**
 * Puts the kept cluster into the folder `pg` of new data. Nobody writes to the template that the servers' data is copied
 * from: other names for the same files will do.
 */
export function giveCluster(pg: string): void {
  for (const how of ['--link', '--reflink=auto'] as const) {
    if (!existsSync(CLUSTER)) return
    try {
      copyCluster(CLUSTER, pg, how)
      return
    } catch {
      // Another file system; or another user's, who begins with nothing then.
      rmSync(pg, { recursive: true, force: true })
      mkdirSync(pg, { mode: 0o711 })
    }
  }
}

/** Keeps that of a folder `pg`, if none is kept yet: whole or not at all, as files of tests run side by side. */
export function keepCluster(pg: string): void {
  if (existsSync(CLUSTER)) return
  const beside = `${CLUSTER}.${process.pid}`
  mkdirSync(path.dirname(CLUSTER), { recursive: true })
  copyCluster(pg, beside, '--reflink=auto')
  try {
    renameSync(beside, CLUSTER)
  } catch {
    rmSync(beside, { recursive: true, force: true }) // another was first
  }
}

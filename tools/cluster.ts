import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, chmodSync, copyFileSync, existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ROOT } from './sources.ts'

// For tests: clusters of PostgreSQL with all migrations and nothing else in them, made once and copied from then on. To make
// them, and to copy what is empty in them, is most of what a first start takes, and it is the same each time.

/** What these say, and that this file makes of it, is what a kept cluster is. */
const MADE_OF = ['src/backends/database/{embedded,migrate,server}.ts', 'migrations/{control,project}/*.sql', 'tools/cluster.ts', 'package-lock.json']
const madeOf = () => {
  const hash = createHash('sha256')
  for (const file of globSync(MADE_OF, { cwd: ROOT }).toSorted()) hash.update(`${file}\0`).update(readFileSync(path.join(ROOT, file)))
  return hash.digest('hex').slice(0, 16)
}
const CLUSTER = path.join(ROOT, 'node_modules', '.cache', `mayfly-cluster-${madeOf()}`)

/** PostgreSQL's numbers of `template1` and `template0`, to which nobody connects: their files may have several names. */
const STILL = ['1', '4']
/** Kept as the cluster of a project, which becomes the template of all. */
const PROJECT = 'kept'

const SETTINGS = [
  // What is committed outlives each process as it is; a test that cuts the power has its node make a cluster of its own.
  'fsync = off',
  'full_page_writes = off',
  // They live for a minute and hold next to nothing: to look after them takes longer than they would save.
  'autovacuum = off',
  'io_method = sync',
  // Passwords that nobody could guess, of roles that are given one at each start.
  'scram_iterations = 1',
]

/** The first database of a node, which is there before the node makes its project. */
export const FIRST_PROJECT = 'demo'

/**
 * Puts into the folder `pg` of new data what a node makes there at its first start, up to the projects named. Where another
 * user's may not be read the folder stays as it is, and the node begins with nothing.
 */
export async function giveCluster(pg: string, projects: readonly string[] = []): Promise<void> {
  if (!existsSync(CLUSTER)) await keepCluster()
  const still = STILL.map((name) => path.join(CLUSTER, 'still', name))
  mkdirSync(path.join(pg, 'projects'), { recursive: true, mode: 0o711 })
  chmodSync(pg, 0o711)
  try {
    // Of the template only copies are made.
    copy([path.join(CLUSTER, 'project')], path.join(pg, 'template'), 'link')
    copy(still, path.join(pg, 'template', 'base'), 'link')
    for (const [from, to] of [['control', 'control'], ...projects.map((ref) => ['project', `projects/${ref}`])] as [string, string][]) {
      copy([path.join(CLUSTER, from)], path.join(pg, to), 'copy')
      copy(still, path.join(pg, to, 'base'), 'link')
    }
    copyFileSync(path.join(CLUSTER, 'password'), path.join(pg, 'password'))
  } catch {
    for (const name of readdirSync(pg)) rmSync(path.join(pg, name), { recursive: true, force: true })
  }
}

function copy(from: readonly string[], to: string, how: 'link' | 'copy'): void {
  const cp = (...options: string[]) => execFileSync('cp', ['-a', ...options, ...from, to], { stdio: 'ignore' })
  // What holds nothing of a log's file is not copied; its reader finds zeros.
  if (how === 'copy') cp('--sparse=always')
  else
    try {
      cp('--link')
    } catch {
      cp('--sparse=always') // another file system
    }
}

/** Whole or not at all: files of tests run side by side. */
export async function keepCluster(): Promise<void> {
  if (existsSync(CLUSTER)) return
  const { EmbeddedDatabases } = await import('../src/backends/database/embedded.ts')
  const { quoteLiteral } = await import('../src/backends/database/postgres.ts')
  const { systemClock } = await import('../src/lib/clock.ts')
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-cluster-'))
  const beside = `${CLUSTER}.${process.pid}`
  try {
    chmodSync(folder, 0o711)
    const pg = path.join(folder, 'pg')
    const options = { folder: pg, runtimeBase: tmpdir(), migrations: path.join(ROOT, 'migrations'), clock: systemClock, log: () => {} }
    const databases = await EmbeddedDatabases.open(options)
    const last: string[] = []
    try {
      await databases.ensureProject(PROJECT)
      const password = readFileSync(path.join(pg, 'password'), 'utf8')
      for (const one of [databases.control, await databases.openProject(PROJECT)]) {
        await one.script(`set scram_iterations = 1; alter role current_user password ${quoteLiteral(password)}`)
        // The log begins a new file, and all that was before is in the tables.
        await one.script('select pg_switch_wal(); checkpoint')
        const [row] = await one.sql<{ file: string }>`select pg_walfile_name(pg_current_wal_insert_lsn()) as file`
        last.push(row?.file ?? '')
      }
    } finally {
      await databases[Symbol.asyncDispose]()
    }
    mkdirSync(path.join(beside, 'still'), { recursive: true })
    for (const [n, name] of ['control', `projects/${PROJECT}`].entries()) {
      const made = path.join(pg, name)
      for (const file of readdirSync(path.join(made, 'pg_wal'))) if (/^[0-9A-F]{24}$/.test(file) && file !== last[n]) rmSync(path.join(made, 'pg_wal', file))
      // Counts of a former life, by which it would look after databases that nobody connects to.
      for (const file of readdirSync(path.join(made, 'pg_stat'))) rmSync(path.join(made, 'pg_stat', file))
      appendFileSync(path.join(made, 'postgresql.conf'), SETTINGS.map((one) => `${one}\n`).join(''))
      for (const one of STILL) {
        if (n === 0) copy([path.join(made, 'base', one)], path.join(beside, 'still', one), 'copy')
        rmSync(path.join(made, 'base', one), { recursive: true })
      }
      copy([made], path.join(beside, n === 0 ? 'control' : 'project'), 'copy')
    }
    copyFileSync(path.join(pg, 'password'), path.join(beside, 'password'))
    renameSync(beside, CLUSTER)
    removeFormer()
  } catch (error) {
    if (!existsSync(CLUSTER)) throw error // another was first
  } finally {
    for (const one of [folder, beside]) rmSync(one, { recursive: true, force: true })
  }
}

/** Those of what the sources said before. Who still reads one makes its own. */
function removeFormer(): void {
  const folder = path.dirname(CLUSTER)
  for (const name of readdirSync(folder)) {
    const [, maker] = /^mayfly-cluster-[0-9a-f]{16}(?:\.(\d+))?$/.exec(name) ?? []
    if (!name.startsWith('mayfly-cluster-') || name === path.basename(CLUSTER) || (maker !== undefined && existsSync(`/proc/${maker}`))) continue
    try {
      rmSync(path.join(folder, name), { recursive: true, force: true })
    } catch {
      // Another user's.
    }
  }
}

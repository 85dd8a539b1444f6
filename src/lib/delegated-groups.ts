import { execFile } from 'node:child_process'
import { accessSync, constants, promises as fs, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Hierarchies, weighGroup } from './cgroup.ts'
import { emptyInto } from './emptied-group.ts'
import { nodeWeight } from './own-group.ts'

/** Where this process's own processes go, for a group of the second version that hands controllers down may hold none itself. */
const OWN = 'mayfly-node'
const CONTROLLERS = ['memory', 'pids', 'cpu'] as const

/**
 * The control groups that the service manager has given this process's user to do with as it likes (`Delegate=yes`): those
 * below the group that the process is in, or was in before it or the process that started it asked. All that is in that group
 * moves one down.
 * @param proc  `/proc`, but in tests
 * @param mayUse  whether the manager gave the group away, and does not only let its user write: the terminal is in such a one too
 * @returns null where there are none, or the first version rules
 */
export async function delegatedGroups(proc = '/proc', mayUse = saysDelegate): Promise<Hierarchies | null> {
  const found = await ownGroup(proc)
  if (found === null) return null
  const own = path.basename(found) === OWN ? path.dirname(found) : found
  try {
    if (!(await mayUse(own))) return null
    for (const file of ['', 'cgroup.procs', 'cgroup.subtree_control']) accessSync(path.join(own, file), constants.W_OK)
    const offered = readFileSync(path.join(own, 'cgroup.controllers'), 'utf8').trim().split(' ')
    if (!CONTROLLERS.some((name) => offered.includes(name))) return null
    emptyInto(own, OWN)
    const held = CONTROLLERS.filter((name) => offered.includes(name) && handsDown(own, name))
    if (held.includes('cpu')) await weighGroup({ cpu: { path: own, version: 2 } }, OWN, nodeWeight())
    const tree = (name: (typeof CONTROLLERS)[number]) => (held.includes(name) ? ({ path: own, version: 2 } as const) : null)
    return { unified: own, memory: tree('memory'), pids: tree('pids'), cpu: tree('cpu'), freezerV1: null, devicesV1: null, all: [own] }
  } catch {
    return null
  }
}

/** What systemd says of the unit whose group this is; without systemd nobody else minds. */
function saysDelegate(group: string): Promise<boolean> {
  const args = ['show', '--property=Delegate', '--value', path.basename(group)]
  return new Promise((resolve) => {
    execFile('systemctl', group.includes('/user@') ? ['--user', ...args] : args, { timeout: 5_000 }, (error, out) =>
      resolve(error === null ? out.trim() === 'yes' : (error as NodeJS.ErrnoException).code === 'ENOENT'),
    )
  })
}

/** The folder of the group of the second version that this process is in; null where that version is not mounted, or the process's group lies elsewhere. */
async function ownGroup(proc: string): Promise<string | null> {
  const read = (file: string) => fs.readFile(path.join(proc, 'self', file), 'utf8').catch(() => '')
  const name = /^0::(\/.*)$/m.exec(await read('cgroup'))?.[1]
  const mount = (await read('mountinfo'))
    .split('\n')
    .map((line) => line.split(' '))
    .find((fields) => fields[fields.indexOf('-') + 1] === 'cgroup2')
  if (name === undefined || !mount) return null
  const [, , , root = '/', at = ''] = mount
  const below = path.relative(root, name)
  return below.startsWith('..') ? null : path.join(at, below)
}

function handsDown(group: string, controller: string): boolean {
  try {
    writeFileSync(path.join(group, 'cgroup.subtree_control'), `+${controller}`)
    return true
  } catch {
    return false
  }
}

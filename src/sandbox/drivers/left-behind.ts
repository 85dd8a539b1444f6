import { promises as fs } from 'node:fs'
import path from 'node:path'
import { deadFolders } from '../../core/owned-folders.ts'
import { Cgroup, detectHierarchies } from '../../lib/cgroup.ts'
import type { Clock } from '../../lib/clock.ts'

const FOLDER_PREFIX = 'mayfly-sandboxes-'

/** The run-time folder of a driver's sandboxes. */
export const sandboxFolder = (runBase: string, name: string): string => path.join(runBase, `${FOLDER_PREFIX}${name}`)

/**
 * Removes what nodes of this machine left that were killed, and that nobody has started again since: groups, with what is
 * frozen in them, and folders. Each finds its own when it starts; those that never do would stay until the machine starts.
 */
export async function removeLeftBehind(runBase: string, clock: Clock): Promise<void> {
  const dead = await deadFolders(runBase, FOLDER_PREFIX)
  if (dead.length === 0) return
  // Those of an ordinary user went with the service that they were delegated to.
  const groups = process.getuid?.() === 0 ? await detectHierarchies() : null
  for (const { folder, name, take } of dead) {
    await take(async () => {
      const parent = `mayfly-${name}`
      for (const tree of groups?.all ?? [])
        for (const id of await fs.readdir(path.join(tree, parent)).catch(() => []))
          if (groups && id.startsWith('s-')) await new Cgroup(groups, `${parent}/${id}`).destroy(clock)
      for (const tree of groups?.all ?? []) await fs.rmdir(path.join(tree, parent)).catch(() => {})
      // Sandboxes have what is mounted in it in namespaces of their own; what is so for the host too is nobody's to remove.
      if (!(await hasMounts(folder))) await fs.rm(folder, { recursive: true, force: true, maxRetries: 5 })
    })
  }
}

async function hasMounts(folder: string): Promise<boolean> {
  const lines = (await fs.readFile('/proc/self/mountinfo', 'utf8')).split('\n')
  return lines.some((line) => line.split(' ')[4]?.startsWith(`${folder}/`))
}

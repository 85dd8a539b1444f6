import { promises as fs } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { detectHierarchies, type Hierarchies, weighGroup } from './cgroup.ts'
import { makeRoomInContainer, OTHERS } from './container-groups.ts'

/** Beside the sandboxes of a node, which weigh 100 for each processor. */
export const nodeWeight = (): number => 200 * availableParallelism()

/** Of all nodes, and of tests. */
const NAME = /^mayfly-[0-9a-z]+-node$/
const TRIES = 5

/**
 * The control group of this process and of what it starts from then on. Without one it is a program among those of the host, and
 * beside sandboxes that take all processors waits its turn between any two steps of a call.
 */
export class OwnGroup implements AsyncDisposable {
  readonly #tree: string
  readonly #name: string

  private constructor(tree: string, name: string) {
    this.#tree = tree
    this.#name = name
  }

  /** @returns null where a service manager or container has put this process into a group, whose weight is theirs to say, or this host does not let us */
  static async enter(name: string): Promise<OwnGroup | null> {
    const hierarchies = await detectHierarchies()
    const { cpu } = hierarchies
    const hasMoved = makeRoomInContainer(hierarchies)
    if (process.getuid?.() !== 0 || cpu === null || !(hasMoved || (await groupOf(hierarchies)) === '/')) return null
    const hands = path.join(cpu.path, 'cgroup.subtree_control')
    const hadThem = cpu.version === 1 || (await fs.readFile(hands, 'utf8').catch(() => '')).split(/\s/).includes('cpu')
    try {
      // Of the second version, a group has what the one above it hands down.
      if (!hadThem) await fs.writeFile(hands, '+cpu')
      await enterNew(hierarchies, cpu.path, name)
    } catch {
      await fs.rmdir(path.join(cpu.path, name)).catch(() => {})
      if (!hadThem) await fs.writeFile(hands, '-cpu').catch(() => {})
      return null
    }
    await removeEmpty(cpu.path)
    return new OwnGroup(cpu.path, name)
  }

  /** Leaves it, and removes it where nothing else is in it: another start removes what is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const leaveTo = (group: string) => fs.writeFile(path.join(group, 'cgroup.procs'), String(process.pid))
    await leaveTo(this.#tree).catch(() => leaveTo(path.join(this.#tree, OTHERS)).catch(() => {}))
    await fs.rmdir(path.join(this.#tree, this.#name)).catch(() => {})
  }
}

async function enterNew(hierarchies: Hierarchies, tree: string, name: string): Promise<void> {
  for (let left = TRIES; ; left--) {
    try {
      await weighGroup(hierarchies, name, nodeWeight())
      await fs.writeFile(path.join(tree, name, 'cgroup.procs'), String(process.pid))
      return
    } catch (error) {
      // Another that started now has removed it, as it was empty.
      if (left <= 1 || !['ENOENT', 'ENODEV'].includes(String((error as NodeJS.ErrnoException).code))) throw error
    }
  }
}

/** What nodes left that were killed and not started again: in one of a node that lives there is that node, and the kernel removes none that is not empty. */
async function removeEmpty(tree: string): Promise<void> {
  for (const name of await fs.readdir(tree).catch(() => [])) if (NAME.test(name)) await fs.rmdir(path.join(tree, name)).catch(() => {})
}

/** Where this process is in the tree that shares the processors; null where that is not known. */
async function groupOf({ cpu }: Hierarchies): Promise<string | null> {
  const lines = (await fs.readFile('/proc/self/cgroup', 'utf8').catch(() => '')).split('\n').map((line) => line.split(':'))
  const own = lines.find(([, controllers = '']) => (cpu?.version === 2 ? controllers === '' : controllers.split(',').includes('cpu')))
  return own?.slice(2).join(':') ?? null
}

import { createHash } from 'node:crypto'
import { linkSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmdirSync, symlinkSync } from 'node:fs'
import { access, mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { PACKAGES_NAME } from '../core/code-folder.ts'

/** What a sandbox gets in its slot: the content of `code`, that of `opt` where the version has layers and, when there is one, the compile cache as `cache`. */
export interface Source {
  readonly key: string
  readonly codeDir: string
  readonly optDir: string | null
  readonly cacheDir: string | null
}

/** Up to so many files a copy may be made while a call waits: about 20 µs each. */
const SMALL_TREE_FILES = 32
/** Copies kept ready of a large tree. */
const COPIES_AHEAD = 2
/** Trees of the same packages that are kept of sandboxes that ended. */
const MOST_BACK = 4
/** Keys of which copies are kept; those longest unused go first. */
const MAX_KEYS = 512
const LINKS_AT_ONCE = 64
/** Up to so many renames are made while nothing else happens. */
const MOVES_AT_ONCE = 256
/** Folders of a slot, each a mount inside, and a folder in each of them where libraries are looked for: the loader asks once, at the start of a program, which there are. */
const MOUNTED = ['code', 'opt'] as const
const LIBRARIES = 'lib'

/** Makes the folder of a sandbox that is to be started. */
export async function openSlot(slotDir: string): Promise<void> {
  for (const name of MOUNTED) await mkdir(join(slotDir, name, LIBRARIES), { recursive: true, mode: 0o755 })
}

/** Its program has started, and nothing asks for libraries any more: what `give` would do, ahead of the call. */
export async function clearSlot(slotDir: string): Promise<void> {
  for (const name of MOUNTED) await rmdir(join(slotDir, name, LIBRARIES))
}

/** The packages of code are a tree of their own, which many codes have in common: an app's, after each edit. */
const PACKAGES = 'node_modules'

/** One name in a slot: `from` is the file, or what a symbolic link says. */
interface Link {
  readonly kind: 'folder' | 'file' | 'symlink'
  readonly from: string
  readonly to: string
}

interface Shelf {
  readonly source: Source
  /** Null: they are nobody else's. */
  readonly packages: string | null
  readonly copies: string[]
  /** Null: not counted yet. */
  small: boolean | null
  /** What a slot is given of a small tree, in the order in which it is made; null: not read yet. */
  links: readonly Link[] | null
  making: Promise<void> | null
}

/**
 * Copies of code directories and layers, made of hard links ahead of time, so that a cold call pays a `rename` for each
 * file and folder of the first level alone.
 *
 * A copy must be on the file system of the slots. Its files are the artefact's own inodes: mode 0444, owned by
 * the node, seen through a read-only mount; a sandbox can neither write nor replace them. Its directories are new.
 * Packages that two codes of a project have in common go, where one has a copy ready that no sandbox was given, from
 * that copy into the other's, as they are; and so do those of a sandbox that has ended, which could only read them. So an
 * edit of an app links what was edited, and not its packages again.
 * Copies outlive the node: they are complete from the moment that they carry their name.
 */
export class Staging {
  readonly #dir: string
  readonly #shelves = new Map<string, Shelf>()
  /** Trees that came back from slots, by the name of the packages: of those alone that are on a shelf. */
  readonly #back = new Map<string, string[]>()
  /** The packages that lie in slots. */
  readonly #given = new Map<string, string>()
  #next = 0

  private constructor(dir: string) {
    this.#dir = dir
  }

  /** @param dir  belongs to this object alone, on the file system of the slots and of the code */
  static async open(dir: string): Promise<Staging> {
    const staging = new Staging(dir)
    await mkdir(dir, { recursive: true, mode: 0o711 })
    await staging.#readFormerCopies()
    return staging
  }

  /** Resolves when a cold call would find a copy ready, or could make one in no time. Further copies are made behind that. */
  async prepare(source: Source): Promise<void> {
    const shelf = this.#shelf(source)
    shelf.small ??= (await countSourceFiles(source)) <= SMALL_TREE_FILES
    if (shelf.small) shelf.links ??= linksOf(source)
    if (shelf.small || shelf.copies.length >= COPIES_AHEAD) return
    shelf.making ??= this.#make(shelf)
    if (shelf.copies.length === 0) await shelf.making
  }

  /**
   * Moves a copy into the slot. The caller may `prepare` the next one when the call is over.
   * @param isClear  `clearSlot` was there
   * @throws the file system's error when the code directory is gone
   */
  async give(source: Source, slotDir: string, isClear = false): Promise<void> {
    const shelf = this.#shelf(source)
    let copy = shelf.copies.pop()
    if (copy === undefined && shelf.small === true) {
      if (!isClear) clearSlotSync(slotDir)
      if (source.cacheDir !== null) {
        mkdirSync(join(slotDir, 'cache'), { mode: 0o755 })
        try {
          makeLinks(linksIn(source.cacheDir, 'cache'), slotDir)
        } catch (error) {
          unlessGone(error)
        }
      }
      shelf.links ??= linksOf(source)
      makeLinks(shelf.links, slotDir)
      return
    }
    if (copy === undefined) {
      shelf.small ??= (await countSourceFiles(source)) <= SMALL_TREE_FILES
      if (shelf.small) return await this.give(source, slotDir, isClear)
      await shelf.making
      copy = shelf.copies.pop()
    }
    // None is kept of what is not expected again, or another call took the copy that was just made.
    copy ??= await this.#makeCopy(source, shelf.packages)
    try {
      if (!isClear) clearSlotSync(slotDir)
      if (source.cacheDir !== null) renameSync(join(copy, 'cache'), join(slotDir, 'cache'))
      if (source.optDir !== null) await moveInto(join(copy, 'opt'), join(slotDir, 'opt'))
      await moveInto(join(copy, 'code'), join(slotDir, 'code'))
      if (shelf.packages !== null) this.#given.set(slotDir, shelf.packages)
    } finally {
      // Whole or not: a slot may be gone, for its caller has left.
      void rm(copy, { recursive: true, force: true })
    }
  }

  /**
   * Its sandbox is gone: packages that others of the project have too are kept for the next copy. The slot can be removed then.
   * @param isWhole  whether the sandbox could change nothing of its code
   */
  takeBack(slotDir: string, isWhole: boolean): void {
    const packages = this.#given.get(slotDir)
    this.#given.delete(slotDir)
    if (packages !== undefined && isWhole) this.#keepTree(packages, slotDir)
  }

  /** @param from  a slot or a copy that is removed next */
  #keepTree(packages: string, from: string): void {
    if (!this.#isOnShelf(packages)) return
    const trees = this.#back.get(packages) ?? []
    if (trees.length >= MOST_BACK) return
    const tree = join(this.#dir, `back.${process.pid}.${++this.#next}.part`)
    try {
      renameSync(join(from, 'code', PACKAGES), tree)
      this.#back.set(packages, [...trees, tree])
    } catch {
      // Then they are linked anew.
    }
  }

  #isOnShelf(packages: string): boolean {
    return [...this.#shelves.values()].some((shelf) => shelf.packages === packages)
  }

  /** Removes the copies of a version that is no longer called. */
  async forget(key: string): Promise<void> {
    const shelf = this.#shelves.get(key)
    this.#shelves.delete(key)
    const packages = shelf?.packages ?? null
    if (packages !== null && !this.#isOnShelf(packages)) {
      const trees = this.#back.get(packages) ?? []
      this.#back.delete(packages)
      await Promise.all(trees.map(async (tree) => await rm(tree, { recursive: true, force: true })))
    }
    await shelf?.making?.catch(() => {})
    for (const copy of shelf?.copies.splice(0) ?? []) await this.#discard(copy, packages)
  }

  #shelf(source: Source): Shelf {
    const known = this.#shelves.get(source.key)
    if (known && sameSource(known.source, source)) return known
    if (known) void this.forget(source.key)
    const shelf: Shelf = { source, packages: packagesOf(source), copies: [], small: null, links: null, making: null }
    this.#shelves.set(source.key, shelf)
    if (this.#shelves.size > MAX_KEYS) void this.forget(this.#shelves.keys().next().value as string)
    return shelf
  }

  /** A copy that nobody was given. */
  async #discard(copy: string, packages: string | null): Promise<void> {
    if (packages !== null) {
      const taken = `${copy}.part`
      // Whole or not at all: a start finds no copy that lacks its packages.
      await rename(copy, taken).catch(() => {})
      this.#keepTree(packages, taken)
      await rm(taken, { recursive: true, force: true })
    }
    await rm(copy, { recursive: true, force: true })
  }

  async #make(shelf: Shelf): Promise<void> {
    const isKept = () => this.#shelves.get(shelf.source.key) === shelf
    try {
      const copy = await this.#makeCopy(shelf.source, shelf.packages)
      if (isKept()) shelf.copies.push(copy)
      else await this.#discard(copy, shelf.packages)
    } finally {
      shelf.making = null
    }
    if (isKept()) void this.prepare(shelf.source).catch(() => {})
  }

  /** Packages of a sandbox that ended, or of a copy of another code that has the same; null where none is ready. They are nobody's from then on. */
  #takeAlike(source: Source, packages: string): { readonly tree: string; readonly rest: string | null } | null {
    const back = this.#back.get(packages)?.pop()
    if (back !== undefined) return { tree: back, rest: null }
    for (const shelf of this.#shelves.values()) {
      const copy = shelf.packages === packages && shelf.source.key !== source.key ? shelf.copies.pop() : undefined
      if (copy === undefined) continue
      const taken = `${copy}.part`
      try {
        // Whole or not at all: a start finds no copy that lacks its packages.
        renameSync(copy, taken)
        return { tree: join(taken, 'code', PACKAGES), rest: taken }
      } catch {
        // It is gone, as the file system says; so another is looked for.
      }
    }
    return null
  }

  async #makeCopy(source: Source, packages: string | null): Promise<string> {
    this.#next++
    const name = `${createHash('sha256').update(source.key).digest('hex').slice(0, 24)}.${process.pid}.${this.#next}`
    const building = join(this.#dir, `${name}.part`)
    await mkdir(building, { mode: 0o755 })
    const alike = packages === null ? null : this.#takeAlike(source, packages)
    try {
      if (source.cacheDir !== null) await linkTree(source.cacheDir, join(building, 'cache')).catch(unlessGone)
      if (source.optDir !== null) await linkTree(source.optDir, join(building, 'opt'))
      await linkTree(source.codeDir, join(building, 'code'), alike === null ? null : PACKAGES)
      if (alike !== null) renameSync(alike.tree, join(building, 'code', PACKAGES))
      await writeFile(join(building, 'source.json'), JSON.stringify(source), { mode: 0o600 })
      const copy = join(this.#dir, name)
      await rename(building, copy)
      return copy
    } catch (error) {
      await rm(building, { recursive: true, force: true })
      throw error
    } finally {
      if (alike !== null) void rm(alike.rest ?? alike.tree, { recursive: true, force: true })
    }
  }

  async #readFormerCopies(): Promise<void> {
    for (const name of await readdir(this.#dir)) {
      const copy = join(this.#dir, name)
      const source = name.endsWith('.part') ? null : await readSource(copy)
      const shelf = source === null || this.#shelves.size >= MAX_KEYS ? null : this.#shelf(source)
      if (shelf === null || shelf.copies.length >= COPIES_AHEAD) {
        await rm(copy, { recursive: true, force: true })
        continue
      }
      shelf.small = false
      shelf.copies.push(copy)
    }
  }
}

async function readSource(copy: string): Promise<Source | null> {
  try {
    const source = JSON.parse(await readFile(join(copy, 'source.json'), 'utf8')) as Source
    await access(source.codeDir)
    if (source.cacheDir !== null) await access(source.cacheDir)
    if (source.optDir !== null) await access(source.optDir)
    return source
  } catch {
    return null
  }
}

async function countSourceFiles(source: Source): Promise<number> {
  let count = 0
  for (const dir of [source.codeDir, source.optDir]) if (dir !== null) count += await countFiles(dir, SMALL_TREE_FILES)
  if (source.cacheDir !== null) await countFiles(source.cacheDir, SMALL_TREE_FILES).then((files) => (count += files), unlessGone)
  return count
}

/** What has the same name here has the same packages: of one project, so that nothing passes from one to another. */
function packagesOf({ codeDir }: Source): string | null {
  try {
    return `${dirname(codeDir)} ${readFileSync(`${codeDir}${PACKAGES_NAME}`, 'utf8')}`
  } catch {
    return null
  }
}

/** A compile cache goes with its version, and another process may know of that before this one: code loads without it. */
function unlessGone(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}

const sameSource = (one: Source, other: Source) => one.codeDir === other.codeDir && one.optDir === other.optDir && one.cacheDir === other.cacheDir

/** The folders stay, as they are mounted. */
function clearSlotSync(slotDir: string): void {
  for (const name of MOUNTED) rmdirSync(join(slotDir, name, LIBRARIES))
}

async function moveInto(from: string, to: string): Promise<void> {
  const names = readdirSync(from)
  for (const name of names.slice(0, MOVES_AT_ONCE)) renameSync(join(from, name), join(to, name))
  for (const name of names.slice(MOVES_AT_ONCE)) await rename(join(from, name), join(to, name))
}

async function countFiles(dir: string, enough: number): Promise<number> {
  let count = 0
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    count += entry.isDirectory() ? 1 + (await countFiles(join(dir, entry.name), enough - count)) : 1
    if (count > enough) break
  }
  return count
}

/** Makes a folder of the same files under other names. A few at a time, as each takes less than to hand it to another thread. */
export async function linkTree(from: string, to: string, leftOut: string | null = null): Promise<void> {
  await mkdir(to, { mode: 0o755 })
  const entries = await readdir(from, { withFileTypes: true })
  for (const [at, entry] of entries.entries()) {
    if (entry.name === leftOut) continue
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) await linkTree(source, target)
    else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target)
    else linkSync(source, target)
    if (at % LINKS_AT_ONCE === LINKS_AT_ONCE - 1) await turn()
  }
}

/** Code and layers are what they were: they are read once, and a cold call makes names alone. */
const linksOf = ({ codeDir, optDir }: Source): Link[] => [...(optDir === null ? [] : linksIn(optDir, 'opt')), ...linksIn(codeDir, 'code')]

function linksIn(folder: string, to: string): Link[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry): Link[] => {
    const from = join(folder, entry.name)
    const at = `${to}/${entry.name}`
    if (entry.isDirectory()) return [{ kind: 'folder', from, to: at }, ...linksIn(from, at)]
    return [entry.isSymbolicLink() ? { kind: 'symlink', from: readlinkSync(from), to: at } : { kind: 'file', from, to: at }]
  })
}

function makeLinks(links: readonly Link[], slotDir: string): void {
  for (const { kind, from, to } of links) {
    const at = `${slotDir}/${to}`
    if (kind === 'file') linkSync(from, at)
    else if (kind === 'folder') mkdirSync(at, { mode: 0o755 })
    else symlinkSync(from, at)
  }
}

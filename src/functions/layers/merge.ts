import { link, mkdir, readdir, readlink, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { checkLink } from '../archive.ts'

type Piece = Folder | { readonly kind: 'file'; readonly at: string } | { readonly kind: 'link'; readonly target: string }
interface Folder {
  readonly kind: 'folder'
  readonly entries: Map<string, Piece>
}

const WRITERS = 16

/**
 * Lays folders over each other: what a later one has replaces what lies at its place, a folder over a folder is one with both.
 * Nothing is followed; of links the merged tree is asked once more, as one may lead out of it only by way of another layer's.
 * Files are hard links of theirs, so both must be on one file system.
 * @param target  an empty folder
 * @throws MayflyError zip_invalid
 */
export async function mergeTrees(sources: readonly string[], target: string, maxEntries: number = LIMITS.archiveEntries.value): Promise<void> {
  const root: Folder = { kind: 'folder', entries: new Map() }
  for (const source of sources) await layOver(root, source)
  const merged = new Map<string, Piece>()
  flatten(root, '', merged)
  if (merged.size > maxEntries) throw new MayflyError('zip_invalid', `the layers have ${merged.size} entries together; ${maxEntries} are allowed`)
  const links = new Map<string, string>()
  for (const [path, piece] of merged) if (piece.kind === 'link') links.set(path, piece.target)
  for (const path of links.keys()) checkLink(path, links)

  // A folder stands before what lies in it.
  for (const [path, piece] of merged) if (piece.kind === 'folder') await mkdir(join(target, path), { mode: 0o755 })
  const rest = [...merged].filter(([, piece]) => piece.kind !== 'folder')
  const writer = async () => {
    for (let next = rest.pop(); next; next = rest.pop()) {
      const [path, piece] = next
      if (piece.kind === 'file') await link(piece.at, join(target, path))
      else if (piece.kind === 'link') await symlink(piece.target, join(target, path))
    }
  }
  const written = await Promise.allSettled(Array.from({ length: WRITERS }, writer))
  for (const one of written) if (one.status === 'rejected') throw one.reason
}

async function layOver(folder: Folder, source: string): Promise<void> {
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const { name } = entry
    const at = join(source, name)
    if (entry.isDirectory()) {
      const there = folder.entries.get(name)
      const inner: Folder = there?.kind === 'folder' ? there : { kind: 'folder', entries: new Map() }
      folder.entries.set(name, inner)
      await layOver(inner, at)
    } else if (entry.isSymbolicLink()) folder.entries.set(name, { kind: 'link', target: await readlink(at) })
    else folder.entries.set(name, { kind: 'file', at })
  }
}

/** By their paths, a folder before what lies in it. */
function flatten(folder: Folder, below: string, into: Map<string, Piece>): void {
  for (const [name, piece] of folder.entries) {
    const path = join(below, name)
    into.set(path, piece)
    if (piece.kind === 'folder') flatten(piece, path, into)
  }
}

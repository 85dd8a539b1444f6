import { link, mkdir, readdir, readlink, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { checkLink } from '../archive.ts'

type Piece = { readonly kind: 'folder' } | { readonly kind: 'file'; readonly at: string } | { readonly kind: 'link'; readonly target: string }

const WRITERS = 16

/**
 * Lays folders over each other: what a later one has replaces what lies at its place, a folder over a folder is one with both.
 * Nothing is followed; of links the merged tree is asked once more, as one may lead out of it only by way of another layer's.
 * Files are hard links of theirs, so both must be on one file system.
 * @param target  an empty folder
 * @throws MayflyError zip_invalid
 */
export async function mergeTrees(sources: readonly string[], target: string, maxEntries: number = LIMITS.archiveEntries.value): Promise<void> {
  const merged = new Map<string, Piece>()
  for (const source of sources) await layOver(merged, source, '')
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

async function layOver(merged: Map<string, Piece>, source: string, below: string): Promise<void> {
  for (const entry of await readdir(join(source, below), { withFileTypes: true })) {
    const path = join(below, entry.name)
    if (entry.isDirectory()) {
      put(merged, path, { kind: 'folder' })
      await layOver(merged, source, path)
    } else if (entry.isSymbolicLink()) put(merged, path, { kind: 'link', target: await readlink(join(source, path)) })
    else put(merged, path, { kind: 'file', at: join(source, path) })
  }
}

function put(merged: Map<string, Piece>, path: string, piece: Piece): void {
  const there = merged.get(path)
  if (there?.kind === 'folder') {
    if (piece.kind === 'folder') return
    for (const other of merged.keys()) if (other.startsWith(`${path}/`)) merged.delete(other)
  }
  // At the end again: what was a file may be a folder now, and must stand before its own.
  merged.delete(path)
  merged.set(path, piece)
}

import { linkSync } from 'node:fs'
import { type FileHandle, mkdir, open, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { crc32, createInflateRaw, inflateRaw } from 'node:zlib'
import { type Entry, fromBuffer, getFileNameLowLevel, type ZipFile } from 'yauzl'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { MiB } from '../lib/bytes.ts'

const inflateWhole = promisify(inflateRaw)

/** Deflate cannot do better: a member that claims more is a lie, told before it is inflated. */
const DEFLATE_RATIO = 1032
const MAX_NAME_BYTES = 255
const MAX_PATH_BYTES = 4096
const MAX_LINK_HOPS = 40
/** Members up to this size are inflated in one go, larger ones as a stream. */
const WHOLE_BYTES = 4 * MiB
const WRITERS = 8
/** So many links are made while nothing else happens. */
const LINKS_AT_ONCE = 128

const UNIX_TYPE = 0o170000
const UNIX_FILE = 0o100000
const UNIX_FOLDER = 0o040000
const UNIX_LINK = 0o120000
/** "Version made by" of archives whose attributes hold a Unix mode: Unix and macOS. */
const UNIX_HOSTS = new Set([3, 19])

interface Member {
  /** Relative, with `/` between its parts and none at its end. */
  readonly path: string
  readonly kind: 'file' | 'folder' | 'link'
  readonly executable: boolean
  readonly bytes: number
  readonly crc: number
  readonly deflated: boolean
  readonly data: Buffer
}

/** An archive whose table of contents was found sound. What its members hold is checked while they are written. */
export interface Archive {
  readonly members: readonly Member[]
  readonly unpackedBytes: number
}

export interface ArchiveLimits {
  readonly unpackedBytes: number
  readonly entries: number
}

const NODE_LIMITS: ArchiveLimits = {
  unpackedBytes: LIMITS.unzippedCode.value,
  entries: LIMITS.archiveEntries.value,
}

const invalid = (message: string, cause?: unknown) => new MayflyError('zip_invalid', message, cause === undefined ? undefined : { cause })
const quoted = (name: string) => JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name)
const tooLarge = (limit: number) => invalid(`Unzipped size must be smaller than ${limit} bytes`)

/**
 * Reads the table of contents and refuses, by name, whatever could leave the folder or fill the disk.
 * @throws MayflyError zip_invalid
 */
export async function readArchive(zip: Buffer, limits: ArchiveLimits = NODE_LIMITS): Promise<Archive> {
  const entries = await readEntries(zip, limits)
  const members: Member[] = []
  let unpackedBytes = 0
  const spans: { start: number; end: number; path: string }[] = []
  for (const entry of entries) {
    const raw = nameOf(entry)
    checkName(raw)
    const path = raw.endsWith('/') ? raw.slice(0, -1) : raw
    const { start, data } = dataOf(zip, entry, path)
    spans.push({ start, end: start + data.length, path })
    unpackedBytes += entry.uncompressedSize
    if (unpackedBytes > limits.unpackedBytes) throw tooLarge(limits.unpackedBytes)
    members.push({
      path,
      ...kindOf(entry, raw),
      bytes: entry.uncompressedSize,
      crc: entry.crc32,
      deflated: entry.compressionMethod === 8,
      data,
    })
  }
  checkOverlap(spans)
  checkTree(members, limits)
  if (!members.some((member) => member.kind === 'file')) throw invalid('the archive holds no file')
  return { members, unpackedBytes }
}

async function readEntries(zip: Buffer, limits: ArchiveLimits): Promise<Entry[]> {
  const file = await new Promise<ZipFile>((resolve, reject) => {
    // Names stay bytes here: they are decoded and judged by this file alone.
    fromBuffer(
      zip,
      {
        lazyEntries: true,
        decodeStrings: false,
        validateEntrySizes: true,
        autoClose: false,
      },
      (error, opened) => {
        if (error) reject(invalid('the file is not a zip archive', error))
        else resolve(opened)
      },
    )
  })
  if (file.entryCount > limits.entries) throw invalid(`the archive has ${file.entryCount} entries; ${limits.entries} are allowed`)
  return await new Promise<Entry[]>((resolve, reject) => {
    const entries: Entry[] = []
    file.on('entry', (entry: Entry) => {
      entries.push(entry)
      file.readEntry()
    })
    file.on('end', () => resolve(entries))
    file.on('error', (error) => reject(invalid('the table of contents of the archive is damaged', error)))
    file.readEntry()
  })
}

function nameOf(entry: Entry): string {
  try {
    return getFileNameLowLevel(entry.generalPurposeBitFlag, entry.fileName as unknown as Buffer, entry.extraFields, true)
  } catch (error) {
    throw invalid('the archive has an entry whose name cannot be read', error)
  }
}

function checkName(raw: string): void {
  const refuse = (why: string) => invalid(`entry ${quoted(raw)}: ${why}`)
  if (raw === '' || raw === '/') throw refuse('an entry needs a name')
  if (raw.includes('\0')) throw refuse('NUL bytes are not allowed in a name')
  if (raw.includes('\\')) throw refuse('backslashes are not allowed; folders are parted by /')
  if (raw.startsWith('/')) throw refuse('absolute paths are not allowed')
  if (/^[a-zA-Z]:/.test(raw)) throw refuse('drive letters are not allowed')
  if (raw.includes('\u{fffd}')) throw refuse('the name is not valid UTF-8')
  if (Buffer.byteLength(raw) > MAX_PATH_BYTES) throw refuse(`the path is longer than ${MAX_PATH_BYTES} bytes`)
  const parts = (raw.endsWith('/') ? raw.slice(0, -1) : raw).split('/')
  for (const part of parts) {
    if (part === '..') throw refuse('`..` is not allowed in a path')
    if (part === '' || part === '.') throw refuse('empty parts and `.` are not allowed in a path')
    if (Buffer.byteLength(part) > MAX_NAME_BYTES) throw refuse(`a name is longer than ${MAX_NAME_BYTES} bytes`)
  }
}

function kindOf(entry: Entry, raw: string): Pick<Member, 'kind' | 'executable'> {
  const folder = raw.endsWith('/')
  const mode = UNIX_HOSTS.has(entry.versionMadeBy >>> 8) ? entry.externalFileAttributes >>> 16 : 0
  const type = mode & UNIX_TYPE
  const refuse = (why: string) => invalid(`entry ${quoted(raw)}: ${why}`)
  if (folder) {
    if (type !== 0 && type !== UNIX_FOLDER) throw refuse('a name that ends in / must be a folder')
    if (entry.uncompressedSize > 0) throw refuse('a folder must have no content')
    return { kind: 'folder', executable: false }
  }
  if (type === UNIX_FOLDER) throw refuse('the name of a folder must end in /')
  if (type === UNIX_LINK) {
    if (entry.uncompressedSize > MAX_PATH_BYTES) throw refuse('the link is too long')
    return { kind: 'link', executable: false }
  }
  if (type !== 0 && type !== UNIX_FILE) throw refuse('devices, pipes and sockets are not allowed')
  return { kind: 'file', executable: (mode & 0o111) !== 0 }
}

/** The bytes of a member as they stand in the archive, by its local header. */
function dataOf(zip: Buffer, entry: Entry, path: string): { start: number; data: Buffer } {
  const refuse = (why: string) => invalid(`entry ${quoted(path)}: ${why}`)
  if ((entry.generalPurposeBitFlag & 1) !== 0) throw refuse('encrypted entries cannot be read')
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) throw refuse('the compression is unknown; store or deflate it')
  if (entry.compressionMethod === 8 && entry.uncompressedSize > entry.compressedSize * DEFLATE_RATIO + 64) throw refuse('it claims more bytes than it can hold')
  if (entry.compressionMethod === 0 && entry.uncompressedSize !== entry.compressedSize) throw refuse('its sizes disagree')
  const header = entry.relativeOffsetOfLocalHeader
  if (header + 30 > zip.length || zip.readUInt32LE(header) !== 0x04034b50) throw refuse('its local header is missing')
  const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28)
  if (start + entry.compressedSize > zip.length) throw refuse('it is cut short')
  return { start, data: zip.subarray(start, start + entry.compressedSize) }
}

/** Members that share bytes are how a small archive becomes a very large folder. */
function checkOverlap(spans: { start: number; end: number; path: string }[]): void {
  spans.sort((a, b) => a.start - b.start)
  let end = 0
  for (const span of spans) {
    if (span.start < end) throw invalid(`entry ${quoted(span.path)}: it shares its bytes with another entry`)
    end = Math.max(end, span.end)
  }
}

/** No name twice, and nothing below a file or a link. Folders that are only implied count as folders: a short name may imply thousands. */
function checkTree(members: readonly Member[], limits: ArchiveLimits): void {
  const kinds = new Map<string, Member['kind']>()
  for (const member of members) {
    if (kinds.has(member.path)) throw invalid(`entry ${quoted(member.path)}: the name stands twice`)
    kinds.set(member.path, member.kind)
  }
  for (const member of members) {
    for (let parent = dirname(member.path); parent !== '.'; parent = dirname(parent)) {
      const kind = kinds.get(parent)
      if (kind === 'folder') break // and so is all above it, or is found out at its own turn
      if (kind !== undefined) throw invalid(`entry ${quoted(member.path)}: ${quoted(parent)} is not a folder`)
      kinds.set(parent, 'folder')
      if (kinds.size > members.length + limits.entries) throw invalid(`the names of the archive imply more than ${limits.entries} folders`)
    }
  }
}

/**
 * Writes the members below `folder`, which must be empty. Files become 0444 (0555 when executable), folders 0755.
 * Links come last and only where following them, link by link, never leaves the folder.
 * @param like  another that is unpacked: a file of the same bytes is linked rather than written
 * @throws MayflyError zip_invalid when a member is not what the table of contents says
 */
export async function unpackArchive(
  archive: Archive,
  folder: string,
  like: { readonly archive: Archive; readonly folder: string } | null = null,
): Promise<void> {
  const folders = new Set<string>()
  for (const member of archive.members) {
    for (let path = member.kind === 'folder' ? member.path : dirname(member.path); path !== '.' && !folders.has(path); path = dirname(path)) folders.add(path)
  }
  for (const path of [...folders].sort()) await mkdir(join(folder, path), { mode: 0o755 }).catch(asCollision(path))

  const all = archive.members.filter((member) => member.kind === 'file')
  const files = like === null ? all : await withoutLinked(all, folder, like)
  let next = 0
  const write = async () => {
    for (let member = files[next++]; member; member = files[next++]) await writeMember(member, join(folder, member.path))
  }
  const writers = await Promise.allSettled(Array.from({ length: WRITERS }, write))
  for (const writer of writers) if (writer.status === 'rejected') throw writer.reason

  const links = new Map<string, string>()
  for (const member of archive.members) if (member.kind === 'link') links.set(member.path, await linkTarget(member))
  for (const path of links.keys()) checkLink(path, links)
  for (const [path, target] of links) await symlink(target, join(folder, path)).catch(asCollision(path))
}

/** Links what is the same in both. @returns what is not */
async function withoutLinked(files: readonly Member[], folder: string, like: { readonly archive: Archive; readonly folder: string }): Promise<Member[]> {
  const there = new Map(like.archive.members.map((member) => [member.path, member]))
  const others: Member[] = []
  for (const [at, member] of files.entries()) {
    const same = there.get(member.path)
    if (!same || !areSame(member, same) || !isLinked(join(like.folder, member.path), join(folder, member.path))) others.push(member)
    if (at % LINKS_AT_ONCE === 0) await turn()
  }
  return others
}

const areSame = (one: Member, other: Member) =>
  other.kind === 'file' &&
  one.deflated === other.deflated &&
  one.executable === other.executable &&
  one.bytes === other.bytes &&
  one.crc === other.crc &&
  one.data.equals(other.data)

/** A file may have as many names as its file system lets it. */
function isLinked(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch {
    return false
  }
}

/** On a file system that ignores case, two names may be one. */
const asCollision = (path: string) => (error: NodeJS.ErrnoException) => {
  if (error.code === 'EEXIST') throw invalid(`entry ${quoted(path)}: another entry has this name on this file system`, error)
  throw error
}

async function writeMember(member: Member, path: string): Promise<void> {
  const mode = member.executable ? 0o555 : 0o444
  const file = await open(path, 'wx', mode).catch(asCollision(member.path))
  await using _file = file as FileHandle
  let bytes = 0
  let crc = 0
  for await (const chunk of content(member)) {
    bytes += chunk.length
    if (bytes > member.bytes) break
    crc = crc32(chunk, crc)
    await writeAll(file as FileHandle, chunk)
  }
  checkContent(member, bytes, crc)
  await (file as FileHandle).chmod(mode) // the umask may have taken bits away
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  let offset = 0
  while (offset < chunk.length) offset += (await file.write(chunk, offset)).bytesWritten
}

async function* content(member: Member): AsyncGenerator<Buffer> {
  if (!member.deflated) {
    if (member.data.length > 0) yield member.data
    return
  }
  try {
    if (member.bytes <= WHOLE_BYTES)
      yield await inflateWhole(member.data, {
        maxOutputLength: Math.max(1, member.bytes),
      })
    else yield* Readable.from([member.data]).pipe(createInflateRaw())
  } catch (error) {
    throw invalid(`entry ${quoted(member.path)}: its content is damaged or larger than it says`, error)
  }
}

function checkContent(member: Member, bytes: number, crc: number): void {
  if (bytes !== member.bytes) throw invalid(`entry ${quoted(member.path)}: its content has another size than it says`)
  if (crc !== member.crc) throw invalid(`entry ${quoted(member.path)}: its checksum is wrong`)
}

async function linkTarget(member: Member): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of content(member)) chunks.push(chunk)
  const target = Buffer.concat(chunks)
  checkContent(member, target.length, crc32(target))
  const text = target.toString('utf8')
  if (text === '' || text.includes('\0') || text.includes('\\')) throw invalid(`entry ${quoted(member.path)}: the link names nothing that can be followed`)
  if (text.startsWith('/')) throw invalid(`entry ${quoted(member.path)}: links to absolute paths are not allowed`)
  return text
}

/**
 * Follows a link as the kernel would: `a/..` after a link is not where it looks,
 * so a comparison of texts would let chains of links climb out.
 * @throws MayflyError zip_invalid
 */
export function checkLink(path: string, links: ReadonlyMap<string, string>): void {
  const refuse = (why: string) => invalid(`entry ${quoted(path)}: ${why}`)
  const at = path.split('/').slice(0, -1)
  const rest = (links.get(path) as string).split('/').reverse()
  let hops = 0
  for (let part = rest.pop(); part !== undefined; part = rest.pop()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (at.length === 0) throw refuse('the link leads out of the archive')
      at.pop()
      continue
    }
    at.push(part)
    const through = links.get(at.join('/'))
    if (through === undefined) continue
    if (++hops > MAX_LINK_HOPS) throw refuse('the link leads in a circle')
    at.pop()
    rest.push(...through.split('/').reverse())
    if (rest.length > MAX_PATH_BYTES) throw refuse('the link is too long')
  }
}

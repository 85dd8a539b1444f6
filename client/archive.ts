import { promises as fs } from 'node:fs'
import yazl from 'yazl'

/** What goes into an archive, by its names there: bytes, or the path of a file. */
export type Contents = ReadonlyMap<string, Uint8Array | string>

/** Makes archives. */
export interface Archiver {
  zip(files: Contents): Promise<Buffer>
}

/** The same files give the same bytes: sorted, with one date for all. */
export async function zipOf(files: Contents): Promise<Buffer> {
  const zip = new yazl.ZipFile()
  const options = { mtime: new Date(Date.UTC(1980, 0, 2)), mode: 0o100644, forceDosTimestamp: true } as { mtime: Date; mode: number }
  for (const name of [...files.keys()].toSorted()) {
    const content = files.get(name) as Uint8Array | string
    const bytes = typeof content === 'string' ? await fs.readFile(content) : Buffer.from(content)
    const executable = typeof content === 'string' && ((await fs.stat(content)).mode & 0o111) !== 0
    zip.addBuffer(bytes, name, executable ? { ...options, mode: 0o100755 } : options)
  }
  zip.end()
  const chunks: Buffer[] = []
  for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

const END = 0x06054b50
const END_BYTES = 22
const CENTRAL = 0x02014b50
const CENTRAL_BYTES = 46
/** What stands where a number does not fit; then it stands elsewhere. */
const ELSEWHERE = [0xffff, 0xffffffff] as const

/**
 * One archive of two that `zipOf` made, the names of the first before those of the second: the same bytes as of all their files.
 * Null where there are too many for that.
 */
export function joinZips(first: Buffer, second: Buffer): Buffer | null {
  const parts = [first, second].map((zip) => {
    const end = zip.length - END_BYTES
    if (end < 0 || zip.readUInt32LE(end) !== END) return null
    return {
      zip,
      count: zip.readUInt16LE(end + 10),
      directory: zip.subarray(zip.readUInt32LE(end + 16), end),
      files: zip.subarray(0, zip.readUInt32LE(end + 16)),
    }
  })
  const [one, two] = parts
  if (!one || !two) return null
  const count = one.count + two.count
  const filesBytes = one.files.length + two.files.length
  if (count >= ELSEWHERE[0] || filesBytes >= ELSEWHERE[1]) return null
  const moved = Buffer.from(two.directory)
  for (let at = 0; at < moved.length; at += CENTRAL_BYTES + moved.readUInt16LE(at + 28) + moved.readUInt16LE(at + 30) + moved.readUInt16LE(at + 32)) {
    if (moved.readUInt32LE(at) !== CENTRAL) return null
    moved.writeUInt32LE(moved.readUInt32LE(at + 42) + one.files.length, at + 42)
  }
  const end = Buffer.alloc(END_BYTES)
  end.writeUInt32LE(END, 0)
  end.writeUInt16LE(count, 8)
  end.writeUInt16LE(count, 10)
  end.writeUInt32LE(one.directory.length + moved.length, 12)
  end.writeUInt32LE(filesBytes, 16)
  return Buffer.concat([one.files, two.files, one.directory, moved, end])
}

import { MayflyError } from '../core/errors.ts'
import type { Archive } from './archive.ts'

const LOCAL = 0x04034b50
const CENTRAL = 0x02014b50
const END = 0x06054b50
/** Unix, version 2.0: the attributes hold a mode. */
const MADE_BY = (3 << 8) | 20
const NEEDED = 20
const UTF8 = 0x0800
/** The second of January 1980, for all. */
const DATE = 0x0022
const MODES = { file: 0o100644, folder: 0o040755, link: 0o120777 } as const
const EXECUTABLE = 0o111
const MOST_ENTRIES = 0xffff

/**
 * One archive of the members of several, as they are: nothing is inflated. The same archives give the same bytes.
 * @throws MayflyError zip_invalid when a name stands in more than one, or there are too many
 */
export function joinArchives(archives: readonly Archive[]): Buffer {
  const members = archives.flatMap((archive) => archive.members)
  const names = new Set(members.map((member) => member.path))
  if (names.size < members.length) throw new MayflyError('zip_invalid', 'a file of the app and one of its dependencies have the same name')
  if (members.length > MOST_ENTRIES) throw new MayflyError('zip_invalid', `an archive holds at most ${MOST_ENTRIES} entries`)
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  for (const member of members) {
    const name = Buffer.from(member.kind === 'folder' ? `${member.path}/` : member.path)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(NEEDED, 0)
    common.writeUInt16LE(UTF8, 2)
    common.writeUInt16LE(member.deflated ? 8 : 0, 4)
    common.writeUInt16LE(0, 6)
    common.writeUInt16LE(DATE, 8)
    common.writeUInt32LE(member.crc, 10)
    common.writeUInt32LE(member.data.length, 14)
    common.writeUInt32LE(member.bytes, 18)
    common.writeUInt16LE(name.length, 22)
    const local = Buffer.alloc(4)
    local.writeUInt32LE(LOCAL)
    parts.push(local, common, name, member.data)
    const head = Buffer.alloc(6)
    head.writeUInt32LE(CENTRAL)
    head.writeUInt16LE(MADE_BY, 4)
    const tail = Buffer.alloc(14)
    const mode = MODES[member.kind] | (member.kind === 'file' && member.executable ? EXECUTABLE : 0)
    tail.writeUInt32LE(((mode << 16) | (member.kind === 'folder' ? 0x10 : 0)) >>> 0, 6)
    tail.writeUInt32LE(at, 10)
    directory.push(head, common, tail, name)
    at += local.length + common.length + name.length + member.data.length
  }
  const index = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(END)
  end.writeUInt16LE(members.length, 8)
  end.writeUInt16LE(members.length, 10)
  end.writeUInt32LE(index.length, 12)
  end.writeUInt32LE(at, 16)
  return Buffer.concat([...parts, index, end])
}

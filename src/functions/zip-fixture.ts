import { crc32, deflateRawSync } from 'node:zlib'

/** A member of a zip that a test makes by hand, lies included. */
export interface ZipMember {
  readonly name: string
  readonly data?: string | Buffer
  readonly mode?: number
  readonly deflate?: boolean
  /** Already deflated bytes. */
  readonly packed?: Buffer
  readonly claimedBytes?: number
  readonly claimedCrc?: number
  readonly flags?: number
  readonly method?: number
  /** Points at the bytes of an earlier member. */
  readonly sameBytesAs?: number
}

/** Writes what it is told, which proper writers refuse to: tests need archives that lie. */
export function makeZip(members: readonly ZipMember[]): Buffer {
  const parts: Buffer[] = []
  const table: Buffer[] = []
  const offsets: number[] = []
  let offset = 0
  for (const member of members) {
    const plain = Buffer.from(member.data ?? '')
    const stored = member.packed ?? (member.deflate ? deflateRawSync(plain) : plain)
    const name = Buffer.from(member.name)
    const method = member.method ?? (member.deflate || member.packed ? 8 : 0)
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt16LE(20, 4)
    local.writeUInt16LE((member.flags ?? 0) | 0x800, 6)
    local.writeUInt16LE(method, 8)
    const crc = member.claimedCrc ?? crc32(plain)
    const size = member.claimedBytes ?? plain.length
    local.writeUInt32LE(crc, 14)
    local.writeUInt32LE(stored.length, 18)
    local.writeUInt32LE(size, 22)
    local.writeUInt16LE(name.length, 26)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50, 0)
    entry.writeUInt16LE((3 << 8) | 20, 4)
    local.copy(entry, 6, 4, 30) // version, flags, method, time, checksum, sizes, lengths
    entry.writeUInt32LE(((member.mode ?? 0o100644) << 16) >>> 0, 38)
    if (member.sameBytesAs === undefined) {
      offsets.push(offset)
      entry.writeUInt32LE(offset, 42)
      parts.push(local, name, stored)
      offset += 30 + name.length + stored.length
    } else {
      const of = offsets[member.sameBytesAs] ?? 0
      offsets.push(of)
      entry.writeUInt32LE(of, 42)
    }
    table.push(entry, name)
  }
  const directory = Buffer.concat(table)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(members.length, 8)
  end.writeUInt16LE(members.length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, directory, end])
}

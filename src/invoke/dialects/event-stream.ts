import { crc32 } from 'node:zlib'

/** How AWS frames events in a body: `application/vnd.amazon.eventstream`. Numbers are big-endian, checksums CRC-32. */
const PRELUDE_BYTES = 12
const CHECKSUM_BYTES = 4
/** A header value that is text. */
const TEXT = 7

/** Headers in their wire form; events of one kind share them. */
export function eventHeaders(pairs: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(
    pairs.map(([name, value]) => {
      const [nameBytes, valueBytes] = [Buffer.from(name), Buffer.from(value)]
      const header = Buffer.allocUnsafe(1 + nameBytes.length + 3 + valueBytes.length)
      let at = header.writeUInt8(nameBytes.length, 0)
      at += nameBytes.copy(header, at)
      at = header.writeUInt8(TEXT, at)
      at = header.writeUInt16BE(valueBytes.length, at)
      valueBytes.copy(header, at)
      return header
    }),
  )
}

export function eventMessage(headers: Buffer, payload: Uint8Array): Buffer {
  const total = PRELUDE_BYTES + headers.length + payload.byteLength + CHECKSUM_BYTES
  const message = Buffer.allocUnsafe(total)
  message.writeUInt32BE(total, 0)
  message.writeUInt32BE(headers.length, 4)
  message.writeUInt32BE(crc32(message.subarray(0, 8)), 8)
  message.set(headers, PRELUDE_BYTES)
  message.set(payload, PRELUDE_BYTES + headers.length)
  message.writeUInt32BE(crc32(message.subarray(0, total - CHECKSUM_BYTES)), total - CHECKSUM_BYTES)
  return message
}

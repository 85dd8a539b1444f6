import { randomFillSync } from 'node:crypto'

/** Fills the given bytes with randomness; injected where a test must control it. */
export type Random = (bytes: Uint8Array) => Uint8Array

// A call to the kernel per id would cost more than the id: bytes are drawn in advance, each given out once.
const POOL_BYTES = 8192
/** Below this size a view of the pool costs more than to go byte by byte. */
const FEW = 32
let pool: Uint8Array = new Uint8Array(0)
let used = 0
export const systemRandom: Random = (bytes) => {
  if (bytes.length > POOL_BYTES) return randomFillSync(bytes)
  if (used + bytes.length > pool.length) {
    pool = randomFillSync(new Uint8Array(POOL_BYTES))
    used = 0
  }
  if (bytes.length <= FEW) {
    for (let i = 0; i < bytes.length; i++) {
      bytes[i] = pool[used] as number
      pool[used++] = 0
    }
    return bytes
  }
  bytes.set(pool.subarray(used, used + bytes.length))
  pool.fill(0, used, used + bytes.length)
  used += bytes.length
  return bytes
}

// Each request is given an id, each call two: so the digits are written into one piece of memory, and become a text at once.
const DIGITS = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0))
const UUID_AT = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34]
const uuidBytes = Buffer.alloc(16)
const uuidText = Buffer.alloc(36, '-')

/**
 * A UUIDv7: 48 bits of Unix milliseconds, then random bits. It is a name, neither a secret
 * nor an order between processes.
 * @see RFC 9562, section 5.7
 */
export function uuidv7(nowMs: number, random: Random = systemRandom): string {
  const bytes = uuidBytes
  random(bytes)
  let rest = nowMs
  for (let i = 5; i >= 0; i--) {
    bytes[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  for (let i = 0; i < 16; i++) writeDigits(uuidText, UUID_AT[i] as number, bytes[i] as number)
  return uuidText.toString('latin1')
}

function writeDigits(text: Buffer, at: number, byte: number): void {
  text[at] = DIGITS[byte >> 4] as number
  text[at + 1] = DIGITS[byte & 15] as number
}

/** `bytes` random bytes in base64url; 16 bytes (128 bits) or more for anything that grants access by being known. */
export function randomToken(bytes: number, random: Random = systemRandom): string {
  return Buffer.from(random(new Uint8Array(bytes))).toString('base64url')
}

/** From 0 up to 1, for spreading things out. */
export const randomFraction = (): number => new DataView(systemRandom(new Uint8Array(4)).buffer).getUint32(0) / 2 ** 32

/** When a UUIDv7 was made, milliseconds since 1970. */
export const uuidTime = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

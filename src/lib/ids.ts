import { randomFillSync } from 'node:crypto'

/** Fills the given bytes with randomness; injected where a test must control it. */
export type Random = (bytes: Uint8Array) => Uint8Array

// A call to the kernel per id would cost more than the id: bytes are drawn in advance, each given out once.
const POOL_BYTES = 8192
let pool: Uint8Array = new Uint8Array(0)
let used = 0
export const systemRandom: Random = (bytes) => {
  if (bytes.length > POOL_BYTES) return randomFillSync(bytes)
  if (used + bytes.length > pool.length) {
    pool = randomFillSync(new Uint8Array(POOL_BYTES))
    used = 0
  }
  bytes.set(pool.subarray(used, used + bytes.length))
  pool.fill(0, used, used + bytes.length)
  used += bytes.length
  return bytes
}

/**
 * A UUIDv7: 48 bits of Unix milliseconds, then random bits. It is a name, neither a secret
 * nor an order between processes.
 * @see RFC 9562, section 5.7
 */
export function uuidv7(nowMs: number, random: Random = systemRandom): string {
  const bytes = Buffer.allocUnsafe(16)
  random(bytes)
  let rest = nowMs
  for (let i = 5; i >= 0; i--) {
    bytes[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** `bytes` random bytes in base64url; 16 bytes (128 bits) or more for anything that grants access by being known. */
export function randomToken(bytes: number, random: Random = systemRandom): string {
  return Buffer.from(random(new Uint8Array(bytes))).toString('base64url')
}

/** From 0 up to 1, for spreading things out. */
export const randomFraction = (): number => new DataView(systemRandom(new Uint8Array(4)).buffer).getUint32(0) / 2 ** 32

/** When a UUIDv7 was made, milliseconds since 1970. */
export const uuidTime = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

/** Below this size pieces are put together: a Buffer of its own takes more memory than they do. */
const SMALL_BYTES = 1024
const BLOCK_BYTES = 8 * 1024

/**
 * Bytes that wait for a reader, in the pieces in which they came, but for small ones: a guest that sends byte by byte
 * must not make of its window a thousand times as much memory of the host.
 */
export class ChunkQueue {
  #chunks: Buffer[] = []
  /** What small pieces are copied to; the last chunk is a view of it while `#isOpen`. */
  #block: Buffer = Buffer.alloc(0)
  #used = 0
  #isOpen = false
  bytes = 0

  /** Takes a part of a chunk that a socket brought. */
  push(piece: Buffer): void {
    if (piece.length === 0) return
    this.bytes += piece.length
    if (piece.length >= SMALL_BYTES) {
      this.#isOpen = false
      // Copied where it would hold much more than it is.
      this.#chunks.push(piece.length * 4 < piece.buffer.byteLength ? Buffer.from(piece) : piece)
      return
    }
    if (this.#block.length - this.#used < piece.length) {
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
      this.#used = 0
      this.#isOpen = false
    }
    const open = this.#isOpen ? (this.#chunks.pop()?.length ?? 0) : 0
    piece.copy(this.#block, this.#used)
    this.#used += piece.length
    this.#chunks.push(this.#block.subarray(this.#used - piece.length - open, this.#used))
    this.#isOpen = true
  }
  /** The oldest bytes; null when none are there. */
  shift(): Buffer | null {
    const chunk = this.#chunks.shift()
    if (!chunk) return null
    this.bytes -= chunk.length
    if (this.#chunks.length === 0) this.#isOpen = false
    return chunk
  }
  /** All of it, taken out. */
  takeAll(): Buffer {
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks)
    this.clear()
    return all
  }
  /** @returns how many bytes were dropped */
  clear(): number {
    const { bytes } = this
    this.#chunks = []
    this.#isOpen = false
    this.bytes = 0
    return bytes
  }
}

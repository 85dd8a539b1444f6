import { ChunkQueue } from './chunk-queue.ts'
import type { ResultBody } from './types.ts'

/** An answer's body on its way: read once; the guest gets credit as it is read. */
export class BodyQueue implements ResultBody {
  readonly #consumed: (bytes: number) => void
  readonly #unwanted: () => void
  readonly #chunks = new ChunkQueue()
  #wake: (() => void) | null = null
  #error: Error | null = null
  #dropping = false
  #begun = false
  ended = false
  receivedBytes = 0

  constructor(consumed: (bytes: number) => void, unwanted: () => void) {
    this.#consumed = consumed
    this.#unwanted = unwanted
  }
  get heldBytes(): number {
    return this.#chunks.bytes
  }
  takeWhole(): Uint8Array | null {
    if (!this.ended || this.#error !== null || this.#begun || this.#dropping) return null
    this.#begun = true
    const { bytes } = this.#chunks
    if (bytes > 0) this.#consumed(bytes)
    return this.#chunks.takeAll()
  }
  push(chunk: Buffer): void {
    this.receivedBytes += chunk.length
    if (this.#dropping) {
      this.#consumed(chunk.length)
      return
    }
    this.#chunks.push(chunk)
    this.#wake?.()
  }
  end(whole: boolean): void {
    this.ended = true
    if (!whole) this.#error ??= new Error('the function broke its response off')
    this.#wake?.()
  }
  /** The reader gets no more; what still comes is dropped, and granted at once. */
  abandon(error: Error): void {
    if (this.#dropping || this.ended) return
    this.#error = error
    this.#drop()
    this.#wake?.()
  }
  fail(error: Error): void {
    if (this.ended) return
    this.ended = true
    this.#error ??= error
    this.#wake?.()
  }
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    this.#begun = true
    try {
      for (;;) {
        const chunk = this.#chunks.shift()
        if (chunk) {
          this.#consumed(chunk.length)
          yield chunk
        } else if (this.#error) throw this.#error
        else if (this.ended) return
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
          this.#wake = null
        }
      }
    } finally {
      if (!this.#dropping && (!this.ended || this.heldBytes > 0)) {
        this.#drop()
        this.#unwanted()
      }
    }
  }
  #drop(): void {
    this.#dropping = true
    const held = this.#chunks.clear()
    if (held > 0) this.#consumed(held)
  }
}

/** An answer's body that came with its head. */
export class WholeBody implements ResultBody {
  readonly receivedBytes: number
  #bytes: Uint8Array | null

  constructor(bytes: Uint8Array) {
    this.receivedBytes = bytes.byteLength
    this.#bytes = bytes
  }
  takeWhole(): Uint8Array | null {
    const bytes = this.#bytes
    this.#bytes = null
    return bytes
  }
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const bytes = this.takeWhole()
    if (bytes !== null && bytes.byteLength > 0) yield bytes
  }
}

import { LIMITS } from '../core/limits.ts'
import type { LogSink } from './types.ts'

/** What is kept takes more memory than its bytes: it counts for so much at least. */
const LEAST_BYTES = 64

/** What a module printed when it was loaded ahead of any call; it belongs to the call that uses it. */
export class HeldLog implements LogSink {
  readonly #parts: { readonly stream: 'stdout' | 'stderr'; readonly bytes: Uint8Array }[] = []
  #leftBytes: number = LIMITS.invocationLog.value
  #lostBytes = 0

  write(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    const counted = Math.max(LEAST_BYTES, bytes.byteLength)
    if (counted > this.#leftBytes) {
      this.#lostBytes += bytes.byteLength
      return
    }
    this.#leftBytes -= counted
    this.#parts.push({ stream, bytes: Uint8Array.from(bytes) })
  }

  lost(bytes: number): void {
    this.#lostBytes += bytes
  }

  /** Once. */
  tell(log: LogSink): void {
    for (const { stream, bytes } of this.#parts.splice(0)) log.write(stream, bytes)
    if (this.#lostBytes > 0) log.lost(this.#lostBytes)
    this.#lostBytes = 0
  }
}

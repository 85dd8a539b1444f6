import { LIMITS } from '../core/limits.ts'
import type { LogSink } from './types.ts'

/** What a module printed when it was loaded ahead of any call; it belongs to the call that uses it. */
export class HeldLog implements LogSink {
  readonly #parts: { readonly stream: 'stdout' | 'stderr'; readonly bytes: Uint8Array }[] = []
  #leftBytes: number = LIMITS.invocationLog.value
  #lostBytes = 0

  write(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    if (bytes.byteLength > this.#leftBytes) {
      this.#lostBytes += bytes.byteLength
      return
    }
    this.#leftBytes -= bytes.byteLength
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

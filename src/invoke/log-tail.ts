import type { LogLine } from '../core/meter.ts'
import { Fifo } from '../lib/fifo.ts'

export interface TailBounds {
  readonly bytes: number
  readonly lines: number
}

/** Whole lines that came together, each with its end. */
interface Piece {
  readonly at: number
  readonly source: LogLine['source']
  readonly text: string
  readonly bytes: number
}

/**
 * The last lines of a log. Of a flood nearly all are pushed out again by those behind them: so what came together stays
 * together, and is made lines of only when it is asked for.
 */
export class LogTail {
  readonly #bounds: TailBounds
  readonly #pieces = new Fifo<Piece>()
  #bytes = 0
  #dropped = 0

  constructor(bounds: TailBounds) {
    this.#bounds = bounds
  }

  /** @param text  whole lines, each with its end */
  push(source: LogLine['source'], text: string, at: number): void {
    const bytes = Buffer.byteLength(text)
    this.#pieces.push({ at, source, text, bytes })
    this.#bytes += bytes
    for (let oldest = this.#pieces.first; oldest; oldest = this.#pieces.first) {
      // Those behind it fill the bounds by themselves.
      if (this.#bytes - oldest.bytes < this.#bounds.bytes && this.#pieces.length <= this.#bounds.lines) return
      this.#pieces.shift()
      this.#bytes -= oldest.bytes
      this.#dropped += oldest.bytes
    }
  }

  /** The last lines within the bounds, in their order, and how many bytes came before them; nothing of it is kept. */
  take(): { readonly lines: LogLine[]; readonly dropped: number } {
    const found: LogLine[] = []
    const left = { ...this.#bounds }
    let kept = 0
    let isFull = false
    for (const { at, source, text } of this.#pieces.takeAll().reverse()) {
      for (let end = text.length - 1; end >= 0 && !isFull; ) {
        const start = end === 0 ? 0 : text.lastIndexOf('\n', end - 1) + 1
        const line = text.slice(start, end)
        const bytes = Buffer.byteLength(line) + 1
        isFull = bytes > left.bytes || left.lines === 0
        if (isFull) break
        left.bytes -= bytes
        left.lines--
        kept += bytes
        found.push({ at, source, text: line })
        end = start - 1
      }
      if (isFull) break
    }
    const dropped = this.#dropped + this.#bytes - kept
    this.#bytes = 0
    this.#dropped = 0
    return { lines: found.reverse(), dropped }
  }
}

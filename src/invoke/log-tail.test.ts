import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { LogLine } from '../core/meter.ts'
import { LogTail } from './log-tail.ts'

describe('the tail of a log', () => {
  it('keeps whole lines, the last that fit, and counts all that came before them, however they came', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.constantFrom('stdout' as const, 'stderr' as const),
            fc.array(fc.string({ maxLength: 9, unit: 'grapheme' }), { minLength: 1, maxLength: 9 }),
          ),
        ),
        fc.nat(60),
        fc.nat(12),
        (pushed, bytes, lines) => {
          const tail = new LogTail({ bytes, lines })
          const all: LogLine[] = []
          for (const [at, [source, texts]] of pushed.entries()) {
            const whole = texts.map((text) => text.replaceAll('\n', ' '))
            tail.push(source, `${whole.join('\n')}\n`, at)
            for (const text of whole) all.push({ at, source, text })
          }
          const size = (some: readonly LogLine[]) => some.reduce((sum, { text }) => sum + Buffer.byteLength(text) + 1, 0)
          let from = all.length
          while (from > 0 && all.length - from < lines && size(all.slice(from - 1)) <= bytes) from--
          assert.deepEqual(tail.take(), { lines: all.slice(from), dropped: size(all.slice(0, from)) })
          assert.deepEqual(tail.take(), { lines: [], dropped: 0 })
        },
      ),
    )
  })
  it('keeps of a flood what fits, and counts the rest', () => {
    const tail = new LogTail({ bytes: 1 << 19, lines: 1 << 14 })
    const flood = 'x\n'.repeat(1 << 15)
    for (let n = 0; n < 100; n++) tail.push('stdout', flood, n)
    const { lines, dropped } = tail.take()
    assert.deepEqual([lines.length, dropped], [1 << 14, 100 * flood.length - (2 << 14)])
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import type { LogLine, LogRecord } from '../core/meter.ts'
import { LogRate } from './rate.ts'

const line = (bytes: number, source: LogLine['source'] = 'stdout'): LogLine => ({ at: 5, source, text: 'x'.repeat(bytes) })
const record = (lines: LogLine[], project = 'demo'): LogRecord => ({ project, functionName: 'f', version: '1', invocationId: '', lines })
const BURST = LIMITS.logBurst.value
const half = record([line(BURST / 2)])

describe('LogRate', () => {
  it('lets a burst of logBurst through as it is, and not a byte more', () => {
    const rate = new LogRate()
    assert.equal(rate.admit(half, 0), half)
    assert.equal(rate.admit(half, 0), half)
    const platform = record([line(300, 'platform')])
    assert.equal(rate.admit(platform, 0), platform, 'our own lines always stand')
    const { lines } = rate.admit(record([line(1), line(2, 'platform'), line(1), line(1, 'stderr')]), 0)
    const told = (n: number) => `[mayfly] ${n} lines were dropped: this project writes more than ${LIMITS.logRate.value} bytes a second`
    assert.deepEqual(
      lines.map((one) => [one.source, one.text]),
      [
        ['platform', told(1)],
        ['platform', 'xx'],
        ['platform', told(2)],
      ],
    )
    assert.equal(rate.dropped, 3)
  })
  it('lets logRate bytes a second through after that, never more than a burst', () => {
    const rate = new LogRate()
    rate.admit(half, 0)
    rate.admit(half, 0)
    const second = record([line(LIMITS.logRate.value)])
    assert.equal(rate.admit(second, 1_000), second)
    assert.equal(rate.admit(record([line(1)]), 1_000).lines[0]?.source, 'platform')
    assert.equal(rate.admit(half, 3_600_000), half)
    assert.equal(rate.admit(half, 3_600_000), half)
    assert.notEqual(rate.admit(half, 3_600_000), half)
  })
  it('knows projects apart, and forgets one that went', () => {
    const rate = new LogRate()
    rate.admit(half, 0)
    rate.admit(half, 0)
    const other = record([line(10)], 'other')
    assert.equal(rate.admit(other, 0), other)
    rate.forget('demo')
    assert.equal(rate.admit(half, 0), half)
  })
})

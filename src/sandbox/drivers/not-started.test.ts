import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { wordsOf } from './not-started.ts'

describe('why a program did not do its work', () => {
  it('is what it wrote', () => assert.equal(wordsOf('setrlimit: Operation not permitted\n'), 'setrlimit: Operation not permitted'))
  it('is the last error of a log, without what surrounds it', () => {
    const log = [
      'resource busy"',
      'time="2026-01-01T00:00:00Z" level=fatal msg="nsexec-0[11]: no namespace"',
      'time="2026-01-01T00:00:00Z" level=error msg="runc run failed: mounting \\"proc\\": refused"',
      'time="2026-01-01T00:00:00Z" level=warning msg="will retry" error="busy"',
    ].join('\n')
    assert.equal(wordsOf(log), 'runc run failed: mounting "proc": refused')
  })
  it('is no longer than a sentence or two', () => assert.equal(wordsOf(`${'x'.repeat(9_000)}end`).length, 500))
})

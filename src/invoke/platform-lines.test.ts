import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Logging } from '../functions/index.ts'
import { platformLines, type Report } from './platform-lines.ts'

const NOW = Date.parse('2026-11-24T02:25:40.123Z')
const subject = { id: 'r', version: '7', now: () => NOW }
const report: Report = {
  durationMs: 12.3456,
  billedMs: 114,
  memoryMb: 128,
  maxMemoryMb: 40,
  initMs: 101.5,
  cold: 'first-call',
  outcome: 'ok',
  errorType: null,
  message: '',
}
const warm = { ...report, initMs: 0, cold: null, maxMemoryMb: null }
const timeout = { ...warm, outcome: 'timeout' as const, errorType: 'Sandbox.Timedout', message: 'Task timed out after 3.00 seconds' }
const json = (systemLevel: string): Logging => ({ format: 'JSON', applicationLevel: 'INFO', systemLevel, group: null })
const all = (logging: Logging | null, last: Report) => {
  const lines = platformLines(logging, subject)
  return [...lines.start(), ...lines.end(last)]
}
const parsed = (lines: readonly string[]) => lines.map((line) => JSON.parse(line) as unknown)

describe('platform lines', () => {
  it('are Lambda’s text when nothing else is asked for', () => {
    assert.deepEqual(all(null, report), [
      'START RequestId: r Version: 7',
      'END RequestId: r',
      'REPORT RequestId: r\tDuration: 12.35 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\tInit Duration: 101.50 ms\tCold Start: first-call\t',
    ])
    assert.deepEqual(platformLines({ ...json('INFO'), format: 'Text' }, subject).end(timeout), [
      '2026-11-24T02:25:40.123Z r Task timed out after 3.00 seconds',
      'END RequestId: r',
      'REPORT RequestId: r\tDuration: 12.35 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\tStatus: timeout\t',
    ])
  })
  it('are telemetry events as JSON: start and report', () => {
    const time = '2026-11-24T02:25:40.123Z'
    const metrics = { durationMs: 12.346, billedDurationMs: 114, memorySizeMB: 128, maxMemoryUsedMB: 40, initDurationMs: 101.5 }
    assert.deepEqual(parsed(all(json('INFO'), report)), [
      { time, type: 'platform.start', record: { requestId: 'r', version: '7' } },
      { time, type: 'platform.report', record: { requestId: 'r', metrics, status: 'success' } },
    ])
    const failed = parsed(platformLines(json('INFO'), subject).end({ ...warm, outcome: 'exit', errorType: 'Runtime.ExitError' })) as { record: object }[]
    assert.partialDeepStrictEqual(failed[0]?.record, { status: 'failure', errorType: 'Runtime.ExitError' })
  })
  it('are as many as the system level lets through', () => {
    const types = (level: string, last: Report) => (parsed(all(json(level), last)) as { type: string }[]).map(({ type }) => type)
    assert.deepEqual(types('DEBUG', report), ['platform.start', 'platform.runtimeDone', 'platform.report'])
    assert.deepEqual(types('WARN', report), [])
    assert.deepEqual(types('WARN', timeout), ['platform.fault', 'platform.report'])
  })
  it('say what was not run', () => {
    assert.deepEqual(platformLines(null, subject).notRun('full'), ['END RequestId: r\tNot run: full'])
    assert.match(platformLines(json('WARN'), subject).notRun('full')[0] ?? '', /"platform\.fault".*Not run: full/)
  })
})

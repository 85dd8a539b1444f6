import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { LINES_PER_RECORD, type LogLine, type LogRecord, type LogSubject, type QuietCall } from '../core/meter.ts'
import { InvocationLog } from './log.ts'
import { platformLines, type Report } from './platform-lines.ts'

const subject = { project: 'demo', functionName: 'f', version: '$LATEST', invocationId: 'i' }
const open = () => {
  const written: LogRecord[] = []
  const records: LogLine[] = []
  const quiet: QuietCall[] = []
  const writer = {
    write: (record: LogRecord) => void (written.push(record), records.push(...record.lines)),
    quiet: (_of: LogSubject, call: QuietCall) => void quiet.push(call),
  }
  const log = new InvocationLog(writer, subject, () => 7)
  const end = () => {
    log.flush()
    log.handOn()
  }
  return { written, records, quiet, log, end }
}
const texts = (records: LogLine[]) => records.map((record) => `${record.source}:${record.text}`)

describe('InvocationLog', () => {
  const report: Report = {
    durationMs: 1.234,
    billedMs: 2,
    memoryMb: 128,
    maxMemoryMb: null,
    initMs: 0,
    cold: null,
    outcome: 'ok',
    errorType: null,
    message: '',
  }
  const platform = (format: 'Text' | 'JSON' = 'Text') =>
    platformLines({ format, applicationLevel: 'INFO', systemLevel: 'INFO', group: null }, { id: 'i', version: '$LATEST', now: () => 7 })
  it('of a call that wrote nothing tells what its lines follow from, and shows them to who asks for the tail', () => {
    const { records, quiet, log } = open()
    log.begin(platform())
    log.live() // it has only begun
    log.end(platform(), report)
    log.handOn()
    assert.deepEqual([records, quiet], [[], [['i', 7, 7, 1.23, 2, 128, null, 0, null]]])
    assert.equal(
      log.lastBytes().toString(),
      'START RequestId: i Version: $LATEST\nEND RequestId: i\nREPORT RequestId: i\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t\n',
    )
  })
  for (const [name, last, format, write] of [
    ['that wrote', report, 'Text', true],
    ['that failed', { ...report, outcome: 'error', errorType: 'Error' }, 'Text', false],
    ['that ended well with words of ours', { ...report, message: 'but' }, 'Text', false],
    ['whose lines are JSON', report, 'JSON', false],
  ] as const)
    it(`writes the lines of a call ${name}, in their order`, () => {
      const { records, quiet, log } = open()
      log.begin(platform(format))
      if (write) log.write('stdout', Buffer.from('word\n'))
      log.end(platform(format), last)
      log.handOn()
      const [first, ...rest] = texts(records)
      assert.match(first as string, /START|platform\.start/)
      assert.match(rest.at(-1) as string, /REPORT|platform\.report/)
      assert.equal(rest.includes('stdout:word'), write)
      assert.deepEqual(quiet, [])
    })
  it('makes lines of pieces, each stream by itself, a character split over pieces kept whole', () => {
    const { records, log, end } = open()
    const bytes = Buffer.from('한글\n')
    log.write('stdout', Buffer.from('a'))
    log.write('stderr', bytes.subarray(0, 2))
    log.write('stdout', Buffer.from('b\nc'))
    log.write('stderr', bytes.subarray(2))
    end()
    assert.deepEqual(texts(records), ['stdout:ab', 'stderr:한글', 'stdout:c'])
  })
  it('keeps head and tail within invocationLog and counts the rest', () => {
    const { records, log, end } = open()
    const line = `${'x'.repeat(1023)}\n`
    const total = (LIMITS.invocationLog.value / 1024) * 3
    for (let i = 0; i < total; i++) log.write('stdout', Buffer.from(i === 0 ? `first ${line}` : i === total - 1 ? `last ${line}` : line))
    log.lost(500)
    end()
    const kept = records.filter((record) => record.source === 'stdout')
    const bytes = kept.reduce((sum, record) => sum + record.text.length + 1, 0)
    assert.ok(bytes <= LIMITS.invocationLog.value, `${bytes} kept`)
    assert.ok(bytes > LIMITS.invocationLog.value - 4096, `${bytes} kept`)
    assert.match(kept[0]?.text ?? '', /^first/)
    assert.match(kept.at(-1)?.text ?? '', /^last/)
    const notice = records.find((record) => record.source === 'platform')?.text ?? ''
    assert.equal(Number(/(\d+) bytes/.exec(notice)?.[1]), total * 1024 + 11 - bytes + 500)
  })
  it('drops nothing at the edge', () => {
    const { records, log, end } = open()
    const line = Buffer.from(`${'x'.repeat(1023)}\n`)
    for (let i = 0; i < LIMITS.invocationLog.value / 1024; i++) log.write('stdout', line)
    end()
    assert.equal(records.length, LIMITS.invocationLog.value / 1024)
  })
  it('cuts a line without end', () => {
    const { records, log, end } = open()
    log.write('stdout', Buffer.alloc(200_000, 'x'))
    end()
    assert.deepEqual(
      records.map((record) => record.text.length),
      [65536, 65536, 65536, 3392],
    )
  })
  it('takes empty lines without end, and a line byte by byte, in the time of others', () => {
    const { records, log, end } = open()
    const [started, empty, byte] = [performance.now(), Buffer.alloc(65_536, '\n'), Buffer.from('x')]
    for (let i = 0; i < 16; i++) log.write('stdout', empty)
    for (let i = 0; i < 65_000; i++) log.write('stderr', byte)
    end()
    const tookMs = performance.now() - started
    assert.ok(tookMs < 5_000, `${Math.round(tookMs)} ms`)
    assert.equal(records.find((record) => record.source === 'stderr')?.text.length, 65_000)
    const kept = records.filter((record) => record.source === 'stdout').length
    const [dropped] = /\d+/.exec(records.find((record) => record.source === 'platform')?.text ?? '') ?? []
    assert.equal(kept + Number(dropped), 16 * 65_536)
  })
  it('passes over a flood of short lines at once, with the line that was open; what stands behind it is kept', () => {
    const { records, log, end } = open()
    const flood = Buffer.alloc(65_535, 'ä\n')
    for (let i = 0; i < 10; i++) log.write('stdout', Buffer.alloc(65_536, 'a\n'))
    log.write('stdout', Buffer.from('open'))
    log.write('stdout', flood)
    log.write('stderr', Buffer.from('other\n'))
    log.write('stdout', Buffer.from('last'))
    end()
    const texts = records.filter(({ source }) => source !== 'platform').map(({ text }) => text)
    assert.ok(texts[0] === 'a' && !texts.some((text) => text.startsWith('open')))
    assert.equal(texts.at(-2), 'other')
    assert.equal(texts.at(-1), 'last')
    const kept = texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0)
    const [dropped] = /\d+/.exec(records.find(({ source }) => source === 'platform')?.text ?? '') ?? []
    // The last line had no end.
    assert.equal(kept - 1 + Number(dropped), 10 * 65_536 + 65_535 + 'open'.length + 'other\n'.length + 'last'.length)
  })
  it('keeps of empty lines no more than invocationLogLines, from the first byte on', () => {
    const { records, log, end } = open()
    const flood = Buffer.alloc(1 << 20, '\n')
    log.write('stdout', flood)
    end()
    const kept = records.filter(({ source }) => source !== 'platform').length
    assert.equal(kept, LIMITS.invocationLogLines.value)
    const [dropped] = /\d+/.exec(records.find(({ source }) => source === 'platform')?.text ?? '') ?? []
    assert.equal(kept + Number(dropped), flood.length)
  })
  it('gives the last 4096 bytes for Tail', () => {
    const { log } = open()
    for (let i = 0; i < 1000; i++) log.write('stdout', Buffer.from(`line ${i}\n`))
    log.platform('END')
    const tail = log.lastBytes()
    assert.equal(tail.length, 4096)
    assert.ok(tail.toString().endsWith('line 999\nEND\n'))
  })
  it('hands on together what was written together, within bounds, and nothing when there is nothing', () => {
    const { written, log, end } = open()
    log.handOn()
    log.platform('START')
    log.write('stdout', Buffer.from('a\nb\nc'))
    log.handOn()
    log.handOn()
    end()
    assert.deepEqual(
      written.map((record) => record.lines.map((line) => line.text)),
      [['START', 'a', 'b'], ['c']],
    )
    log.write('stdout', Buffer.from('\n'.repeat(LINES_PER_RECORD + 1)))
    end()
    assert.deepEqual(
      written.slice(2).map((record) => record.lines.length),
      [LINES_PER_RECORD, 1],
    )
  })
})

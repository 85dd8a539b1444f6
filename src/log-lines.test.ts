import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { LogLines } from './log-lines.ts'

describe('the lines of the log', () => {
  it('come out whole and in their order', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-log-'))
    const fd = openSync(path.join(folder, 'log'), 'w')
    const log = new LogLines(fd)
    const lines = Array.from({ length: 500 }, (_, i) => `${JSON.stringify({ i, text: 'ä'.repeat(i % 90) })}\n`)
    for (const line of lines.slice(0, 300)) log.write(line)
    await delay(50)
    for (const line of lines.slice(300)) log.write(line)
    while (readFileSync(path.join(folder, 'log'), 'utf8').length < lines.join('').length) await delay(10)
    assert.equal(readFileSync(path.join(folder, 'log'), 'utf8'), lines.join(''))
    closeSync(fd)
    rmSync(folder, { recursive: true })
  })
  it('end nothing when the disk is full: they are left out and counted', async () => {
    const fd = openSync('/dev/full', 'w')
    const log = new LogLines(fd)
    for (let i = 0; i < 3; i++) {
      log.write('a line\n')
      await delay(20)
    }
    assert.equal(log.dropped, 3)
    for (let i = 0; i < 3000; i++) log.write(`${'x'.repeat(1000)}\n`)
    while (log.dropped < 3003) await delay(10)
    assert.equal(log.dropped, 3003)
    log.end()
    closeSync(fd)
  })
})

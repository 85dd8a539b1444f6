import assert from 'node:assert/strict'
import fs, { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { systemClock } from '../lib/clock.ts'
import { Journal } from './journal.ts'
import { silentLog } from './log.ts'

describe('Journal', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-journal-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))
  const open = () => Journal.open<{ n: number }>(folder, silentLog)
  const file = () => path.join(folder, '000000000001.log')

  it('gives back in order what was written, from any position', async () => {
    const journal = await open()
    for (let n = 0; n < 10; n++) journal.append({ n })
    journal.flush()
    const all = await journal.read(null, 100)
    assert.deepEqual(
      all.map((record) => record.value.n),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    )
    const rest = await journal.read(all[3]?.end ?? null, 2)
    assert.deepEqual(
      rest.map((record) => record.value.n),
      [4, 5],
    )
    await journal[Symbol.asyncDispose]()
  })
  it('arms no timer while there is nothing to write or to sync', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
    const once = t.mock.method(globalThis, 'setTimeout')
    const again = t.mock.method(globalThis, 'setInterval')
    const armed = () => once.mock.callCount() + again.mock.callCount()
    await using journal = await open()
    t.mock.timers.tick(60_000)
    assert.equal(armed(), 0)
    // One for the write, one for the sync behind it; those that come meanwhile share them.
    for (let n = 0; n < 3; n++) journal.append({ n })
    t.mock.timers.tick(5)
    journal.append({ n: 3 })
    journal.flush()
    t.mock.timers.tick(60_000)
    assert.equal(armed(), 3)
    t.mock.timers.tick(60_000)
    assert.equal(armed(), 3)
  })
  it('survives a cut at every byte: what was whole is there, the rest is gone, writing goes on', async () => {
    const journal = await open()
    for (let n = 0; n < 4; n++) journal.append({ n })
    await journal[Symbol.asyncDispose]()
    const whole = readFileSync(file())
    const ends = (await (await open()).read(null, 10)).map((record) => record.end.offset)
    for (let cut = 0; cut <= whole.length; cut++) {
      writeFileSync(file(), whole)
      truncateSync(file(), cut)
      const again = await open()
      again.append({ n: 99 })
      again.flush()
      const expected = [...ends.filter((end) => end <= cut).map((_, n) => n), 99]
      assert.deepEqual(
        (await again.read(null, 10)).map((record) => record.value.n),
        expected,
        `cut at ${cut}`,
      )
      await again[Symbol.asyncDispose]()
    }
  })
  it('takes a damaged record for the end', async () => {
    const journal = await open()
    for (let n = 0; n < 3; n++) journal.append({ n })
    await journal[Symbol.asyncDispose]()
    const bytes = readFileSync(file())
    const middle = Math.floor(bytes.length / 2)
    bytes[middle] = (bytes[middle] as number) ^ 1
    writeFileSync(file(), bytes)
    const again = await open()
    assert.equal((await again.read(null, 10)).length, 1)
    await again[Symbol.asyncDispose]()
  })
  it('takes zeros for the end, as a power cut leaves them where nothing was written back', async () => {
    for (const zeros of [0, 3, 8, 64]) {
      const journal = await open()
      journal.append({ n: zeros })
      await journal[Symbol.asyncDispose]()
      writeFileSync(file(), Buffer.concat([readFileSync(file()), Buffer.alloc(zeros)]))
    }
    const again = await open()
    assert.deepEqual(
      (await again.read(null, 10)).map((record) => record.value.n),
      [0, 3, 8, 64],
    )
    await again[Symbol.asyncDispose]()
  })
  it('begins a new segment when one is full and removes those that were consumed', async () => {
    const journal = await Journal.open<{ n: number; fill: string }>(folder, silentLog)
    const fill = 'x'.repeat(200_000)
    for (let n = 0; n < 200; n++) {
      journal.append({ n, fill })
      journal.flush()
    }
    const all = await journal.read(null, 1000)
    assert.equal(all.length, 200)
    const last = all.at(-1)?.end
    assert.ok(last && last.segment === 3)
    await journal.consumed(last)
    assert.deepEqual((await journal.read(last, 10)).length, 0)
    assert.ok((await journal.read(null, 1000)).length < 60)
    await journal[Symbol.asyncDispose]()
  })
  it('goes on in a new segment when what was consumed lies behind its end', async () => {
    const journal = await open()
    journal.append({ n: 1 })
    journal.flush()
    const [record] = await journal.read(null, 1)
    assert.ok(record)
    journal.resumeAfter(record.end)
    const consumed = { segment: 1, offset: record.end.offset + 100 }
    journal.resumeAfter(consumed)
    journal.append({ n: 2 })
    journal.flush()
    assert.deepEqual(
      (await journal.read(consumed, 10)).map((one) => [one.value.n, one.end.segment]),
      [[2, 2]],
    )
    await journal[Symbol.asyncDispose]()
  })
  it('keeps what it cannot write, says so, and writes it when it can again', async () => {
    const journal = await Journal.open<{ n: number; fill: string }>(folder, silentLog)
    const fill = 'x'.repeat(250_000)
    for (let n = 0; n < 64; n++) {
      journal.append({ n, fill })
      journal.flush()
    }
    mkdirSync(path.join(folder, '000000000002.log'))
    for (let n = 64; n < 70; n++) {
      journal.append({ n, fill })
      journal.flush()
    }
    assert.equal(journal.writable, false)
    for (let n = 70; n < 120; n++) journal.append({ n, fill })
    assert.ok(journal.dropped > 0, 'past its bound it drops and counts')
    rmSync(path.join(folder, '000000000002.log'), { recursive: true })
    journal.flush()
    assert.equal(journal.writable, true)
    const all = await journal.read(null, 1000)
    assert.deepEqual(
      all.map((one) => one.value.n),
      Array.from({ length: all.length }, (_, n) => n),
    )
    assert.equal(all.length + journal.dropped, 120)
    await journal[Symbol.asyncDispose]()
  })
  it('writes nothing behind what it could write only in part and not cut off, gives nothing of that out, and each once when it can again', async (t) => {
    const journal = await open()
    for (let n = 0; n < 3; n++) journal.append({ n })
    journal.flush()
    const [first] = await journal.read(null, 1)
    assert.ok(first)
    await journal.consumed(first.end) // so that what follows is read from the file
    const written = readFileSync(file()).length
    let room = 2 * first.end.offset + 5 // two whole records and the beginning of a third
    const writeSync = fs.writeSync as (fd: number, bytes: Uint8Array, at: number, length?: number) => number
    const full = t.mock.method(fs, 'writeSync', (fd: number, bytes: Uint8Array, at: number) => {
      if (room === 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
      const length = Math.min(room, bytes.length - at)
      room -= length
      return writeSync(fd, bytes, at, length)
    })
    const stuck = t.mock.method(fs, 'truncateSync', () => {
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
    })
    syncBuiltinESMExports()
    const back = () => {
      for (const mock of [full, stuck]) mock.mock.restore()
      syncBuiltinESMExports()
    }
    try {
      for (let n = 3; n < 7; n++) journal.append({ n })
      journal.flush()
      room = 1_000
      journal.flush()
      assert.equal(journal.writable, false)
      assert.ok(stuck.mock.callCount() >= 2, 'it is tried again before each write')
      assert.equal(readFileSync(file()).length, written + 2 * first.end.offset + 5)
      for (const from of [null, first.end]) {
        const given = (await journal.read(from, 10)).map((record) => record.value.n)
        assert.deepEqual(given, from === null ? [0, 1, 2] : [1, 2])
      }
    } finally {
      back()
    }
    journal.append({ n: 7 })
    journal.flush()
    assert.equal(journal.writable, true)
    const numbers = [0, 1, 2, 3, 4, 5, 6, 7]
    assert.deepEqual(
      (await journal.read(null, 100)).map((record) => record.value.n),
      numbers,
    )
    await journal[Symbol.asyncDispose]()
    const again = await open()
    assert.deepEqual(
      (await again.read(null, 100)).map((record) => record.value.n),
      numbers,
    )
    await again[Symbol.asyncDispose]()
  })
  it('keeps nothing of those who waited for it in vain', async () => {
    const journal = await open()
    const stop = new AbortController()
    stop.abort()
    await journal.changed(systemClock, 10_000, stop.signal)
    await journal.changed(systemClock, 1, new AbortController().signal)
    const waiting = journal.changed(systemClock, 60_000, new AbortController().signal)
    journal.append({ n: 1 })
    await waiting
    await journal[Symbol.asyncDispose]()
  })
  it('counts a record that is too large instead of writing it', async () => {
    const journal = await Journal.open<string>(folder, silentLog)
    journal.append('x'.repeat(1100 * 1024))
    journal.flush()
    assert.equal(journal.dropped, 1)
    assert.equal((await journal.read(null, 10)).length, 0)
    await journal[Symbol.asyncDispose]()
  })
})

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { encode, FLAG, MAX_PAYLOAD, SANDBOX_WINDOW, SAYS, STREAM_WINDOW, TELLS } from './frames.ts'
import { Guest } from './guest.ts'
import type { Runtime, StreamerName } from './runtime.ts'
import type { Column } from './table.ts'

/** What runtimes/PROTOCOL.md asks of a runtime that says `stream`. */
export function streamConformance(name: string, runtime: Runtime, column: Column): void {
  const start = async (handler: StreamerName, changes: Readonly<Record<string, unknown>> = {}) => {
    const guest = await Guest.start(runtime)
    await guest.load(runtime.handler(handler), changes)
    return guest
  }
  const one = runtime.calls === 'one' ? 'it takes one call at a time' : null

  describe(`${name} streams answers`, { concurrency: 2, timeout: 60_000 }, () => {
    const it = column.group('streams', runtime.features.includes('stream') ? null : 'it does not say stream')

    it('says their type first, then what is written as it is written, then their end; done is last', async () => {
      await using guest = await start('words')
      const id = guest.event({ words: ['one ', 'größer ', 'two'], ms: 150 })
      const call = guest.stream(id)
      await guest.until('the first word', () => call.text === 'one ')
      assert.deepEqual([call.outcome, call.body], ['stream', 'open'])
      await guest.done(id)
      assert.deepEqual([call.text, call.body, call.contentType], ['one größer two', 'whole', 'application/octet-stream'])
      assert.equal(call.frames[0]?.type, SAYS.stream)
      assert.ok(call.frames.at(-1)?.type === SAYS.done || (call.frames.at(-1)?.flags ?? 0) & FLAG.done)
    })

    it('says the type that the handler sets', async () => {
      await using guest = await start('pieces')
      const call = await guest.done(guest.event({ pieces: 1, bytes: 3, type: 'text/csv' }))
      assert.deepEqual([call.contentType, call.text], ['text/csv', 'xxx'])
    })

    it('may be empty', async () => {
      await using guest = await start('nothing')
      const call = await guest.done(guest.event(null))
      assert.deepEqual([call.outcome, call.body, call.bytes.length], ['stream', 'whole', 0])
    })

    it('fail in place of their end, behind what was written; before anything is written it is the error of the call', async () => {
      await using guest = await start('words')
      const call = await guest.done(guest.event({ words: ['some', 'more'], ms: 5, message: 'mine' }))
      assert.deepEqual([call.text, call.body, call.error.errorType, call.error.errorMessage], ['somemore', 'broken', runtime.errorType, 'mine'])
      const before = await guest.done(guest.event({ words: [], ms: 0, message: 'before' }))
      assert.deepEqual([before.outcome, before.error.errorMessage], ['error', 'before'])
    })

    it('stop at the window of their stream and go on with credit; a neighbour passes', one, async () => {
      await using guest = await start('pieces', { concurrency: 2 })
      guest.withhold = { data: true }
      const id = guest.event({ pieces: 40, bytes: MAX_PAYLOAD })
      const call = guest.stream(id)
      await guest.until('the window to be used', () => call.held > STREAM_WINDOW - MAX_PAYLOAD)
      assert.ok((await guest.still(() => call.held)) <= STREAM_WINDOW)
      assert.equal((await guest.done(guest.event({ pieces: 1, bytes: 5 }))).text, 'xxxxx')
      guest.grant(id, MAX_PAYLOAD)
      await guest.until('it to go on', () => call.held > STREAM_WINDOW - MAX_PAYLOAD)
      guest.withhold = {}
      guest.grant(id)
      assert.equal((await guest.done(id)).bytes.length, 40 * MAX_PAYLOAD)
      assert.ok(guest.sandboxIncoming > SANDBOX_WINDOW - 6 * MAX_PAYLOAD)
    })

    it('are given up when nobody reads them any more, also without credit: an end without fin', async () => {
      await using guest = await start('pieces')
      guest.withhold = { data: true }
      const id = guest.event({ pieces: 10_000, bytes: MAX_PAYLOAD })
      const call = guest.stream(id)
      await guest.until('the window to be used', () => call.held > STREAM_WINDOW - MAX_PAYLOAD)
      guest.write(encode(TELLS.cancel, 0, id))
      await guest.done(id)
      assert.equal(call.body, 'broken')
      assert.equal(call.frames.at(-1)?.type, SAYS.end)
      guest.withhold = {}
      guest.grant(id)
      assert.equal((await guest.done(guest.event({ pieces: 1, bytes: 5 }))).text, 'xxxxx')
    })

    it('are given up before they have begun', async () => {
      await using guest = await start('late')
      const id = guest.event({ ms: 200 })
      guest.write(encode(TELLS.cancel, 0, id))
      const call = await guest.done(id)
      assert.deepEqual([call.outcome, call.body, call.out], ['stream', 'broken', 'gone\n'])
    })

    it('are many: none takes another’s credit with it', async () => {
      await using guest = await start('pieces')
      for (let i = 0; i < 12; i++) assert.equal((await guest.done(guest.event({ pieces: 16, bytes: MAX_PAYLOAD }))).bytes.length, 16 * MAX_PAYLOAD)
      assert.equal(guest.sandboxIncoming, SANDBOX_WINDOW)
    })
  })
}

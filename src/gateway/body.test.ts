import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { hasBody, readBody, streamBody } from './body.ts'

/** The far end of the network by hand: a body that comes when the test says so. */
const arriving = () =>
  Object.assign(new PassThrough(), { headers: { 'transfer-encoding': 'chunked' }, complete: false }) as unknown as PassThrough & IncomingMessage
const isTimeout = (error: unknown) => error instanceof MayflyError && error.code === 'request_timeout'
const turn = () => new Promise((resolve) => setImmediate(resolve))

it('knows by a head alone whether bytes follow it', () => {
  const rows: [IncomingMessage['headers'], boolean][] = [
    [{}, false],
    [{ 'content-length': '0' }, false],
    [{ 'content-length': '1' }, true],
    [{ 'content-length': '00' }, true],
    [{ 'transfer-encoding': 'chunked' }, true],
    [{ 'transfer-encoding': 'chunked', 'content-length': '0' }, true],
  ]
  for (const [headers, follows] of rows) assert.equal(hasBody({ headers } as IncomingMessage), follows, JSON.stringify(headers))
})

it('tells a sender that goes in the middle of a body as such, not as a fault of the node', async () => {
  for (const cause of [undefined, new Error('aborted')]) {
    const request = arriving()
    const whole = assert.rejects(readBody(request, 100), { code: 'bad_request', message: /closed before the body was complete/ })
    request.write('x')
    await turn()
    request.destroy(cause)
    await whole
  }
})

describe('a sender that stops in the middle of a body', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'setInterval'] }))
  afterEach(() => mock.timers.reset())

  it('is waited for bodyStall and no longer when the whole body is wanted', async () => {
    const request = arriving()
    let failure: unknown = null
    const whole = readBody(request, 100).catch((error: unknown) => {
      failure = error
    })
    request.write('x')
    await turn()
    mock.timers.tick(LIMITS.bodyStall.value - 1)
    await turn()
    assert.equal(failure, null)
    mock.timers.tick(1)
    await whole
    assert.ok(isTimeout(failure))
  })
  for (const [what, bytes, refused] of [
    ['is let send at bodyPace', (LIMITS.bodyPace.value * LIMITS.bodyStall.value) / 1000, false],
    ['is given up one byte below bodyPace, though it never stalls', (LIMITS.bodyPace.value * LIMITS.bodyStall.value) / 1000 - 1, true],
  ] as const) {
    it(what, async () => {
      const request = arriving()
      let failure: unknown = null
      void readBody(request, 1e9).catch((error: unknown) => {
        failure = error
      })
      for (let window = 0; window < 3; window++) {
        request.write(Buffer.alloc(bytes - 2))
        for (const _ of [1, 2]) {
          await turn()
          mock.timers.tick(LIMITS.bodyStall.value / 3)
          request.write('x')
        }
        await turn()
        mock.timers.tick(LIMITS.bodyStall.value / 3)
      }
      await turn()
      assert.equal(
        failure instanceof MayflyError ? failure.message : null,
        refused ? `the body came with less than ${LIMITS.bodyPace.value} bytes a second` : null,
      )
      request.destroy()
      await turn() // its timer goes before the clock does
    })
  }
  it('is waited for as long when the body is streamed', async () => {
    const request = arriving()
    const seen: string[] = []
    const streamed = (async () => {
      for await (const chunk of streamBody(request, 100)) seen.push(Buffer.from(chunk).toString())
    })()
    const refused = assert.rejects(streamed, isTimeout)
    request.write('x')
    await turn()
    mock.timers.tick(LIMITS.bodyStall.value - 1)
    await turn()
    assert.deepEqual([seen, request.destroyed], [['x'], false])
    mock.timers.tick(1)
    await refused
  })
})

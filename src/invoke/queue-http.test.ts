import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { RequestContext } from '../core/route.ts'
import { type QueueHttpDeps, queueRoutes } from './queue-http.ts'

describe('GET dead-letters', () => {
  const asked: unknown[] = []
  const letters = {
    list: async (...what: unknown[]) => {
      asked.push(what)
      return []
    },
  }
  const queue = { letters }
  const route = queueRoutes({ queue } as unknown as QueueHttpDeps).find((one) => one.path.endsWith('/dead-letters'))
  const ask = (query: string) => route?.handle({ query: new URLSearchParams(query), project: { ref: 'demo' } } as unknown as RequestContext)

  it('takes a function and a limit up to LIMITS.deadLetterPage', async () => {
    const reply = await ask(`function=f&limit=${LIMITS.deadLetterPage.value}`)
    assert.deepEqual([reply?.status, reply?.body], [200, '{"deadLetters":[]}'])
    await ask('')
    await ask('from=2026-01-31T12:00:00%2B09:00&to=2026-01-31T12:00Z')
    const [from, to] = [new Date('2026-01-31T03:00:00Z'), new Date('2026-01-31T12:00:00Z')]
    assert.deepEqual(asked, [
      ['demo', { functionName: 'f', reason: null, errorType: null, from: null, to: null, after: null }, LIMITS.deadLetterPage.value],
      ['demo', { functionName: null, reason: null, errorType: null, from: null, to: null, after: null }, 100],
      ['demo', { functionName: null, reason: null, errorType: null, from, to, after: null }, 100],
    ])
  })
  for (const query of [
    `limit=${LIMITS.deadLetterPage.value + 1}`,
    'limit=0',
    'limit=x',
    'limit=-1',
    'function=',
    'function=a%00b',
    'reason=whim',
    'error=a%00b',
    'after=x',
    'from=yesterday',
    'to=2026-01-31',
    'to=2026-13-31T12:00:00Z',
    `function=${'x'.repeat(65)}`,
  ]) {
    it(`refuses ${query.slice(0, 20)}`, async () => {
      await assert.rejects(
        async () => await ask(query),
        (error) => error instanceof MayflyError && error.code === 'bad_request',
      )
    })
  }
})

describe('GET queue and single dead letters', () => {
  const entry = {
    id: 'e',
    functionName: 'f',
    state: 'waiting',
    attempt: 1,
    spent: 1,
    lost: 0,
    enqueuedAt: new Date(0),
    dueAt: new Date(1_000),
    orderKey: null,
    url: null,
    errorMessage: null,
  }
  const letter = (payload: Buffer, payloadBytes = payload.length) => ({
    id: '01999999-0000-7000-8000-000000000000',
    functionName: 'f',
    reason: 'attempts',
    attempts: 3,
    lost: 0,
    errorType: 'E',
    errorMessage: 'm',
    enqueuedAt: new Date(0),
    deadAt: new Date(1),
    payloadBytes,
    url: null,
    payload,
  })
  let stored = letter(Buffer.from('{}'))
  const queue = {
    entriesOf: async () => ({ waiting: 1, running: 0, entries: [entry] }),
    letters: { one: async (_ref: string, _id: string, isWhole: boolean) => (isWhole ? letter(stored.payload) : stored) },
  }
  const all = queueRoutes({ queue } as unknown as QueueHttpDeps)
  const ask = async (ending: string, query = '', id = stored.id) => {
    const route = all.find((one) => one.path.endsWith(ending) && one.method === 'GET')
    const reply = await route?.handle({ query: new URLSearchParams(query), params: { id }, project: { ref: 'demo' } } as unknown as RequestContext)
    return JSON.parse(String(reply?.body)) as Record<string, unknown>
  }

  it('shows entries up to LIMITS.queuePage', async () => {
    const { waiting, running, entries } = await ask('/queue', `limit=${LIMITS.queuePage.value}`)
    assert.deepEqual([waiting, running], [1, 0])
    assert.deepEqual(entries, [
      {
        id: 'e',
        function: 'f',
        state: 'waiting',
        attempt: 1,
        spent: 1,
        lost: 0,
        enqueuedAt: '1970-01-01T00:00:00.000Z',
        dueAt: '1970-01-01T00:00:01.000Z',
      },
    ])
    await assert.rejects(ask('/queue', `limit=${LIMITS.queuePage.value + 1}`), { code: 'bad_request' })
  })
  for (const [what, payload, bytes, expected] of [
    ['JSON', Buffer.from('{"a":"가"}'), undefined, { encoding: 'text', payload: '{"a":"가"}', payloadIsWhole: true }],
    ['bytes that are no text', Buffer.from([0xff, 0]), undefined, { encoding: 'base64', payload: '/wA=', payloadIsWhole: true }],
    ['a character that is cut off', Buffer.from('a가').subarray(0, 3), 4, { encoding: 'text', payload: 'a', payloadIsWhole: false }],
    ['a half character at the end of the whole', Buffer.from('a가').subarray(0, 3), undefined, { encoding: 'base64', payload: 'Yeqw', payloadIsWhole: true }],
  ] as const) {
    it(`shows the event of a dead letter: ${what}`, async () => {
      stored = letter(payload, bytes)
      const shown = await ask('/dead-letters/:id')
      assert.deepEqual({ encoding: shown.encoding, payload: shown.payload, payloadIsWhole: shown.payloadIsWhole }, expected)
    })
  }
  it('shows the whole event where that is asked for', async () => {
    stored = letter(Buffer.from('{"a":'), 9)
    assert.deepEqual([(await ask('/dead-letters/:id')).payloadIsWhole, (await ask('/dead-letters/:id', 'whole=1')).payloadIsWhole], [false, true])
  })
  it('refuses an id that is none', async () => {
    await assert.rejects(ask('/dead-letters/:id', '', "x'; --"), { code: 'bad_request' })
  })
})

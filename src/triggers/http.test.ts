import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import type { RequestContext } from '../core/route.ts'
import { routes } from './http.ts'
import type { Triggers } from './service.ts'

describe('PUT triggers', () => {
  const asked: unknown[] = []
  const triggers = {
    put: async (...what: unknown[]) => {
      asked.push(what)
      return { triggers: [], changed: false }
    },
    warnings: async (_ref: string, specs: readonly { readonly object?: { readonly bucket: string } }[]) => specs.map(({ object }) => `no ${object?.bucket}`),
  } as unknown as Triggers
  const route = routes(triggers, (origin) => origin).find(({ method }) => method === 'PUT')
  const put = (body: string) =>
    route?.handle({ body: async () => Buffer.from(body), params: { name: 'f' }, project: { ref: 'demo' } } as unknown as RequestContext)
  const object = (more: object) => JSON.stringify({ triggers: [{ object: { bucket: 'b', ...more } }] })

  it('takes a trigger, and fills in that it waits for what is created', async () => {
    assert.deepEqual((await put(object({ suffix: ['.jpg'] })))?.body, '{"triggers":[],"changed":false,"warnings":["no b"]}')
    assert.deepEqual(asked.pop(), ['demo', 'f', [{ object: { bucket: 'b', events: ['created'], suffix: ['.jpg'] } }]])
  })
  it('takes up to LIMITS.functionTriggers, and none more', async () => {
    const many = (n: number) => JSON.stringify({ triggers: Array.from({ length: n }, (_, at) => ({ object: { bucket: `b${at}` } })) })
    assert.equal((await put(many(LIMITS.functionTriggers.value)))?.status, 200)
    await assert.rejects(async () => await put(many(LIMITS.functionTriggers.value + 1)), { code: 'bad_request', message: /at most 100 triggers/ })
  })
  for (const [what, body, said] of [
    ['no list', '{}', /list `triggers`/],
    ['more than the list', '{"triggers":[],"x":1}', /nothing else/],
    ['a list alone', '[]', /list `triggers`/],
    ['no source', '{"triggers":[{}]}', /triggers\.0: must have exactly one of `object`/],
    ['a source that is none', '{"triggers":[{"moon":{}}]}', /unknown settings: `moon`/],
    ['two sources', '{"triggers":[{"object":{"bucket":"b"},"row":{"table":"public.orders"}}]}', /exactly one of/],
    ['no bucket', '{"triggers":[{"object":{}}]}', /triggers\.0\.object\.bucket: must be the name of a bucket/],
    ['a bucket with a slash', object({ bucket: 'a/b' }), /name of a bucket/],
    ['an event that is none', object({ events: ['moved'] }), /must be `created` or `removed`/],
    ['no event', object({ events: [] }), /at least one event/],
    ['an event twice', object({ events: ['created', 'created'] }), /each event once/],
    ['a suffix as text', object({ suffix: '.jpg' }), /must be a list of texts/],
    ['an empty suffix', object({ suffix: [''] }), /must not be empty/],
    ['half a character', object({ prefix: ['\ud800'] }), /control characters/],
    ['a field it does not know', object({ sufix: ['.jpg'] }), /unknown settings: `sufix`/],
  ] as const) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(async () => await put(body), { code: 'bad_request', message: said })
    })
  }
  it('refuses what is no JSON', async () => {
    await assert.rejects(async () => await put('{'), { code: 'body_not_json' })
  })
})

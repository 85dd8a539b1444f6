import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { RequestContext } from '../core/route.ts'
import { type InvokeHttpDeps, routes } from './http.ts'

describe('GET dead-letters', () => {
  const asked: unknown[] = []
  const queue = {
    deadLetters: async (...what: unknown[]) => {
      asked.push(what)
      return []
    },
  }
  const route = routes({ queue } as unknown as InvokeHttpDeps).find((one) => one.path.endsWith('/dead-letters'))
  const ask = (query: string) => route?.handle({ query: new URLSearchParams(query), project: { ref: 'demo' } } as unknown as RequestContext)

  it('takes a function and a limit up to LIMITS.deadLetterPage', async () => {
    const reply = await ask(`function=f&limit=${LIMITS.deadLetterPage.value}`)
    assert.deepEqual([reply?.status, reply?.body], [200, '{"deadLetters":[]}'])
    await ask('')
    assert.deepEqual(asked, [
      ['demo', 'f', LIMITS.deadLetterPage.value],
      ['demo', null, 100],
    ])
  })
  for (const query of [
    `limit=${LIMITS.deadLetterPage.value + 1}`,
    'limit=0',
    'limit=x',
    'limit=-1',
    'function=',
    'function=a%00b',
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

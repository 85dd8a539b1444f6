import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Route } from '../core/route.ts'
import { Router } from './router.ts'

const row = (method: string, path: string): Route => ({ method, path, access: 'open', plane: 'node', doc: '', handle: async () => ({ status: 200 }) })
const router = new Router([
  row('GET', '/health'),
  row('POST', '/2015-03-31/functions'),
  row('GET', '/2015-03-31/functions'),
  row('POST', '/2015-03-31/functions/:fn/invocations'),
  row('*', '/2015-03-31/*'),
  row('*', '/functions/v1/:name'),
  row('*', '/functions/v1/:name/*'),
])

const pathOf = (method: string, path: string) => {
  const match = router.match(method, path)
  return match.kind === 'found' ? [match.route.path, match.params] : match.kind
}

describe('Router', () => {
  it('prefers the most literal row', () => {
    assert.deepEqual(pathOf('POST', '/2015-03-31/functions'), ['/2015-03-31/functions', {}])
    assert.deepEqual(pathOf('PUT', '/2015-03-31/functions'), ['/2015-03-31/*', { '*': 'functions' }])
  })
  it('decodes a segment once and keeps an encoded slash inside it', () => {
    assert.deepEqual(pathOf('POST', '/2015-03-31/functions/arn%3Aaws%2Fx%2541/invocations'), ['/2015-03-31/functions/:fn/invocations', { fn: 'arn:aws/x%41' }])
  })
  it('gives the rest of a wildcard as it came', () => {
    assert.deepEqual(pathOf('GET', '/functions/v1/a/b%20c/d'), ['/functions/v1/:name/*', { name: 'a', '*': 'b%20c/d' }])
    assert.deepEqual(pathOf('GET', '/functions/v1/a/'), ['/functions/v1/:name/*', { name: 'a', '*': '' }])
  })
  it('takes a slash at the end of a dated path, and of no other', () => {
    assert.deepEqual(pathOf('GET', '/2015-03-31/functions/'), ['/2015-03-31/functions', {}])
    assert.deepEqual(pathOf('POST', '/2015-03-31/functions/a/invocations/'), ['/2015-03-31/functions/:fn/invocations', { fn: 'a' }])
    assert.deepEqual(pathOf('GET', '/2015-03-31/functions//'), ['/2015-03-31/*', { '*': 'functions/' }])
    assert.deepEqual(pathOf('GET', '/2015-03-31/'), ['/2015-03-31/*', { '*': '' }])
    assert.equal(pathOf('GET', '/health/'), 'none')
  })
  it('says which methods a path takes', () => {
    assert.deepEqual(router.match('POST', '/health'), { kind: 'wrong-method', allow: ['GET'] })
  })
  it('names a broken encoding, and finds nothing where nothing is', () => {
    assert.equal(pathOf('GET', '/functions/v1/%zz'), 'bad-encoding')
    assert.equal(pathOf('GET', '/functions/v1/'), 'none')
    assert.equal(pathOf('GET', '/'), 'none')
  })
  it('refuses a table that holds a row twice', () => {
    assert.throws(() => new Router([row('GET', '/a'), row('GET', '/a')]), /stands twice/)
  })
  it('takes any path without throwing', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (method, path) => void router.match(method, `/${path}`)))
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { httpTrigger, routeConflict } from '../../core/web-triggers.ts'
import { RouteTable } from './table.ts'

const table = (...routes: readonly (readonly [string, string, string[]?])[]) =>
  new RouteTable(routes.map(([functionName, path, methods]) => ({ functionName, http: httpTrigger.parse({ path, ...(methods ? { methods } : {}) }) })))
const told = (of: RouteTable, method: string, path: string) => {
  const match = of.match(method, path)
  return match.kind === 'found' ? [match.route.functionName, match.parameters] : match.kind === 'none' ? null : match.allow
}

describe('the routes of a project', () => {
  const routes = table(
    ['rest', '/{rest+}', ['GET']],
    ['one', '/orders/{id}', ['GET', 'DELETE']],
    ['new', '/orders/new', ['GET']],
    ['lines', '/orders/{order}/lines/{n}'],
    ['files', '/orders/{id}/files/{path+}', ['PUT']],
    ['root', '/', ['POST']],
  )
  for (const [method, path, wanted] of [
    ['GET', 'orders/7', ['one', { id: '7' }]],
    ['GET', 'orders/new', ['new', {}]],
    ['HEAD', 'orders/new', ['new', {}]],
    ['DELETE', 'orders/new', ['one', { id: 'new' }]],
    ['PATCH', 'orders/7/lines/2', ['lines', { order: '7', n: '2' }]],
    ['PUT', 'orders/7/files/a/b.txt', ['files', { id: '7', path: 'a/b.txt' }]],
    ['PUT', 'orders/7/files/', ['GET', 'HEAD']],
    ['GET', 'orders/7/files/a', ['rest', { rest: 'orders/7/files/a' }]],
    ['POST', '', ['root', {}]],
    ['GET', '', ['POST']],
    ['POST', 'orders/new', ['DELETE', 'GET', 'HEAD']],
    ['GET', 'orders/', ['rest', { rest: 'orders/' }]],
    ['GET', 'orders/7%2F8', ['one', { id: '7/8' }]],
    ['GET', 'orders/%C3%BC%20', ['one', { id: 'ü ' }]],
    ['GET', 'orders/%252e', ['one', { id: '%2e' }]],
    ['GET', 'orders//', ['rest', { rest: 'orders//' }]],
    ['GET', 'ORDERS/new', ['rest', { rest: 'ORDERS/new' }]],
    ['GET', 'orders/n%65w', ['new', {}]],
  ] as const)
    it(`${method} /${path}`, () => assert.deepEqual(told(routes, method, path), wanted))

  it('are none where nothing fits', () => {
    assert.equal(told(table(['f', '/a/{b}']), 'GET', 'a'), null)
    assert.equal(told(table(['f', '/a/{b}']), 'GET', 'a/'), null)
    assert.equal(told(table(['f', '/a/{b+}']), 'GET', 'a'), null)
    assert.equal(told(table(), 'GET', ''), null)
  })
  it('have no way round them by what somebody behind reads as another path', () => {
    for (const path of ['orders/..', 'orders/%2e%2e', 'x/.%2E/orders/7', 'x/%2e/y', 'a%00b', 'orders/%', 'orders/%ff', 'orders/%zz'])
      assert.throws(() => routes.match('GET', path), { code: 'uri_invalid' }, path)
  })
  it('take a name for what it is', () => {
    const { kind, ...found } = table(['f', '/{__proto__}/{constructor}']).match('GET', 'a/b')
    assert.equal(kind, 'found')
    const { parameters } = found as { parameters: object }
    assert.deepEqual(Object.entries(parameters), [
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ])
    assert.equal(Object.getPrototypeOf(parameters), Object.prototype)
  })
})

describe('a route', () => {
  it('is refused by name when its path is none', () => {
    for (const path of [
      '',
      'a',
      '/a//b',
      '/a/',
      '/{a',
      '/{}',
      '/{a}b',
      '/{a+}/b',
      '/{a}/{a}',
      '/../a',
      '/:id',
      '/a%20b',
      '/a?b',
      `/${'x/'.repeat(40)}x`,
      '/{a b}',
    ])
      assert.equal(httpTrigger.safeParse({ path }).success, false, path)
    for (const more of [
      { methods: [] },
      { methods: ['get'] },
      { methods: ['TRACE'] },
      { methods: ['GET', 'GET'] },
      { auth: 'public' },
      { cors: {} },
      { cors: { allowOrigins: ['*'], allowCredentials: true } },
    ])
      assert.equal(httpTrigger.safeParse({ path: '/a', ...more }).success, false, JSON.stringify(more))
  })
  it('is in conflict with one that no request could be told apart from', () => {
    const of = (path: string, methods?: string[]) => [{ function: 'f', http: httpTrigger.parse({ path, ...(methods ? { methods } : {}) }) }]
    for (const [a, b, is] of [
      [of('/a/{b}'), of('/a/{c}'), true],
      [of('/a/{b}', ['GET']), of('/a/{c}', ['POST']), false],
      [of('/a/{b}', ['GET', 'POST']), of('/a/{c}', ['POST']), true],
      [of('/a/{b}', ['GET']), of('/a/{c}'), true],
      [of('/a/{b+}'), of('/a/{c}'), false],
      [of('/a/{b+}'), of('/a/{c+}'), true],
      [of('/a/b'), of('/a/{c}'), false],
    ] as const)
      assert.equal(routeConflict(a, b) !== null, is, JSON.stringify([a, b]))
    assert.equal(routeConflict([...of('/a', ['GET']), ...of('/a')], []), 'the route GET /a of f is the route any method /a of f')
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { definitionOfSpec, parseFunctionSpec } from './definition.ts'
import { parseConfiguration, Violations } from './dialects/lambda/request.ts'

const artefact = '0'.repeat(64)

describe('what a deploy says', () => {
  const wrong: [string, object, RegExp][] = [
    ['a description with NUL', { description: 'a\0b' }, /description: must not hold control characters/],
    ['a description with half a character', { description: 'a\ud800' }, /description: must not hold control characters/],
    ['a description that steers a terminal', { description: '\u001b[2J' }, /description: must not hold control characters/],
    ['a handler with NUL', { handler: 'index.\0' }, /handler: must not hold control characters/],
    ['a handler with half a character', { handler: '\ud800.x' }, /handler: must not hold control characters/],
    ['a handler that steers a terminal', { handler: '\u001b.x' }, /handler: must not hold control characters/],
    ['a variable with NUL', { environment: { A: '\0' } }, /environment.A: a value must be whole characters without NUL/],
    ['a variable with half a character', { environment: { A: '\udc00' } }, /environment.A: a value must be whole characters without NUL/],
    ['a variable without a name', { environment: { '': 'x' } }, /environment/],
    ['no attempt', { async: { maxAttempts: 0 } }, /async.maxAttempts: must be a whole number of attempts from 1 to 100/],
    ['an age below a minute', { async: { maxAge: 59 } }, /async.maxAge: must be a whole number of seconds from 60 to 1209600/],
    ['six layers', { layers: ['a:1', 'b:1', 'c:1', 'd:1', 'e:1', 'f:1'] }, /layers: must be at most 5/],
    ['a layer without a version', { layers: ['a'] }, /layers.0: must be `name:3`/],
    ['version 0 of a layer', { layers: ['a:0'] }, /layers.0: must be `name:3`/],
    ['a layer that is no text', { layers: [1] }, /layers.0: must be a text such as/],
    ['tries of its own making', { async: { retries: 1 } }, /async: unknown settings: `retries`/],
    ['tries that are a number', { async: 3 }, /async: must be an object such as/],
    ['a network of no kind', { egress: 'lan' }, /egress: must be `none`, `internet`, or a list of hosts/],
    ['no host at all', { egress: [] }, /egress: must name at least one host/],
    [
      'more than egressHosts',
      { egress: Array.from({ length: LIMITS.egressHosts.value + 1 }, (_, n) => `h${n}.example.com`) },
      /egress: must be at most 100 hosts/,
    ],
    ['a host that is private', { egress: ['api.example.com', '10.0.0.1'] }, /egress.1: is an address that no function reaches/],
    ['a host with a path', { egress: ['https://api.example.com/'] }, /egress.0: must be a host such as/],
    ['two that are none', { memroy: 1, timout: 2 }, /unknown settings: `memroy`, `timout`$/],
    ['a field of every object', JSON.parse('{"__proto__":{"a":1}}') as object, /unknown settings: `__proto__`/],
  ]
  for (const [what, fields, message] of wrong) {
    const body = { artefact, ...fields }
    if (Object.hasOwn(fields, '__proto__')) Object.defineProperty(body, '__proto__', { value: {}, enumerable: true })
    it(`is refused with ${what}`, () => assert.throws(() => parseFunctionSpec(body), { code: 'bad_request', message }))
  }
  it('may hold lines in its description and any text in a variable', () => {
    const environment = { KEY: '-----BEGIN\nx\t\u001b\n' }
    assert.deepEqual(parseFunctionSpec({ artefact, description: 'one\ntwo', environment }).environment, environment)
  })

  it('opens the internet when nothing is said, and egressHosts hosts at most when some are listed', () => {
    const egressOf = (fields: object) => definitionOfSpec('f', parseFunctionSpec({ artefact, ...fields }), {}).egress
    assert.equal(egressOf({}), 'internet')
    assert.equal(egressOf({ egress: 'none' }), 'none')
    const hosts = Array.from({ length: LIMITS.egressHosts.value }, (_, n) => `h${n}.example.com`)
    assert.deepEqual(egressOf({ egress: hosts }), hosts.toSorted())
    assert.deepEqual(egressOf({ egress: ['B.example.com', 'a.example.com:443', 'b.example.com'] }), ['a.example.com:443', 'b.example.com'])
  })

  it('names layers by ARN, which may be told by name and number', () => {
    const arn = 'arn:aws:lambda:us-east-1:000000000000:layer'
    assert.deepEqual(definitionOfSpec('f', parseFunctionSpec({ artefact, layers: ['a-b_c:12', `${arn}:d:3`] }), {}).layers, [`${arn}:a-b_c:12`, `${arn}:d:3`])
    assert.deepEqual(definitionOfSpec('f', parseFunctionSpec({ artefact }), {}).layers, [])
  })

  it('leaves to the node what it does not say of queued calls', () => {
    const told = (async: object) => definitionOfSpec('f', parseFunctionSpec({ artefact, async }), {}).async
    assert.deepEqual(told({}), { maxAttempts: null, maxAgeSeconds: null })
    assert.deepEqual(told({ maxAttempts: 100, maxAge: 1_209_600 }), { maxAttempts: 100, maxAgeSeconds: 1_209_600 })
    for (const retryAfter of [0, 5, { least: 1, most: 60 }]) assert.deepEqual(told({ retryAfter }).retryAfter, retryAfter)
    for (const retryAfter of [-1, 86_401, 0.5, '5', { least: 2, most: 1 }, { least: 1 }]) assert.throws(() => told({ retryAfter }), { code: 'bad_request' })
    assert.deepEqual(definitionOfSpec('f', parseFunctionSpec({ artefact }), {}).async, { maxAttempts: null, maxAgeSeconds: null })
  })

  const lambda: [string, object, RegExp][] = [
    ['a description with NUL', { Description: '\0' }, /control characters/],
    ['a description with half a character', { Description: '\ud800' }, /control characters/],
    ['a handler with half a character', { Handler: '\ud800.x' }, /handler/],
    ['a variable with half a character', { Environment: { Variables: { AB: '\ud800' } } }, /whole characters/],
  ]
  for (const [what, body, message] of lambda) {
    it(`is refused by the Lambda API with ${what}`, () =>
      assert.throws(
        () => parseConfiguration(body as Record<string, unknown>, new Violations()),
        (error: Error & { status?: number }) => {
          assert.equal(error.status, 400)
          assert.match(error.message, message)
          return true
        },
      ))
  }
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { eventPattern, isDeeperThan, PatternError, patternFault } from './event-pattern.ts'

/** The event of the documentation of EventBridge. */
const EC2 = {
  version: '0',
  id: '6a7e8feb-b491-4cf7-a9f1-bf3703467718',
  'detail-type': 'EC2 Instance State-change Notification',
  source: 'aws.ec2',
  account: '111122223333',
  time: '2017-12-22T18:43:48Z',
  region: 'us-west-1',
  resources: ['arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0'],
  detail: { 'instance-id': 'i-1234567890abcdef0', state: 'terminated' },
}
/** An event as its examples of comparisons have it. */
const DETAIL = {
  'detail-type': 'EC2 Instance State-change Notification',
  resources: ['arn:aws:ec2:us-east-1:123456789012:instance/i-000000aaaa', 'arn:aws:ec2:us-east-1:123456789012:instance/i-111'],
  detail: {
    'c-count': 5,
    'd-count': 2,
    'x-limit': 3.018e2,
    'source-ip': '10.0.0.123',
    state: 'initializing',
    FileName: 'a/dir/photo.PNG',
    empty: '',
    nothing: null,
    yes: true,
    no: [],
    items: [
      { sku: 'a', count: 1 },
      { sku: 'b', count: 9 },
    ],
    own: { deep: { leaf: 1 } },
  },
}

describe('patterns of events', () => {
  for (const [what, pattern, matches] of [
    ['the source', { source: ['aws.ec2'] }, true],
    ['all that is named has to be so', { source: ['aws.ec2'], 'detail-type': ['another'] }, false],
    ['a field of the detail, one of several', { source: ['aws.ec2'], detail: { state: ['stopping', 'terminated'] } }, true],
    ['none of several', { detail: { state: ['running', 'stopped'] } }, false],
    ['capitals are others', { detail: { state: ['Terminated'] } }, false],
    ['one of a list of the event', { resources: ['arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0'] }, true],
    ['a field that is not there', { detail: { absent: ['x'] } }, false],
    ['what every object has by itself', { constructor: [{ exists: true }] }, false],
    ['a time by its beginning', { time: [{ prefix: '2017-12-22' }] }, true],
  ] as const)
    it(`of a whole event: ${what}`, () => assert.equal(eventPattern(pattern)(EC2), matches))

  for (const [wanted, matches] of [
    [{ state: [{ prefix: 'init' }] }, true],
    [{ state: [{ prefix: 'Init' }] }, false],
    [{ state: [{ prefix: { 'equals-ignore-case': 'INIT' } }] }, true],
    [{ FileName: [{ suffix: '.PNG' }] }, true],
    [{ FileName: [{ suffix: '.png' }] }, false],
    [{ FileName: [{ suffix: { 'equals-ignore-case': '.png' } }] }, true],
    [{ state: [{ 'anything-but': 'initializing' }] }, false],
    [{ state: [{ 'anything-but': ['stopped', 'overloaded'] }] }, true],
    [{ 'x-limit': [{ 'anything-but': [100, 200, 300] }] }, true],
    [{ 'c-count': [{ 'anything-but': 5 }] }, false],
    [{ state: [{ 'anything-but': { 'equals-ignore-case': ['INITIALIZING', 'stopped'] } }] }, false],
    [{ state: [{ 'anything-but': { prefix: 'init' } }] }, false],
    [{ state: [{ 'anything-but': { prefix: ['stop', 'run'] } }] }, true],
    [{ FileName: [{ 'anything-but': { suffix: ['.txt', '.rtf'] } }] }, true],
    [{ FileName: [{ 'anything-but': { wildcard: '*/dir/*' } }] }, false],
    [{ absent: [{ 'anything-but': 'x' }] }, false],
    [{ 'c-count': [{ numeric: ['>', 0, '<=', 5] }] }, true],
    [{ 'd-count': [{ numeric: ['<', 10] }] }, true],
    [{ 'x-limit': [{ numeric: ['=', 301.8] }] }, true],
    [{ 'c-count': [{ numeric: ['>', 5] }] }, false],
    [{ state: [{ numeric: ['>', 0] }] }, false],
    [{ 'c-count': [{ numeric: ['>', 0, '<=', 5] }], 'd-count': [{ numeric: ['<', 10] }], 'x-limit': [{ numeric: ['=', 3.018e2] }] }, true],
    [{ 'source-ip': [{ cidr: '10.0.0.0/24' }] }, true],
    [{ 'source-ip': [{ cidr: '10.0.1.0/24' }] }, false],
    [{ 'source-ip': [{ cidr: '2001:db8::/32' }] }, false],
    [{ state: [{ exists: true }] }, true],
    [{ state: [{ exists: false }] }, false],
    [{ absent: [{ exists: false }] }, true],
    [{ absent: { below: [{ exists: false }] } }, true],
    [{ absent: { below: ['x'] } }, false],
    // What has fields is none itself.
    [{ own: [{ exists: true }] }, false],
    [{ own: { deep: { leaf: [{ exists: true }] } } }, true],
    [{ no: [{ exists: false }] }, true],
    [{ nothing: [null] }, true],
    [{ empty: [''] }, true],
    [{ yes: [true] }, true],
    [{ yes: ['true'] }, false],
    [{ 'c-count': ['5'] }, false],
    [{ state: [{ 'equals-ignore-case': 'INITIALIZING' }] }, true],
    [{ FileName: [{ wildcard: 'a/*/photo.*' }] }, true],
    [{ FileName: [{ wildcard: 'a/*/*/photo.*' }] }, false],
    [{ FileName: [{ wildcard: 'a/dir/photo.PNG' }] }, true],
    [{ FileName: [{ wildcard: 'a/dir/\\*' }] }, false],
    [{ state: ['stopped', { prefix: 'init' }, { exists: false }] }, true],
    // One element has to have it all.
    [{ items: { sku: ['a'], count: [1] } }, true],
    [{ items: { sku: ['a'], count: [9] } }, false],
    [{ $or: [{ 'c-count': [{ numeric: ['>', 0, '<=', 5] }] }, { 'd-count': [{ numeric: ['<', 1] }] }] }, true],
    [{ $or: [{ 'c-count': [9] }, { state: ['x'] }] }, false],
    [{ state: ['x'], $or: [{ 'c-count': [5] }, { 'd-count': [2] }] }, false],
  ] as const)
    it(`${JSON.stringify(wanted)}: ${matches ? 'yes' : 'no'}`, () => assert.equal(eventPattern({ detail: wanted })(DETAIL), matches))

  for (const [what, pattern, said] of [
    ['a list', [], /must be an object/],
    ['nothing', {}, /must have a field/],
    ['a field that may be nothing', { source: [] }, /source: must be a list/],
    ['a text for a list', { source: 'x' }, /source: must be a list/],
    ['an object without fields', { detail: {} }, /detail: must have a field/],
    ['a list in a list', { source: [['x']] }, /source\.0: must not be a list/],
    ['a comparison that is none', { source: [{ like: 'x' }] }, /source\.0: must have one of `prefix`/],
    ['two comparisons at once', { source: [{ prefix: 'x', suffix: 'y' }] }, /must have one of/],
    ['one that every object has', { source: [{ toString: 'x' }] }, /must have one of/],
    ['an empty prefix', { source: [{ prefix: '' }] }, /not empty/],
    ['a number as a prefix', { source: [{ prefix: 1 }] }, /must be a text/],
    ['exists of a text', { source: [{ exists: 'yes' }] }, /true or false/],
    ['a number that is none', { a: [{ numeric: ['>', '0'] }] }, /must be such as/],
    ['an operator that is none', { a: [{ numeric: ['toString', 0] }] }, /must be such as/],
    ['a range that is none', { a: [{ numeric: ['<', 0, '>', 5] }] }, /must be such as/],
    ['a network that is none', { a: [{ cidr: '10.0.0.0/33' }] }, /must be a network/],
    ['two stars', { a: [{ wildcard: 'a**b' }] }, /two stars/],
    ['anything but nothing', { a: [{ 'anything-but': [] }] }, /must not be empty/],
    ['anything but this and that kind', { a: [{ 'anything-but': ['x', 1] }] }, /texts or numbers/],
    ['an $or of one', { $or: [{ a: ['x'] }] }, /two patterns/],
    ['one too long', { a: ['x'.repeat(5_000)] }, /at most 4096/],
    ['one too deep', JSON.parse(`${'{"a":'.repeat(100_000)}["x"]${'}'.repeat(100_000)}`), /deeper than 16/],
  ] as const)
    it(`refuses ${what}`, () => {
      assert.throws(() => eventPattern(pattern), PatternError)
      assert.match(patternFault(pattern) ?? '', said)
    })

  it('takes a long text and many stars in time that does not explode', () => {
    const test = eventPattern({ a: [{ wildcard: `${'*a'.repeat(200)}*b` }] })
    assert.equal(test({ a: 'a'.repeat(200_000) }), false)
  })
  it('counts how deep a value goes without going down itself', () => {
    assert.equal(isDeeperThan(JSON.parse('[[[1]]]'), 2), false)
    assert.equal(isDeeperThan(JSON.parse('[[[1]]]'), 1), true)
    assert.equal(isDeeperThan(JSON.parse(`${'['.repeat(200_000)}${']'.repeat(200_000)}`), 100), true)
  })
})

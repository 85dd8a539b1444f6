import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ProjectRef } from '../../core/project.ts'
import { consumerOfMapping, filterOf } from './consumer.ts'

const mapping = (settings: object, sourceArn = 'arn:aws:sqs:us-east-1:000000000000:jobs') =>
  consumerOfMapping({ id: 'm', project: 'demo' as ProjectRef, functionId: 'f', functionName: 'work', qualifier: 'live', sourceArn, settings: { ...settings } })

describe('a mapping of a queue', () => {
  it('says how its function takes messages', () => {
    const FilterCriteria = { Filters: [{ Pattern: '{"body":{"kind":["a"]}}' }] }
    const all = {
      BatchSize: 100,
      MaximumBatchingWindowInSeconds: 3,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      ScalingConfig: { MaximumConcurrency: 7 },
    }
    assert.deepEqual(mapping({ ...all, FilterCriteria }), {
      ...{ id: 'm', project: 'demo', queueName: 'jobs', functionId: 'f', functionName: 'work', qualifier: 'live' },
      ...{ batchSize: 100, windowSeconds: 3, parallelism: 7, retryAfter: null, bisect: false, reportsFailures: true, filters: [{ body: { kind: ['a'] } }] },
    })
    assert.deepEqual([mapping({})?.batchSize, mapping({})?.reportsFailures, mapping({})?.parallelism], [10, false, 5])
  })
  it('is left alone when nothing can be read by it', () => {
    assert.equal(mapping({}, 'arn:aws:sqs:us-east-1:000000000000:jobs.fifo'), null)
    for (const Pattern of ['{', '[]', '{"body":"x"}']) assert.equal(mapping({ FilterCriteria: { Filters: [{ Pattern }] } }), null, Pattern)
  })
})

describe('the filters of a queue', () => {
  const takes = (body: string, ...filters: object[]) => filterOf(filters.map((one) => ({ ...one })))({ body, messageAttributes: { n: { stringValue: '1' } } })
  it('look into a body that is JSON, and at one that is a text', () => {
    const into = { body: { kind: ['a'] } }
    const at = { body: [{ prefix: 'a' }] }
    for (const [body, first, second] of [
      ['{"kind":"a"}', true, false],
      ['{"kind":"b"}', false, false],
      ['[{"kind":"a"}]', true, false],
      ['abc', false, true],
      ['null', false, false],
    ] as const)
      assert.deepEqual([takes(body, into), takes(body, at), takes(body, at, into)], [first, second, first || second], body)
    // What is no JSON has no fields: also none that may be absent.
    assert.equal(takes('abc', { body: { kind: [{ exists: false }] } }), false)
    assert.equal(takes('{}', { body: { kind: [{ exists: false }] } }), true)
  })
  it('look at what stands beside the body; without any all is taken', () => {
    assert.equal(takes('x', { messageAttributes: { n: { stringValue: ['1'] } } }), true)
    assert.equal(takes('x', { messageAttributes: { n: { stringValue: ['2'] } } }), false)
    assert.equal(takes('x'), true)
  })
})

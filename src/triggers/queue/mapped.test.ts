import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { mappedQueue } from './mapped.ts'

const ARN = 'arn:aws:sqs:us-east-1:000000000000:jobs'
const kept = { id: 'm', functionName: 'f', qualifier: 'live', sourceArn: ARN, enabled: true, settings: {}, modifiedAt: new Date(0) }

describe('an event source mapping among the triggers', () => {
  it('is told in the words of the trigger of a queue', () => {
    const settings = { BatchSize: 20, MaximumBatchingWindowInSeconds: 1, ScalingConfig: { MaximumConcurrency: 2 } }
    assert.deepEqual(
      mappedQueue({ ...kept, settings }, (name) => name === 'jobs'),
      {
        id: 'm',
        function: 'f',
        queue: { name: 'jobs', batchSize: 20, windowSeconds: 1, parallelism: 2 },
        mapping: { qualifier: 'live' },
        enabled: true,
        started: true,
        modifiedAt: new Date(0),
      },
    )
  })
  for (const [what, change, isThere] of [
    ['is disabled', { enabled: false }, true],
    ['has lost its queue', {}, false],
    ['has filters that are not understood', { settings: { FilterCriteria: { Filters: [{ Pattern: '{"body":[{"cidr":7}]}' }] } } }, true],
  ] as const) {
    it(`is not started when it ${what}`, () => {
      assert.partialDeepStrictEqual(
        mappedQueue({ ...kept, ...change }, () => isThere),
        { started: false, queue: { name: 'jobs' } },
      )
    })
  }
  it('is none where its source is no queue', () => {
    for (const sourceArn of [null, 'arn:aws:kinesis:us-east-1:000000000000:stream/s'])
      assert.equal(
        mappedQueue({ ...kept, sourceArn }, () => true),
        null,
      )
  })
})

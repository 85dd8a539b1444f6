import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownKeysOf } from './azure-app.ts'
import { azureTriggers } from './azure-triggers.ts'

const of = (trigger: string, details: Record<string, unknown>, zone?: string) => azureTriggers({ name: 'f', trigger, details }, zone)
const kept = (trigger: string, details: Record<string, unknown>, zone?: string) => {
  const { triggers, warnings } = of(trigger, details, zone)
  assert.deepEqual(warnings, [])
  return triggers
}

test('what starts functions of Azure is what starts them here', () => {
  for (const [given, schedule] of [
    ['0 0 3 * * *', { cron: '0 3 * * *' }],
    ['0 */5 * * * *', { cron: '*/5 * * * *' }],
    ['*/10 * * * * *', { cron: '*/10 * * * * *' }],
    ['30 9 * * Mon-Fri', { cron: '30 9 * * Mon-Fri' }],
    // Both days have to hold, where other crons take either.
    ['0 0 9 1-7 * Mon', { cron: '0 9 1-7 * +Mon' }],
    ['00:05:00', { every: 300 }],
    ['1.00:00:30', { every: 86_430 }],
    ['24:00:00', { every: 24 * 86_400 }],
  ] as const)
    assert.deepEqual(kept('timerTrigger', { schedule: given }), [{ schedule }], given)
  assert.deepEqual(kept('timerTrigger', { schedule: '0 0 3 * * *' }, 'Asia/Seoul'), [{ schedule: { cron: '0 3 * * *', timezone: 'Asia/Seoul' } }])
  assert.deepEqual(kept('blobTrigger', { path: 'photos/in/{name}.png' }), [
    { object: { bucket: 'photos', events: ['created'], prefix: ['in/'], suffix: ['.png'] } },
  ])
  assert.deepEqual(kept('queueTrigger', { queueName: 'orders' }), [{ queue: { name: 'orders', batchSize: 1 } }])
  assert.deepEqual(kept('serviceBusTrigger', { queueName: 'many', cardinality: 'many' }), [{ queue: { name: 'many', batchSize: 10 } }])
  // As host.json says, but where the function has a policy of its own.
  const host = { retryAfter: 3, atOnce: 24 }
  assert.deepEqual(kept('queueTrigger', { queueName: 'q', ...host }), [{ queue: { name: 'q', batchSize: 1, retryAfter: 3, parallelism: 24 } }])
  for (const [retry, retryAfter] of [
    [{ maxRetryCount: 1, strategy: 'fixedDelay', delayInterval: { seconds: 7 } }, 7],
    [{ maxRetryCount: 1, strategy: 'fixedDelay', delayInterval: { seconds: 90_000 } }, 43_200],
    [
      { maxRetryCount: -1, strategy: 'exponentialBackoff', minimumInterval: { seconds: 2 }, maximumInterval: { seconds: 60 } },
      { least: 2, most: 60 },
    ],
  ] as const)
    assert.deepEqual(kept('serviceBusTrigger', { queueName: 'q', retryAfter: 0, retry }), [{ queue: { name: 'q', batchSize: 1, retryAfter } }])
  assert.deepEqual(kept('serviceBusTrigger', { topicName: 'news', subscriptionName: 'web.1' }), [{ topic: { name: 'news', subscription: 'web.1' } }])
  assert.deepEqual(kept('eventGridTrigger', {}), [{ bus: {} }])
  assert.deepEqual(kept('cosmosDBTrigger', { databaseName: 'shop', containerName: 'orders' }), [
    { row: { table: 'public.orders', events: ['insert', 'update'] } },
  ])
  assert.deepEqual(kept('cosmosDBTrigger', { containerName: 'orders', changeFeedMode: 'AllVersionsAndDeletes' }), [
    { row: { table: 'public.orders', events: ['insert', 'update', 'delete'] } },
  ])
})

test('what cannot be kept is told, and is no fault of the app', () => {
  for (const [trigger, details, said] of [
    // So people switch a timer off.
    ['timerTrigger', { schedule: '0 0 0 31 2 *' }, /the schedule "0 0 0 31 2 \*" names no time that comes/],
    ['timerTrigger', { schedule: '%NIGHTLY%' }, /the schedule "%NIGHTLY%" names no time/],
    ['queueTrigger', { queueName: 'a.b' }, /the queue "a\.b" has no name that is one here/],
    ['serviceBusTrigger', { topicName: 'a/b', subscriptionName: 's' }, /the topic "a\/b" has no name/],
    ['cosmosDBTrigger', { containerName: 'a.b' }, /the container "a\.b" is no name of a table/],
  ] as const) {
    const { triggers, warnings } = of(trigger, details)
    assert.deepEqual(triggers, [])
    assert.match(warnings.join(), said)
  }
  assert.deepEqual(of('sqlTrigger', {}), { triggers: [], warnings: [] }, 'of which the node says that it is not served')
  const windows = of('timerTrigger', { schedule: '0 0 3 * * *', runOnStartup: true }, 'Korea Standard Time')
  assert.deepEqual(windows.triggers, [{ schedule: { cron: '0 3 * * *' } }])
  assert.match(windows.warnings.join(), /"runOnStartup" is not served.*"Korea Standard Time", which is no time zone/)
})

test('no two functions have the same key of their own', () => {
  assert.deepEqual(Object.fromEntries(ownKeysOf(['kept', 'a-b', 'a_b'])), {
    kept: 'AZURE_FUNCTION_KEY_KEPT',
    'a-b': 'AZURE_FUNCTION_KEY_A_B_D44362D6',
    a_b: 'AZURE_FUNCTION_KEY_A_B_648FA9B3',
  })
})

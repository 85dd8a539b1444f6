import assert from 'node:assert/strict'
import { test } from 'node:test'
import { notStartedYet } from '../core/trigger-spec.ts'
import { definitionOf, parseTriggers, specOf, subscriptionsOf } from './definition.ts'

const one = (trigger: object) => parseTriggers([trigger])[0] as ReturnType<typeof parseTriggers>[number]

test('a schedule and a queue are kept in one form, and given back as they may be sent again', () => {
  for (const [given, kept] of [
    [{ schedule: { cron: '0  3 * * *' } }, { schedule: { cron: '0 3 * * *', timezone: 'UTC' } }],
    [{ schedule: { cron: '*/5 8-18 * JAN MON-FRI', timezone: 'Asia/Seoul' } }, { schedule: { cron: '*/5 8-18 * JAN MON-FRI', timezone: 'Asia/Seoul' } }],
    [{ queue: { name: 'mail' } }, { queue: { name: 'mail', batchSize: 10 } }],
  ] as const) {
    const definition = definitionOf(one(given))
    assert.deepEqual(specOf(definition), kept)
    assert.deepEqual(definitionOf(one(kept)), definition)
    assert.deepEqual(subscriptionsOf('id', definition), [], "the project's database causes none of them")
  }
})

test('what is no schedule, queue or trigger is refused by its name', () => {
  for (const [given, said] of [
    [{ schedule: { cron: '0 25 * * *' } }, /triggers\.0\.schedule\.cron: must be five fields such as `0 3 \* \* \*`: /],
    [{ schedule: { cron: '* * * * * *' } }, /schedule\.cron/],
    [{ schedule: { cron: '0 0 31 2 *' } }, /schedule\.cron: .*never comes/],
    [{ schedule: { cron: `0 3 * * ${'1,'.repeat(60)}1` } }, /at most 100 characters/],
    [{ schedule: { cron: '0 3 * * *', timezone: 'Mars/Olympus' } }, /schedule\.timezone: must be a time zone/],
    [{ schedule: {} }, /schedule\.cron/],
    [{ queue: { name: 'a b' } }, /queue\.name/],
    [{ queue: { name: 'mail', batchSize: 11 } }, /batchSize: must be 10 or less/],
    [{ queue: { name: 'mail', every: 1 } }, /unknown settings: `every`/],
    [{ queue: { name: 'mail' }, schedule: { cron: '0 3 * * *' } }, /must have exactly one of `object`, `schedule`, `queue`/],
    [{}, /must have exactly one of/],
    [{ topic: {} }, /unknown settings: `topic`/],
  ] as const)
    assert.throws(() => one(given), { code: 'bad_request', message: said })
})

test('those that nothing starts yet are told, with what does', () => {
  const triggers = parseTriggers([{ object: { bucket: 'a' } }, { schedule: { cron: '0 3 * * *' } }, { queue: { name: 'mail' } }])
  assert.deepEqual(notStartedYet('f', triggers), [
    'the schedule `0 3 * * *` is not started by anything yet; `mayfly invoke f --event schedule` starts it.',
    'the queue mail is not started by anything yet; `mayfly invoke f --event queue` starts it.',
  ])
})

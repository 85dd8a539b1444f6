import assert from 'node:assert/strict'
import { test } from 'node:test'
import { definitionOf, parseTriggers, specOf } from './definition.ts'

const one = (trigger: object) => parseTriggers([trigger])[0] as ReturnType<typeof parseTriggers>[number]

test('what is no object is kept in one form, and given back as they may be sent again', () => {
  for (const [given, kept] of [
    [{ schedule: { cron: '0  3 * * *' } }, { schedule: { cron: '0 3 * * *', timezone: 'UTC' } }],
    [{ schedule: { cron: '*/5 8-18 * JAN MON-FRI', timezone: 'Asia/Seoul' } }, { schedule: { cron: '*/5 8-18 * JAN MON-FRI', timezone: 'Asia/Seoul' } }],
    [{ schedule: { cron: '*/10 * * * * *' } }, { schedule: { cron: '*/10 * * * * *', timezone: 'UTC' } }],
    [{ schedule: { every: 300 } }, { schedule: { every: 300, timezone: 'UTC' } }],
    [
      { schedule: { at: '2026-12-24T18:00:00', missed: 'once', overlap: 'skip' } },
      { schedule: { at: '2026-12-24T18:00:00', overlap: 'skip', timezone: 'UTC' } },
    ],
    [{ queue: { name: 'mail' } }, { queue: { name: 'mail', batchSize: 10 } }],
    [{ topic: { name: 'news' } }, { topic: { name: 'news' } }],
    [{ topic: { subscription: 'mine', name: 'news' } }, { topic: { name: 'news', subscription: 'mine' } }],
    [{ row: { table: 'public.orders' } }, { row: { table: 'public.orders', events: ['delete', 'insert', 'update'] } }],
    [{ row: { table: 'public.Or ders', events: ['update', 'insert'] } }, { row: { table: 'public.Or ders', events: ['insert', 'update'] } }],
    [
      { row: { table: 'public.orders', columns: ['b', 'a'], when: { status: ['paid', null] } } },
      { row: { table: 'public.orders', events: ['delete', 'insert', 'update'], columns: ['a', 'b'], when: { status: ['paid', null] } } },
    ],
    [{ bus: {} }, { bus: { name: 'default' } }],
  ] as const) {
    const definition = definitionOf(one(given))
    assert.deepEqual(specOf(definition), kept)
    assert.deepEqual(definitionOf(one(kept)), definition)
    assert.deepEqual(specOf(definitionOf(one({ ...given, enabled: false }))), { ...kept, enabled: false })
  }
})

test('what is no schedule, queue or trigger is refused by its name', () => {
  for (const [given, said] of [
    [{ schedule: { cron: '0 25 * * *' } }, /triggers\.0\.schedule\.cron: must be five fields such as `0 3 \* \* \*`: /],
    [{ schedule: { cron: '* * * * * * *' } }, /schedule\.cron/],
    [{ schedule: { cron: '0 3 * * *', every: 5 } }, /must have either `cron`, `every` or `at`/],
    [{ schedule: { at: 'tomorrow' } }, /schedule\.at: must be a date and time/],
    [{ schedule: { every: 5, missed: 'never' } }, /schedule\.missed: must be `skip`, `once` or `all`/],
    [{ schedule: { every: 5, overlap: 'no' } }, /schedule\.overlap/],
    [{ schedule: { every: 0 } }, /schedule\.every: must be 1 or more/],
    [{ schedule: { cron: '0 0 31 2 *' } }, /schedule\.cron: .*never comes/],
    [{ schedule: { cron: `0 3 * * ${'1,'.repeat(60)}1` } }, /at most 100 characters/],
    [{ schedule: { cron: '0 3 * * *', timezone: 'Mars/Olympus' } }, /schedule\.timezone: must be a time zone/],
    [{ schedule: {} }, /must have either `cron`, `every` or `at`/],
    [{ queue: { name: 'a b' } }, /queue\.name/],
    [{ queue: { name: 'mail', batchSize: 11 } }, /batchSize: must be 10 or less/],
    [{ queue: { name: 'mail', every: 1 } }, /unknown settings: `every`/],
    [{ queue: { name: 'mail' }, schedule: { cron: '0 3 * * *' } }, /must have exactly one of `object`, `schedule`, `queue`, `topic`, `row`, `bus`/],
    [{}, /must have exactly one of/],
    [{ topic: {} }, /topic\.name: must be the name of a topic/],
    [{ topic: { name: 'a', subscription: 'a b' } }, /topic\.subscription/],
    [{ row: { table: 'orders' } }, /row\.table: must be a schema and a table/],
    [{ row: { table: 'public.or\0ders' } }, /row\.table: must not hold control characters/],
    [{ row: { table: 'public.orders', events: ['insert', 'insert'] } }, /must name each event once/],
    [{ row: { table: 'public.orders', events: ['truncate'] } }, /must be `insert`, `update` or `delete`/],
    [{ row: { table: 'auth.users' } }, /row\.table: must be a table of a schema of your own/],
    [{ row: { table: 'pg_catalog.pg_class' } }, /row\.table: must be a table of a schema of your own/],
    [{ row: { table: 'public.orders', columns: [] } }, /row\.columns: must name at least one/],
    [{ row: { table: 'public.orders', when: {} } }, /row\.when: must name 1 to 100 columns/],
    [{ row: { table: 'public.orders', when: { status: { gt: 1 } } } }, /row\.when\.status: must be a value/],
    [{ bus: { name: '' } }, /bus\.name/],
    [{ bus: { pattern: { source: 'x' } } }, /bus\.pattern: source: must be a list/],
    [{ bus: { pattern: [] } }, /bus\.pattern: must be an object/],
    [{ line: {} }, /unknown settings: `line`/],
    [{ log: { function: 'a b' } }, /log\.function: must be the name of a function, or `\*`/],
    [{ log: { function: '*', pattern: '{ $.a > x }' } }, /log\.pattern: `>` takes a number/],
  ] as const)
    assert.throws(() => one(given), { code: 'bad_request', message: said })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { DATA_ERRORS, DataError, statusOfSqlState } from './errors.ts'
import { failure } from './http.ts'
import { headersOf, raisedReply } from './reply.ts'

const status = (state: string, message = '', isAnonymous = false) => statusOfSqlState(state, message, isAnonymous)

describe('errors of the data API', () => {
  it('have the status that clients expect', () => {
    const rows: [string, number][] = [
      ['08006', 503],
      ['23503', 409],
      ['23505', 409],
      ['23502', 400],
      ['25006', 405],
      ['25P02', 500],
      ['28P01', 403],
      ['0LP01', 403],
      ['40001', 500],
      ['53300', 503],
      ['53400', 500],
      ['54001', 500],
      ['57014', 500],
      ['57P01', 503],
      ['P0001', 400],
      ['P0002', 500],
      ['XX000', 500],
      ['42883', 404],
      ['42P01', 404],
      ['42P17', 500],
      ['22P02', 400],
      ['42703', 400],
      ['PT418', 418],
      ['PT099', 500],
    ]
    for (const [state, expected] of rows) assert.equal(status(state), expected, state)
    assert.deepEqual([status('42501', '', true), status('42501', '', false)], [401, 403])
    assert.deepEqual([status('21000', 'UPDATE requires a WHERE clause'), status('21000')], [400, 500])
    assert.deepEqual([status('22023', 'role "x" does not exist'), status('22023', 'other')], [401, 400])
    assert.equal(status('42883', 'function xmlagg(json) does not exist'), 406)
  })
  it('stand in a catalogue', () => assert.ok(Object.values(DATA_ERRORS).every((each) => each >= 300 && each < 600)))
  it('are told with all four fields, and a wait where one helps', () => {
    const reply = failure(new DataError('PGRST003', 'm'))
    assert.deepEqual([reply.status, reply.headers?.['retry-after'], reply.headers?.['proxy-status']], [504, '1', 'PostgREST; error=PGRST003'])
    assert.deepEqual(JSON.parse(String(reply.body)), { code: 'PGRST003', details: null, hint: null, message: 'm' })
    assert.equal(failure(new MayflyError('database_unavailable', 'x')).status, 503)
    const fault = failure(new Error('a secret'))
    assert.deepEqual([fault.status, String(fault.body).includes('secret')], [500, false])
  })
  it('of SQL say all of an answer, or are told to be unreadable', () => {
    const raised = (message: string, detail?: string) => raisedReply(new DatabaseError('PGRST', message, null, detail === undefined ? {} : { detail }))
    const whole = raised('{"code":"1","message":"m"}', '{"status":402,"headers":{"X-A":"b"}}')
    assert.deepEqual([whole.status, whole.headers?.['x-a'], whole.headers?.['proxy-status']], [402, 'b', 'PostgREST; error=1'])
    for (const [message, detail] of [
      ['x', '{"status":402}'],
      ['{"code":"1","message":"m"}', undefined],
      ['{"code":"1","message":"m"}', '{"status":1}'],
      ['{"code":"1","message":"m"}', '{"status":402,"headers":{"a\\r\\nb":"c"}}'],
      ['null', '{"status":402}'],
    ] as const)
      assert.equal((JSON.parse(String(raised(message, detail).body)) as { code: string }).code, 'PGRST121', message)
  })
  it('headers of SQL break no answer in two, and none that the connection needs is theirs', () => {
    assert.deepEqual(headersOf('[{"A":"1"},{"A":"2"},{"Content-Length":"5"},{"Transfer-Encoding":"chunked"}]'), [
      ['a', '1'],
      ['a', '2'],
    ])
    for (const text of ['{}', '[1]', '[{"a":1}]', '[{"a":"1","b":"2"}]', '[{"a":"x\\r\\ny"}]', '[{"a b":"x"}]', '[{"":"x"}]', 'x'])
      assert.throws(
        () => headersOf(text),
        (error: unknown) => error instanceof DataError && error.code === 'PGRST111',
        text,
      )
  })
})

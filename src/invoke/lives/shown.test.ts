import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Execution, shownLife } from './shown.ts'
import type { StoredLife } from './store.ts'

const AT = '2026-11-28T02:00:00.000Z'
const failed = (errorType: string | null): StoredLife => ({
  ...{ entry: null, letter: null, result: null, told: null, sentLetter: null },
  failures: [{ attempt: 1, failedAt: AT, errorType, errorMessage: 'why', nextAt: AT }],
})
const ran = (outcome: Execution['outcome']): Execution => ({
  ...{ attempt: 1, functionName: 'f', version: '1', startedAt: new Date(AT), outcome, durationMs: 5, queueMs: 1 },
})
const outcomeOf = (errorType: string | null, executions: readonly Execution[] = []) => shownLife('id', failed(errorType), executions)?.attempts[0]?.outcome

test('an attempt that came to no user code was refused, and is no error of the function', () => {
  for (const code of ['function_concurrency_reached', 'too_many_invocations', 'sandbox_unavailable', 'function_not_ready'])
    assert.equal(outcomeOf(code), 'refused')
})

test('an attempt is what its execution was, whatever its error is called; without one, an error that is none of the node’s is the function’s', () => {
  assert.equal(outcomeOf('too_many_invocations', [ran('error')]), 'error')
  assert.equal(outcomeOf('sandbox_unavailable', [ran('cut')]), 'cut')
  for (const type of ['TypeError', 'Webhook.Status', 'function_failed', 'toString', null]) assert.equal(outcomeOf(type), 'error')
})

test('what the node ended is cut', () => {
  for (const code of ['internal', 'node', 'sandbox_lost']) assert.equal(outcomeOf(code), 'cut')
})

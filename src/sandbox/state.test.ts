import assert from 'node:assert/strict'
import { test } from 'node:test'
import { afterCallBegan, afterCallEnded, afterDrain, afterFreezeAsked, afterFrozen, budgetMb, type SandboxState, takesCalls } from './state.ts'

const STATES: Record<string, SandboxState> = {
  ready: { state: 'ready', sinceMs: 5 },
  busy: { state: 'busy', calls: 1 },
  busy2: { state: 'busy', calls: 2 },
  freezing: { state: 'freezing', sinceMs: 5 },
  frozen: { state: 'frozen', sinceMs: 5, chargedMb: 12 },
  draining: { state: 'draining', calls: 1 },
  draining2: { state: 'draining', calls: 2 },
  gone: { state: 'gone' },
}

/** Every step from every state; `!` stands for a step that is a fault of the caller. */
const TABLE: Record<string, [began: string, ended: string, freezeAsked: string, frozen: string, drain: string]> = {
  ready: ['busy', '!', 'freezing', 'ready', 'gone'],
  busy: ['busy2', 'ready', 'busy', 'busy', 'draining'],
  busy2: ['busy3', 'busy', 'busy2', 'busy2', 'draining2'],
  freezing: ['busy', '!', 'freezing', 'frozen', 'gone'],
  frozen: ['busy', '!', 'frozen', 'frozen', 'gone'],
  draining: ['!', 'gone', 'draining', 'draining', 'draining'],
  draining2: ['!', 'draining', 'draining2', 'draining2', 'draining2'],
  gone: ['!', 'gone', 'gone', 'gone', 'gone'],
}
const STEPS = [afterCallBegan, (s: SandboxState) => afterCallEnded(s, 5), afterFreezeAsked, (s: SandboxState) => afterFrozen(s, 12), afterDrain]

for (const [from, targets] of Object.entries(TABLE)) {
  test(`steps from ${from}`, () => {
    targets.forEach((to, i) => {
      const step = () => STEPS[i]?.(STATES[from] as SandboxState)
      if (to === '!') assert.throws(step, /sandbox/)
      else assert.deepEqual(step(), to === 'busy3' ? { state: 'busy', calls: 3 } : STATES[to])
    })
  })
}

test('late news of the freezer does not touch a sandbox that was called meanwhile', () => {
  const called = afterCallBegan(afterFreezeAsked({ state: 'ready', sinceMs: 1 }))
  assert.deepEqual(afterFrozen(called, 9), { state: 'busy', calls: 1 })
})

test('who may take a call, and what counts for how much', () => {
  const takes = Object.entries(STATES)
    .filter(([, s]) => takesCalls(s, 2))
    .map(([name]) => name)
  assert.deepEqual(takes, ['ready', 'busy', 'freezing', 'frozen'])
  assert.equal(takesCalls(STATES['busy'] as SandboxState, 1), false)
  const counts = Object.values(STATES).map((s) => budgetMb(s, 128))
  assert.deepEqual(counts, [128, 128, 128, 128, 12, 128, 128, 0])
})

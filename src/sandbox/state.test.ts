import assert from 'node:assert/strict'
import { test } from 'node:test'
import { after } from '../lib/transitions.ts'
import { budgetMb, idleSince, runningMb, SANDBOX_LIFE, type SandboxEvents, SandboxLife, type SandboxState, takesCalls } from './state.ts'

const STATES: Record<string, SandboxState> = {
  booting: { state: 'booting' },
  booted: { state: 'booted', warm: false },
  warm: { state: 'booted', warm: true },
  warming: { state: 'warming' },
  loading: { state: 'loading' },
  ready: { state: 'ready', sinceMs: 5 },
  busy: { state: 'busy', calls: 1 },
  busy2: { state: 'busy', calls: 2 },
  busy3: { state: 'busy', calls: 3 },
  freezing: { state: 'freezing', sinceMs: 5 },
  frozen: { state: 'frozen', sinceMs: 5, chargedMb: 12 },
  draining: { state: 'draining', calls: 1 },
  draining2: { state: 'draining', calls: 2 },
  gone: { state: 'gone' },
}
const TOLD: SandboxEvents = {
  greeted: null,
  warming: null,
  warmed: null,
  given: null,
  loaded: { nowMs: 5 },
  called: null,
  finished: { nowMs: 5 },
  cooled: null,
  froze: { chargedMb: 12 },
  drained: null,
  ended: null,
}

/** Every event in every state, in the order of TOLD: `!` is a fault of the caller, `=` changes nothing. */
const TABLE: Record<string, string> = {
  booting: 'booted ! ! ! ! ! ! ! ! ! gone',
  booted: '! warming ! loading ! ! ! ! ! ! gone',
  warm: '! warming ! loading ! ! ! ! ! ! gone',
  warming: '! ! warm ! ! ! ! ! ! ! gone',
  loading: '! ! ! ! ready ! ! ! ! ! gone',
  ready: '! ! ! ! ! busy ! freezing = gone gone',
  busy: '! ! ! ! ! busy2 ready = = draining gone',
  busy2: '! ! ! ! ! busy3 busy = = draining2 gone',
  freezing: '! ! ! ! ! busy ! = frozen gone gone',
  frozen: '! ! ! ! ! busy ! = = gone gone',
  draining: '! ! ! ! ! ! gone = = = gone',
  draining2: '! ! ! ! ! ! draining = = = gone',
  gone: '= ! = ! = ! = = = = =',
}

for (const [from, row] of Object.entries(TABLE)) {
  test(`what happens to one that is ${from}`, () => {
    const events = Object.keys(TOLD) as (keyof SandboxEvents)[]
    const targets = row.split(' ')
    assert.equal(targets.length, events.length)
    events.forEach((event, i) => {
      const step = () => after(SANDBOX_LIFE, STATES[from] as SandboxState, event, TOLD[event])
      const to = targets[i] as string
      if (to === '!') assert.throws(step, new RegExp(`${event} in the state ${(STATES[from] as SandboxState).state}`))
      else assert.deepEqual(step(), STATES[to === '=' ? from : to], `${event} leads to ${to}`)
    })
  })
}

test('late news of the freezer does not touch a sandbox that was called meanwhile', () => {
  const life = new SandboxLife()
  for (const event of ['greeted', 'given', 'loaded', 'cooled', 'called', 'froze'] as const) life.tell(event, TOLD[event] as never)
  assert.deepEqual(life.now, { state: 'busy', calls: 1 })
})

test('who may take a call, and what counts for how much', () => {
  const takes = Object.entries(STATES)
    .filter(([, s]) => takesCalls(s, 2))
    .map(([name]) => name)
  assert.deepEqual(takes, ['ready', 'busy', 'freezing', 'frozen'])
  assert.equal(takesCalls(STATES['busy'] as SandboxState, 1), false)
  const counts = Object.values(STATES).map((s) => budgetMb(s, 128))
  assert.deepEqual(counts, [128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 12, 128, 128, 0])
  const runs = Object.entries(STATES)
    .filter(([, s]) => runningMb(s, 128) > 0)
    .map(([name]) => name)
  assert.deepEqual(runs, ['busy', 'busy2', 'busy3', 'draining', 'draining2'])
  assert.deepEqual([idleSince({ state: 'ready', sinceMs: 3 }), idleSince({ state: 'freezing', sinceMs: 3 }), idleSince({ state: 'loading' })], [3, null, null])
})

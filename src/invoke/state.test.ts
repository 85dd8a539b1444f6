import assert from 'node:assert/strict'
import { test } from 'node:test'
import { after } from '../lib/transitions.ts'
import { INVOCATION_LIFE, type InvocationEvents, type InvocationState } from './state.ts'

const TOLD: InvocationEvents = { placed: null, sent: null, answered: null, ended: { outcome: 'ok' }, failed: null }

/** Every event in every state, in the order of TOLD: `!` is a fault of the caller, `=` changes nothing. */
const TABLE: Record<InvocationState['state'], string> = {
  admitted: 'placed ! ! ok cut',
  placed: '! running ! ! cut',
  running: '! ! answered ! cut',
  answered: '! ! ! ok =',
  over: '! ! ! ! =',
}

for (const [from, row] of Object.entries(TABLE) as [InvocationState['state'], string][]) {
  test(`what happens to an invocation that is ${from}`, () => {
    const state: InvocationState = from === 'over' ? { state: 'over', outcome: 'error' } : { state: from }
    const events = Object.keys(TOLD) as (keyof InvocationEvents)[]
    row.split(' ').forEach((to, i) => {
      const event = events[i] as keyof InvocationEvents
      const step = () => after(INVOCATION_LIFE, state, event, TOLD[event])
      if (to === '!') assert.throws(step, new RegExp(`${event} in the state ${from}`))
      else if (to === '=') assert.equal(step(), state)
      else assert.deepEqual(step(), to === 'ok' || to === 'cut' ? { state: 'over', outcome: to } : { state: to })
    })
  })
}

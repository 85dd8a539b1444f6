import assert from 'node:assert/strict'
import { test } from 'node:test'
import { after, type Transitions, transitionRows } from './transitions.ts'

type Door = { readonly state: 'open'; readonly since: number } | { readonly state: 'shut' }
interface Events {
  pushed: null
  opened: { at: number }
}
const DOOR: Transitions<Door, Events> = {
  open: { pushed: () => ({ state: 'shut' }), opened: null },
  shut: { pushed: 'a shut door gives way to nobody', opened: (_, { at }) => ({ state: 'open', since: at }) },
}

test('an event leads on, changes nothing when it comes late, or is a fault of who tells of it', () => {
  const open: Door = { state: 'open', since: 1 }
  assert.deepEqual(after(DOOR, { state: 'shut' }, 'opened', { at: 7 }), { state: 'open', since: 7 })
  assert.equal(after(DOOR, open, 'opened', { at: 9 }), open)
  assert.throws(() => after(DOOR, { state: 'shut' }, 'pushed', null), /pushed in the state shut: a shut door gives way to nobody/)
})

test('the table for people says the same', () => {
  const examples: Door[] = [{ state: 'open', since: 1 }, { state: 'shut' }]
  assert.deepEqual(transitionRows(DOOR, examples, { pushed: null, opened: { at: 1 } }), {
    events: ['pushed', 'opened'],
    rows: [
      { state: 'open', leadsTo: ['shut', '='] },
      { state: 'shut', leadsTo: ['–', 'open'] },
    ],
  })
})

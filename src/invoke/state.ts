import type { MeterRecord } from '../core/meter.ts'
import type { Transitions } from '../lib/transitions.ts'

/** The life of one invocation from when it was let in. What is refused before that has no record and no slot. */
export type InvocationState =
  /** It has a slot and a start mark, and waits for a sandbox. */
  | { readonly state: 'admitted' }
  /** It has the right to a sandbox; what it sends may still be on its way. */
  | { readonly state: 'placed' }
  /** User code has it. */
  | { readonly state: 'running' }
  /** Its one outcome is known; bytes are on their way, or `waitUntil` goes on. */
  | { readonly state: 'answered' }
  /** Logged and metered, its slot given back. */
  | { readonly state: 'over'; readonly outcome: MeterRecord['outcome'] }

export interface InvocationEvents {
  /** There is a sandbox for it. */
  readonly placed: null
  /** The call went into its sandbox. */
  readonly sent: null
  readonly answered: null
  /** Nothing of it goes on; the code that did not load, too. */
  readonly ended: { readonly outcome: MeterRecord['outcome'] }
  /** It comes to no outcome of its own: refused, or lost with its sandbox. */
  readonly failed: null
}

const cut = (): InvocationState => ({ state: 'over', outcome: 'cut' })
const ended = (_: InvocationState, { outcome }: InvocationEvents['ended']): InvocationState => ({ state: 'over', outcome })

export const INVOCATION_LIFE: Transitions<InvocationState, InvocationEvents> = {
  admitted: {
    placed: () => ({ state: 'placed' }),
    sent: 'there is no sandbox for it',
    answered: 'user code has not seen it',
    ended,
    failed: cut,
  },
  placed: {
    placed: 'it has a sandbox',
    sent: () => ({ state: 'running' }),
    answered: 'user code has not seen it',
    ended: 'user code has not seen it',
    failed: cut,
  },
  running: {
    placed: 'it has a sandbox',
    sent: 'it was sent',
    answered: () => ({ state: 'answered' }),
    ended: 'its answer comes first',
    failed: cut,
  },
  answered: {
    placed: 'it has a sandbox',
    sent: 'it was sent',
    answered: 'there is one answer',
    ended,
    // What goes wrong with the answer on its way to the caller does not end what still runs.
    failed: null,
  },
  over: {
    placed: 'it is over',
    sent: 'it is over',
    answered: 'it is over',
    ended: 'it is metered once',
    failed: null,
  },
}

import { after, type Transitions } from '../lib/transitions.ts'
import { unreachable } from '../lib/unreachable.ts'
import type { Ending } from './types.ts'

export const noneEnded = (): Record<Ending, number> => ({ 'idle-drop': 0, memory: 0, pressure: 0, retired: 0, used: 0, timeout: 0, lost: 0 })

/** The life of one sandbox, from its start to its end. A state carries only what it has. */
export type SandboxState =
  /** Its guest has said nothing yet. */
  | { readonly state: 'booting' }
  /** It can become anything. Warm: its code path has run, so that a first call finds it hot. */
  | { readonly state: 'booted'; readonly warm: boolean }
  /** It runs its code path. */
  | { readonly state: 'warming' }
  /** It becomes a version's, for good. */
  | { readonly state: 'loading' }
  | { readonly state: 'ready'; readonly sinceMs: number }
  | { readonly state: 'busy'; readonly calls: number }
  | { readonly state: 'freezing'; readonly sinceMs: number }
  | { readonly state: 'frozen'; readonly sinceMs: number; readonly chargedMb: number }
  /** Takes no new call; ends when the last of its calls is over. */
  | { readonly state: 'draining'; readonly calls: number }
  | { readonly state: 'gone' }

/** What happens to one, and what is told of it. */
export interface SandboxEvents {
  readonly greeted: null
  readonly warming: null
  readonly warmed: null
  /** It is given code: whose it is, it stays. */
  readonly given: null
  readonly loaded: { readonly nowMs: number }
  /** A call has been given to it. A frozen one must be thawed before the call is sent. */
  readonly called: null
  /** A call is over, its last byte and its `waitUntil` included. */
  readonly finished: { readonly nowMs: number }
  /** The freezer was asked. */
  readonly cooled: null
  /** The kernel says that it stands still; what is charged for then. */
  readonly froze: { readonly chargedMb: number }
  /** No new calls, for its version is retired or one of its calls ran out of time. */
  readonly drained: null
  /** It is being killed, or was seen to be gone. */
  readonly ended: null
}

const GONE: SandboxState = { state: 'gone' }
const END = { drained: 'only what serves a version is drained', ended: () => GONE } as const
const SERVES = {
  greeted: 'it has greeted',
  warming: 'it is warm by its calls',
  warmed: 'it is warm by its calls',
  given: 'it serves a version for its whole life',
} as const
const BEFORE = {
  called: 'it serves no version yet',
  finished: 'it had no call',
  cooled: 'only what serves a version is frozen',
  froze: 'only what serves a version is frozen',
} as const
const LOADED = 'it has been loaded'
const NO_CALL = 'it has no call that could end'

/** The one model: who owns a sandbox tells it what happens, and does what the state then asks for. */
export const SANDBOX_LIFE: Transitions<SandboxState, SandboxEvents> = {
  booting: {
    ...END,
    ...BEFORE,
    greeted: () => ({ state: 'booted', warm: false }),
    warming: 'it has not greeted',
    warmed: 'it has not greeted',
    given: 'it has not greeted',
    loaded: 'it has no code',
  },
  booted: {
    ...END,
    ...BEFORE,
    greeted: 'it has greeted',
    warming: () => ({ state: 'warming' }),
    warmed: 'nobody warms it',
    given: () => ({ state: 'loading' }),
    loaded: 'it has no code',
  },
  warming: {
    ...END,
    ...BEFORE,
    greeted: 'it has greeted',
    warming: 'it is being warmed',
    warmed: () => ({ state: 'booted', warm: true }),
    given: 'it is being warmed',
    loaded: 'it has no code',
  },
  loading: {
    ...END,
    ...BEFORE,
    ...SERVES,
    loaded: (_, { nowMs }) => ({ state: 'ready', sinceMs: nowMs }),
  },
  ready: {
    ...SERVES,
    loaded: LOADED,
    called: () => ({ state: 'busy', calls: 1 }),
    finished: NO_CALL,
    cooled: ({ sinceMs }) => ({ state: 'freezing', sinceMs }),
    froze: null, // it was thawed and used meanwhile
    drained: () => GONE,
    ended: () => GONE,
  },
  busy: {
    ...SERVES,
    loaded: LOADED,
    called: ({ calls }) => ({ state: 'busy', calls: calls + 1 }),
    finished: ({ calls }, { nowMs }) => (calls > 1 ? { state: 'busy', calls: calls - 1 } : { state: 'ready', sinceMs: nowMs }),
    cooled: null,
    froze: null, // a call met it freezing; whoever began the call thaws it
    drained: ({ calls }) => ({ state: 'draining', calls }),
    ended: () => GONE,
  },
  freezing: {
    ...SERVES,
    loaded: LOADED,
    called: () => ({ state: 'busy', calls: 1 }),
    finished: NO_CALL,
    cooled: null,
    froze: ({ sinceMs }, { chargedMb }) => ({ state: 'frozen', sinceMs, chargedMb }),
    drained: () => GONE,
    ended: () => GONE,
  },
  frozen: {
    ...SERVES,
    loaded: LOADED,
    called: () => ({ state: 'busy', calls: 1 }),
    finished: NO_CALL,
    cooled: null,
    froze: null,
    drained: () => GONE,
    ended: () => GONE,
  },
  draining: {
    ...SERVES,
    loaded: LOADED,
    called: 'it takes no more calls',
    finished: ({ calls }) => (calls > 1 ? { state: 'draining', calls: calls - 1 } : GONE),
    cooled: null,
    froze: null,
    drained: null,
    ended: () => GONE,
  },
  // It may go at any moment: what was under way then is told late.
  gone: {
    greeted: null,
    warming: 'it is gone',
    warmed: null,
    given: 'it is gone',
    loaded: null,
    called: 'it is gone',
    finished: null,
    cooled: null,
    froze: null,
    drained: null,
    ended: null,
  },
}

/** The state of one sandbox. It changes by what happens, and in no other way. */
export class SandboxLife {
  #now: SandboxState = { state: 'booting' }

  get now(): SandboxState {
    return this.#now
  }

  get isGone(): boolean {
    return this.#now.state === 'gone'
  }

  /** @returns what it is by that. @throws Error where this cannot happen to it */
  tell<Event extends keyof SandboxEvents>(event: Event, told: SandboxEvents[Event]): SandboxState {
    this.#now = after(SANDBOX_LIFE, this.#now, event, told)
    return this.#now
  }
}

/** Whether a call may be given to it now. */
export function takesCalls(sandbox: SandboxState, concurrency: number): boolean {
  switch (sandbox.state) {
    case 'ready':
    case 'freezing':
    case 'frozen':
      return true
    case 'busy':
      return sandbox.calls < concurrency
    case 'booting':
    case 'booted':
    case 'warming':
    case 'loading':
    case 'draining':
    case 'gone':
      return false
    default:
      return unreachable(sandbox)
  }
}

/** Since when it stands idle, so that another may have its memory; null while it works, and while it is being frozen. */
export const idleSince = (sandbox: SandboxState): number | null => (sandbox.state === 'ready' || sandbox.state === 'frozen' ? sandbox.sinceMs : null)

/** What it counts for in the memory budget: running ones by their limit, frozen ones by what they are charged. */
export function budgetMb(sandbox: SandboxState, limitMb: number): number {
  switch (sandbox.state) {
    case 'booting':
    case 'booted':
    case 'warming':
    case 'loading':
    case 'ready':
    case 'busy':
    case 'freezing':
    case 'draining':
      return limitMb
    case 'frozen':
      return Math.min(limitMb, sandbox.chargedMb)
    case 'gone':
      return 0
    default:
      return unreachable(sandbox)
  }
}

/** What of it works for calls, or may in this moment: that part of its memory nobody can take. */
export const runningMb = (sandbox: SandboxState, limitMb: number): number => (sandbox.state === 'busy' || sandbox.state === 'draining' ? limitMb : 0)

import { unreachable } from '../lib/unreachable.ts'
import type { Ending } from './types.ts'

export const noneEnded = (): Record<Ending, number> => ({ 'idle-drop': 0, memory: 0, retired: 0, used: 0, timeout: 0, lost: 0 })

/** The life of one specialised sandbox. A state carries only what it has. */
export type SandboxState =
  | { readonly state: 'ready'; readonly sinceMs: number }
  | { readonly state: 'busy'; readonly calls: number }
  | { readonly state: 'freezing'; readonly sinceMs: number }
  | { readonly state: 'frozen'; readonly sinceMs: number; readonly chargedMb: number }
  /** Takes no new call; ends when the last of its calls is over. */
  | { readonly state: 'draining'; readonly calls: number }
  | { readonly state: 'gone' }

/** A call has been given to it. A frozen one must be thawed before the call is sent. */
export function afterCallBegan(sandbox: SandboxState): SandboxState {
  switch (sandbox.state) {
    case 'ready':
    case 'freezing':
    case 'frozen':
      return { state: 'busy', calls: 1 }
    case 'busy':
      return { state: 'busy', calls: sandbox.calls + 1 }
    case 'draining':
    case 'gone':
      throw new Error(`a ${sandbox.state} sandbox takes no call`)
    default:
      return unreachable(sandbox)
  }
}

/** A call is over, its last byte and its `waitUntil` included. */
export function afterCallEnded(sandbox: SandboxState, nowMs: number): SandboxState {
  switch (sandbox.state) {
    case 'busy':
      return sandbox.calls > 1 ? { state: 'busy', calls: sandbox.calls - 1 } : { state: 'ready', sinceMs: nowMs }
    case 'draining':
      return sandbox.calls > 1 ? { state: 'draining', calls: sandbox.calls - 1 } : { state: 'gone' }
    case 'gone': // late: it died under the call
      return sandbox
    case 'ready':
    case 'freezing':
    case 'frozen':
      throw new Error(`a ${sandbox.state} sandbox has no call that could end`)
    default:
      return unreachable(sandbox)
  }
}

/** The freezer was asked; only an idle sandbox is ever frozen. */
export function afterFreezeAsked(sandbox: SandboxState): SandboxState {
  switch (sandbox.state) {
    case 'ready':
      return { state: 'freezing', sinceMs: sandbox.sinceMs }
    case 'busy':
    case 'freezing':
    case 'frozen':
    case 'draining':
    case 'gone':
      return sandbox
    default:
      return unreachable(sandbox)
  }
}

/** The kernel says that it stands still. `chargedMb`: the memory it keeps while it does. */
export function afterFrozen(sandbox: SandboxState, chargedMb: number): SandboxState {
  switch (sandbox.state) {
    case 'freezing':
      return { state: 'frozen', sinceMs: sandbox.sinceMs, chargedMb }
    case 'ready': // late: it was thawed and used meanwhile
    case 'busy': // late: a call met it freezing; whoever began the call thaws it
    case 'frozen':
    case 'draining':
    case 'gone':
      return sandbox
    default:
      return unreachable(sandbox)
  }
}

/** No new calls, for its version is retired or one of its calls ran out of time. */
export function afterDrain(sandbox: SandboxState): SandboxState {
  switch (sandbox.state) {
    case 'busy':
      return { state: 'draining', calls: sandbox.calls }
    case 'ready':
    case 'freezing':
    case 'frozen':
      return { state: 'gone' }
    case 'draining':
    case 'gone':
      return sandbox
    default:
      return unreachable(sandbox)
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

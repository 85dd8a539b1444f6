import { constants } from 'node:os'
import { LIMITS } from '../core/limits.ts'

/** The words of Lambda for signals that end a process. */
const SIGNAL_WORDS: Readonly<Record<string, string>> = {
  SIGHUP: 'hangup',
  SIGINT: 'interrupt',
  SIGQUIT: 'quit',
  SIGILL: 'illegal instruction',
  SIGTRAP: 'trace/breakpoint trap',
  SIGABRT: 'aborted',
  SIGBUS: 'bus error',
  SIGFPE: 'floating point exception',
  SIGKILL: 'killed',
  SIGSEGV: 'segmentation fault',
  SIGPIPE: 'broken pipe',
  SIGALRM: 'alarm clock',
  SIGTERM: 'terminated',
}

/** What a guest said of its end: a code, or the signal that ended the process it ran user code in. */
export interface Exit {
  readonly code: number
  readonly signal: number
}

/** What the kernel told of a process that said nothing itself; null where nobody knows. */
export function exitOf(told: { readonly code: number | null; readonly signal: string | null } | null): Exit | null {
  const signal = Object.entries(constants.signals).find(([name]) => name === told?.signal)?.[1]
  if (signal !== undefined) return { code: 0, signal }
  return told === null || told.code === null ? null : { code: told.code, signal: 0 }
}

/** What a shell tells of a program that it waited for: 128 and more is that of a signal. */
export function shellTold(status: number | null): { readonly code: number | null; readonly signal: string | null } {
  const signal = status === null ? undefined : Object.entries(constants.signals).find(([, number]) => number === status - 128)?.[0]
  return signal === undefined ? { code: status, signal: null } : { code: null, signal }
}

/** In the words that clients of Lambda know. @param exit  null when it said nothing, as when it is killed */
export function howItEnded(exit: Exit | null): string {
  if (exit === null) return 'Runtime exited with error: signal: killed'
  if (exit.signal !== 0) return `Runtime exited with error: signal: ${wordOf(exit.signal)}`
  return exit.code === 0 ? 'Runtime exited without providing a reason' : `Runtime exited with error: exit status ${exit.code}`
}

/**
 * What the log says behind that, for the owner of the function.
 * @param how  what the kernel told of its end
 * @param memoryMb  the function's limit
 */
export function whyItEnded(exit: Exit | null, how: { readonly outOfMemory: boolean; readonly outOfProcesses?: boolean } | null, memoryMb: number): string {
  const killed = exit === null || exit.signal === constants.signals.SIGKILL
  if (!killed || how === null) return ''
  if (how.outOfMemory) return `, for want of more than its ${memoryMb} MB of memory; it gets more by \`memory\``
  return how.outOfProcesses ? `, as it began more than the ${LIMITS.sandboxProcesses.value} processes and threads that a sandbox may have` : ''
}

function wordOf(signal: number): string {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0]
  return (name && SIGNAL_WORDS[name]) ?? `signal ${signal}`
}

/** What an error's JSON says for people; empty where it says nothing, or is no JSON. */
export function messageIn(payload: Uint8Array): string {
  try {
    const { errorMessage } = JSON.parse(Buffer.from(payload).toString('utf8')) as { errorMessage?: unknown }
    return typeof errorMessage === 'string' ? errorMessage : ''
  } catch {
    return ''
  }
}

/** Where code of one's own failed, of an error's JSON: the first frame of its stack that is neither the runtime's nor Node's. Empty where it says none. */
export function placeIn(payload: Uint8Array): string {
  try {
    const { trace } = JSON.parse(Buffer.from(payload).toString('utf8')) as { trace?: unknown }
    const frames = Array.isArray(trace) ? trace.filter((line): line is string => typeof line === 'string' && /^\s+at /.test(line)) : []
    return frames.find((line) => !NOT_OWN.test(line))?.slice(0, MAX_FRAME) ?? ''
  } catch {
    return ''
  }
}

const NOT_OWN = /\bnode:|\/runtimes?\/node\//
const MAX_FRAME = 300

import type { Text } from './text.ts'

/** Why calls are cold: a class of the style sheet for each, and what it means. */
export const COLD_REASONS = [
  ['first-call', 'init', 'It was called for the first time.'],
  ['scale-out', 'run', 'The others were at work: there were more calls at once.'],
  ['new-version', 'response', 'It was deployed anew, or its secrets changed.'],
  ['idle-drop', 'wait', 'It had not been called for long, or others needed its memory.'],
  ['node-restart', 'queue', 'The node had been started anew.'],
  ['reuse-never', 'never', 'Each call gets a sandbox of its own (reuse: never).'],
  ['sandbox-lost', 'bad', 'The sandbox before it had died or run out of time.'],
] as const satisfies readonly (readonly [string, string, Text])[]

/** Why sandboxes end. */
export const ENDINGS = [
  ['idle-drop', 'Unused for long.'],
  ['memory', 'In the way of another that needed its memory.'],
  ['pressure', 'Idle while the machine was short of memory.'],
  ['retired', 'Of a version or of secrets that are over.'],
  ['used', 'After its only call (reuse: never).'],
  ['timeout', 'With a call that ran out of time.'],
  ['lost', 'It died.'],
] as const satisfies readonly (readonly [string, Text])[]

import { INVOCATION_LIFE, type InvocationState } from '../src/invoke/state.ts'
import { SANDBOX_LIFE, type SandboxState } from '../src/sandbox/state.ts'
import { transitionRows } from '../src/lib/transitions.ts'

const CALLS = [1, 2]
const SANDBOXES: readonly SandboxState[] = [
  { state: 'booting' },
  { state: 'booted', warm: true },
  { state: 'warming' },
  { state: 'loading' },
  { state: 'ready', sinceMs: 0 },
  ...CALLS.map((calls) => ({ state: 'busy', calls }) as const),
  { state: 'freezing', sinceMs: 0 },
  { state: 'frozen', sinceMs: 0, chargedMb: 1 },
  ...CALLS.map((calls) => ({ state: 'draining', calls }) as const),
]
const INVOCATIONS: readonly InvocationState[] = [{ state: 'admitted' }, { state: 'placed' }, { state: 'running' }, { state: 'answered' }]

type Rows = ReturnType<typeof transitionRows>
export type Table = (head: readonly string[], rows: readonly (readonly string[])[]) => string

const tableOf = (table: Table, { events, rows }: Rows): string =>
  table(
    ['', ...events],
    rows.map(({ state, leadsTo }) => [`**${state}**`, ...leadsTo]),
  )

/** The two lives, as the code has them. */
export const livesOf = (table: Table): string => `## A sandbox

Told by \`src/sandbox/booting.ts\` until it is a version's, by \`src/sandbox/specialised.ts\` from there on; \`SandboxLife\` in \`src/sandbox/state.ts\` is the one place where it changes.

${tableOf(
  table,
  transitionRows(SANDBOX_LIFE, SANDBOXES, {
    greeted: null,
    warming: null,
    warmed: null,
    given: null,
    loaded: { nowMs: 0 },
    called: null,
    finished: { nowMs: 0 },
    cooled: null,
    froze: { chargedMb: 0 },
    drained: null,
    ended: null,
  }),
)}

## An invocation

From when it was let in; \`src/invoke/service.ts\` tells it.

${tableOf(table, transitionRows(INVOCATION_LIFE, INVOCATIONS, { placed: null, sent: null, answered: null, ended: { outcome: 'ok' }, failed: null }))}`

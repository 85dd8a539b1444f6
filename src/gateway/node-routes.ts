import type { Route } from '../core/route.ts'
import { json } from '../core/json-reply.ts'

interface Gap {
  readonly what: string
  readonly why: string
  readonly todo: string
}

export interface NodeState {
  readonly version: string
  /** What `/health` says of the sandbox: which driver is in force and which limits the kernel holds, what is missing for good, and what does not work now. */
  readonly sandbox: () => { driver: string; limits: readonly string[]; missing: readonly Gap[]; problems: readonly Gap[] }
  readonly database: () => string
  /** MB that the kernel lets a PostgreSQL server of ours have; null where it holds none to a bound. */
  readonly databaseMemoryMb: () => number | null
  /** What this host or server does not hold or allow of it. */
  readonly databaseMissing: () => readonly Gap[]
  /** The file system of the data directory that is nearest to its end. */
  readonly disk: () => { state: string; freeMb: number; reserveMb: number }
  readonly ready: () => boolean
  /** The ready line's object, keys included: for the operator only. */
  readonly status: () => Promise<unknown>
  /** Pool, sandboxes and running invocations. */
  readonly pool: () => Promise<object>
  /** Null where the node is one process. */
  readonly workers: () => readonly { readonly state: string }[] | null
}

/** To anyone no more than how many there are. */
function workersOf({ workers }: NodeState) {
  const all = workers()
  return all === null ? {} : { workers: { wanted: all.length, ready: all.filter(({ state }) => state === 'ready').length } }
}

/** What the node says about itself. */
export const nodeRoutes = (state: NodeState): Route[] => [
  {
    method: 'GET',
    path: '/health',
    access: 'open',
    plane: 'node',
    doc: 'Says that the node lives, how its disk stands, which sandbox driver is in force, which limits the kernel holds, what is `missing` of all that doctor looks at, and what does not work now (a runtime that does not start, memory that is short).',
    handle: async () =>
      json(200, {
        status: 'ok',
        version: state.version,
        database: state.database(),
        databaseMemoryMb: state.databaseMemoryMb(),
        disk: state.disk(),
        sandbox: state.sandbox(),
        missing: [...state.sandbox().missing, ...state.databaseMissing()],
        ...workersOf(state),
      }),
  },
  {
    method: 'GET',
    path: '/ready',
    access: 'open',
    plane: 'node',
    doc: '200 when the node takes work, 503 while it starts or stops.',
    handle: async () => json(state.ready() ? 200 : 503, { ready: state.ready() }),
  },
  {
    method: 'GET',
    path: '/api/v1/status',
    access: 'operator',
    plane: 'management',
    doc: "The ready line's object, with the keys of the default project, and the state of the sandboxes: those that wait by runtime, each that serves a function with its calls and memory, the memory they may have together, and how many ended by why.",
    handle: async () =>
      json(200, {
        ...((await state.status()) as object),
        pool: { ...(await state.pool()), ...(state.workers() === null ? {} : { workers: state.workers() }) },
      }),
  },
]

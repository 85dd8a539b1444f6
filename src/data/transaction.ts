import type { HeldSession, SessionPool, Settled, Statement } from '../backends/database/session-pool.ts'
import { NoSession } from '../backends/database/session-pool.ts'
import { DatabaseError } from '../backends/database/database.ts'
import type { SqlIdentity } from '../core/session.ts'
import { DataError } from './errors.ts'
import type { AnswerRow, Query } from './query/query.ts'
import { quoted, Values } from './query/text.ts'
import type { Snapshot } from './schema/snapshot.ts'
import { NEW_ROWS } from './query/write.ts'

/** What is the same for all that a request does in the database. */
export interface Setting {
  readonly identity: SqlIdentity
  readonly schema: string
  readonly method: string
  readonly path: string
  readonly headers: string
  readonly timezone: string | null
  readonly isReadOnly: boolean
  /** How many functions stand behind it. */
  readonly depth: number
  /** What the called function sets for its whole transaction. */
  readonly hoisted: ReadonlyMap<string, string>
  /** Nothing of it stays. */
  readonly rollsBack: boolean
}

export interface Answer {
  readonly row: AnswerRow
  /** Lines of a plan, where one was asked for. */
  readonly explained: string | null
  readonly estimate: number | null
  readonly status: string | null
  readonly headers: string | null
}

const ROLE_TIMEOUT: Readonly<Record<SqlIdentity['role'], string>> = { anon: '3s', authenticated: '8s', service_role: '60s' }
/** Only these of a role's own settings may be set by a session without rights; others are left aside. */
const OF_ROLE = new Set([
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'timezone',
  'datestyle',
  'intervalstyle',
  'plan_filter.statement_cost_limit',
  'work_mem',
  'enable_seqscan',
])
const OF_FUNCTION = new Set(['statement_timeout', 'lock_timeout', 'plan_filter.statement_cost_limit'])

const ISOLATION: Readonly<Record<string, string>> = { 'repeatable read': 'repeatable read', serializable: 'serializable' }

/**
 * One request as one transaction: all of it leaves at once, role and claims before what was asked.
 * @param judge  refuses what was done before it is committed; what has one waits for its answer before it commits
 * @param cancel  ends what a session runs, from another one
 * @throws DataError PGRST003 when no session comes free; DatabaseError
 */
export async function transact(
  pool: SessionPool,
  snapshot: Snapshot,
  setting: Setting,
  query: Query,
  {
    judge,
    cancel,
    signal,
  }: { readonly judge: ((answer: Answer) => void) | null; readonly cancel: (pid: number) => Promise<void>; readonly signal: AbortSignal },
): Promise<Answer> {
  const before = openingOf(snapshot, setting, 'read committed')
  const asked = [query.main, ...(query.estimate ? [query.estimate] : []), RESPONSE]
  try {
    return await pool.use(async (session) => {
      signal.throwIfAborted()
      await using _leaving = cancelling(session, cancel, signal)
      const end = setting.rollsBack ? ROLLBACK : COMMIT
      // What was only read need not be undone.
      if (judge === null || setting.isReadOnly) {
        const settled = await session.flight([...before, ...asked, end])
        const answer = answerOf(settled, before.length, query)
        const last = settled.at(-1)
        checkEnd(last, setting)
        judge?.(answer)
        return answer
      }
      const settled = await session.flight([...before, ...asked])
      try {
        const answer = answerOf(settled, before.length, query)
        judge(answer)
        const [ended] = await session.flight([end])
        checkEnd(ended, setting)
        return answer
      } catch (error) {
        await session.flight([ROLLBACK])
        throw error
      }
    })
  } catch (error) {
    if (error instanceof NoSession) throw new DataError('PGRST003', 'Timed out acquiring connection from connection pool.')
    throw error
  }
}

/** What each request is told before it asks. @param least  the level of isolation where its role has none of its own */
export const openingOf = (snapshot: Snapshot, setting: Setting, least: 'read committed' | 'repeatable read'): readonly Statement[] => [
  { text: beginText(snapshot, setting, least), values: [] },
  settingsOf(snapshot, setting),
  ...preRequest(snapshot),
]

export const COMMIT: Statement = { text: 'commit', values: [] }
export const ROLLBACK: Statement = { text: 'rollback', values: [] }
export const RESPONSE: Statement = {
  text: `select nullif(current_setting('response.status', true), '') as status, nullif(current_setting('response.headers', true), '') as headers`,
  values: [],
}

function beginText({ roleSettings }: Snapshot, { isReadOnly, identity }: Setting, least: string): string {
  const level = ISOLATION[roleSettings.get(identity.role)?.get('default_transaction_isolation')?.toLowerCase() ?? '']
  return `begin isolation level ${level ?? least} ${isReadOnly ? 'read only' : 'read write'}`
}

/** All that a session is told of a request, in one statement. Whatever the request before left there is told anew. */
function settingsOf({ settings, roleSettings }: Snapshot, setting: Setting): Statement {
  const { identity, schema } = setting
  const path = [...new Set([schema, ...settings.extraSearchPath])].map((name) => quoted(name)).join(', ')
  const told = new Map<string, string>([
    ['search_path', path],
    ['statement_timeout', ROLE_TIMEOUT[identity.role]],
    ['role', identity.role],
    ['request.jwt.claims', JSON.stringify(identity.claims)],
    ['request.method', setting.method],
    ['request.path', setting.path],
    ['request.headers', setting.headers],
    ['request.cookies', '{}'],
    // Told each time: what such a row starts must end where functions cause each other.
    ['mayfly.depth', String(setting.depth)],
    ['response.status', ''],
    ['response.headers', ''],
    [NEW_ROWS, ''],
  ])
  for (const [name, value] of roleSettings.get(identity.role) ?? []) if (OF_ROLE.has(name)) told.set(name, value)
  for (const [name, value] of setting.hoisted) if (OF_FUNCTION.has(name)) told.set(name, value)
  if (setting.timezone !== null) told.set('timezone', setting.timezone)
  const values = new Values()
  const calls = [...told].map(([name, value]) => `pg_catalog.set_config(${values.add(name)}, ${values.add(value)}, true)`)
  return { text: `select ${calls.join(', ')}`, values: values.all }
}

function preRequest({ settings: { preRequest: name } }: Snapshot): Statement[] {
  if (name === null) return []
  const parts = name.split('.').map((part) => quoted(part.replace(/^"(.*)"$/, '$1')))
  return [{ text: `select ${parts.join('.')}()`, values: [] }]
}

export function answerOf(settled: readonly Settled[], from: number, query: Pick<Query, 'estimate'>): Answer {
  // The first fault is the cause of those behind it.
  for (const { error } of settled) if (error !== null) throw error
  const [main, ...others] = settled.slice(from)
  const rows = main?.result?.rows ?? []
  const estimate = query.estimate === null ? null : plannedRows(others.shift()?.result?.rows[0])
  const response = others[0]?.result?.rows[0] as { status: string | null; headers: string | null } | undefined
  const isPlan = rows[0] !== undefined && 'QUERY PLAN' in rows[0]
  const explained = isPlan
    ? rows.map((row) => (typeof row['QUERY PLAN'] === 'string' ? row['QUERY PLAN'] : JSON.stringify(row['QUERY PLAN'], null, 2))).join('\n')
    : null
  const row = isPlan ? { body: null, bytes: null, page: '0', total: null, new_rows: null, location: null } : (rows[0] as unknown as AnswerRow)
  return { row, explained, estimate, status: response?.status ?? null, headers: response?.headers ?? null }
}

function plannedRows(row: Readonly<Record<string, unknown>> | undefined): number | null {
  const plan = row?.['QUERY PLAN'] as readonly { readonly Plan?: { readonly 'Plan Rows'?: number } }[] | undefined
  return plan?.[0]?.Plan?.['Plan Rows'] ?? null
}

/** COMMIT may succeed and have rolled back. */
export function checkEnd(settled: Settled | undefined, { rollsBack }: Setting): void {
  if (settled?.error) throw settled.error
  if (!rollsBack && settled?.result?.tag !== 'COMMIT') throw new DatabaseError('25P02', 'the transaction was rolled back')
}

/**
 * While it lives, a client that leaves ends what it asked for, but not its BEGIN: what follows would be in no transaction,
 * and in no role of its own. The session is given back when that is over: nobody else's work is ended.
 */
export function cancelling(session: HeldSession, cancel: (pid: number) => Promise<void>, signal: AbortSignal): AsyncDisposable {
  let ending: Promise<void> | null = null
  const onAbort = () => {
    ending = session.begun.then((well) => (well ? cancel(session.pid) : undefined)).catch(() => {})
  }
  signal.addEventListener('abort', onAbort, { once: true })
  return {
    [Symbol.asyncDispose]: async () => {
      signal.removeEventListener('abort', onAbort)
      await ending
    },
  }
}

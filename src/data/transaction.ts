import type { HeldSession, SessionPool, Settled, Statement } from '../backends/database/session-pool.ts'
import { NoSession } from '../backends/database/session-pool.ts'
import type { SharedSessions } from '../backends/database/shared-sessions.ts'
import { DatabaseError } from '../backends/database/database.ts'
import type { SqlIdentity } from '../core/session.ts'
import type { Clock } from '../lib/clock.ts'
import type { Leaving } from '../lib/leaving.ts'
import { LIMITS } from '../core/limits.ts'
import { AnswerTooLarge, DataError } from './errors.ts'
import { type AnswerRow, type Query, RESPONSE as RESPONSE_COLUMNS, TOO_LARGE } from './query/query.ts'
import { quoted } from './query/text.ts'
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

const CANCEL_AGAIN_MS = 100

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
    clock,
  }: {
    readonly judge: ((answer: Answer) => void) | null
    readonly cancel: (pid: number) => Promise<void>
    readonly signal: Leaving
    readonly clock: Pick<Clock, 'timer'>
  },
): Promise<Answer> {
  // What is judged first commits in a flight of its own.
  const before = openingOf(snapshot, setting, 'read committed', setting.isReadOnly || judge === null)
  const isOpened = before[0]?.text.startsWith('begin') ?? false
  const asked = [query.main, ...(query.estimate ? [query.estimate] : []), ...(query.tellsResponse ? [] : [RESPONSE])]
  try {
    return await pool.use(async (session) => {
      signal.throwIfAborted()
      await using _leaving = cancelling(session, cancel, signal, clock)
      const end = setting.rollsBack ? ROLLBACK : COMMIT
      try {
        // What was only read need not be undone.
        if (judge === null || setting.isReadOnly) {
          const settled = await session.flight([...before, ...asked, ...(isOpened ? [end] : [])])
          const answer = answerOf(settled, before.length, query)
          if (isOpened) checkEnd(settled.at(-1), setting)
          judge?.(answer)
          return answer
        }
        const settled = await session.flight([...before, ...asked])
        const answer = answerOf(settled, before.length, query)
        judge(answer)
        const [ended] = await session.flight([end])
        checkEnd(ended, setting)
        return answer
      } catch (error) {
        // What failed is behind no COMMIT, and its transaction open still.
        if (session.isOpen) await session.flight([ROLLBACK])
        throw error
      }
    })
  } catch (error) {
    if (error instanceof NoSession) throw new DataError('PGRST003', 'Timed out acquiring connection from connection pool.')
    throw error
  }
}

/**
 * The same of what only reads, in a session that others share: none of them sees anything of it.
 * @returns its answer and what it took, or null where it is to be asked in a session of its own
 * @throws DatabaseError
 */
export async function readShared(
  sessions: SharedSessions,
  snapshot: Snapshot,
  setting: Setting,
  query: Query,
  signal: Leaving,
): Promise<{ readonly answer: Answer; readonly ms: number } | null> {
  const before = openingOf(snapshot, setting, 'read committed')
  const shared = await sessions.flight([...before, query.main], signal)
  return shared && { answer: answerOf(shared.settled, before.length, query), ms: shared.ms }
}

/** Whether it is one statement and a transaction of itself, which may run twice: nothing of the user's runs before it. */
export const mayShare = (snapshot: Snapshot, setting: Setting, query: Query): boolean =>
  query.tellsResponse && query.estimate === null && snapshot.settings.preRequest === null && beginOf(snapshot, setting, 'read committed', true) === null

export const COMMIT: Statement = { text: 'commit', values: [] }
export const ROLLBACK: Statement = { text: 'rollback', values: [] }
export const RESPONSE: Statement = { text: `select ${RESPONSE_COLUMNS}`, values: [] }

type Isolation = 'read committed' | 'repeatable read'

/**
 * What each request is told before it asks.
 * @param least  the level of isolation where its role has none of its own
 * @param isOneFlight  nothing more is to be sent when it was answered
 */
export function openingOf(snapshot: Snapshot, setting: Setting, least: Isolation, isOneFlight = setting.isReadOnly): readonly Statement[] {
  const begin = beginOf(snapshot, setting, least, isOneFlight)
  return [...(begin ? [begin] : []), settingsOf(snapshot, setting, begin === null && setting.isReadOnly), ...preRequest(snapshot)]
}

/** Null where the statements of a flight are a transaction of themselves: it commits with its Sync, and what fails then fails the flight. */
function beginOf({ roleSettings }: Snapshot, { isReadOnly, identity, rollsBack }: Setting, least: Isolation, isOneFlight: boolean): Statement | null {
  const level = ISOLATION[roleSettings.get(identity.role)?.get('default_transaction_isolation')?.toLowerCase() ?? ''] ?? least
  if (isOneFlight && level === 'read committed' && !rollsBack) return null
  return { text: `begin isolation level ${level} ${isReadOnly ? 'read only' : 'read write'}`, values: [] }
}

const claimTexts = new WeakMap<SqlIdentity['claims'], string>()
/** Whoever shows a token again has the same claims. */
function claimText(claims: SqlIdentity['claims']): string {
  let text = claimTexts.get(claims)
  if (text === undefined) {
    text = JSON.stringify(claims)
    claimTexts.set(claims, text)
  }
  return text
}

/** All that a session is told of a request, in one statement. Whatever the request before left there is told anew. */
function settingsOf({ settings, roleSettings }: Snapshot, setting: Setting, mayOnlyRead: boolean): Statement {
  const { identity, schema } = setting
  const path = [...new Set([schema, ...settings.extraSearchPath])].map((name) => quoted(name)).join(', ')
  const told = new Map<string, string>([
    ['search_path', path],
    ['statement_timeout', ROLE_TIMEOUT[identity.role]],
    ['role', identity.role],
    ['request.jwt.claims', claimText(identity.claims)],
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
  if (mayOnlyRead) told.set('transaction_read_only', 'on')
  return { text: settingText(told.keys()), values: [...told.values()] }
}

/** By the names that are told: few sets of them are, each for a role. */
const settingTexts = new Map<string, string>()
const MOST_TEXTS = 100

/** The names are ours. That none of them is nothing is all that is answered: the values need not come back. */
function settingText(names: Iterable<string>): string {
  const all = [...names]
  const known = all.join()
  let text = settingTexts.get(known)
  if (text === undefined) {
    if (settingTexts.size >= MOST_TEXTS) settingTexts.clear()
    text = `select pg_catalog.num_nulls(${all.map((name, at) => `pg_catalog.set_config('${name}', $${at + 1}, true)`).join(', ')})`
    settingTexts.set(known, text)
  }
  return text
}

function preRequest({ settings: { preRequest: name } }: Snapshot): Statement[] {
  if (name === null) return []
  const parts = name.split('.').map((part) => quoted(part.replace(/^"(.*)"$/, '$1')))
  return [{ text: `select ${parts.join('.')}()`, values: [] }]
}

export function answerOf(settled: readonly Settled[], from: number, query: Pick<Query, 'estimate' | 'tellsResponse'>): Answer {
  // The first fault is the cause of those behind it.
  for (const { error } of settled) if (error !== null) throw tooLargeOf(error) ?? error
  const [main, ...others] = settled.slice(from)
  const rows = main?.result?.rows ?? []
  const estimate = query.estimate === null ? null : plannedRows(others.shift()?.result?.rows[0])
  const response = (query.tellsResponse ? rows[0] : others[0]?.result?.rows[0]) as { status: string | null; headers: string | null } | undefined
  const isPlan = rows[0] !== undefined && 'QUERY PLAN' in rows[0]
  const explained = isPlan
    ? rows.map((row) => (typeof row['QUERY PLAN'] === 'string' ? row['QUERY PLAN'] : JSON.stringify(row['QUERY PLAN'], null, 2))).join('\n')
    : null
  const row = isPlan ? { body: null, bytes: null, page: '0', total: null, new_rows: null, location: null } : (rows[0] as unknown as AnswerRow)
  return { row, explained, estimate, status: response?.status ?? null, headers: response?.headers ?? null }
}

/** A written answer that is too large is refused by PostgreSQL itself, so that nothing of it stays. */
function tooLargeOf(error: unknown): AnswerTooLarge | null {
  const bytes = error instanceof DatabaseError && error.sqlState === '22P02' ? TOO_LARGE.exec(error.message)?.[1] : undefined
  return bytes === undefined ? null : new AnswerTooLarge(Number(bytes), LIMITS.dataAnswer.value)
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
 * While it lives, a client that leaves ends what it asked for. What it ends takes all behind it along, a BEGIN too. The
 * session is given back when that is over: nobody else's work is ended.
 */
export function cancelling(session: HeldSession, cancel: (pid: number) => Promise<void>, signal: Leaving, clock: Pick<Clock, 'timer'>): AsyncDisposable {
  let isOver = false
  let wake = () => {}
  let ending: Promise<void> | null = null
  // A session that has not begun with it yet does not heed the first time.
  const end = async () => {
    while (!isOver) {
      await cancel(session.pid).catch(() => {})
      if (isOver) return
      const { promise, resolve } = Promise.withResolvers<void>()
      wake = resolve
      using _again = clock.timer(CANCEL_AGAIN_MS, resolve)
      await promise
    }
  }
  const onAbort = () => {
    ending = end()
  }
  signal.addEventListener('abort', onAbort)
  return {
    [Symbol.asyncDispose]: async () => {
      signal.removeEventListener('abort', onAbort)
      isOver = true
      wake()
      await ending
    },
  }
}

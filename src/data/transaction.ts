import type { HeldSession, SessionPool, Settled, Statement } from '../backends/database/session-pool.ts'
import { NoSession } from '../backends/database/session-pool.ts'
import { ENDED_EARLY, type SharedSessions } from '../backends/database/shared-sessions.ts'
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

/**
 * The same of a write that is known to be quick, which others may stand behind: with bounds of its own, past which PostgreSQL
 * has rolled it back.
 * @returns `held` where it met them; null where it was not begun: in both cases it is to be done in a session of its own
 * @throws DatabaseError
 */
export async function writeShared(
  sessions: SharedSessions,
  snapshot: Snapshot,
  setting: Setting,
  query: Query,
  signal: Leaving,
): Promise<{ readonly answer: Answer; readonly ms: number } | 'held' | null> {
  const before = reset(snapshot)
  const shared = await sessions.flight((startBy) => [...before, settingsOf(snapshot, setting, false, startBy), query.main, RESPONSE], signal)
  if (shared === null) return null
  if (shared.settled.some(({ error }) => error instanceof DatabaseError && ENDED_EARLY.has(error.sqlState))) return 'held'
  return { answer: answerOf(shared.settled, before.length + 1, query), ms: shared.ms }
}

/**
 * Whether a write may be rolled back and done again without anybody seeing it, and waits for nothing before it ends: no judge,
 * nothing of the user's before it, no plan or isolation that takes a BEGIN, and no shorter time than it is given there.
 */
export const mayShareWrite = (snapshot: Snapshot, setting: Setting, query: Query): boolean =>
  query.estimate === null &&
  snapshot.settings.preRequest === null &&
  !snapshot.actsOutside &&
  setting.hoisted.size === 0 &&
  beginOf(snapshot, setting, 'read committed', true) === null &&
  isAtLeast(snapshot.roleSettings.get(setting.identity.role)?.get('statement_timeout'), LIMITS.dataQuick.value) &&
  isAtLeast(snapshot.roleSettings.get(setting.identity.role)?.get('lock_timeout'), LIMITS.dataQuickLock.value)

/** A timeout as PostgreSQL takes it; 0 is none. */
function isAtLeast(timeout: string | undefined, ms: number): boolean {
  if (timeout === undefined) return true
  const [, number, unit = 'ms'] = /^\s*(\d+)\s*(ms|s|min|h|d)?\s*$/.exec(timeout) ?? []
  const all = Number(number) * (UNIT_MS[unit] as number)
  return all === 0 || all >= ms
}
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 }

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
  return [...(begin ? [begin] : []), ...reset(snapshot), settingsOf(snapshot, setting, begin === null && setting.isReadOnly), ...preRequest(snapshot)]
}

/** What a function has set for longer than its transaction is not there for the next. All that is ours is told behind it. */
const reset = ({ leavesSettings }: Snapshot): readonly Statement[] => (leavesSettings ? [RESET] : [])
const RESET: Statement = { text: 'reset all', values: [] }

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

/**
 * All that a session is told of a request, in one statement. Whatever the request before left there is told anew.
 * @param startBy  where others may stand behind it: later it fails, and what it does meanwhile has the bounds of what is quick
 */
function settingsOf(snapshot: Snapshot, setting: Setting, mayOnlyRead: boolean, startBy: number | null = null): Statement {
  const { identity, schema, hoisted, timezone } = setting
  const isKept = hoisted.size === 0 && timezone === null
  const kept = keptFor(snapshot)
  const key = `${identity.role} ${mayOnlyRead ? 'reads' : ''} ${startBy === null ? '' : 'quick'} ${schema}`
  const told = (isKept ? kept.get(key) : undefined) ?? toldOf(snapshot, setting, mayOnlyRead, startBy !== null)
  if (isKept && kept.size < MOST_TEXTS) kept.set(key, told)
  const own = [claimText(identity.claims), setting.method, setting.path, setting.headers, String(setting.depth)]
  return { text: told.text, values: startBy === null ? [...told.values, ...own] : [...told.values, ...own, String(startBy)] }
}

/** Of the request itself, behind what is the same for all of its role. That its depth is told has an end where functions cause each other. */
const OWN = ['request.jwt.claims', 'request.method', 'request.path', 'request.headers', 'mayfly.depth']

interface Told {
  readonly text: string
  readonly values: readonly string[]
}
const keptTold = new WeakMap<Snapshot, Map<string, Told>>()
function keptFor(snapshot: Snapshot): Map<string, Told> {
  let kept = keptTold.get(snapshot)
  if (kept === undefined) {
    kept = new Map()
    keptTold.set(snapshot, kept)
  }
  return kept
}

function toldOf({ settings, roleSettings }: Snapshot, { identity, schema, hoisted, timezone }: Setting, mayOnlyRead: boolean, isBounded: boolean): Told {
  const path = [...new Set([schema, ...settings.extraSearchPath])].map((name) => quoted(name)).join(', ')
  const told = new Map<string, string>([
    ['search_path', path],
    ['statement_timeout', ROLE_TIMEOUT[identity.role]],
    ['role', identity.role],
    ['request.cookies', '{}'],
    ['response.status', ''],
    ['response.headers', ''],
    [NEW_ROWS, ''],
  ])
  for (const [name, value] of roleSettings.get(identity.role) ?? []) if (OF_ROLE.has(name)) told.set(name, value)
  for (const [name, value] of hoisted) if (OF_FUNCTION.has(name)) told.set(name, value)
  if (timezone !== null) told.set('timezone', timezone)
  if (mayOnlyRead) told.set('transaction_read_only', 'on')
  if (isBounded) {
    told.set('statement_timeout', String(LIMITS.dataQuick.value))
    told.set('lock_timeout', String(LIMITS.dataQuickLock.value))
  }
  return { text: settingText([...told.keys(), ...OWN], isBounded), values: [...told.values()] }
}

/** By the names that are told: few sets of them are, each for a role. */
const settingTexts = new Map<string, string>()
const MOST_TEXTS = 100

/** The names are ours. That none of them is nothing is all that is answered: the values need not come back. */
function settingText(all: readonly string[], hasStart: boolean): string {
  const known = `${all.join()}${hasStart ? ' start' : ''}`
  let text = settingTexts.get(known)
  if (text === undefined) {
    if (settingTexts.size >= MOST_TEXTS) settingTexts.clear()
    text = `select pg_catalog.num_nulls(${all.map((name, at) => `pg_catalog.set_config('${name}', $${at + 1}, true)`).join(', ')})${hasStart ? startText(all.length + 1) : ''}`
    settingTexts.set(known, text)
  }
  return text
}

/** Divides by zero when it is later than that. No operator: where they are looked for, the session's users may have said. */
const startText = (at: number) =>
  `, pg_catalog.int4div(1, pg_catalog.int4(pg_catalog.timestamptz_lt(pg_catalog.clock_timestamp(), pg_catalog.to_timestamp($${at}))))`

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

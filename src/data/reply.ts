import type { DatabaseError } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'
import type { Reply } from '../core/route.ts'
import { AnswerTooLarge, DataError } from './errors.ts'
import type { DataPlan } from './plan/plan.ts'
import { contentTypeOf } from './plan/negotiate.ts'
import type { Preferences } from './request/preferences.ts'
import { type DataRequest, notSatisfiable } from './request/request.ts'
import type { Snapshot } from './schema/snapshot.ts'
import type { Answer } from './transaction.ts'

type Made = Exclude<DataPlan, { kind: 'describe' | 'root' }>

/** What an answer must be like, or nothing of what was done stays. Null where nothing can be wrong with it. */
export function judgeOf(plan: Made, request: DataRequest): ((answer: Answer) => void) | null {
  const { maxAffected } = request.preferences
  const isTold = plan.kind !== 'write' || request.preferences.return === 'representation'
  const isSingle = isTold && plan.shape.media.kind === 'object' && (plan.shape.value === 'rows' || plan.shape.value === 'scalars')
  const isPut = request.action === 'put'
  const isBounded = maxAffected !== null && (request.action === 'update' || request.action === 'delete' || request.action === 'call')
  // Of all but reads the size is judged by the statement itself.
  const isLarge = plan.kind === 'read'
  if (!(isSingle || isPut || isBounded || isLarge)) return null
  return ({ row, explained }) => {
    if (explained !== null) return
    const rows = Number(row.page)
    if (isBounded && rows > maxAffected)
      throw new DataError('PGRST124', 'Query result exceeds max-affected preference constraint', { details: `The query affects ${rows} rows` })
    if (isPut && rows !== 1) throw new DataError('PGRST115', 'Payload values do not match URL in primary key column(s)')
    if (isSingle && rows !== 1)
      throw new DataError('PGRST116', 'Cannot coerce the result to a single JSON object', { details: `The result contains ${rows} rows` })
    checkSize(row)
  }
}

function checkSize({ bytes }: Answer['row']): void {
  if (bytes !== null && bytes > LIMITS.dataAnswer.value) throw new AnswerTooLarge(bytes, LIMITS.dataAnswer.value)
}

/** @throws DataError PGRST103, PGRST111, PGRST112 */
export function replyOf(plan: Made, request: DataRequest, snapshot: Snapshot, answer: Answer, schema: string): Reply {
  const { row } = answer
  const type = {
    'content-type': contentTypeOf(plan.shape.media),
    ...(request.profile !== null || snapshot.settings.schemas.length > 1 ? { 'content-profile': schema } : {}),
  }
  if (answer.explained !== null) return { status: 200, headers: type, body: answer.explained }
  const applied = appliedOf(plan, request, snapshot)
  const common: Record<string, string> = applied === '' ? {} : { 'preference-applied': applied }
  if (plan.kind === 'write') return overridden(writeReply(plan, request, answer, common, type), answer)
  const { offset } = rootRange(request)
  const page = Number(row.page)
  const total = totalOf(request, snapshot, answer)
  if (total !== null && offset > total) throw notSatisfiable(`An offset of ${offset} was requested, but there are only ${total} rows.`)
  const headers: Record<string, string> = { 'content-range': rangeText(offset, page, total), ...common }
  if (plan.kind === 'call' && plan.shape.value === 'none') return overridden({ status: 204, headers, body: null }, answer)
  if (plan.kind === 'read') headers['content-location'] = locationOf(request)
  const status = total !== null && page < total ? 206 : 200
  return overridden({ status, headers: { ...headers, ...type }, body: row.body ?? '' }, answer)
}

const rootRange = ({ ranges }: DataRequest) => ranges.find(({ path }) => path.length === 0)?.value ?? { offset: 0, max: null }

function totalOf({ preferences: { count } }: DataRequest, { settings: { maxRows } }: Snapshot, { row, estimate }: Answer): number | null {
  const counted = row.total === null ? null : Number(row.total)
  if (count === 'exact' || count === null) return counted
  if (count === 'planned') return estimate
  // Exact up to the bound; beyond it whichever is more.
  return counted !== null && maxRows !== null && counted > maxRows ? Math.max(counted, estimate ?? 0) : counted
}

const rangeText = (offset: number, rows: number, total: number | null) => `${rows === 0 ? '*' : `${offset}-${offset + rows - 1}`}/${total ?? '*'}`

function locationOf({ target, canonicalQuery }: DataRequest): string {
  const name = target.kind === 'root' ? '' : encodeURIComponent(target.name)
  return `/${name}${canonicalQuery === '' ? '' : `?${canonicalQuery}`}`
}

function writeReply(
  plan: Extract<Made, { kind: 'write' }>,
  request: DataRequest,
  { row }: Answer,
  common: Readonly<Record<string, string>>,
  type: Readonly<Record<string, string>>,
): Reply {
  const rows = Number(row.page)
  const total = request.preferences.count === null ? null : rows
  const isTold = request.preferences.return === 'representation'
  const body = isTold ? row.body : null
  const typed = isTold ? type : {}
  switch (request.action) {
    case 'update':
      return { status: isTold ? 200 : 204, headers: { 'content-range': rangeText(0, rows, total), ...common, ...typed }, body }
    case 'delete':
      return { status: isTold ? 200 : 204, headers: { 'content-range': rangeText(0, 0, total), ...common, ...typed }, body }
    case 'put':
      return { status: isTold ? (Number(row.new_rows ?? 0) > 0 ? 201 : 200) : 204, headers: { ...common, ...typed }, body }
    default: {
      const isMerged = plan.write.countsNew && Number(row.new_rows ?? 0) <= 0
      const location = newRowOf(plan, row.location)
      return {
        status: isMerged ? 200 : 201,
        headers: { ...(location === null ? {} : { location }), 'content-range': rangeText(0, 0, total), ...common, ...typed },
        body,
      }
    }
  }
}

function newRowOf({ write, shape }: Extract<Made, { kind: 'write' }>, key: Readonly<Record<string, unknown>> | null): string | null {
  if (key === null || shape.location === null) return null
  const query = shape.location.map((name) => `${encodeURIComponent(name)}=${key[name] === null ? 'is.null' : `eq.${encodeURIComponent(String(key[name]))}`}`)
  return `/${encodeURIComponent(write.relation.name)}?${query.join('&')}`
}

/** Those that were heeded, in the order in which clients expect them. */
function appliedOf(plan: Made, { preferences, action, onConflict }: DataRequest, { settings }: Snapshot): string {
  const isWrite = plan.kind === 'write'
  const hasTarget = isWrite && action === 'insert' && (plan.write.relation.primaryKey.length > 0 || onConflict !== null)
  const said: readonly (readonly [string, string | number | null])[] = [
    ['resolution', hasTarget ? preferences.resolution : null],
    ['missing', action === 'insert' || action === 'update' ? preferences.missing : null],
    ['return', isWrite ? preferences.return : null],
    ['count', preferences.count],
    ['tx', settings.mayRollBack ? preferences.tx : null],
    ['handling', preferences.handling],
    ['timezone', preferences.timezone],
    ['max-affected', action === 'update' || action === 'delete' || action === 'call' ? preferences.maxAffected : null],
  ]
  return said.flatMap(([name, value]) => (value === null ? [] : [`${name}=${value}`])).join(', ')
}

/** Whether nothing of a request stays. */
export function rollsBack({ tx }: Preferences, { settings }: Snapshot): boolean {
  if (!settings.mayRollBack || tx === null) return settings.rollsBack
  return tx === 'rollback'
}

/** What SQL has said of status and headers stands over ours. @throws DataError PGRST111, PGRST112 */
function overridden(reply: Reply, { status, headers }: Answer): Reply {
  const own = status === null ? reply.status : Number(status)
  if (!Number.isInteger(own) || own < 200 || own > 599) throw new DataError('PGRST112', 'response.status guc must be a valid status code')
  if (headers === null) return { ...reply, status: own }
  const all: Record<string, string | readonly string[]> = { ...reply.headers }
  const said = new Map<string, string[]>()
  for (const [name, value] of headersOf(headers)) said.set(name, [...(said.get(name) ?? []), value])
  for (const [name, values] of said) all[name] = values.length === 1 ? (values[0] as string) : values
  return { ...reply, status: own, headers: all }
}

/** What the connection itself needs is not theirs to say. */
const NOT_THEIRS = new Set(['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'trailer', 'date', 'x-request-id'])

export function headersOf(text: string): (readonly [string, string])[] {
  const wrong = () => new DataError('PGRST111', 'response.headers guc must be a JSON array composed of objects with a single key and a string value')
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch {
    throw wrong()
  }
  if (!Array.isArray(list)) throw wrong()
  return list.flatMap((each: unknown) => {
    const pairs = typeof each === 'object' && each !== null ? Object.entries(each) : []
    const [name, value] = pairs[0] ?? []
    if (pairs.length !== 1 || typeof value !== 'string' || name === undefined) throw wrong()
    if (!/^[!#$%&'*+.^_`|~\w-]{1,200}$/.test(name) || !/^[\t\x20-\x7e\x80-\xff]{0,8000}$/.test(value)) throw wrong()
    return NOT_THEIRS.has(name.toLowerCase()) ? [] : [[name.toLowerCase(), value] as const]
  })
}

/** A refusal in the words of the data API. */
export function errorReply(status: number, code: string, message: string, details: unknown, hint: unknown, more: Readonly<Record<string, string>> = {}): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', 'proxy-status': `PostgREST; error=${code}`, ...more },
    body: JSON.stringify({ code, details: details ?? null, hint: hint ?? null, message }),
  }
}

/** `RAISE SQLSTATE 'PGRST'`: whoever raised it has written the whole answer. */
export function raisedReply(error: DatabaseError): Reply {
  const unreadable = (details: string) => {
    const fault = new DataError('PGRST121', 'Could not parse JSON in the "RAISE SQLSTATE \'PGRST\'" error', { details })
    return errorReply(fault.status, fault.code, fault.message, fault.details, null)
  }
  let body: { code?: unknown; message?: unknown; details?: unknown; hint?: unknown }
  let rest: { status?: unknown; headers?: unknown }
  try {
    body = JSON.parse(error.message) as typeof body
  } catch {
    return unreadable(`Invalid JSON value for MESSAGE: '${error.message}'`)
  }
  try {
    rest = JSON.parse(error.detail ?? '') as typeof rest
  } catch {
    return unreadable(error.detail === null ? 'DETAIL is missing in the RAISE statement' : `Invalid JSON value for DETAIL: '${error.detail}'`)
  }
  const { status } = rest ?? {}
  if (typeof body?.code !== 'string' || typeof body.message !== 'string') return unreadable(`Invalid JSON value for MESSAGE: '${error.message}'`)
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599)
    return unreadable(`Invalid JSON value for DETAIL: '${error.detail}'`)
  const headers = typeof rest.headers === 'object' && rest.headers !== null ? Object.entries(rest.headers).map(([name, value]) => ({ [name]: value })) : []
  let more: Record<string, string>
  try {
    more = Object.fromEntries(headersOf(JSON.stringify(headers)))
  } catch {
    return unreadable(`Invalid JSON value for DETAIL: '${error.detail}'`)
  }
  return errorReply(status, /^[\w-]{1,100}$/.test(body.code) ? body.code : 'PGRST', body.message, body.details, body.hint, more)
}

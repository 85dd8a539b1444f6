import type { IncomingHttpHeaders } from 'node:http'
import { MayflyError } from '../../core/errors.ts'
import type { Clock } from '../../lib/clock.ts'
import { DataError } from '../errors.ts'
import { looksLikeFilter, parseFilter, parseLogic, parseOrder, parseTreePath } from './filters.ts'
import type { At, Filter, LogicTree, OrderTerm, Range, SelectItem } from './grammar.ts'
import { type MediaType, parseAccept } from './media.ts'
import { type Payload, parsePayload } from './payload.ts'
import { parsePreferences, type Preferences } from './preferences.ts'
import { parseNames, parseSelect } from './select.ts'

export type Target = { readonly kind: 'relation' | 'function'; readonly name: string } | { readonly kind: 'root' }
export type Action = 'read' | 'insert' | 'update' | 'delete' | 'put' | 'call' | 'describe'

/** What somebody asks of the data API; nothing of it is known to be there. */
export interface DataRequest {
  readonly action: Action
  readonly method: string
  readonly target: Target
  /** The schema that it names. */
  readonly profile: string | null
  readonly isHeadOnly: boolean
  /** A reader writes nothing, whatever it calls. */
  readonly isRead: boolean
  readonly select: readonly SelectItem[]
  readonly filters: readonly At<Filter>[]
  readonly logic: readonly At<LogicTree>[]
  readonly orders: readonly At<readonly OrderTerm[]>[]
  readonly ranges: readonly At<Range>[]
  readonly columns: readonly string[] | null
  readonly onConflict: readonly string[] | null
  /** Of a function that is read. */
  readonly arguments: readonly (readonly [string, string])[]
  readonly payload: Payload | null
  readonly preferences: Preferences
  readonly accept: readonly MediaType[]
  /** For `Content-Location`. */
  readonly canonicalQuery: string
}

export interface Incoming {
  readonly method: string
  /** What follows `/rest/v1/`, percent-encoded. */
  readonly path: string
  readonly rawQuery: string
  readonly headers: IncomingHttpHeaders
  /** Read when it is asked for. */
  readonly body: () => Promise<Buffer>
  /** A large one is read in turns. */
  readonly clock: Pick<Clock, 'monotonic'>
}

const ACTIONS: Readonly<Record<string, Action>> = {
  GET: 'read',
  HEAD: 'read',
  POST: 'insert',
  PATCH: 'update',
  DELETE: 'delete',
  PUT: 'put',
  OPTIONS: 'describe',
}

/** @throws DataError */
export async function readRequest({ method, path, rawQuery, headers, body, clock }: Incoming): Promise<DataRequest> {
  const target = targetOf(path)
  const action = actionOf(method, target)
  const preferences = parsePreferences(textOf(headers.prefer))
  const accept = parseAccept(textOf(headers.accept))
  const isRead = method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
  const query = readQuery(rawQuery, action === 'call' && isRead)
  const range = method === 'GET' ? rangeOfHeader(textOf(headers.range)) : null
  const hasBody = action === 'insert' || action === 'update' || action === 'put' || (action === 'call' && !isRead)
  return {
    action,
    method,
    target,
    profile: textOf(isRead ? headers['accept-profile'] : headers['content-profile']) ?? null,
    isHeadOnly: method === 'HEAD',
    isRead,
    ...query,
    ranges: range === null ? query.ranges : withRootRange(query.ranges, range),
    payload: hasBody ? await parsePayload(await body(), headers['content-type'], query.columns, action === 'call', clock) : null,
    preferences,
    accept,
  }
}

const textOf = (header: string | string[] | undefined): string | undefined => (Array.isArray(header) ? header.join(',') : header)

function targetOf(path: string): Target {
  const segments = path.split('/').map(decoded)
  if (segments.at(-1) === '' && segments.length > 1) segments.pop()
  const [first = '', second] = segments
  if (segments.length === 1) return first === '' ? { kind: 'root' } : { kind: 'relation', name: first }
  if (segments.length === 2 && first === 'rpc' && second) return { kind: 'function', name: second }
  throw new DataError('PGRST125', 'Invalid path specified in request URL')
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new MayflyError('uri_invalid', 'the path holds a broken percent-encoding')
  }
}

function actionOf(method: string, target: Target): Action {
  const action = Object.hasOwn(ACTIONS, method) ? ACTIONS[method] : undefined
  if (!action) throw new DataError('PGRST117', `Unsupported HTTP method: ${method}`)
  if (target.kind === 'relation' || action === 'describe') return action
  if (target.kind === 'root') {
    if (action !== 'read') throw new DataError('PGRST117', `Unsupported HTTP method: ${method}`)
    return action
  }
  if (action === 'read' || action === 'insert') return 'call'
  throw new DataError('PGRST101', `Cannot use the ${method} method on RPC`)
}

type Query = Pick<DataRequest, 'select' | 'filters' | 'logic' | 'orders' | 'ranges' | 'columns' | 'onConflict' | 'arguments' | 'canonicalQuery'>

/** @throws DataError */
export function readQuery(rawQuery: string, isRpcRead: boolean): Query {
  const pairs = pairsOf(rawQuery)
  const first = (name: string) => pairs.find(([key]) => key === name)?.[1]
  const filters: At<Filter>[] = []
  const logic: At<LogicTree>[] = []
  const orders: At<readonly OrderTerm[]>[] = []
  const limits: At<{ limit?: number; offset?: number }>[] = []
  const given: (readonly [string, string])[] = []
  for (const [key, value] of pairs) {
    if (key === 'select' || key === 'columns' || key === 'on_conflict') continue
    const word = key.slice(key.lastIndexOf('.') + 1)
    const before = () => (word === key ? [] : pathOf(key.slice(0, -word.length - 1)))
    if (word === 'order') orders.push({ path: before(), value: value === '' ? [] : parseOrder(value) })
    else if (word === 'limit' || word === 'offset') {
      const number = numberOf(value)
      if (number !== null) limits.push({ path: before(), value: word === 'limit' ? { limit: number } : { offset: number } })
    } else if (word === 'and' || word === 'or') {
      const path = before()
      const isNegated = path.at(-1) === 'not'
      logic.push({ path: isNegated ? path.slice(0, -1) : path, value: parseLogic(word, isNegated, value) })
    } else if (isRpcRead && !key.includes('.') && !looksLikeFilter(value)) given.push([key, value])
    else {
      const { path, value: field } = parseTreePath(key)
      filters.push({ path, value: parseFilter(field, value) })
    }
  }
  const columns = first('columns')
  const onConflict = first('on_conflict')
  return {
    select: parseSelect(first('select') ?? '*'),
    filters,
    logic,
    orders,
    ranges: rangesOf(limits),
    columns: columns === undefined ? null : parseNames(columns, 'columns parameter'),
    onConflict: onConflict === undefined ? null : parseNames(onConflict, 'on_conflict parameter'),
    arguments: given,
    canonicalQuery: canonicalOf(pairs),
  }
}

/** Each with a name and a value, decoded. Most need no decoding, which costs as much as all else that is read of them. */
function pairsOf(rawQuery: string): [string, string][] {
  const pairs: [string, string][] = []
  for (const part of rawQuery.split('&')) {
    const mark = part.indexOf('=')
    if (mark === -1) continue
    if (mark > 0 && !ENCODED.test(part)) pairs.push([part.slice(0, mark), part.slice(mark + 1)])
    else for (const pair of new URLSearchParams(part)) pairs.push(pair)
  }
  return pairs
}
// A question mark at the front is no part of it; what is not ASCII may be no character at all.
const ENCODED = /[%+]|^\?|[^\x20-\x7e]/
/** What nobody encodes. */
const PLAIN = /^[\w*.-]*$/

function canonicalOf(pairs: readonly [string, string][]): string {
  const sorted = pairs.length < 2 ? pairs : pairs.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  if (!sorted.every(([key, value]) => PLAIN.test(key) && PLAIN.test(value))) return new URLSearchParams([...sorted]).toString()
  return sorted.map(([key, value]) => `${key}=${value}`).join('&')
}

const pathOf = (text: string): readonly string[] => {
  const { path, value } = parseTreePath(text)
  return [...path, value.name]
}

function numberOf(text: string): number | null {
  if (!/^-?\d{1,15}$/.test(text)) return null
  const number = Number(text)
  if (number < 0) throw notSatisfiable('Limit should be greater than or equal to zero.')
  return number
}

export const notSatisfiable = (details: string) => new DataError('PGRST103', 'Requested range not satisfiable', { details })

function rangesOf(limits: readonly At<{ limit?: number; offset?: number }>[]): At<Range>[] {
  const byPath = new Map<string, { path: readonly string[]; value: { offset: number; max: number | null } }>()
  for (const { path, value } of limits) {
    const name = JSON.stringify(path)
    const range = byPath.get(name) ?? { path, value: { offset: 0, max: null } }
    byPath.set(name, range)
    if (value.limit !== undefined) range.value.max = value.limit
    if (value.offset !== undefined) range.value.offset = value.offset
  }
  return [...byPath.values()]
}

/** `0-9` or `5-`; what is no range is none. @throws DataError PGRST103 */
function rangeOfHeader(header: string | undefined): Range | null {
  const found = /^(?:items=)?(\d{1,15})-(\d{0,15})$/.exec(header?.trim() ?? '')
  if (!found) return null
  const offset = Number(found[1])
  if (found[2] === '') return { offset, max: null }
  const last = Number(found[2])
  if (last < offset) throw notSatisfiable('The lower boundary must be lower than or equal to the upper boundary in the Range header.')
  return { offset, max: last - offset + 1 }
}

/** What both allow. */
function withRootRange(ranges: readonly At<Range>[], header: Range): At<Range>[] {
  const root = ranges.find(({ path }) => path.length === 0)?.value ?? { offset: 0, max: null }
  const endOf = ({ offset, max }: Range) => (max === null ? Number.POSITIVE_INFINITY : offset + max)
  const offset = Math.max(root.offset, header.offset)
  const end = Math.min(endOf(root), endOf(header))
  return [...ranges.filter(({ path }) => path.length > 0), { path: [], value: { offset, max: Number.isFinite(end) ? Math.max(0, end - offset) : null } }]
}

import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Clock } from '../../lib/clock.ts'
import { Turns } from '../../lib/turns.ts'
import { DataError } from '../errors.ts'
import { type Outline, outlineOf } from './outline.ts'

/**
 * What a body brings. `json` is the text that goes to PostgreSQL as it came, so that no number loses digits; `keys` are
 * the names in it that count.
 */
export type Payload =
  | { readonly kind: 'json'; readonly text: string; readonly isArray: boolean; readonly isEmpty: boolean; readonly keys: readonly string[] }
  | { readonly kind: 'raw'; readonly type: string; readonly bytes: Buffer }

export const contentTypeOf = (header: string | undefined): string => (header ?? 'application/json').split(';')[0]?.trim().toLowerCase() ?? ''

/**
 * @param columns  the names that count, when the request says so
 * @param isCall  the arguments of a function: no body is none of them, and other types are taken as they are
 * @throws DataError PGRST102
 */
export async function parsePayload(
  bytes: Buffer,
  contentType: string | undefined,
  columns: readonly string[] | null,
  isCall: boolean,
  clock: Pick<Clock, 'monotonic'>,
): Promise<Payload> {
  const turns = new Turns(clock, TURN_MS)
  const type = contentTypeOf(contentType)
  switch (type) {
    case '':
    case 'application/json':
      return await jsonPayload(isCall && bytes.length === 0 ? Buffer.from('{}') : bytes, columns, isCall, turns)
    case 'application/x-www-form-urlencoded':
      return formPayload(bytes.toString('utf8'), columns)
    case 'text/csv': {
      const { text, names, isEmpty } = await parseCsv(bytes.toString('utf8'), turns)
      return { kind: 'json', text, isArray: true, isEmpty, keys: columns ?? (isEmpty ? [] : names) }
    }
    default:
      if (isCall && RAW_TYPES.has(type)) return { kind: 'raw', type, bytes }
      throw new DataError('PGRST102', `Content-Type not acceptable: ${type}`)
  }
}

const RAW_TYPES = new Set(['text/plain', 'text/xml', 'application/octet-stream'])

/** As many columns as a table may have: of millions of names nothing would come but their cost. */
const MOST_FIELDS = 1_600

function formPayload(text: string, columns: readonly string[] | null): Payload {
  if (text.split('&', MOST_FIELDS + 1).length > MOST_FIELDS) throw new DataError('PGRST102', `a form has ${MOST_FIELDS} fields at most`)
  const row = Object.fromEntries(new URLSearchParams(text))
  const keys = Object.keys(row)
  return { kind: 'json', text: JSON.stringify(row), isArray: false, isEmpty: false, keys: columns ?? keys }
}

/**
 * A smaller text is read by the engine at once: that takes less than a turn. But not where something is escaped: V8 13 takes
 * the name `"\\n"` for `"\\\\"` when it has met that one in the same place.
 */
const AT_ONCE = 64 * 1024
const isForEngine = (bytes: Buffer) => bytes.length <= AT_ONCE && !bytes.includes(0x5c)
const TURN_MS = 5

async function jsonPayload(bytes: Buffer, columns: readonly string[] | null, isCall: boolean, turns: Turns): Promise<Payload> {
  const text = bytes.toString('utf8')
  let outline: Outline
  try {
    outline = isForEngine(bytes) ? smallOutlineOf(text) : await outlineOf(bytes, turns, columns === null, MOST_FIELDS + 1)
  } catch {
    throw new DataError('PGRST102', 'Empty or invalid json')
  }
  const { kind, isEmpty, keys } = outline
  if (kind === 'array') {
    if (isEmpty) return { kind: 'json', text: '[]', isArray: true, isEmpty: true, keys: columns ?? [] }
    // The one argument of a function may be any array.
    if (columns === null ? !outline.isEven && !isCall : !outline.areObjects) throw new DataError('PGRST102', 'All object keys must match')
    return { kind: 'json', text, isArray: true, isEmpty: false, keys: columns ?? keys ?? [] }
  }
  // Of what is no object there are no rows.
  if (kind === 'other' || keys === null)
    return isCall
      ? { kind: 'json', text, isArray: false, isEmpty: true, keys: [] }
      : { kind: 'json', text: '[]', isArray: true, isEmpty: true, keys: columns ?? [] }
  return { kind: 'json', text, isArray: false, isEmpty, keys: columns ?? keys }
}

function smallOutlineOf(text: string): Outline {
  const value: unknown = JSON.parse(text)
  if (!Array.isArray(value)) {
    const keys = keysOf(value)
    return { kind: keys === null ? 'other' : 'object', isEmpty: (keys ?? []).length === 0, keys, areObjects: false, isEven: false }
  }
  const first = keysOf(value[0])
  const wanted = new Set(first)
  const isLikeFirst = (row: unknown) => {
    const keys = keysOf(row)
    return keys?.length === wanted.size && keys.every((key) => wanted.has(key))
  }
  const areObjects = value.every((row) => keysOf(row) !== null)
  return { kind: 'array', isEmpty: value.length === 0, keys: first, areObjects, isEven: areObjects && value.every(isLikeFirst) }
}

const keysOf = (value: unknown): string[] | null => (typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : null)

/** A short line may stand for a long row, with all its names: what is made of a body is bounded too. */
const MOST_MADE = 4 * LIMITS.dataBody.value

/**
 * RFC 4180 with a line of names, as a JSON list of rows: `NULL` is null, nothing is an empty text, and lines with nothing
 * on them are none.
 * @throws DataError PGRST102; MayflyError payload_too_large
 */
export async function parseCsv(csv: string, turns: Turns): Promise<{ readonly text: string; readonly names: readonly string[]; readonly isEmpty: boolean }> {
  let names: string[] | null = null
  let keys: string[] = []
  const rows: string[] = []
  let made = 0
  let at = 0
  while (at < csv.length) {
    if (turns.over) await turns.next()
    if (csv[at] === '\n' || csv[at] === '\r') {
      at++
      continue
    }
    const line = readLine(csv, at)
    at = line.end
    if (names === null) {
      names = line.fields.map(({ value }) => value)
      keys = names.map((name) => JSON.stringify(name))
      continue
    }
    if (line.fields.length !== names.length) throw new DataError('PGRST102', 'All lines must have same number of fields')
    const row = `{${line.fields.map(({ value, isQuoted }, place) => `${keys[place]}:${value === 'NULL' && !isQuoted ? 'null' : JSON.stringify(value)}`).join(',')}}`
    made += row.length
    if (made > MOST_MADE) throw new MayflyError('payload_too_large', `the rows of a body may be ${MOST_MADE} bytes as JSON`)
    rows.push(row)
  }
  return { text: `[${rows.join(',')}]`, names: [...new Set(names)], isEmpty: rows.length === 0 }
}

interface CsvLine {
  readonly fields: readonly { readonly value: string; readonly isQuoted: boolean }[]
  /** Behind its end. */
  readonly end: number
}

function readLine(csv: string, start: number): CsvLine {
  const fields: CsvLine['fields'][number][] = []
  let at = start
  for (;;) {
    const isQuoted = csv[at] === '"'
    const end = isQuoted ? endOfQuoted(csv, at) : endOfPlain(csv, at)
    fields.push({ value: isQuoted ? csv.slice(at + 1, end - 1).replaceAll('""', '"') : csv.slice(at, end), isQuoted })
    at = end
    if (csv[at] !== ',') break
    at++
  }
  if (csv[at] === '\r') at++
  if (csv[at] === '\n') at++
  else if (at < csv.length) throw new DataError('PGRST102', 'a quoted field is followed by more')
  return { fields, end: at }
}

const PLAIN = /[^,\r\n]*/y
function endOfPlain(csv: string, at: number): number {
  PLAIN.lastIndex = at
  PLAIN.test(csv)
  return PLAIN.lastIndex
}

function endOfQuoted(csv: string, start: number): number {
  for (let at = start + 1; ; at += 2) {
    at = csv.indexOf('"', at)
    if (at === -1) throw new DataError('PGRST102', 'a quoted field has no end')
    if (csv[at + 1] !== '"') return at + 1
  }
}

import { DataError } from '../errors.ts'

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
export function parsePayload(bytes: Buffer, contentType: string | undefined, columns: readonly string[] | null, isCall: boolean): Payload {
  const type = contentTypeOf(contentType)
  switch (type) {
    case '':
    case 'application/json':
      return jsonPayload(isCall && bytes.length === 0 ? '{}' : bytes.toString('utf8'), columns, isCall)
    case 'application/x-www-form-urlencoded': {
      const fields = [...new URLSearchParams(bytes.toString('utf8'))]
      return madeOf([Object.fromEntries(fields)], columns, false)
    }
    case 'text/csv':
      return madeOf(parseCsv(bytes.toString('utf8')), columns, true)
    default:
      if (isCall && RAW_TYPES.has(type)) return { kind: 'raw', type, bytes }
      throw new DataError('PGRST102', `Content-Type not acceptable: ${type}`)
  }
}

const RAW_TYPES = new Set(['text/plain', 'text/xml', 'application/octet-stream'])

function madeOf(rows: readonly Readonly<Record<string, string | null>>[], columns: readonly string[] | null, isArray: boolean): Payload {
  const text = JSON.stringify(isArray ? rows : rows[0])
  return { kind: 'json', text, isArray, isEmpty: rows.length === 0, keys: columns ?? Object.keys(rows[0] ?? {}) }
}

function jsonPayload(text: string, columns: readonly string[] | null, isCall: boolean): Payload {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new DataError('PGRST102', 'Empty or invalid json')
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return { kind: 'json', text: '[]', isArray: true, isEmpty: true, keys: columns ?? [] }
    const first = keysOf(value[0])
    if (columns === null) {
      const wanted = new Set(first)
      const isEven = first !== null && value.every((row) => keysOf(row)?.length === wanted.size && keysOf(row)?.every((key) => wanted.has(key)))
      // The one argument of a function may be any array.
      if (!isEven && !isCall) throw new DataError('PGRST102', 'All object keys must match')
    } else if (!value.every((row) => keysOf(row) !== null)) throw new DataError('PGRST102', 'All object keys must match')
    return { kind: 'json', text, isArray: true, isEmpty: false, keys: columns ?? first ?? [] }
  }
  const keys = keysOf(value)
  // Of what is no object there are no rows.
  if (keys === null)
    return isCall
      ? { kind: 'json', text, isArray: false, isEmpty: true, keys: [] }
      : { kind: 'json', text: '[]', isArray: true, isEmpty: true, keys: columns ?? [] }
  return { kind: 'json', text, isArray: false, isEmpty: keys.length === 0, keys: columns ?? keys }
}

const keysOf = (value: unknown): string[] | null => (typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : null)

/** RFC 4180 with a line of names: `NULL` is null, nothing is an empty text. @throws DataError PGRST102 */
export function parseCsv(text: string): Record<string, string | null>[] {
  const lines: { value: string; isQuoted: boolean }[][] = []
  let line: { value: string; isQuoted: boolean }[] = []
  let at = 0
  while (at < text.length) {
    let value = ''
    let isQuoted = false
    if (text[at] === '"') {
      isQuoted = true
      for (at++; at < text.length; at++) {
        if (text[at] !== '"') value += text[at]
        else if (text[at + 1] === '"') value += text[++at]
        else break
      }
      if (at >= text.length) throw new DataError('PGRST102', 'a quoted field has no end')
      at++
    } else while (at < text.length && !',\r\n'.includes(text[at] as string)) value += text[at++]
    line.push({ value, isQuoted })
    if (text[at] === ',') {
      at++
      if (at === text.length) line.push({ value: '', isQuoted: false })
      else if (at < text.length) continue
    }
    if (text[at] === '\r') at++
    if (text[at] === '\n') at++
    else if (at < text.length) throw new DataError('PGRST102', 'a quoted field is followed by more')
    lines.push(line)
    line = []
  }
  const [names = [], ...rows] = lines
  return rows.map((row) => {
    if (row.length !== names.length) throw new DataError('PGRST102', 'All lines must have same number of fields')
    return Object.fromEntries(row.map(({ value, isQuoted }, place) => [names[place]?.value ?? '', value === 'NULL' && !isQuoted ? null : value]))
  })
}

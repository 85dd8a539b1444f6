/** A type of PostgreSQL, as far as its values have to be told in JSON. */
export interface SqlType {
  readonly oid: number
  /** `int8`, `_text`… */
  readonly name: string
  /** Quoted, with its schema. */
  readonly sql: string
  /** `pg_type.typcategory`, of the type below a domain. */
  readonly category: string
  /** Of a domain: the name of the type below it; else its own. */
  readonly base: string
  /** Of an array: its elements' base type and their category. */
  readonly element: { readonly base: string; readonly category: string; readonly delimiter: string } | null
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/i

/** The text of a value in the JSON that PostgreSQL's to_json gives it: digits are kept as they are. */
export function toJson(text: string | null, type: Pick<SqlType, 'base' | 'category' | 'element'>): string {
  if (text === null) return 'null'
  // int2vector and oidvector are arrays whose text has no braces.
  if (type.element && /^[[{]/.test(text)) return arrayToJson(text, type.element)
  return scalarToJson(text, type.base, type.category)
}

function scalarToJson(text: string, base: string, category: string): string {
  switch (base) {
    case 'bool':
      return text === 't' ? 'true' : 'false'
    case 'json':
    case 'jsonb':
      return text
    case 'timestamp':
    case 'timestamptz':
      return JSON.stringify(text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'))
    default:
      // NaN and Infinity are no numbers of JSON. Money and oid-like names are of category N too.
      return category === 'N' && NUMBER.test(text) ? text : JSON.stringify(text)
  }
}

/** `{1,NULL,"a,b"}`, nested for more dimensions; bounds before it (`[0:1]={…}`) are left away, as to_json does. */
function arrayToJson(text: string, element: NonNullable<SqlType['element']>): string {
  let at = text.startsWith('[') ? text.indexOf('=') + 1 : 0
  const read = (): string => {
    if (text[at] !== '{') throw new Error('an array has no opening brace')
    at++
    const parts: string[] = []
    while (at < text.length && text[at] !== '}') {
      if (text[at] === '{') parts.push(read())
      else parts.push(readElement())
      if (text[at] === element.delimiter) at++
    }
    at++
    return `[${parts.join(',')}]`
  }
  const readElement = (): string => {
    if (text[at] === '"') {
      let value = ''
      for (at++; at < text.length && text[at] !== '"'; at++) {
        if (text[at] === '\\') at++
        value += text[at]
      }
      at++
      return scalarToJson(value, element.base, element.category)
    }
    let end = at
    while (end < text.length && text[end] !== element.delimiter && text[end] !== '}') end++
    const value = text.slice(at, end)
    at = end
    return value === 'NULL' ? 'null' : scalarToJson(value, element.base, element.category)
  }
  return read()
}

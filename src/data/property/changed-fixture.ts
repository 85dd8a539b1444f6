import fc from 'fast-check'
import { type Draw, makeRequest } from './arbitrary-fixture.ts'
import { queryOf } from './ask-fixture.ts'
import { drawCall } from './calls-fixture.ts'
import { type Asked, askedOf, drawWrite } from './writes-fixture.ts'

/** What requests are made of, and what they are not made of. */
const PIECES = [
  ...[
    '(',
    ')',
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    ',',
    '.',
    ':',
    '::',
    '->',
    '->>',
    '!',
    '...',
    '*',
    '&',
    '=',
    '+',
    '%',
    '%00',
    '%ff',
    '%F0%9F%98%80',
    ' ',
    "'",
    ';',
    '--',
    '$1',
    '/',
  ],
  ...[
    'not.',
    'eq.',
    'in.(',
    'is.',
    'fts(',
    'or=(',
    'and=',
    'select=',
    'order=',
    'limit=',
    'offset=',
    'columns=',
    'on_conflict=',
    'count()',
    'sum()',
    'null',
    'true',
  ],
  ...['0', '-1', '99999999999999999999', '1e999', 'NaN', 'infinity', '\u0000', '한', 'x', '__proto__', 'books', 'authors', 'id', 'notes'],
] as const
const HEADERS: readonly Record<string, string>[] = [
  { prefer: 'handling=strict,x=y' },
  { prefer: 'return=representation,missing=default,resolution=merge-duplicates,tx=rollback,max-affected=0,handling=strict' },
  { prefer: 'count=planned, timezone=Nowhere/There' },
  { accept: 'text/csv' },
  { accept: 'application/vnd.pgrst.object+json;nulls=stripped' },
  { accept: 'image/png, application/geo+json;q=0.5' },
  { accept: 'application/octet-stream' },
  { accept: ';;,q=;' },
  { range: '5-2' },
  { range: '1-' },
  { 'accept-profile': 'pg_catalog' },
  { 'content-profile': 'nobody' },
  { 'content-type': 'text/csv' },
  { 'content-type': 'application/x-www-form-urlencoded' },
  { 'content-type': 'text/plain' },
  { 'content-type': 'application/x-nothing' },
]

/** A request as it may be, and a few things in it changed: it may be one still, and mostly is none. Nothing of it stays. */
export function drawChanged(draw: Draw): { readonly path: string; readonly asked: Asked } {
  const of = <T>(values: readonly T[]): T => draw(fc.constantFrom<T[]>, ...values) as T
  const upTo = (n: number) => draw(fc.nat, { max: n }) as number
  const changed = (text: string, times: number): string => {
    let out = text
    for (let count = 0; count < times; count++) {
      const at = upTo(out.length)
      out = `${out.slice(0, at)}${of(PIECES)}${out.slice(at + upTo(4))}`
    }
    return out
  }
  const from = upTo(2)
  let path: string
  let asked: Asked
  if (from === 0) {
    const level = makeRequest(draw)
    path = level.table
    asked = { method: 'GET', query: queryOf(level), headers: {}, body: '' }
  } else if (from === 1) {
    path = 'notes'
    asked = askedOf(drawWrite(draw))
  } else {
    const call = drawCall(draw)
    path = `rpc/${call.name}`
    asked = call.asked
  }
  const what = upTo(9)
  const query = decodeURIComponent(asked.query).replaceAll('+', '%2B')
  return {
    path: what === 0 ? changed(path, 1) : path,
    asked: {
      method: what === 1 ? of(['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE', 'OPTIONS', 'BREW']) : asked.method,
      query: what >= 2 && what <= 6 ? changed(query, 1 + upTo(2)) : asked.query,
      headers: { ...asked.headers, ...(what === 7 || what === 8 ? of(HEADERS) : {}), ...(upTo(3) === 0 ? of(HEADERS) : {}) },
      body: what === 9 ? changed(asked.body, 1 + upTo(2)) : asked.body,
    },
  }
}

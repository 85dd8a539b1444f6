import fc from 'fast-check'
import type { Draw } from './arbitrary-fixture.ts'
import type { Json, Row } from './world-fixture.ts'

/**
 * A table that is written, and what becomes of it as the reference says: a slow and plain model. Policies know of no row
 * that is hidden, and let nobody write one.
 */

export const WRITES_SQL = `
  create table notes (id int primary key, code text unique, name text default 'new', n int default 5, tags text[], meta jsonb default '{"d":1}',
    hidden boolean not null default false, twice int generated always as (n * 2) stored);
  alter table notes enable row level security;
  create policy shown on notes to anon using (not hidden) with check (not hidden);
  create function pick(a int) returns text language sql stable as 'select ''one '' || a';
  create function pick(a int, b text default 'none') returns text language sql stable as 'select ''two '' || a || '' '' || b';
  create function pick(a int, b text, c boolean) returns text language sql stable as 'select ''three '' || a || '' '' || b || '' '' || c';
  create function whole(json) returns json language sql stable as 'select $1';
  create function total(variadic ns int[]) returns bigint language sql stable as 'select coalesce(sum(each), 0) from unnest(ns) as each';
  create function words(upto int, word text default 'w') returns setof text language sql stable as 'select word || each from generate_series(1, upto) as each';
  create function notes_from(lowest int default 0) returns setof notes language sql stable as 'select * from notes where id >= lowest';
  create function pair(inout a int, out b text) language sql stable as 'select a, ''b'' || a';
  create function nothing() returns void language sql as 'select';
`
export const FIRST: readonly Row[] = [
  { id: 1, code: 'a', name: 'ann', n: 1, tags: ['x'], meta: { a: 1 }, hidden: false },
  { id: 2, code: 'b', name: null, n: null, tags: null, meta: null, hidden: false },
  { id: 3, code: null, name: 'q"x', n: 3, tags: [], meta: [1], hidden: false },
  { id: 4, code: 'd', name: 'a,b', n: 8, tags: ['two words', 'y'], meta: { d: 1 }, hidden: true },
]
export const FILL_SQL = `truncate notes; insert into notes (id, code, name, n, tags, meta, hidden)
  select id, code, name, n, tags, meta, hidden from json_populate_recordset(null::notes, $rows$${JSON.stringify(FIRST)}$rows$)`

const COLUMNS = ['id', 'code', 'name', 'n', 'tags', 'meta', 'hidden'] as const
const ALL = [...COLUMNS, 'twice'] as const
const DEFAULTS: Row = { id: null, code: null, name: 'new', n: 5, tags: null, meta: { d: 1 }, hidden: false }
const REQUIRED = ['id', 'hidden'] as const

export interface Filter {
  readonly column: string
  readonly isNegated: boolean
  readonly by: 'eq' | 'gt' | 'in' | 'is'
  readonly values: readonly (string | number)[]
}
export interface Write {
  readonly method: 'POST' | 'PATCH' | 'DELETE' | 'PUT'
  readonly filters: readonly Filter[]
  readonly rows: readonly Row[]
  readonly isArray: boolean
  readonly columns: readonly string[] | null
  readonly missing: 'default' | null
  readonly resolution: 'merge-duplicates' | 'ignore-duplicates' | null
  readonly onConflict: 'id' | 'code' | null
  readonly returned: 'representation' | 'minimal' | 'headers-only' | null
  readonly select: readonly string[] | null
  readonly isReversed: boolean
  readonly maxAffected: number | null
  readonly counts: boolean
  readonly isUndone: boolean
}
/** What a write is answered with, and what there is then. */
export interface Wanted {
  readonly status: number
  readonly code: string | null
  readonly body: readonly Row[] | null
  readonly range: string | null
  readonly location: string | null
  readonly rows: readonly Row[]
}

export function drawWrite(draw: Draw): Write {
  const of = <T>(values: readonly T[]): T => draw(fc.constantFrom<T[]>, ...values) as T
  const oneIn = (n: number) => (draw(fc.nat, { max: n - 1 }) as number) === 0
  const upTo = (n: number) => draw(fc.nat, { max: n }) as number
  const values: Readonly<Record<string, () => Json>> = {
    id: () => (oneIn(25) ? null : upTo(8)),
    code: () => of(['a', 'b', 'c', 'd', 'e', null]),
    name: () => of(['ann', 'q"x', '', '한글', 'null', null]),
    n: () => of([-1, 0, 7, null]),
    tags: () => of([[], ['x', 'two words'], null]),
    meta: () => of([{ a: { b: [1, null] } }, [], 'text', null]),
    hidden: () => oneIn(6),
  }
  const method = of(['POST', 'POST', 'POST', 'PATCH', 'PATCH', 'DELETE', 'PUT'] as const)
  const isUpdate = method === 'PATCH'
  const keys = COLUMNS.filter((name) => (name === 'id' && !isUpdate ? !oneIn(15) : oneIn(name === 'hidden' ? 5 : name === 'id' ? 8 : 2)))
  const isArray = method === 'POST' ? oneIn(2) : oneIn(6)
  const columns = oneIn(3) ? COLUMNS.filter((name) => (name === 'id' && !isUpdate) || oneIn(2)) : null
  const row = (): Row => Object.fromEntries(keys.filter(() => columns === null || !oneIn(4)).map((name) => [name, (values[name] as () => Json)()]))
  const rows = method === 'DELETE' ? [] : isArray ? Array.from({ length: method === 'PUT' ? 1 : upTo(3) }, row) : [row()]
  const filter = (): Filter => {
    const column = of(['id', 'code', 'name', 'n'] as const)
    const isNumber = column === 'id' || column === 'n'
    const value = () => (isNumber ? upTo(8) : of(['a', 'b', 'ann', 'q"x', '']))
    const by = of(['eq', 'gt', 'in', 'is'] as const)
    return { column, isNegated: oneIn(4), by, values: by === 'in' ? Array.from({ length: upTo(3) }, value) : [value()] }
  }
  const filters =
    method === 'POST'
      ? []
      : method === 'PUT'
        ? [{ column: 'id', isNegated: false, by: 'eq' as const, values: [oneIn(4) ? upTo(8) : ((rows[0]?.id as number | null) ?? upTo(8))] }]
        : Array.from({ length: 1 + upTo(1) }, filter)
  return {
    method,
    filters,
    rows,
    isArray,
    columns,
    missing: oneIn(3) ? 'default' : null,
    resolution: method === 'POST' ? of(['merge-duplicates', 'ignore-duplicates', null] as const) : null,
    onConflict: method === 'POST' ? of(['id', 'code', null] as const) : null,
    returned: of(['representation', 'representation', 'minimal', 'headers-only', null] as const),
    select: oneIn(2) ? ALL.filter((name) => name === 'id' || oneIn(2)) : null,
    isReversed: oneIn(3),
    maxAffected: oneIn(4) ? upTo(3) : null,
    counts: oneIn(3),
    isUndone: oneIn(5),
  }
}

export interface Asked {
  readonly method: string
  readonly query: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export function askedOf(write: Write): Asked {
  const query: [string, string][] = write.filters.map(({ column, isNegated, by, values }) => {
    const quoted = values.map((value) => (typeof value === 'number' ? value : `"${value.replace(/["\\]/g, '\\$&')}"`))
    const value = by === 'in' ? `(${quoted.join()})` : by === 'is' ? 'null' : values[0]
    return [column, `${isNegated ? 'not.' : ''}${by}.${value}`]
  })
  if (write.columns !== null) query.push(['columns', write.columns.map((name) => `"${name}"`).join()])
  if (write.onConflict !== null) query.push(['on_conflict', write.onConflict])
  if (write.select !== null) query.push(['select', write.select.join()])
  if (write.isReversed) query.push(['order', 'id.desc'])
  const prefer = [
    write.missing === null ? null : 'missing=default',
    write.resolution === null ? null : `resolution=${write.resolution}`,
    write.returned === null ? null : `return=${write.returned}`,
    write.maxAffected === null ? null : `handling=strict,max-affected=${write.maxAffected}`,
    write.counts ? 'count=exact' : null,
    write.isUndone ? 'tx=rollback' : null,
  ]
  return {
    method: write.method,
    query: query.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&'),
    headers: { prefer: prefer.filter((each) => each !== null).join(',') },
    body: write.method === 'DELETE' ? '' : JSON.stringify(write.isArray ? write.rows : write.rows[0]),
  }
}

/** Refused: what there was stays. */
class Refusal {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string) {
    this.status = status
    this.code = code
  }
}

/** A row as it is read: with what is computed of it. */
const told = (row: Row): Row => ({ ...row, twice: row.n === null ? null : 2 * (row.n as number) })

function isMet(row: Row, { column, isNegated, by, values }: Filter): boolean {
  const value = row[column] as string | number | null
  if (by === 'is') return (value === null) !== isNegated
  if (by === 'in' && values.length === 0) return isNegated
  if (value === null) return false
  const first = values[0] as string | number
  const isGreater = typeof value === 'number' ? value > Number(first) : Buffer.compare(Buffer.from(value), Buffer.from(String(first))) > 0
  const holds = by === 'in' ? values.includes(value) : by === 'eq' ? value === first : isGreater
  return holds !== isNegated
}

/** Of one row after the other: the policy comes first, then what must not be null, then what must be unique. */
function check(row: Row, others: readonly Row[]): void {
  checkAlone(row)
  if (others.some((each) => each.id === row.id || (row.code !== null && each.code === row.code))) throw new Refusal(409, '23505')
}
function checkAlone(row: Row): void {
  if (row.hidden !== false) throw new Refusal(401, '42501')
  if (REQUIRED.some((name) => row[name] === null)) throw new Refusal(400, '23502')
}

export function wantedOf(write: Write, before: readonly Row[]): Wanted {
  try {
    const { rows, changed, added } = written(write, before)
    if (write.maxAffected !== null && (write.method === 'PATCH' || write.method === 'DELETE') && changed.length > write.maxAffected)
      throw new Refusal(400, 'PGRST124')
    return { ...answerOf(write, changed, added), code: null, rows: write.isUndone ? before : rows }
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal
    return { status: refusal.status, code: refusal.code, body: null, range: null, location: null, rows: before }
  }
}

interface Written {
  readonly rows: readonly Row[]
  readonly changed: readonly Row[]
  readonly added: number
}

function written(write: Write, before: readonly Row[]): Written {
  const fits = (row: Row) => row.hidden !== true && write.filters.every((filter) => isMet(row, filter))
  switch (write.method) {
    case 'DELETE':
      return { rows: before.filter((row) => !fits(row)), changed: before.filter(fits), added: 0 }
    case 'PATCH':
      return updated(write, before, fits)
    default:
      return inserted(write, before)
  }
}

/** The columns that the body brings; names that rows do not share are an error where nobody says which count. */
function keysOf({ rows, columns, isArray }: Write): readonly string[] {
  return columns ?? (isArray && rows.length === 0 ? [] : Object.keys(rows[0] ?? {}))
}

const sentOf = (row: Row, name: string, missing: Write['missing']): Json =>
  Object.hasOwn(row, name) ? (row[name] as Json) : missing === null ? null : (DEFAULTS[name] as Json)

function updated(write: Write, before: readonly Row[], fits: (row: Row) => boolean): Written {
  const keys = keysOf(write)
  const [source] = write.rows
  if (keys.length === 0 || !source) return { rows: before, changed: [], added: 0 }
  const set = Object.fromEntries(keys.map((name) => [name, sentOf(source, name, write.missing)]))
  const matched = before.filter(fits)
  let rows = before
  const changed: Row[] = []
  for (const row of matched) {
    const next = { ...row, ...set }
    check(
      next,
      rows.filter((each) => each !== row),
    )
    rows = rows.map((each) => (each === row ? next : each))
    changed.push(next)
  }
  return { rows, changed, added: 0 }
}

function inserted(write: Write, before: readonly Row[]): Written {
  const keys = keysOf(write)
  const isPut = write.method === 'PUT'
  const target = isPut ? 'id' : write.resolution === null ? null : (write.onConflict ?? 'id')
  let rows = before
  const changed: Row[] = []
  let added = 0
  const touched = new Set<Row>()
  for (const source of write.rows) {
    const sent = Object.fromEntries(keys.map((name) => [name, sentOf(source, name, write.missing)]))
    const row: Row = { ...DEFAULTS, ...sent }
    if (isPut && sent.id !== write.filters[0]?.values[0]) throw new Refusal(400, 'PGRST115')
    checkAlone(row)
    const same = target === null || row[target] === null ? undefined : rows.find((each) => each[target] === row[target])
    if (!same) {
      check(row, rows)
      rows = [...rows, row]
      changed.push(row)
      touched.add(row)
      added++
      continue
    }
    if ((write.resolution === 'ignore-duplicates' && !isPut) || keys.length === 0) continue
    // A row is not written twice by one statement.
    if (touched.has(same)) throw new Refusal(500, '21000')
    if (same.hidden === true) throw new Refusal(401, '42501')
    const next = { ...same, ...sent }
    check(
      next,
      rows.filter((each) => each !== same),
    )
    rows = rows.map((each) => (each === same ? next : each))
    changed.push(next)
    touched.add(next)
  }
  if (isPut && changed.length !== 1) throw new Refusal(400, 'PGRST115')
  return { rows, changed, added }
}

function answerOf(write: Write, changed: readonly Row[], added: number): Pick<Wanted, 'status' | 'body' | 'range' | 'location'> {
  const { method, returned, counts } = write
  const isTold = returned === 'representation'
  const names = write.select ?? ALL
  const shown = changed.map(told).map((row) => Object.fromEntries(names.map((name) => [name, row[name] as Json])))
  const sorted = shown.toSorted((a, b) => ((a.id as number) - (b.id as number)) * (write.isReversed ? -1 : 1))
  const end = counts ? changed.length : '*'
  const body = isTold ? sorted : null
  switch (method) {
    case 'PATCH':
      return { status: isTold ? 200 : 204, body, range: `${changed.length === 0 ? '*' : `0-${changed.length - 1}`}/${end}`, location: null }
    case 'DELETE':
      return { status: isTold ? 200 : 204, body, range: `*/${end}`, location: null }
    case 'PUT':
      return { status: isTold ? (added > 0 ? 201 : 200) : 204, body, range: null, location: null }
    default: {
      const merges = write.resolution === 'merge-duplicates'
      const location = returned === 'headers-only' && changed.length === 1 ? `/notes?id=eq.${changed[0]?.id}` : null
      return { status: merges && added === 0 ? 200 : 201, body, range: `*/${end}`, location }
    }
  }
}

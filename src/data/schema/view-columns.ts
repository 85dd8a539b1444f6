import type { RelationRow } from './store.ts'

export const isView = (kind: string): boolean => kind === 'v' || kind === 'm'

/** Where a column of a view comes from: a relation and the number of its column. */
export interface Origin {
  readonly relation: string
  readonly column: number
}

/**
 * What a view's query says of its columns, by their numbers. The text is PostgreSQL's own form of a parsed query,
 * `({QUERY … :targetList ({TARGETENTRY … :resno 1 … :resorigtbl 16384 :resorigcol 2 …} …) …})`: only the outermost list
 * is the view's. A column that is computed has the origin 0.
 */
export function originsOf(query: string): ReadonlyMap<number, Origin> {
  const origins = new Map<number, Origin>()
  let depth = 0
  let listDepth = 0
  let entry: { number: number; relation: string; column: number } | null = null
  const tokens = query.matchAll(/\\.|[(){}]|:[A-Za-z_]+|[^\s(){}\\]+/g)
  let name = ''
  for (const [token] of tokens) {
    if (token === '(' || token === '{') {
      depth++
      // The query itself is `({QUERY`: two deep.
      if (token === '(' && name === ':targetList' && depth === 3 && listDepth === 0) listDepth = depth
      else if (token === '{' && listDepth > 0 && depth === listDepth + 1) entry = { number: 0, relation: '0', column: 0 }
    } else if (token === ')' || token === '}') {
      if (token === '}' && entry && depth === listDepth + 1) {
        if (entry.relation !== '0' && entry.column > 0) origins.set(entry.number, { relation: entry.relation, column: entry.column })
        entry = null
      }
      if (token === ')' && depth === listDepth) return origins
      depth--
    } else if (token.startsWith(':')) name = token
    else if (entry && depth === listDepth + 1) {
      if (name === ':resno') entry.number = Number(token)
      else if (name === ':resorigtbl') entry.relation = token
      else if (name === ':resorigcol') entry.column = Number(token)
      name = ''
    } else if (!entry) name = name === ':targetList' ? name : ''
  }
  return origins
}

/** Follows a view's column through other views down to a table. */
export function originOf(
  oid: string,
  column: number,
  byOid: ReadonlyMap<string, RelationRow>,
  origins: ReadonlyMap<string, ReadonlyMap<number, Origin>>,
): Origin | null {
  let at: Origin = { relation: oid, column }
  // A view cannot stand on itself: the chain ends.
  for (;;) {
    const row = byOid.get(at.relation)
    if (!row) return null
    if (!isView(row.kind)) return at
    const next = origins.get(at.relation)?.get(at.column)
    if (!next) return null
    at = next
  }
}

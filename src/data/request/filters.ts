import { LIMITS } from '../../core/limits.ts'
import { DataError } from '../errors.ts'
import type { At, Field, Filter, Logic, LogicTree, Operation, OrderTerm } from './grammar.ts'
import { Scanner } from './scanner.ts'
import { parseField, parsePath } from './select.ts'

/** By the word of the request, the operator of PostgreSQL. With these a list can be compared: `eq(any).{1,2}`. */
const QUANTIFIABLE: Readonly<Record<string, string>> = {
  eq: '=',
  gte: '>=',
  gt: '>',
  lte: '<=',
  lt: '<',
  like: 'like',
  ilike: 'ilike',
  match: '~',
  imatch: '~*',
}
const SIMPLE: Readonly<Record<string, string>> = { neq: '<>', cs: '@>', cd: '<@', ov: '&&', sl: '<<', sr: '>>', nxr: '&<', nxl: '&>', adj: '-|-' }
const SEARCHES: Readonly<Record<string, string>> = {
  fts: 'to_tsquery',
  plfts: 'plainto_tsquery',
  phfts: 'phraseto_tsquery',
  wfts: 'websearch_to_tsquery',
}
const IS = ['not_null', 'null', 'true', 'false', 'unknown'] as const
const EXPECTED = 'operator (eq, gt, ...)'
const OPERATORS = new Set([...Object.keys(QUANTIFIABLE), ...Object.keys(SIMPLE), ...Object.keys(SEARCHES), 'in', 'is', 'isdistinct'])

/** Whether a value begins as a condition does; on a function's path all others are arguments. */
export function looksLikeFilter(value: string): boolean {
  const word = /^(?:not\.)?([a-z]+)(?:\([^()]*\))?\./.exec(value)?.[1]
  return word !== undefined && OPERATORS.has(word)
}

/** `not.eq.5`. @throws DataError PGRST100 */
export function parseFilter(field: Field, value: string): Filter {
  const scanner = new Scanner(value, 'filter')
  const isNegated = scanner.take('not.')
  const operation = parseOperation(scanner, (from) => from.until(''))
  scanner.end()
  return { kind: 'filter', field, isNegated, operation }
}

function parseOperation(scanner: Scanner, readValue: (scanner: Scanner) => string): Operation {
  const from = scanner.at
  const word = /^[a-z]+/.exec(scanner.text.slice(from, from + 20))?.[0] ?? ''
  if (!OPERATORS.has(word)) throw scanner.fault(scanner.text.startsWith('not.') ? EXPECTED : `"not" or ${EXPECTED}`)
  scanner.at += word.length
  if (word === 'in') {
    scanner.expect('.')
    return { kind: 'in', values: parseList(scanner) }
  }
  if (word === 'is') {
    scanner.expect('.')
    const said = scanner.text.slice(scanner.at, scanner.at + 8).toLowerCase()
    const value = IS.find((each) => said.startsWith(each))
    if (!value) throw scanner.fault('isVal: (null, not_null, true, false, unknown)')
    scanner.at += value.length
    return { kind: 'is', value }
  }
  const search = SEARCHES[word]
  if (search !== undefined) {
    let language: string | null = null
    if (scanner.take('(')) {
      language = scanner.name()
      scanner.expect(')')
    }
    scanner.expect('.')
    return { kind: 'search', call: search, language, value: readValue(scanner) }
  }
  const quantifiable = QUANTIFIABLE[word]
  const quantifier = quantifiable === undefined ? null : scanner.take('(any)') ? 'any' : scanner.take('(all)') ? 'all' : null
  scanner.expect('.')
  const value = readValue(scanner)
  if (word === 'isdistinct') return { kind: 'distinct', value }
  const isPattern = word === 'like' || word === 'ilike'
  return { kind: 'compare', operator: quantifiable ?? (SIMPLE[word] as string), quantifier, value: isPattern ? value.replaceAll('*', '%') : value }
}

/** `(1,2,"a,b")` */
function parseList(scanner: Scanner): string[] {
  scanner.expect('(')
  if (scanner.take(')')) return []
  const values: string[] = []
  do {
    if (scanner.next !== '"') {
      values.push(scanner.until(',)'))
      continue
    }
    const from = scanner.at
    const quoted = scanner.quoted()
    // What only begins with a quoted text is taken as it stands.
    if (scanner.isAt(',)')) values.push(quoted)
    else {
      scanner.at = from
      values.push(scanner.until(',)'))
    }
  } while (scanner.take(','))
  scanner.expect(')')
  return values
}

/** `(a.eq.1,or(b.eq.2,not.c.is.null))`, what stands behind `and=` and `or=`. @throws DataError PGRST100 */
export function parseLogic(kind: 'and' | 'or', isNegated: boolean, text: string): LogicTree {
  const scanner = new Scanner(text, 'logic tree')
  const tree = { kind, isNegated, of: parseBranches(scanner, 0) }
  scanner.end()
  return tree
}

function parseBranches(scanner: Scanner, depth: number): Logic[] {
  if (depth > LIMITS.logicDepth.value) throw new DataError('PGRST100', `more than ${LIMITS.logicDepth.value} conditions lie in each other`)
  scanner.expect('(')
  const branches: Logic[] = []
  do {
    scanner.blanks()
    branches.push(parseBranch(scanner, depth))
    scanner.blanks()
  } while (scanner.take(','))
  scanner.expect(')')
  return branches
}

function parseBranch(scanner: Scanner, depth: number): Logic {
  const nested = /^(not\.)?(and|or)\(/.exec(scanner.text.slice(scanner.at, scanner.at + 8))
  if (nested) {
    scanner.at += nested[0].length - 1
    return { kind: nested[2] as 'and' | 'or', isNegated: nested[1] !== undefined, of: parseBranches(scanner, depth + 1) }
  }
  // `not.` may stand before a condition as a whole, or behind its column.
  const word = /^not\.([a-z]+)[.(]/.exec(scanner.text.slice(scanner.at, scanner.at + 20))?.[1]
  const isWholly = scanner.startsWith('not.') && !(word !== undefined && OPERATORS.has(word)) && scanner.take('not.')
  const field = parseField(scanner)
  scanner.expect('.')
  const isNegated = scanner.take('not.') !== isWholly
  return { kind: 'filter', field, isNegated, operation: parseOperation(scanner, valueInTree) }
}

/** Inside a tree a value ends at `,` or `)`, unless it is quoted or an array. */
function valueInTree(scanner: Scanner): string {
  const from = scanner.at
  if (scanner.next === '"') {
    const value = scanner.quoted()
    if (scanner.isAtEnd || scanner.isAt(',)')) return value
    scanner.at = from
  } else if (scanner.take('{')) {
    const inside = scanner.until('{}')
    if (scanner.take('}')) return `{${inside}}`
    scanner.at = from
  }
  return scanner.until(',)')
}

/** `a,b.desc,rel(c).asc.nullsfirst` @throws DataError PGRST100 */
export function parseOrder(text: string): readonly OrderTerm[] {
  const scanner = new Scanner(text, 'order')
  const terms: OrderTerm[] = []
  do {
    scanner.blanks()
    let relation: string | null = null
    let name = scanner.name()
    if (scanner.take('(')) {
      relation = name
      name = scanner.name()
    }
    const field = { name, path: parsePath(scanner) }
    if (relation !== null) scanner.expect(')')
    const direction = scanner.take('.asc') ? 'asc' : scanner.take('.desc') ? 'desc' : null
    const nulls = scanner.take('.nullsfirst') ? 'first' : scanner.take('.nullslast') ? 'last' : null
    scanner.blanks()
    if (!scanner.isAtEnd && scanner.next !== ',') throw scanner.fault('"asc", "desc", "nullsfirst" or "nullslast"')
    terms.push({ field, relation, direction, nulls })
  } while (scanner.take(','))
  scanner.end()
  return terms
}

/** `a.b.col->x`: the way to an embed, and what is meant there. @throws DataError PGRST100 */
export function parseTreePath(text: string): At<Field> {
  const scanner = new Scanner(text, 'tree path')
  const names = [scanner.name()]
  while (scanner.take('.')) names.push(scanner.name())
  const path = parsePath(scanner)
  scanner.end()
  return { path: names.slice(0, -1), value: { name: names.at(-1) as string, path } }
}

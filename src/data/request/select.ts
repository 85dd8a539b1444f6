import { LIMITS } from '../../core/limits.ts'
import { DataError } from '../errors.ts'
import type { Aggregate, Field, JsonStep, SelectedEmbed, SelectedField, SelectItem } from './grammar.ts'
import { Scanner } from './scanner.ts'

const AGGREGATES: readonly Aggregate[] = ['sum', 'avg', 'count', 'max', 'min']
const WHAT = 'select parameter'

/** @throws DataError PGRST100 */
export function parseSelect(text: string): readonly SelectItem[] {
  const scanner = new Scanner(text, WHAT)
  if (text.trim() === '') return []
  const items = parseItems(scanner, 0)
  scanner.end()
  return items
}

function parseItems(scanner: Scanner, depth: number): SelectItem[] {
  if (depth > LIMITS.embedDepth.value) throw new DataError('PGRST100', `more than ${LIMITS.embedDepth.value} embeds lie in each other`)
  const items: SelectItem[] = []
  do {
    scanner.blanks()
    items.push(parseItem(scanner, depth))
    scanner.blanks()
  } while (scanner.take(','))
  return items
}

function parseItem(scanner: Scanner, depth: number): SelectItem {
  if (scanner.take('...')) {
    const name = scanner.name()
    return parseEmbed(scanner, { name, alias: null, isSpread: true }, depth)
  }
  if (scanner.take('*')) return { ...PLAIN, field: { name: '*', path: [] } }
  let alias: string | null = null
  let name = scanner.name()
  if (scanner.next === ':' && !scanner.startsWith('::')) {
    scanner.at++
    scanner.blanks()
    alias = name
    name = scanner.name()
  }
  if (name === 'count' && scanner.take('()')) return { ...PLAIN, alias, aggregate: 'count', aggregateCast: parseCast(scanner) }
  if (scanner.next === '!' || scanner.next === '(') return parseEmbed(scanner, { name, alias, isSpread: false }, depth)
  const field = { name, path: parsePath(scanner) }
  const cast = parseCast(scanner)
  if (scanner.next !== '.') return { ...PLAIN, field, alias, cast }
  scanner.at++
  const aggregate = AGGREGATES.find((each) => scanner.take(`${each}()`))
  if (!aggregate) throw scanner.fault('aggregate function (sum(), avg(), count(), max(), min())')
  return { ...PLAIN, field, alias, cast, aggregate, aggregateCast: parseCast(scanner) }
}

const PLAIN: SelectedField = { kind: 'field', field: null, alias: null, cast: null, aggregate: null, aggregateCast: null }

function parseEmbed(scanner: Scanner, about: Pick<SelectedEmbed, 'name' | 'alias' | 'isSpread'>, depth: number): SelectedEmbed {
  let hint: string | null = null
  let join: SelectedEmbed['join'] = null
  for (let count = 0; count < 2 && scanner.take('!'); count++) {
    const word = scanner.name()
    if (word === 'inner' || word === 'left') join = word
    else hint = word
  }
  scanner.expect('(')
  scanner.blanks()
  const items = scanner.next === ')' ? [] : parseItems(scanner, depth + 1)
  scanner.expect(')')
  return { kind: 'embed', ...about, hint, join, items }
}

function parseCast(scanner: Scanner): string | null {
  if (!scanner.take('::')) return null
  return scanner.name()
}

/** `->a->>b->0`: what leads into a column. */
export function parsePath(scanner: Scanner): JsonStep[] {
  const path: JsonStep[] = []
  while (scanner.take('->')) {
    const asText = scanner.take('>')
    const index = /^-?\d+(?=->|::|[.,)]|$)/.exec(scanner.text.slice(scanner.at, scanner.at + 20))?.[0]
    if (index !== undefined && Math.abs(Number(index)) < 2 ** 31) {
      scanner.at += index.length
      path.push({ asText, index: Number(index) })
      continue
    }
    const key = scanner.next === '"' ? scanner.quoted() : scanner.until('(-:.,>)')
    if (key === '') throw scanner.fault('json path key')
    path.push({ asText, key })
  }
  return path
}

/** @throws DataError PGRST100 */
export function parseField(scanner: Scanner): Field {
  return { name: scanner.name(), path: parsePath(scanner) }
}

/** The names of `columns` and `on_conflict`. @throws DataError PGRST100 */
export function parseNames(text: string, what: string): readonly string[] {
  if (text.trim() === '') return []
  const scanner = new Scanner(text, what)
  const names: string[] = []
  do {
    scanner.blanks()
    names.push(scanner.name())
    scanner.blanks()
  } while (scanner.take(','))
  scanner.end()
  return names
}

import fc from 'fast-check'
import {
  type Compare,
  type Condition,
  type Embed,
  type Item,
  keyOf,
  keyOfItem,
  keysOfEmbed,
  type Level,
  type Order,
  type Step,
  type Test,
} from './ask-fixture.ts'
import { type ColumnType, type Relation, type Table, WORLD } from './world-fixture.ts'

const WORDS = ['ann', 'Bob', 'a,b', 'q"x', 'back\\slash', '(p)', '한글', '', 'null', 'x.y', '{z}', 'ann lee', 'nobody']
const PATTERNS = ['a*', '*b', '*n*', '_,b', 'x_y', '%', '*', 'ANN', 'q"*', '(p)', '{z}', 'ann']
const EXPRESSIONS = ['^a', 'b$', 'n{2}', '[xq]', '.', '^$', 'A']
const TAGS = ['red', 'blue', 'green', 'two words', 'none']
const PATHS: readonly (readonly (string | number)[])[] = [['a'], ['b'], ['b', 'c'], ['list'], ['list', 0], ['list', -1], ['list', 0, 'c'], ['none']]
const TOPS = Object.keys(WORLD)

/** How `fc.gen()` gives values. */
export type Draw = <T, A extends unknown[]>(make: (...args: A) => fc.Arbitrary<T>, ...args: A) => T

/** Any request that the grammar allows of the tables of the world, within what the interpreter knows. */
export const makeRequest = (draw: Draw): Level => new Maker(draw).top()

class Maker {
  readonly #g: Draw
  #keys = 0
  constructor(g: Draw) {
    this.#g = g
  }

  #of<T>(values: readonly T[]): T {
    return this.#g(fc.constantFrom<T[]>, ...values) as T
  }
  #upTo(max: number): number {
    return this.#g(fc.nat, { max })
  }
  #oneIn(n: number): boolean {
    return this.#upTo(n - 1) === 0
  }
  #some<T>(max: number, make: () => T): T[] {
    return Array.from({ length: this.#upTo(max) }, make)
  }

  top(): Level {
    return this.#level(this.#of(TOPS), { depth: 0, isToOne: false, isSpread: false })
  }

  #level(table: string, { depth, isToOne, isSpread }: { depth: number; isToOne: boolean; isSpread: boolean }): Level {
    const of = WORLD[table] as Table
    const isGrouped = !isSpread && this.#oneIn(8)
    const keys = new Set<string>()
    const embeds = depth >= 3 ? [] : this.#embeds(of, depth, isGrouped, keys)
    const items = this.#items(of, { isGrouped, isSpread, mayBeEmpty: depth > 0 && !isSpread }, keys)
    const where = this.#some(2, () => this.#condition(of, embeds, 0))
    const order = isGrouped ? [] : [...this.#some(2, () => this.#order(of, embeds)), ...of.key.map((column) => plainOrder(column))]
    const isCut = !isToOne && !isGrouped && this.#oneIn(3)
    return { table, items, embeds, where, order, limit: isCut ? this.#upTo(4) : null, offset: isCut ? this.#upTo(2) : 0 }
  }

  #embeds(of: Table, depth: number, isGrouped: boolean, keys: Set<string>): Embed[] {
    const candidates = of.embeds.filter(({ isToOne }) => isToOne || !isGrouped)
    if (candidates.length === 0) return []
    const names = new Set<string>()
    const all = this.#some(depth === 0 ? 2 : 1, () => this.#embed(of, this.#of(candidates), depth))
    return all.filter((embed) => !names.has(keyOf(embed)) && isNew(keys, keysOfEmbed(embed)) && isNew(names, [keyOf(embed)]))
  }

  #embed(of: Table, relation: Relation, depth: number): Embed {
    const isSpread = this.#oneIn(5)
    // A column of that name would be meant by a condition.
    const needsAlias = relation.name in of.columns
    return {
      of: relation,
      alias: !isSpread && (needsAlias || this.#oneIn(2)) ? this.#of(['e1', 'e2', 'books_of', 'x']) : null,
      isInner: this.#oneIn(3),
      isSpread,
      level: this.#level(relation.to, { depth: depth + 1, isToOne: relation.isToOne, isSpread }),
    }
  }

  #items(of: Table, { isGrouped, isSpread, mayBeEmpty }: { isGrouped: boolean; isSpread: boolean; mayBeEmpty: boolean }, keys: Set<string>): Item[] {
    if (isGrouped) {
      const plain = this.#some(2, (): Item => ({ kind: 'column', column: this.#column(of, GROUPED), path: [], alias: this.#alias(), asText: false }))
      const counted = [this.#aggregate(of), ...this.#some(1, () => this.#aggregate(of))]
      return [...plain, ...counted].filter((item) => item.kind !== 'all' && isNew(keys, [keyOfItem(item)]))
    }
    if (mayBeEmpty && this.#oneIn(10)) return []
    if (this.#oneIn(3) && isNew(keys, Object.keys(of.columns))) return [{ kind: 'all' }]
    const items = this.#some(3, (): Item => this.#item(of, isSpread)).filter((item) => item.kind !== 'all' && isNew(keys, [keyOfItem(item)]))
    if (items.length > 0) return items
    return [{ kind: 'column', column: of.key[0] as string, path: [], alias: `key${this.#keys++}`, asText: false }]
  }

  #alias = () => (this.#oneIn(3) ? this.#of(['n1', 'n2', '이름', 'Caps']) : null)

  /** @param isSpread  its value may become a key of groups, where null of a document is another one than that of SQL */
  #item(of: Table, isSpread: boolean): Item {
    const column = this.#of([...Object.keys(of.columns), ...Object.keys(of.computed)])
    const type = of.columns[column]
    if (type === 'jsonb' && !this.#oneIn(3))
      return { kind: 'column', column, path: this.#path(isSpread || this.#oneIn(2)), alias: this.#alias(), asText: false }
    const mayBeText = type === 'int' || type === 'numeric' || type === 'bool'
    return { kind: 'column', column, path: [], alias: this.#alias(), asText: mayBeText && this.#oneIn(4) }
  }

  #path(asText: boolean): Step[] {
    const path = this.#of(PATHS)
    return path.map((at, place) => ({ at, asText: asText && place === path.length - 1 }))
  }

  #aggregate(of: Table): Item {
    if (this.#oneIn(3)) return { kind: 'aggregate', column: null, call: 'count', alias: this.#of(['c1', null]) }
    const numbers = Object.keys(of.columns).filter((name) => NUMBERS.has(of.columns[name] as ColumnType))
    const call = this.#of(['sum', 'avg', 'count', 'max', 'min'] as const)
    return { kind: 'aggregate', column: this.#of(numbers), call, alias: this.#of(['c1', 'c2', null]) }
  }

  #column(of: Table, types: ReadonlySet<ColumnType>): string {
    return this.#of(Object.keys(of.columns).filter((name) => types.has(of.columns[name] as ColumnType)))
  }

  #order(of: Table, embeds: readonly Embed[]): Order {
    const direction = this.#of(['asc', 'desc', null] as const)
    const nulls = this.#of(['first', 'last', null] as const)
    const one = embeds.find((embed) => embed.of.isToOne)
    const isRelated = one !== undefined && this.#oneIn(3)
    const table = isRelated ? (WORLD[one.of.to] as Table) : of
    const isGroupedOne = isRelated && one.level.items.some(({ kind }) => kind === 'aggregate')
    if (isRelated && !isGroupedOne) return { column: this.#column(table, ORDERED), path: [], embed: keyOf(one), direction, nulls }
    const column = this.#of([...Object.keys(of.columns).filter((name) => of.columns[name] !== 'text[]'), ...Object.keys(of.computed)])
    return { column, path: of.columns[column] === 'jsonb' ? this.#path(true) : [], embed: null, direction, nulls }
  }

  #condition(of: Table, embeds: readonly Embed[], depth: number): Condition {
    if (depth < 3 && this.#oneIn(4)) {
      const first = this.#condition(of, embeds, depth + 1)
      return { kind: this.#of(['and', 'or'] as const), isNegated: this.#oneIn(3), of: [first, ...this.#some(2, () => this.#condition(of, embeds, depth + 1))] }
    }
    const named = embeds.map(keyOf).filter((key) => !(key in of.columns) && !(key in of.computed))
    if (named.length > 0 && this.#oneIn(5)) return { kind: 'presence', key: this.#of(named), isThere: this.#oneIn(2) }
    const column = this.#of([...Object.keys(of.columns), ...Object.keys(of.computed)])
    const type = of.columns[column] ?? 'text'
    const path = type === 'jsonb' ? this.#path(true) : []
    return { kind: 'test', column, path, isNegated: this.#oneIn(4), test: this.#test(type === 'jsonb' ? 'text' : type) }
  }

  #test(type: ColumnType): Test {
    if (this.#oneIn(6)) return { kind: 'is', value: this.#of(type === 'bool' ? IS : IS.slice(0, 2)) }
    if (type === 'text[]') return { kind: 'list', by: this.#of(['cs', 'cd', 'ov'] as const), values: this.#some(2, () => this.#of(TAGS)) }
    if (this.#oneIn(6)) return { kind: 'in', values: this.#some(3, () => this.#value(type)) }
    if (this.#oneIn(8)) return { kind: 'distinct', value: this.#value(type) }
    const by = this.#of(type === 'text' ? ([...ORDERS, 'like', 'ilike', 'match', 'imatch'] as const) : ORDERS)
    const value = () => (by === 'like' || by === 'ilike' ? this.#of(PATTERNS) : by === 'match' || by === 'imatch' ? this.#of(EXPRESSIONS) : this.#value(type))
    if (by !== 'neq' && this.#oneIn(5)) return { kind: 'each', by, quantifier: this.#of(['any', 'all'] as const), values: this.#some(2, value) }
    return { kind: 'compare', by, value: value() }
  }

  #value(type: ColumnType): string {
    if (type === 'bool') return this.#of(['true', 'false'])
    if (type === 'numeric') return this.#of(['0', '0.50', '12.5', '12.50', '-1', '21'])
    return type === 'int' ? String(this.#of([-1, 0, 1, 2, 3, 5, 8, 100, 150, 1950, 1960])) : this.#of(WORDS)
  }
}

const IS = ['null', 'not_null', 'true', 'false', 'unknown'] as const
const ORDERS: readonly Compare[] = ['eq', 'neq', 'gt', 'gte', 'lt', 'lte']
const NUMBERS: ReadonlySet<ColumnType> = new Set(['int', 'numeric'])
const GROUPED: ReadonlySet<ColumnType> = new Set(['int', 'numeric', 'text', 'bool'])
const ORDERED = GROUPED
const plainOrder = (column: string): Order => ({ column, path: [], embed: null, direction: null, nulls: null })
function isNew(keys: Set<string>, names: readonly string[]): boolean {
  if (names.some((name) => keys.has(name))) return false
  for (const name of names) keys.add(name)
  return true
}

import {
  type Condition,
  type Embed,
  isEmpty,
  type Item,
  keyOf,
  keyOfItem,
  keysOf,
  keysOfEmbed,
  type Level,
  type Order,
  type Step,
  type Test,
} from './ask-fixture.ts'
import type { ColumnType, Json, Row, Scalar, Table, World } from './world-fixture.ts'

/** A slow and plain reader of requests: all rows, one after the other, and everything is looked up where it is asked for. */

export interface Answer {
  readonly rows: readonly Row[]
  /** How many there were before limit and offset. */
  readonly counted: number
}

/** @param own  the rows that the root has, where a request has written them; else those of its table that fit */
export function interpret(world: World, top: Level, own: readonly Row[] | null = null): Answer {
  const of = new Interpreter(world)
  const rows = own ?? of.fitting(top, of.seen(top.table))
  return { rows: of.shown(top, of.cut(top, of.ordered(top, rows))), counted: rows.length }
}

/** The rows of its table that fit what a request says of the root. */
export const chosen = (world: World, top: Level): readonly Row[] => {
  const of = new Interpreter(world)
  return of.fitting(top, of.seen(top.table))
}

type Truth = boolean | null
const not = (truth: Truth): Truth => (truth === null ? null : !truth)

class Interpreter {
  readonly #world: World
  constructor(world: World) {
    this.#world = world
  }

  #table(name: string): Table {
    return this.#world[name] as Table
  }

  seen(name: string): readonly Row[] {
    const { rows, isSeen } = this.#table(name)
    return rows.filter(isSeen)
  }

  fitting(level: Level, rows: readonly Row[]): readonly Row[] {
    return rows.filter(
      (row) =>
        level.embeds.every((embed) => !embed.isInner || this.#isThere(embed, row)) &&
        level.where.every((condition) => this.#holds(condition, level, row) === true),
    )
  }

  /** What an embed finds for one row of its parent. */
  #embedded({ of, level }: Embed, parent: Row): readonly Row[] {
    const tied = this.seen(of.to).filter((row) => of.ties(parent, row, this.#world))
    return this.cut(level, this.ordered(level, this.fitting(level, tied)))
  }

  /** What is counted is there, though it be none. */
  #isThere(embed: Embed, parent: Row): boolean {
    return this.shown(embed.level, this.#embedded(embed, parent)).length > 0
  }

  ordered(level: Level, rows: readonly Row[]): readonly Row[] {
    return rows.toSorted((a, b) => {
      for (const order of level.order) {
        const found = compareNulls(this.#orderedBy(order, level, a), this.#orderedBy(order, level, b), order)
        if (found !== 0) return found
      }
      return 0
    })
  }

  #orderedBy({ column, path, embed: name }: Order, level: Level, row: Row): Json {
    if (name === null) return this.#plainValue(level.table, column, path, row)
    const embed = level.embeds.find((each) => keyOf(each) === name) as Embed
    const [one] = this.fitting(
      embed.level,
      this.seen(embed.of.to).filter((each) => embed.of.ties(row, each, this.#world)),
    )
    return one ? this.#plainValue(embed.of.to, column, path, one) : null
  }

  cut({ limit, offset }: Level, rows: readonly Row[]): readonly Row[] {
    return rows.slice(offset, limit === null ? undefined : offset + limit)
  }

  shown(level: Level, rows: readonly Row[]): readonly Row[] {
    if (level.items.some(({ kind }) => kind === 'aggregate')) return this.#grouped(level, rows)
    return rows.map((row) => {
      const shown: Record<string, Json> = {}
      for (const item of level.items) Object.assign(shown, this.#itemOf(item, level, row))
      for (const embed of level.embeds) Object.assign(shown, this.#shownEmbed(embed, row))
      return shown
    })
  }

  #itemOf(item: Item, { table }: Level, row: Row): Row {
    const { columns } = this.#table(table)
    if (item.kind === 'all') return Object.fromEntries(Object.keys(columns).map((name) => [name, told(row[name] as Json, columns[name])]))
    if (item.kind === 'aggregate') return {}
    const value = this.#valueOf(table, item.column, item.path, row)
    const type = item.path.length > 0 ? undefined : columns[item.column]
    if (!item.asText) return { [keyOfItem(item)]: told(value, type) }
    return { [keyOfItem(item)]: value === null ? null : String(value) }
  }

  #shownEmbed(embed: Embed, row: Row): Row {
    const rows = this.shown(embed.level, this.#embedded(embed, row))
    if (!embed.isSpread) {
      if (isEmpty(embed.level)) return {}
      return { [keyOf(embed)]: embed.of.isToOne ? (rows[0] ?? null) : rows }
    }
    const keys = keysOf(embed.level)
    return Object.fromEntries(keys.map((key) => [key, embed.of.isToOne ? (rows[0]?.[key] ?? null) : rows.map((each) => each[key] ?? null)]))
  }

  #grouped(level: Level, rows: readonly Row[]): readonly Row[] {
    const plain = level.items.filter((item) => item.kind !== 'aggregate')
    const groups = new Map<string, { key: Row; rows: Row[] }>()
    if (plain.length + level.embeds.flatMap(keysOfEmbed).length === 0) groups.set('', { key: {}, rows: [...rows] })
    else
      for (const row of rows) {
        const key: Record<string, Json> = {}
        for (const item of plain) Object.assign(key, this.#itemOf(item, level, row))
        for (const embed of level.embeds) Object.assign(key, this.#shownEmbed(embed, row))
        const name = JSON.stringify(key)
        const group = groups.get(name) ?? { key, rows: [] }
        groups.set(name, group)
        group.rows.push(row)
      }
    return [...groups.values()].map((group) => {
      const made: Record<string, Json> = { ...group.key }
      for (const item of level.items) if (item.kind === 'aggregate') made[keyOfItem(item)] = this.#aggregate(item, level, group.rows)
      return made
    })
  }

  #aggregate({ call, column }: Extract<Item, { kind: 'aggregate' }>, { table }: Level, rows: readonly Row[]): Json {
    if (column === null) return rows.length
    const values = rows.map((row) => this.#plainValue(table, column, [], row)).filter((value) => value !== null)
    if (call === 'count') return values.length
    if (values.length === 0) return null
    const sum = () => values.reduce<number>((all, value) => all + Number(value), 0)
    if (call === 'sum') return sum()
    if (call === 'avg') return sum() / values.length
    const sorted = values.toSorted(compare)
    return (call === 'max' ? sorted.at(-1) : sorted[0]) ?? null
  }

  #holds(condition: Condition, level: Level, row: Row): Truth {
    switch (condition.kind) {
      case 'test': {
        const type: ColumnType = condition.path.length > 0 ? 'text' : (this.#table(level.table).columns[condition.column] ?? 'text')
        const value = this.#valueOf(level.table, condition.column, condition.path, row)
        const truth = testOf(condition.test, value, type)
        return condition.isNegated ? not(truth) : truth
      }
      case 'presence': {
        const embed = level.embeds.find((each) => keyOf(each) === condition.key) as Embed
        return this.#isThere(embed, row) === condition.isThere
      }
      default: {
        const truths = condition.of.map((each) => this.#holds(each, level, row))
        const decides = condition.kind === 'or'
        const all: Truth = truths.includes(decides) ? decides : truths.includes(null) ? null : !decides
        return condition.isNegated ? not(all) : all
      }
    }
  }

  #plainValue(table: string, column: string, path: readonly Step[], row: Row): Json {
    return told(this.#valueOf(table, column, path, row), path.length > 0 ? undefined : this.#table(table).columns[column])
  }

  #valueOf(table: string, column: string, path: readonly Step[], row: Row): Json {
    const give = this.#table(table).computed[column]
    let value: Json = give ? give(row) : (row[column] as Json)
    for (const { asText, at } of path) {
      if (Array.isArray(value)) value = typeof at === 'number' ? ((value as readonly Json[]).at(at) ?? null) : null
      else value = isObject(value) && typeof at === 'string' ? (value[at] ?? null) : null
      if (asText && value !== null && typeof value !== 'string') value = documentText(value)
    }
    return value
  }
}

const isObject = (value: Json): value is { readonly [key: string]: Json } => typeof value === 'object' && value !== null && !Array.isArray(value)

/** As JSON shows it; a `numeric` is kept as it is written. */
const told = (value: Json, type: ColumnType | undefined): Json => (type === 'numeric' && value !== null ? Number(value) : value)

/** As PostgreSQL writes a document: the shorter keys first. */
function documentText(value: Json): string {
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(documentText).join(', ')}]`
  if (!isObject(value)) return JSON.stringify(value)
  const keys = Object.keys(value).toSorted((a, b) => a.length - b.length || compare(a, b))
  return `{${keys.map((key) => `${JSON.stringify(key)}: ${documentText(value[key] as Json)}`).join(', ')}}`
}

/** Both not null. Text by its bytes. */
function compare(a: Json, b: Json): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  return Number(a) - Number(b)
}

function compareNulls(a: Json, b: Json, { direction, nulls }: Order): number {
  if (a === null && b === null) return 0
  if (a === null || b === null) return (a === null) === ((nulls ?? (direction === 'desc' ? 'first' : 'last')) === 'first') ? -1 : 1
  return direction === 'desc' ? compare(b, a) : compare(a, b)
}

function testOf(test: Test, value: Json, type: ColumnType): Truth {
  switch (test.kind) {
    case 'is':
      if (test.value === 'null' || test.value === 'unknown') return value === null
      return test.value === 'not_null' ? value !== null : value === (test.value === 'true')
    case 'distinct':
      return value === null || compareAs(value, test.value, type) !== 0
    case 'in':
      if (test.values.length === 0) return false
      return value === null ? null : test.values.some((each) => compareAs(value, each, type) === 0)
    case 'compare':
      return value === null ? null : compared(test.by, value, test.value, type)
    case 'each': {
      if (value === null) return test.values.length === 0 ? test.quantifier === 'all' : null
      const one = (each: string) => compared(test.by, value, each, type)
      return test.quantifier === 'any' ? test.values.some(one) : test.values.every(one)
    }
    case 'list': {
      if (value === null) return null
      const own = value as readonly Scalar[]
      const within = (a: readonly Scalar[], b: readonly Scalar[]) => a.every((each) => b.includes(each))
      if (test.by === 'cs') return within(test.values, own)
      return test.by === 'cd' ? within(own, test.values) : own.some((each) => test.values.includes(each as string))
    }
  }
}

const compareAs = (value: Json, text: string, type: ColumnType): number =>
  type === 'text' ? compare(value, text) : type === 'bool' ? Number(value) - Number(text === 'true') : Number(value) - Number(text)

function compared(by: string, value: Json, text: string, type: ColumnType): boolean {
  switch (by) {
    case 'like':
    case 'ilike':
      return likeText(text, by === 'ilike').test(String(value))
    case 'match':
    case 'imatch':
      return new RegExp(text, by === 'imatch' ? 'iu' : 'u').test(String(value))
    default: {
      const order = compareAs(value, text, type)
      switch (by) {
        case 'eq':
          return order === 0
        case 'neq':
          return order !== 0
        case 'gt':
          return order > 0
        case 'gte':
          return order >= 0
        case 'lt':
          return order < 0
        default:
          return order <= 0
      }
    }
  }
}

const likeText = (pattern: string, anyCase: boolean) =>
  new RegExp(
    `^${[...pattern].map((each) => (each === '*' || each === '%' ? '.*' : each === '_' ? '.' : each.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))).join('')}$`,
    anyCase ? 'isu' : 'su',
  )

import { type Relation, WORLD } from './world-fixture.ts'

/** A request as its parts: what the interpreter reads, and from which the query string is written. */
export interface Level {
  readonly table: string
  readonly items: readonly Item[]
  readonly embeds: readonly Embed[]
  readonly where: readonly Condition[]
  readonly order: readonly Order[]
  readonly limit: number | null
  readonly offset: number
}

export interface Step {
  readonly asText: boolean
  readonly at: string | number
}

export type Item =
  | { readonly kind: 'all' }
  | { readonly kind: 'column'; readonly column: string; readonly path: readonly Step[]; readonly alias: string | null; readonly asText: boolean }
  | { readonly kind: 'aggregate'; readonly column: string | null; readonly call: 'sum' | 'avg' | 'count' | 'max' | 'min'; readonly alias: string | null }

export interface Embed {
  readonly of: Relation
  readonly alias: string | null
  readonly isInner: boolean
  readonly isSpread: boolean
  readonly level: Level
}

export type Compare = 'eq' | 'neq' | 'gt' | 'gte' | 'lt' | 'lte' | 'like' | 'ilike' | 'match' | 'imatch' | 'cs' | 'cd' | 'ov'
export type Test =
  | { readonly kind: 'compare'; readonly by: Compare; readonly value: string }
  | { readonly kind: 'each'; readonly by: Compare; readonly quantifier: 'any' | 'all'; readonly values: readonly string[] }
  | { readonly kind: 'list'; readonly by: 'cs' | 'cd' | 'ov'; readonly values: readonly string[] }
  | { readonly kind: 'in'; readonly values: readonly string[] }
  | { readonly kind: 'is'; readonly value: 'null' | 'not_null' | 'true' | 'false' | 'unknown' }
  | { readonly kind: 'distinct'; readonly value: string }

export type Condition =
  | { readonly kind: 'test'; readonly column: string; readonly path: readonly Step[]; readonly isNegated: boolean; readonly test: Test }
  | { readonly kind: 'presence'; readonly key: string; readonly isThere: boolean }
  | { readonly kind: 'and' | 'or'; readonly isNegated: boolean; readonly of: readonly Condition[] }

export interface Order {
  readonly column: string
  readonly path: readonly Step[]
  /** By a column of what an embed to one gives. */
  readonly embed: string | null
  readonly direction: 'asc' | 'desc' | null
  readonly nulls: 'first' | 'last' | null
}

export const keyOf = ({ alias, of }: Embed): string => alias ?? of.name

export const keyOfItem = (item: Extract<Item, { kind: 'column' | 'aggregate' }>): string => {
  if (item.alias !== null) return item.alias
  if (item.kind === 'aggregate') return item.call
  const last = item.path.findLast(({ at }) => typeof at === 'string')
  return last ? String(last.at) : item.column
}

export const isEmpty = ({ items, embeds }: Level): boolean => items.length + embeds.length === 0

/** The keys of a level's rows, though there be none. */
export function keysOf({ table, items, embeds }: Level): string[] {
  const own = items.flatMap((item) => (item.kind === 'all' ? Object.keys(WORLD[table]?.columns ?? {}) : [keyOfItem(item)]))
  return [...own, ...embeds.flatMap(keysOfEmbed)]
}

/** What an embed adds to its parent's rows. */
export function keysOfEmbed(embed: Embed): string[] {
  if (embed.isSpread) return keysOf(embed.level)
  return isEmpty(embed.level) ? [] : [keyOf(embed)]
}

/** The query string of a request. */
export function queryOf(top: Level): string {
  const parts: [string, string][] = [['select', selectOf(top)]]
  parametersOf(top, '', parts)
  return parts.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')
}

function selectOf({ items, embeds }: Level): string {
  const own = items.map((item) => {
    if (item.kind === 'all') return '*'
    const alias = item.alias === null ? '' : `${item.alias}:`
    if (item.kind === 'aggregate') return `${alias}${item.column === null ? 'count()' : `${item.column}.${item.call}()`}`
    return `${alias}${item.column}${pathOf(item.path)}${item.asText ? '::text' : ''}`
  })
  const theirs = embeds.map(({ of, alias, isInner, isSpread, level }) => {
    const name = isSpread ? `...${of.name}` : `${alias === null ? '' : `${alias}:`}${of.name}`
    return `${name}${of.hint === null ? '' : `!${of.hint}`}${isInner ? '!inner' : ''}(${selectOf(level)})`
  })
  return [...own, ...theirs].join(',')
}

function parametersOf(level: Level, path: string, into: [string, string][]): void {
  for (const condition of level.where) {
    switch (condition.kind) {
      case 'test':
        into.push([`${path}${condition.column}${pathOf(condition.path)}`, `${condition.isNegated ? 'not.' : ''}${testText(condition.test, false)}`])
        break
      case 'presence':
        into.push([`${path}${condition.key}`, condition.isThere ? 'not.is.null' : 'is.null'])
        break
      default:
        into.push([`${path}${condition.isNegated ? 'not.' : ''}${condition.kind}`, `(${condition.of.map(branchText).join(',')})`])
    }
  }
  if (level.order.length > 0) into.push([`${path}order`, level.order.map(orderText).join(',')])
  if (level.limit !== null) into.push([`${path}limit`, String(level.limit)])
  if (level.offset > 0) into.push([`${path}offset`, String(level.offset)])
  for (const embed of level.embeds) parametersOf(embed.level, `${path}${keyOf(embed)}.`, into)
}

function branchText(condition: Condition): string {
  switch (condition.kind) {
    case 'test':
      return `${condition.column}${pathOf(condition.path)}.${condition.isNegated ? 'not.' : ''}${testText(condition.test, true)}`
    case 'presence':
      return `${condition.key}.${condition.isThere ? 'not.is.null' : 'is.null'}`
    default:
      return `${condition.isNegated ? 'not.' : ''}${condition.kind}(${condition.of.map(branchText).join(',')})`
  }
}

const pathOf = (path: readonly Step[]) => path.map(({ asText, at }) => `${asText ? '->>' : '->'}${at}`).join('')

function orderText({ column, path, embed, direction, nulls }: Order): string {
  const field = `${column}${pathOf(path)}`
  const named = embed === null ? field : `${embed}(${field})`
  return `${named}${direction === null ? '' : `.${direction}`}${nulls === null ? '' : `.nulls${nulls}`}`
}

/** @param isInTree  where a value ends at `,` and `)`, unless it is quoted */
function testText(test: Test, isInTree: boolean): string {
  switch (test.kind) {
    case 'compare':
      return `${test.by}.${isInTree ? treeValue(test.value) : test.value}`
    case 'distinct':
      return `isdistinct.${isInTree ? treeValue(test.value) : test.value}`
    case 'each':
      return `${test.by}(${test.quantifier}).${listText(test.values, isInTree)}`
    case 'list':
      return `${test.by}.${listText(test.values, isInTree)}`
    case 'in':
      return `in.(${test.values.map((value) => (/^[\w ]+$/.test(value) && value.trim() === value ? value : quote(value))).join(',')})`
    case 'is':
      return `is.${test.value}`
  }
}

const quote = (value: string) => `"${value.replace(/[\\"]/g, '\\$&')}"`
const treeValue = (value: string) => (/^[\w.*%^$ ]+$/.test(value) ? value : quote(value))
const listText = (values: readonly string[], isInTree: boolean) => {
  const text = `{${values.map((value) => (/^\w+$/.test(value) && value !== 'null' ? value : quote(value))).join(',')}}`
  return isInTree ? quote(text) : text
}

// What a request says, before anybody has looked whether it is there.

export type JsonStep = { readonly asText: boolean } & ({ readonly key: string } | { readonly index: number })

/** A column, and a way into it. */
export interface Field {
  readonly name: string
  readonly path: readonly JsonStep[]
}

export type Aggregate = 'sum' | 'avg' | 'count' | 'max' | 'min'

export interface SelectedField {
  readonly kind: 'field'
  /** `*` is all columns; of `count()` it is null. */
  readonly field: Field | null
  readonly alias: string | null
  readonly cast: string | null
  readonly aggregate: Aggregate | null
  readonly aggregateCast: string | null
}

export interface SelectedEmbed {
  readonly kind: 'embed'
  readonly name: string
  readonly alias: string | null
  readonly hint: string | null
  readonly join: 'inner' | 'left' | null
  readonly isSpread: boolean
  readonly items: readonly SelectItem[]
}
export type SelectItem = SelectedField | SelectedEmbed

export type Quantifier = 'any' | 'all'
export type Operation =
  | { readonly kind: 'compare'; readonly operator: string; readonly quantifier: Quantifier | null; readonly value: string }
  | { readonly kind: 'in'; readonly values: readonly string[] }
  | { readonly kind: 'is'; readonly value: 'null' | 'not_null' | 'true' | 'false' | 'unknown' }
  | { readonly kind: 'distinct'; readonly value: string }
  | { readonly kind: 'search'; readonly call: string; readonly language: string | null; readonly value: string }

export interface Filter {
  readonly kind: 'filter'
  readonly field: Field
  readonly isNegated: boolean
  readonly operation: Operation
}
export interface LogicTree {
  readonly kind: 'and' | 'or'
  readonly isNegated: boolean
  readonly of: readonly Logic[]
}
export type Logic = Filter | LogicTree

export interface OrderTerm {
  readonly field: Field
  /** The embed, to one, whose column it is. */
  readonly relation: string | null
  readonly direction: 'asc' | 'desc' | null
  readonly nulls: 'first' | 'last' | null
}

/** Which rows of a level: `max` null for all. */
export interface Range {
  readonly offset: number
  readonly max: number | null
}

/** Something said of a level: of the root where the path is empty, else of the embed that the names lead to. */
export interface At<T> {
  readonly path: readonly string[]
  readonly value: T
}

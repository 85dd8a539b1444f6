import type { Aggregate, JsonStep, Operation, Range } from '../request/grammar.ts'
import type { MediaType } from '../request/media.ts'
import type { Column, Handler, Junction, Parameter, Qualified, Relation, Routine } from '../schema/snapshot.ts'

// What is to be done, with every name resolved: no text of a request is left in it but as a value or as a name to be quoted.

/** Where a level's rows come from. */
export type Source =
  | { readonly kind: 'relation'; readonly relation: Qualified }
  /** What the statement before has written or called. */
  | { readonly kind: 'made'; readonly isCalled: boolean }
  /** A computed relationship: a function of the parent's row. */
  | { readonly kind: 'routine'; readonly routine: Qualified }

export interface FieldPlan {
  /** `*`: all columns. Null: no column, what is counted are rows. */
  readonly column: string | null
  readonly path: readonly JsonStep[]
  /** A column of another type than json, of which a part is asked. */
  readonly asJson: boolean
}
export interface SelectPlan {
  readonly field: FieldPlan
  /** The key in the answer; null for `*`, whose keys are its columns. */
  readonly key: string | null
  readonly cast: string | null
  readonly aggregate: Aggregate | null
  readonly aggregateCast: string | null
  /** The function by which a domain is shown. */
  readonly shownBy: Qualified | null
}
export type LogicPlan =
  | { readonly kind: 'and' | 'or'; readonly isNegated: boolean; readonly of: readonly LogicPlan[] }
  | {
      readonly kind: 'filter'
      readonly field: FieldPlan
      readonly isNegated: boolean
      readonly operation: Operation
      readonly asDocument: boolean
      /** The function by which a domain is read of a filter. */
      readonly readBy: Qualified | null
    }
  /** Whether an embed has rows. */
  | { readonly kind: 'presence'; readonly embed: EmbedPlan; readonly isNegated: boolean }
export interface OrderPlan {
  readonly field: FieldPlan
  /** The embed whose column it is. */
  readonly embed: EmbedPlan | null
  readonly direction: 'asc' | 'desc' | null
  readonly nulls: 'first' | 'last' | null
}

export interface ReadPlan {
  /** Its name in the statement: no other level has it. */
  readonly alias: string
  readonly source: Source
  /** Null where nothing is known of the columns: a function that returns a table of its own. */
  readonly relation: Relation | null
  readonly select: readonly SelectPlan[]
  readonly embeds: readonly EmbedPlan[]
  readonly where: readonly LogicPlan[]
  readonly order: readonly OrderPlan[]
  readonly range: Range
}
export type EmbedMode = 'object' | 'array' | 'spread-one' | 'spread-many'
export interface EmbedPlan {
  readonly key: string
  readonly name: string
  readonly mode: EmbedMode
  readonly isInner: boolean
  /** It joins and adds nothing to the answer. */
  readonly isEmpty: boolean
  /** The name of what is joined. */
  readonly joinAlias: string
  /** Columns of the parent and of this level, or of the junction between. */
  readonly columns: readonly (readonly [string, string])[]
  readonly junction: { readonly alias: string; readonly of: Junction } | null
  readonly read: ReadPlan
}

export interface WritePlan {
  readonly kind: 'insert' | 'update' | 'delete'
  readonly relation: Relation
  /** What the body brings. */
  readonly columns: readonly Column[]
  readonly json: string
  readonly isArray: boolean
  /** No row or column is written. */
  readonly isNothing: boolean
  readonly appliesDefaults: boolean
  readonly conflict: { readonly columns: readonly string[]; readonly merges: boolean } | null
  /** Whether it is to be told how many rows were new. */
  readonly countsNew: boolean
  readonly where: readonly LogicPlan[]
  /** What must hold for the row that is put. */
  readonly conditions: readonly (readonly [Column, string])[]
  /** The columns that the answer needs; null for all, none for no answer. */
  readonly returning: readonly string[] | null
}

export type Argument = { readonly parameter: Parameter; readonly value: string | readonly string[] | null }
export interface CallPlan {
  readonly routine: Routine
  readonly arguments:
    | { readonly kind: 'direct'; readonly of: readonly Argument[] }
    | { readonly kind: 'json'; readonly json: string; readonly parameters: readonly Parameter[] }
    | { readonly kind: 'whole'; readonly value: string | Buffer; readonly parameter: Parameter }
}

export type DataPlan =
  | { readonly kind: 'read'; readonly read: ReadPlan; readonly shape: Shape }
  | { readonly kind: 'write'; readonly write: WritePlan; readonly read: ReadPlan; readonly shape: Shape }
  | { readonly kind: 'call'; readonly call: CallPlan; readonly read: ReadPlan; readonly shape: Shape }
  | { readonly kind: 'describe'; readonly allow: string }
  /** What there is, as a document. */
  | { readonly kind: 'root'; readonly schema: string }

/** In what form an answer is told: of those that are built in, or of one of the project's own. */
export type MediaPlan =
  | Extract<MediaType, { readonly kind: 'json' | 'csv' | 'array' | 'object' | 'plan' }>
  /** @param takes  the relation whose rows it takes; null for anything */
  | { readonly kind: 'custom'; readonly handler: Handler; readonly takes: Qualified | null }
  /** Features of a map, each made of a row. */
  | { readonly kind: 'geojson'; readonly by: Qualified }

/** How the answer looks. */
export interface Shape {
  readonly media: MediaPlan
  /** A function's value: bare, or a list of them. */
  readonly value: 'rows' | 'row' | 'scalar' | 'scalars' | 'none'
  /** The columns that name the new row. */
  readonly location: readonly string[] | null
}

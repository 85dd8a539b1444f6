/** What a project's database has, as far as requests can speak of it; read at one moment and never changed. */
export interface Snapshot {
  readonly settings: DataSettings
  /** By schema and name: `nameOf`. */
  readonly relations: ReadonlyMap<string, Relation>
  /** By the relation that they start from. */
  readonly relationships: ReadonlyMap<string, readonly Relationship[]>
  /** By schema and name; several where it is overloaded. */
  readonly routines: ReadonlyMap<string, readonly Routine[]>
  /** Types that are one of a few words. */
  readonly enums: readonly (Qualified & { readonly values: readonly string[] })[]
  readonly handlers: Handlers
  /** The function that makes a feature of a map of a row, where there is one. */
  readonly geojson: Qualified | null
  /** Settings attached to roles, by role: `statement_timeout` and such. */
  readonly roleSettings: ReadonlyMap<string, ReadonlyMap<string, string>>
  /** Whether a trigger can do what no rollback takes back: by a language that is not trusted, or in another server. */
  readonly actsOutside: boolean
  /** Whether a function of the project may set something for longer than its transaction. */
  readonly leavesSettings: boolean
  /** Whether the database tells by itself when its schema changes. */
  readonly isAnnounced: boolean
}

/** Forms of answers that the project has made itself, by media type; a wildcard stands for each. */
export interface Handlers {
  /** Aggregates over rows of a relation, by `nameOf` it. */
  readonly relations: ReadonlyMap<string, ReadonlyMap<string, Handler>>
  /** Functions whose value has its form already. */
  readonly routines: ReadonlyMap<string, ReadonlyMap<string, Handler>>
  /** Aggregates over anything. */
  readonly any: ReadonlyMap<string, Handler>
}
export interface Handler {
  /** Null where the value is as it is to be told. */
  readonly aggregate: Qualified | null
  readonly contentType: string
  /** Told as the bytes that it is, not as text. */
  readonly isBytes: boolean
}

/** What the settings `pgrst.*` of the login role say, with what holds without them. */
export interface DataSettings {
  readonly schemas: readonly string[]
  readonly extraSearchPath: readonly string[]
  readonly maxRows: number | null
  readonly hasAggregates: boolean
  readonly hasPlans: boolean
  /** Schema and name of a function that runs before each request. */
  readonly preRequest: string | null
  readonly mayRollBack: boolean
  readonly rollsBack: boolean
}

export interface Qualified {
  readonly schema: string
  readonly name: string
}
export const qualified = ({ schema, name }: Qualified): Qualified => ({ schema, name })
export const nameOf = ({ schema, name }: Qualified): string => JSON.stringify([schema, name])

export interface Column {
  readonly name: string
  /** As SQL says it, quoted and with its schema where it needs one. */
  readonly type: string
  /** The name of the type below all domains: `jsonb`, `tsvector`. */
  readonly baseType: string
  /** Where that type is. */
  readonly baseSchema: string
  readonly isNullable: boolean
  /** An expression; null where there is none. */
  readonly default: string | null
  readonly isGenerated: boolean
  readonly description: string | null
  readonly enumValues: readonly string[] | null
  readonly casts: Casts
}

/** How a domain is shown, given in a body and given in a filter, where it says so itself: functions of one value. */
export interface Casts {
  readonly toJson: Qualified | null
  readonly fromJson: Qualified | null
  readonly fromText: Qualified | null
}
export const NO_CASTS: Casts = { toJson: null, fromJson: null, fromText: null }

export interface Relation extends Qualified {
  readonly isView: boolean
  readonly columns: ReadonlyMap<string, Column>
  readonly primaryKey: readonly string[]
  readonly isInsertable: boolean
  readonly isUpdatable: boolean
  readonly isDeletable: boolean
  readonly description: string | null
}

export type Cardinality = 'many-to-one' | 'one-to-many' | 'one-to-one' | 'many-to-many' | 'computed'
export type ColumnPairs = readonly (readonly [string, string])[]

export interface Relationship {
  readonly cardinality: Cardinality
  readonly from: Qualified
  readonly to: Qualified
  readonly isToOne: boolean
  readonly isSelf: boolean
  readonly toIsView: boolean
  /** The name of the constraint; of many to many it is null. */
  readonly constraint: string | null
  /** Columns of `from` and of `to` that are equal; of many to many none. */
  readonly columns: ColumnPairs
  readonly junction: Junction | null
  /** Of a computed one: what is called with the row. */
  readonly routine: Qualified | null
}

export interface Junction extends Qualified {
  readonly constraints: readonly [string, string]
  /** Columns of `from` and of the junction. */
  readonly fromColumns: ColumnPairs
  /** Columns of the junction and of `to`. */
  readonly toColumns: ColumnPairs
}

export interface Parameter {
  /** Empty where it has none. */
  readonly name: string
  readonly type: string
  readonly baseType: string
  readonly baseSchema: string
  readonly isRequired: boolean
  readonly isVariadic: boolean
}

/** A value that a function returns by a name of its own. */
export type Output = Pick<Parameter, 'name' | 'baseType' | 'baseSchema'>

export interface Routine extends Qualified {
  readonly parameters: readonly Parameter[]
  readonly volatility: 'volatile' | 'stable' | 'immutable'
  readonly returnsSet: boolean
  readonly returns: 'void' | 'scalar' | 'row'
  readonly returnBase: string
  readonly returnBaseSchema: string
  /** The relation whose rows it returns. */
  readonly relation: Qualified | null
  /** What it returns by name: columns of `returns table`, arguments that go out. */
  readonly outputs: readonly Output[]
  /** The relation that it computes something of: that of its one argument, a row. */
  readonly computes: Qualified | null
  /** What it sets while it runs, and what holds for the whole transaction then. */
  readonly settings: ReadonlyMap<string, string>
  readonly description: string | null
}

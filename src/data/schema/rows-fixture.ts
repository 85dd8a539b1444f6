import type { RelationRow } from './store.ts'

type ColumnRow = RelationRow['columns'][number]

/** A column as the catalogue of PostgreSQL tells it. */
export const columnRow = (number: number, name: string, base: string, more: Partial<ColumnRow> = {}): ColumnRow => ({
  number,
  name,
  type: base,
  base,
  baseSchema: 'pg_catalog',
  nullable: true,
  default: null,
  generated: false,
  description: null,
  enum: null,
  casts: null,
  ...more,
})

/** A table whose key is its first column. */
export const relationRow = (oid: string, name: string, columns: RelationRow['columns'], more: Partial<RelationRow> = {}): RelationRow => ({
  oid,
  schema: 'public',
  name,
  kind: 'r',
  isPartition: false,
  updatable: 28,
  description: null,
  columns,
  unique: [{ primary: true, columns: [1] }],
  query: null,
  ...more,
})

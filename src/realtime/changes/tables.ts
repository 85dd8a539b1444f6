import type { Sql } from '../../backends/database/database.ts'
import { quoteIdentifier } from '../../backends/database/postgres.ts'
import { type KeyColumn, selectKey, selectTypes } from '../store.ts'
import type { Relation } from './pgoutput.ts'
import type { SqlType } from './values.ts'

/** What has to be known of a table to tell its changes. */
export interface Table {
  readonly relation: Relation
  /** Quoted, with its schema. */
  readonly sql: string
  /** The type of each column; null for one that is gone since. */
  readonly types: readonly (SqlType | null)[]
  /** Places of the primary key's columns in the relation; empty without one, or when it has changed since. */
  readonly key: readonly number[]
  readonly keyColumns: readonly KeyColumn[]
}

const MOST_TYPES = 10_000

/** Types and tables as the catalogues have them, kept as long as the stream tells no other form. */
export class Tables {
  readonly #sql: Sql
  readonly #types = new Map<number, SqlType>()
  readonly #tables = new Map<number, Table>()

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async of(relation: Relation): Promise<Table> {
    const known = this.#tables.get(relation.oid)
    // After a change of its form the stream tells the table anew.
    if (known?.relation === relation) return known
    const types = await this.types(relation.columns.map((column) => column.typeOid))
    const key = await selectKey(this.#sql, relation.oid)
    const places = key.map(({ name }) => relation.columns.findIndex((column) => column.name === name))
    const keyTypes = await this.types(key.map(({ typeOid }) => typeOid))
    const whole = places.every((place) => place !== -1) && key.every(({ typeOid }) => keyTypes.has(typeOid))
    const table: Table = {
      relation,
      sql: `${quoteIdentifier(relation.schema)}.${quoteIdentifier(relation.name)}`,
      types: relation.columns.map((column) => types.get(column.typeOid) ?? null),
      key: whole ? places : [],
      keyColumns: whole ? key.map(({ name, typeOid }) => ({ name: quoteIdentifier(name), type: (keyTypes.get(typeOid) as SqlType).sql })) : [],
    }
    this.#tables.set(relation.oid, table)
    return table
  }

  async types(oids: readonly number[]): Promise<ReadonlyMap<number, SqlType>> {
    const missing = [...new Set(oids)].filter((oid) => !this.#types.has(oid))
    if (missing.length > 0) {
      if (this.#types.size > MOST_TYPES) this.#types.clear()
      const wanted = this.#types.size === 0 ? [...new Set(oids)] : missing
      for (const row of await selectTypes(this.#sql, wanted))
        this.#types.set(row.oid, {
          oid: row.oid,
          name: row.name,
          sql: `${quoteIdentifier(row.schema)}.${quoteIdentifier(row.name)}`,
          category: row.category,
          base: row.base,
          element:
            row.elementBase === null ? null : { base: row.elementBase, category: row.elementCategory as string, delimiter: row.elementDelimiter as string },
        })
    }
    return this.#types
  }
}

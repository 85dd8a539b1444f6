import { quoteIdentifier } from '../../backends/database/postgres.ts'
import type { Qualified } from '../schema/snapshot.ts'

/** A statement in the making: whatever comes from a request becomes a value or a quoted name. */
export class Values {
  readonly all: unknown[] = []

  /** @returns the `$n` that stands for it */
  add(value: unknown): string {
    this.all.push(value)
    return `$${this.all.length}`
  }
}

export const quoted = quoteIdentifier
export const qualifiedName = ({ schema, name }: Qualified): string => `${quoted(schema)}.${quoted(name)}`
/** A text of ours or of the database's own, such as a column's name as a key. */
export const list = (parts: readonly string[]): string => parts.join(', ')

import { quoteIdentifier } from '../../backends/database/postgres.ts'
import { LIMITS } from '../../core/limits.ts'
import { DataError } from '../errors.ts'
import type { Qualified } from '../schema/snapshot.ts'

/** A statement in the making: whatever comes from a request becomes a value or a quoted name. */
export class Values {
  readonly all: unknown[] = []
  #joins = 0

  /** @returns the `$n` that stands for it */
  add(value: unknown): string {
    this.all.push(value)
    return `$${this.all.length}`
  }

  /**
   * Something is joined. An embed that decides the order or the count stands in the text once more, with all that lies in
   * it: few words could ask for a text that doubles with each level.
   * @throws DataError PGRST100
   */
  join(): void {
    this.#joins++
    if (this.#joins > LIMITS.dataJoins.value) throw new DataError('PGRST100', `a request may need ${LIMITS.dataJoins.value} joins`)
  }
}

/**
 * How many rows are asked for. A number that many requests have stands in the text: PostgreSQL plans a statement whose
 * bound it does not know anew each time, which takes as long as to run it. Others would be a text, and a plan, for each.
 */
export const limitText = (max: number, values: Values): string =>
  max <= 100 || (max <= 10_000 && max % 1_000 === 0) ? ` limit ${Math.trunc(max)}` : ` limit ${values.add(String(max))}::bigint`

/** How many are left out before them, if any. The first pages of ten, twenty or more stand in the text, for the same reason. */
export const offsetText = (offset: number, values: Values): string => {
  if (offset === 0) return ''
  return offset <= 200 && offset % 10 === 0 ? ` offset ${Math.trunc(offset)}` : ` offset ${values.add(String(offset))}::bigint`
}

export const quoted = quoteIdentifier
export const qualifiedName = ({ schema, name }: Qualified): string => `${quoted(schema)}.${quoted(name)}`
export const list = (parts: readonly string[]): string => parts.join(', ')

/** What says of a spread embed that it found a row; beside the keys of its rows, of which none begins with a blank. */
export const PRESENT = quoted(' present')

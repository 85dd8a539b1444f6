import { type Database, DatabaseError } from '../../backends/database/database.ts'
import { asIdentity, type SqlIdentity } from '../../core/session.ts'
import { limitTime, selectRights, selectVisible } from '../store.ts'
import type { Change } from './pgoutput.ts'
import type { Table } from './tables.ts'

/** What one identity may be told of the changes of one table. */
export interface Seen {
  /** Null when the table is gone. */
  readonly columns: ReadonlySet<string> | null
  /** Row-level security is in force for it. */
  readonly filtered: boolean
  readonly visible: ReadonlySet<Change>
}

const POLICY_MS = 5_000
const NOTHING: Seen = { columns: null, filtered: true, visible: new Set() }

/**
 * Asks PostgreSQL, in the role and with the claims of a subscriber, which of these rows it sees. One question for all
 * changes of a table at once; nothing here knows what a policy says.
 * @throws DatabaseError when the database is away
 */
export async function authorise(roles: Database, identity: SqlIdentity, table: Table, changes: readonly Change[]): Promise<Seen> {
  // A deleted row can be read by nobody: it is told by its key alone, to all who may read the table.
  const rows = changes.filter((change) => change.type !== 'DELETE')
  const ask = (asked: readonly Change[]) =>
    asIdentity(roles, identity, async (tx): Promise<Seen> => {
      await limitTime(tx, POLICY_MS)
      const [rights] = await selectRights(tx, table.relation.oid)
      if (!rights) return NOTHING
      const columns = new Set(rights.columns)
      const keyed = table.key.length > 0 && table.key.every((place) => columns.has(table.relation.columns[place]?.name ?? ''))
      if (!rights.filtered || !keyed || asked.length === 0) return { columns, filtered: rights.filtered, visible: new Set(rights.filtered ? [] : asked) }
      const keys = table.key.map((place) => asked.map((change) => change.record?.[place] ?? ''))
      const visible = await selectVisible(tx, table.sql, table.keyColumns, keys)
      return { columns, filtered: true, visible: new Set(visible.map(({ at }) => asked[at - 1] as Change)) }
    })
  try {
    return await ask(rows)
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.isAway) throw error
    // A policy failed, perhaps at one row only: that one is not seen, the others are asked for alone. One that takes too long is not asked again.
    if (rows.length <= 1 || error.sqlState === QUERY_CANCELED) return NOTHING
    const visible = new Set<Change>()
    let last = NOTHING
    for (const row of rows) {
      try {
        last = await ask([row])
        for (const seen of last.visible) visible.add(seen)
      } catch (single) {
        if (!(single instanceof DatabaseError) || single.isAway) throw single
        if (single.sqlState === QUERY_CANCELED) break
      }
    }
    return { ...last, visible }
  }
}
const QUERY_CANCELED = '57014'

import pg from 'pg'
import type { Connection } from './database.ts'

export interface Difference {
  /** Statements that make the one what the other is, in an order in which they run. */
  readonly statements: readonly { readonly sql: string; readonly losesRows: boolean; readonly inTransaction: boolean }[]
  /** What was seen and is not compared. */
  readonly notCompared: readonly string[]
}

/**
 * What has to be run in one database so that it has what the other has: schemas, tables, functions, policies, rights, no
 * rows. Both are read in sessions of the roles that the connections name, whose rights are all that what was found runs by:
 * so policies in schemas of the node are left out, but those that the owner made for its files.
 * @throws DatabaseError, or what the library met
 */
export async function difference(from: Connection, to: Connection, schemasOfTheNode: readonly string[]): Promise<Difference> {
  // Who compares loads it: it is larger than the rest of what a node starts with.
  const [{ extract }, { plan }] = await Promise.all([import('@supabase/pg-delta/extract'), import('@supabase/pg-delta/plan')])
  await using opened = new AsyncDisposableStack()
  const read = async (connection: Connection) => {
    const pool = opened.adopt(new pg.Pool({ ...connection, max: 1, application_name: 'mayfly', connectionTimeoutMillis: 10_000 }), (one) => one.end())
    pool.on('error', () => {})
    return await extract(pool)
  }
  const [source, desired] = await Promise.all([read(from), read(to)])
  const made = plan(source.factBase, desired.factBase, {
    policy: {
      id: 'owner',
      filter: [
        {
          match: {
            all: [{ kind: 'policy' }, { schema: [...schemasOfTheNode] }, { any: [{ not: { schema: ['storage', 'realtime'] } }, { name: 'mayfly: *' }] }],
          },
          action: 'exclude',
        },
        // The node's own, on tables whose rows start functions.
        { match: { all: [{ kind: 'trigger' }, { name: 'mayfly_row_*' }] }, action: 'exclude' },
      ],
    },
  })
  return {
    statements: [
      ...made.preamble.map(({ name, value }) => ({ sql: `set ${name} = ${value}`, losesRows: false, inTransaction: true })),
      ...made.actions.map(({ sql, dataLoss, transactionality }) => ({
        sql,
        losesRows: dataLoss === 'destructive',
        inTransaction: transactionality === 'transactional',
      })),
    ],
    notCompared: [...source.diagnostics, ...desired.diagnostics].filter(({ code }) => code === 'unmodeled_kind').map(({ message }) => message),
  }
}

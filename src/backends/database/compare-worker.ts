import { parentPort, workerData } from 'node:worker_threads'
import { extract } from '@supabase/pg-delta/extract'
import { plan } from '@supabase/pg-delta/plan'
import pg from 'pg'
import type { Compared, Difference } from './compare.ts'
import type { Connection } from './database.ts'

// One comparison beside the thread that serves: the library alone, which is larger than what a node starts with, takes it for long.
const { from, to, schemasOfTheNode } = workerData as Compared
parentPort?.postMessage(await difference())

async function difference(): Promise<Difference> {
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

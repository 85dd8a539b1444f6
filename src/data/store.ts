import type { Sql } from '../backends/database/database.ts'

/** Ends what a session runs; the session stays. */
export const cancelBackend = (sql: Sql, pid: number) => sql`select pg_cancel_backend(${pid})`

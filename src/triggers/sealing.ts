import { type Connection, DatabaseError } from '../backends/database/database.ts'
import { SqlSession } from '../backends/database/sql-session.ts'
import { endWriters, isOutboxEmpty, lockOutbox } from './store.ts'

/** How long who is in the middle of causing an event may take to end by itself. */
const GRACE_MS = 1_000
/** How long a session takes at most that was ended. */
const ENDED_MS = 10_000
const LOCK_NOT_AVAILABLE = '55P03'

/**
 * Keeps everybody from committing an event of a project until it is disposed of: by a lock, which whoever adds one waits for.
 * @returns null when an event lies there already
 * @throws DatabaseError
 */
export async function sealOutbox(connection: Connection): Promise<AsyncDisposable | null> {
  await using opening = new AsyncDisposableStack()
  const session = opening.use(await SqlSession.open(connection, 'own'))
  await session.run('begin')
  try {
    await lockOutbox(session, GRACE_MS)
  } catch (error) {
    if (!(error instanceof DatabaseError && error.sqlState === LOCK_NOT_AVAILABLE)) throw error
    await session.run('rollback')
    await endWriters(session)
    await session.run('begin')
    await lockOutbox(session, ENDED_MS)
  }
  if (!(await isOutboxEmpty(session))) return null
  await endWriters(session)
  return opening.move()
}

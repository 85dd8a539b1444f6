import { type Databases, DatabaseError, type Tx } from '../backends/database/database.ts'
import { asIdentity, type SqlIdentity, takeRole } from '../core/session.ts'
import { insertProbes, limitTime, mayWrite, selectProbes, setTopic } from './store.ts'

export interface Right {
  readonly read: boolean
  readonly write: boolean
}
/** What somebody may do in a channel. */
export interface Rights {
  readonly broadcast: Right
  readonly presence: Right
}

const both = { read: true, write: true }
/** In a public channel, and of who sees all rows. */
export const ALL_RIGHTS: Rights = { broadcast: both, presence: both }

/** A policy that takes long is no reason for all to wait. */
const POLICY_MS = 5_000
const KINDS = ['broadcast', 'presence'] as const
const SERVICE: SqlIdentity = { role: 'service_role', claims: { role: 'service_role' } }

/**
 * What the policies on `realtime.messages` let somebody do in a private channel: whether he would see rows of it, and might
 * write some. Nothing stays of the rows, and nothing here knows what a policy says.
 * @returns null when PostgreSQL refuses to say, as where a policy fails: then he may do nothing
 * @throws DatabaseError when the database is away
 */
export async function rightsIn(databases: Databases, project: string, identity: SqlIdentity, topic: string): Promise<Rights | null> {
  return await takenBack(databases, project, SERVICE, async (tx) => {
    await limitTime(tx, POLICY_MS)
    await setTopic(tx, topic)
    const probes = await insertProbes(tx, topic, KINDS)
    await takeRole(tx, identity.role, identity.claims)
    const seen = await selectProbes(
      tx,
      probes.map(({ id }) => id),
    )
    const rights = { broadcast: { read: false, write: false }, presence: { read: false, write: false } }
    for (const kind of KINDS) {
      const [written] = await mayWrite(tx, topic, kind)
      rights[kind] = { read: seen.some(({ extension }) => extension === kind), write: written?.may === true }
    }
    return rights
  })
}

/** Of these channels those that somebody may send to. @throws DatabaseError when the database is away */
export async function writableOf(databases: Databases, project: string, identity: SqlIdentity, topics: readonly string[]): Promise<ReadonlySet<string>> {
  const writable = new Set<string>()
  for (const topic of topics) {
    const may = await takenBack(databases, project, identity, async (tx) => {
      await limitTime(tx, POLICY_MS)
      await setTopic(tx, topic)
      return (await mayWrite(tx, topic, 'broadcast'))[0]?.may === true
    })
    if (may === true) writable.add(topic)
  }
  return writable
}

class TakenBack extends Error {}

async function takenBack<T>(databases: Databases, project: string, identity: SqlIdentity, work: (tx: Tx) => Promise<T>): Promise<T | null> {
  let found: T | null = null
  try {
    await asIdentity(await databases.openRoles(project), identity, async (tx) => {
      found = await work(tx)
      throw new TakenBack()
    })
  } catch (error) {
    if (error instanceof TakenBack) return found
    if (!(error instanceof DatabaseError) || error.isAway) throw error
  }
  return null
}

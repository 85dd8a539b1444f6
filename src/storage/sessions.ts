import { type Database, DatabaseError, type Databases, type Tx } from '../backends/database/database.ts'
import type { Principal } from '../core/principal.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { asIdentity, identityOf } from '../core/session.ts'
import { asStorageError } from './errors.ts'
import { setOperation } from './store.ts'

/** Who asks for something, in which project. */
export interface Caller {
  readonly project: Pick<Project, 'id' | 'ref'>
  readonly principal: Principal
  /** How many functions stand behind it. */
  readonly depth: number
  /** The address it came from, for the events that it causes; null from inside. */
  readonly address: string | null
}

const DEADLOCK = '40P01'
const TRIES = 4

/** Transactions in a caller's role: what users wrote (policies, triggers) runs in no other session. */
export class Sessions {
  readonly #databases: Databases

  constructor(databases: Databases) {
    this.#databases = databases
  }

  /**
   * One that met another head-on (two that rename or delete the same objects in another order) is begun anew.
   * @param operation  what policies see as `storage.operation()`
   * @throws StorageError for what PostgreSQL refuses
   */
  async as<T>({ project, principal, depth, address }: Caller, operation: string, work: (tx: Tx) => Promise<T>): Promise<T> {
    const identity = identityOf(principal)
    const roles = await this.#databases.openRoles(project.ref)
    for (let tries = 1; ; tries++) {
      try {
        return await asIdentity(roles, identity, async (tx) => {
          await setOperation(tx, { operation, depth, address })
          return await work(tx)
        })
      } catch (error) {
        if (tries < TRIES && error instanceof DatabaseError && error.sqlState === DEADLOCK) continue
        throw asStorageError(error)
      }
    }
  }

  /** The same, and nothing of it stays: would it be allowed? */
  async dryRun<T>(caller: Caller, operation: string, work: (tx: Tx) => Promise<T>): Promise<T> {
    let result: { readonly value: T } | null = null
    try {
      await this.as(caller, operation, async (tx) => {
        result = { value: await work(tx) }
        throw new DryRun()
      })
    } catch (error) {
      if (!(error instanceof DryRun)) throw error
    }
    return (result as unknown as { readonly value: T }).value
  }

  /** As `authenticator`, for what does not depend on who asks. */
  async asNobody<T>(ref: ProjectRef, work: (tx: Tx) => Promise<T>): Promise<T> {
    return await (await this.#databases.openRoles(ref)).transaction(work)
  }

  /** Our own role: for tables that no user can write and for definitions. */
  async own(ref: ProjectRef): Promise<Database> {
    return await this.#databases.openProject(ref)
  }
}

class DryRun extends Error {}

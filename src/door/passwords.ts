import type { Database } from '../backends/database/database.ts'
import type { Project } from '../core/project.ts'
import type { SealPlace, Sealer } from '../core/seal.ts'
import { randomToken } from '../lib/ids.ts'
import { verifierOf } from './scram.ts'
import { insertPassword, replacePassword, selectPassword } from './store.ts'

const placeOf = ({ id }: Project): SealPlace => ({ project: id, table: 'database_password', column: 'value', row: id })

/** The password of a project's database: made when it is first asked for, so that nobody has one that nobody wanted. */
export class Passwords {
  readonly #database: Database
  readonly #sealer: Sealer

  constructor(database: Database, sealer: Sealer) {
    this.#database = database
    this.#sealer = sealer
  }

  async reveal(project: Project): Promise<string> {
    const { sql } = this.#database
    const [known] = await selectPassword(sql, project.id)
    if (!known) await insertPassword(sql, (await this.#fresh(project)).row)
    const [row] = known ? [known] : await selectPassword(sql, project.id)
    if (!row) throw new Error('a password that was written is not there')
    return this.#sealer.open(placeOf(project), row.value).toString('utf8')
  }

  /** The one before opens nothing from here on. */
  async rotate(project: Project): Promise<string> {
    const { password, row } = await this.#fresh(project)
    await replacePassword(this.#database.sql, row)
    return password
  }

  async #fresh(project: Project) {
    const password = randomToken(24)
    const value = this.#sealer.seal(placeOf(project), Buffer.from(password))
    return { password, row: { projectId: project.id, value, verifier: await verifierOf(password) } }
  }
}

import { createHash } from 'node:crypto'
import { type Database, DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Principal } from '../core/principal.ts'
import type { Project } from '../core/project.ts'
import type { Clock } from '../lib/clock.ts'
import { randomToken, uuidv7 } from '../lib/ids.ts'
import {
  countDeployTokens,
  deleteDeployToken,
  deleteEndedTokens,
  type DeployTokenRow,
  insertDeployToken,
  lockProjectOfTokens,
  selectDeployToken,
  selectDeployTokens,
  touchDeployToken,
} from './store.ts'

export type DeployToken = DeployTokenRow

const PREFIX = 'mayfly_token_'
/** It says whose it is, so that who has it need not be told; what opens is what stands behind that. */
const FORM = /^mayfly_token_[a-z][a-z0-9-]{1,39}_[\w-]{43}$/
const NAME = /^[a-zA-Z0-9_.-]{1,64}$/
const HOUR_MS = 3_600_000
const TOUCH_MS = 60_000
const sha256 = (text: string) => createHash('sha256').update(text).digest()

export const isDeployToken = (text: string): boolean => text.startsWith(PREFIX)

/**
 * What a build server shows: of one project, for deploying alone, until a day. Each use asks the database, so that a
 * token that was revoked or has ended opens nothing from that moment on, by the database's clock.
 */
export class DeployTokens {
  readonly #database: Database
  readonly #clock: Clock

  constructor(database: Database, clock: Clock) {
    this.#database = database
    this.#clock = clock
  }

  /** The token in clear, once. @throws MayflyError bad_request, deploy_token_exists, deploy_tokens_full */
  async create(project: Project, name: string, hours: number): Promise<{ readonly token: string; readonly row: DeployToken }> {
    if (!NAME.test(name)) throw new MayflyError('bad_request', 'name: 1 to 64 letters, digits, `-`, `_` and `.`')
    const most = LIMITS.deployTokenTime.value / HOUR_MS
    if (!Number.isInteger(hours) || hours < 1 || hours > most) throw new MayflyError('bad_request', `hours: a whole number from 1 to ${most}`)
    const token = `${PREFIX}${project.ref}_${randomToken(32)}`
    try {
      return await this.#database.transaction(async (tx) => {
        await lockProjectOfTokens(tx, project.id)
        if (await this.#isFull(tx, project)) await deleteEndedTokens(tx, project.id)
        if (await this.#isFull(tx, project))
          throw new MayflyError('deploy_tokens_full', `the project has ${LIMITS.deployTokens.value} tokens that have not ended`)
        const [row] = await insertDeployToken(tx, {
          id: uuidv7(this.#clock.now()),
          projectId: project.id,
          name,
          hash: sha256(token),
          lastsMs: hours * HOUR_MS,
        })
        return { token, row: row as DeployToken }
      })
    } catch (error) {
      if (error instanceof DatabaseError && error.sqlState === '23505') throw new MayflyError('deploy_token_exists', `there is a token ${name} already`)
      throw error
    }
  }

  async list(project: Project): Promise<readonly DeployToken[]> {
    return await selectDeployTokens(this.#database.sql, project.id)
  }

  /** It opens nothing any more. @throws MayflyError deploy_token_not_found */
  async revoke(project: Project, name: string): Promise<void> {
    const [gone] = await deleteDeployToken(this.#database.sql, project.id, name.replaceAll('\0', ''))
    if (!gone) throw new MayflyError('deploy_token_not_found', 'the project has no token of this name')
  }

  /** Null when it is none, or was revoked. @throws MayflyError deploy_token_invalid when it has ended */
  async verify(text: string): Promise<Principal | null> {
    if (!FORM.test(text)) return null
    const [row] = await selectDeployToken(this.#database.sql, sha256(text))
    if (!row) return null
    if (row.hasEnded) throw new MayflyError('deploy_token_invalid', 'this deploy token has ended')
    if (row.unusedMs === null || row.unusedMs > TOUCH_MS) await touchDeployToken(this.#database.sql, row.id)
    return { kind: 'deployer', project: row.ref, keyId: row.id }
  }

  async #isFull(tx: Parameters<typeof countDeployTokens>[0], project: Project): Promise<boolean> {
    const [row] = await countDeployTokens(tx, project.id)
    return (row?.count ?? 0) >= LIMITS.deployTokens.value
  }
}

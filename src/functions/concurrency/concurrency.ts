import type { Database, Tx } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import { bumpProjectVersion } from '../../core/store.ts'
import type { Clock } from '../../lib/clock.ts'
import type { FunctionDefinition } from '../types.ts'
import { heldBack } from './held-back.ts'
import { OF_DEFINITION, OF_LAMBDA, type Words } from './refusals.ts'
import {
  countProjectsWithFunctions,
  deleteProvisioning,
  deleteReserved,
  type ProjectShare,
  type Provisioning,
  selectAllProvisionings,
  selectProjectShare,
  selectProjectShares,
  selectProvisionings,
  selectReservations,
  selectReserved,
  sumsOf,
  upsertProjectShare,
  upsertProvisioning,
  upsertReserved,
} from './store.ts'

const AGAIN_MS = 1_000
/** Of a project of which nothing is said. */
const USUAL: ProjectShare = { concurrency: null, weight: 1 }

/** What one project may count on by the Lambda API; what the node really runs at once is a setting of its own, and smaller. */
const ACCOUNT_CONCURRENCY = LIMITS.projectConcurrency.value
/** So much of it always stays for functions without a reservation. */
const MIN_UNRESERVED = LIMITS.unreservedConcurrency.value

export interface ConcurrencyDeps {
  readonly control: Database
  readonly clock: Clock
  /** How many calls the node runs at once; without it nothing bounds what is held back. */
  readonly slots?: number
  /** Told when what is provisioned may have changed. */
  readonly provisioningChanged?: () => void
}

/**
 * What functions reserve and provision, and what projects have. Reservations are known to this process at any moment, for each call asks for
 * them; they are read again when the project of one was changed.
 */
export class Concurrency implements Disposable {
  readonly #deps: ConcurrencyDeps
  #reserved: ReadonlyMap<string, number> = new Map()
  #total = 0
  #projects = 0
  #shares: ReadonlyMap<string, ProjectShare> = new Map()
  #mostWeight = 1
  #reading: Promise<void> | null = null
  #again = false
  #closed = false
  #later: Disposable | null = null

  constructor(deps: ConcurrencyDeps) {
    this.#deps = deps
  }

  /** Null where nothing is reserved. */
  of(functionId: string): number | null {
    return this.#reserved.get(functionId) ?? null
  }

  /** How many slots of the node are kept free for them. */
  get total(): number {
    return this.#total
  }

  /** How many projects have functions. */
  get projects(): number {
    return this.#projects
  }

  /** How much of a full node a project has beside others. */
  weightOf(project: string): number {
    return (this.#shares.get(project) ?? USUAL).weight
  }

  /** The largest of them. */
  get mostWeight(): number {
    return this.#mostWeight
  }

  /** How many calls a project may run at once; null where nobody has said that. */
  mostOf(project: string): number | null {
    return (this.#shares.get(project) ?? USUAL).concurrency
  }

  /** Are sandboxes of its functions to be kept loaded? */
  async hasProvisioned(project: ProjectRef): Promise<boolean> {
    return (await selectAllProvisionings(this.#deps.control.sql)).some((one) => one.project === project)
  }

  /** As the database has it. */
  async shareOf(project: ProjectRef): Promise<ProjectShare> {
    return (await selectProjectShare(this.#deps.control.sql, project)) ?? USUAL
  }

  /** In force when it resolves. @throws MayflyError project_not_found */
  async setShare(project: ProjectRef, share: ProjectShare): Promise<void> {
    await this.#deps.control.transaction(async (tx) => {
      if ((await bumpProjectVersion(tx, project)).length === 0) throw new MayflyError('project_not_found', `there is no project ${project}`)
      await upsertProjectShare(tx, project, share)
    })
    await this.refresh()
  }

  /** Reads the reservations again; whoever asks meanwhile waits for one that began after it asked. */
  async refresh(): Promise<void> {
    if (this.#reading) {
      this.#again = true
      return await this.#reading
    }
    this.#reading = this.#read()
    try {
      await this.#reading
    } finally {
      this.#reading = null
    }
  }

  /** Something was changed: reads them again, until that succeeds. */
  heard(): void {
    void this.refresh().catch(() => {
      this.#later?.[Symbol.dispose]()
      if (!this.#closed) this.#later = this.#deps.clock.timer(AGAIN_MS, () => this.heard())
    })
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#later?.[Symbol.dispose]()
  }

  async #read(): Promise<void> {
    do {
      this.#again = false
      const { control, slots = Number.POSITIVE_INFINITY } = this.#deps
      const [rows, projects] = [await selectReservations(control.sql), await countProjectsWithFunctions(control.sql)]
      const byProject = new Map<ProjectRef, number>()
      for (const { project, reserved } of rows) byProject.set(project, (byProject.get(project) ?? 0) + reserved)
      this.#reserved = new Map(rows.map((row) => [row.functionId, row.reserved]))
      this.#total = heldBack([...byProject.values()], projects, slots)
      this.#projects = projects
      this.#shares = new Map((await selectProjectShares(control.sql)).map(({ project, ...share }) => [project, share]))
      this.#mostWeight = Math.max(1, ...[...this.#shares.values()].map(({ weight }) => weight))
    } while (this.#again)
  }

  /** As the database has it. */
  async reservedOf(functionId: string): Promise<number | null> {
    return await selectReserved(this.#deps.control.sql, functionId)
  }

  /** What the Lambda API tells of an account. */
  async account(project: ProjectRef): Promise<{ concurrent: number; unreserved: number }> {
    const { reserved } = await sumsOf(this.#deps.control.sql, project, null)
    return { concurrent: ACCOUNT_CONCURRENCY, unreserved: Math.max(0, ACCOUNT_CONCURRENCY - reserved) }
  }

  /**
   * Reserves so many for a function; null gives them back. In force when it resolves.
   * @throws MayflyError bad_request in the words of Lambda
   */
  async reserve(project: ProjectRef, functionId: string, reserved: number | null): Promise<void> {
    await this.#deps.control.transaction((tx) => this.reserveIn(tx, project, functionId, reserved))
    await this.refresh()
  }

  /** The same in a transaction of somebody else's, who asks for `refresh` when it has committed. */
  async reserveIn(tx: Tx, project: ProjectRef, functionId: string, reserved: number | null, words: Words = OF_LAMBDA): Promise<void> {
    await bumpProjectVersion(tx, project) // also keeps two of one project apart
    if (reserved === null) {
      await deleteReserved(tx, functionId)
      return
    }
    const others = await sumsOf(tx, project, functionId)
    if (ACCOUNT_CONCURRENCY - others.reserved - others.provisioned - reserved < MIN_UNRESERVED) {
      throw new MayflyError('bad_request', words.reservedPastProject(reserved, ACCOUNT_CONCURRENCY - others.reserved - others.provisioned))
    }
    const provisioned = sum(await selectProvisionings(tx, functionId))
    if (reserved < provisioned) {
      throw new MayflyError('bad_request', words.reservedBelowProvisioned(reserved, provisioned))
    }
    await upsertReserved(tx, functionId, reserved)
  }

  async provisioned(functionId: string): Promise<Provisioning[]> {
    return await selectProvisionings(this.#deps.control.sql, functionId)
  }

  async allProvisioned(): Promise<Awaited<ReturnType<typeof selectAllProvisionings>>> {
    return await selectAllProvisionings(this.#deps.control.sql)
  }

  /**
   * @returns when it was changed
   * @throws MayflyError bad_request in the words of Lambda
   */
  async provision(project: ProjectRef, functionId: string, qualifier: string, requested: number): Promise<Date> {
    const modifiedAt = await this.#deps.control.transaction((tx) => this.#provisionIn(tx, project, functionId, { qualifier, requested }))
    this.#deps.provisioningChanged?.()
    return modifiedAt
  }

  async #provisionIn(
    tx: Tx,
    project: ProjectRef,
    functionId: string,
    { qualifier, requested }: { readonly qualifier: string; readonly requested: number },
    words: Words = OF_LAMBDA,
  ): Promise<Date> {
    await bumpProjectVersion(tx, project)
    const own = sum((await selectProvisionings(tx, functionId)).filter((one) => one.qualifier !== qualifier)) + requested
    const reserved = await selectReserved(tx, functionId)
    if (reserved !== null && own > reserved) throw new MayflyError('bad_request', words.provisionedPastReserved(own, reserved))
    const others = await sumsOf(tx, project, functionId)
    const unreserved = ACCOUNT_CONCURRENCY - others.reserved - others.provisioned
    if (reserved === null && own > unreserved) throw new MayflyError('bad_request', words.provisionedPastUnreserved(own, unreserved))
    if (reserved === null && unreserved - own < MIN_UNRESERVED) throw new MayflyError('bad_request', words.provisionedPastProject(own, unreserved))
    const [row] = await upsertProvisioning(tx, functionId, qualifier, requested)
    return (row as { modifiedAt: Date }).modifiedAt
  }

  /**
   * In the transaction of a change of a function: what its definition says is so, where it says something else than it did.
   * What it says nothing new of stays as it is.
   */
  async followIn(tx: Tx, project: ProjectRef, functionId: string, now: Said, before: Said | null): Promise<void> {
    const { reserves, provisions } = changesOf(now, before)
    const provision = async () => {
      if (now.provisioned === 0) await deleteProvisioning(tx, functionId, '$LATEST')
      else await this.#provisionIn(tx, project, functionId, { qualifier: '$LATEST', requested: now.provisioned }, OF_DEFINITION)
    }
    // What is provisioned fits into what is reserved at each step.
    const isLess = now.provisioned < (before?.provisioned ?? 0)
    if (provisions && isLess) await provision()
    if (reserves) await this.reserveIn(tx, project, functionId, now.reservedConcurrency, OF_DEFINITION)
    if (provisions && !isLess) await provision()
  }

  /** The change has committed. */
  async followed(now: Said, before: Said | null): Promise<void> {
    const { reserves, provisions } = changesOf(now, before)
    if (reserves) await this.refresh().catch(() => this.heard())
    if (provisions) this.#deps.provisioningChanged?.()
  }

  /** @returns whether there was any */
  async unprovision(project: ProjectRef, functionId: string, qualifier: string): Promise<boolean> {
    const gone = await this.#deps.control.transaction(async (tx) => {
      const rows = await deleteProvisioning(tx, functionId, qualifier)
      if (rows.length > 0) await bumpProjectVersion(tx, project)
      return rows.length > 0
    })
    if (gone) this.#deps.provisioningChanged?.()
    return gone
  }
}

/** What a definition says of it. */
type Said = Pick<FunctionDefinition, 'reservedConcurrency' | 'provisioned'>

const changesOf = (now: Said, before: Said | null) => ({
  reserves: now.reservedConcurrency !== (before?.reservedConcurrency ?? null),
  provisions: now.provisioned !== (before?.provisioned ?? 0),
})

const sum = (configs: readonly Provisioning[]) => configs.reduce((all, { requested }) => all + requested, 0)

import { type Database, DatabaseError } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { Clock } from '../../lib/clock.ts'
import { type Random, systemRandom, uuidv7 } from '../../lib/ids.ts'
import type { Artefacts } from '../artefacts.ts'
import { ACCOUNT_ID } from '../dialects/lambda/errors.ts'
import { artefactBytes, projectId } from '../store.ts'
import { parseLayerVersionArn } from '../dialects/lambda/layer-arn.ts'
import { MergedLayers } from './merged.ts'
import {
  deleteHiddenLayerVersions,
  findLayerVersion,
  type Fitting,
  hideLayerVersion,
  insertLayerVersion,
  type LayerVersionRow,
  listLayers,
  listLayerVersions,
  savePolicy,
  type Statement,
  usedLists,
} from './store.ts'

export interface LayersDeps {
  readonly control: Database
  readonly artefacts: Artefacts
  readonly clock: Clock
  readonly random?: Random
}

export interface LayerVersion {
  readonly name: string
  readonly number: number
  readonly description: string
  readonly license: string | null
  readonly runtimes: readonly string[] | null
  readonly architectures: readonly string[] | null
  readonly artefact: string
  readonly codeBytes: number
  readonly publishedAt: Date
}

export type LayerWish = Pick<LayerVersion, 'description' | 'license' | 'runtimes' | 'architectures' | 'artefact'>

export interface LayerPolicy {
  readonly statements: readonly Statement[]
  readonly revisionId: string
}

/** What a version of a function has of a layer. */
export interface UsedLayer {
  readonly artefact: string
  readonly codeBytes: number
}

const MAX_LAYERS = LIMITS.functionLayers.value

/**
 * Layers: archives in numbered versions that functions find unpacked below /opt. A version that was deleted is found by
 * nobody, but functions that use it keep it.
 */
export class Layers {
  readonly #deps: LayersDeps
  readonly #random: Random
  readonly #merged: MergedLayers

  constructor(deps: LayersDeps) {
    this.#deps = deps
    this.#random = deps.random ?? systemRandom
    this.#merged = new MergedLayers(deps.artefacts)
  }

  /** @throws MayflyError bad_request when the project has no such artefact */
  async publish(project: ProjectRef, name: string, wish: LayerWish): Promise<LayerVersion> {
    const { control, artefacts } = this.#deps
    const missing = () => new MayflyError('bad_request', `artefact: ${wish.artefact} was not uploaded to this project; PUT it first`)
    const owner = await projectId(control.sql, project)
    if (owner === null) throw new MayflyError('project_not_found', `no project has the ref "${project}"`)
    const codeBytes = await artefactBytes(control.sql, project, wish.artefact)
    if (codeBytes === null) throw missing()
    const unpackedBytes = await artefacts.unpackedBytes(project, wish.artefact)
    const made = { id: this.#id(), layerId: this.#id(), policyRevisionId: this.#id(), codeBytes, unpackedBytes, ...wish }
    try {
      const number = await control.transaction(async (tx) => await insertLayerVersion(tx, owner, name, made))
      return await this.get(project, name, number)
    } catch (error) {
      // The sweep came between.
      if (error instanceof DatabaseError && error.sqlState === '23503') throw missing()
      throw error
    }
  }

  /** @throws MayflyError layer_not_found */
  async get(project: ProjectRef, name: string, number: number): Promise<LayerVersion> {
    const found = await this.find(project, name, number)
    if (!found) throw new MayflyError('layer_not_found', `the layer ${JSON.stringify(name.slice(0, 200))} has no version ${number} in project ${project}`)
    return found
  }

  async find(project: ProjectRef, name: string, number: number): Promise<LayerVersion | null> {
    const row = await findLayerVersion(this.#deps.control.sql, project, name, number)
    return row && !row.deleted ? versionOf(row) : null
  }

  /** The newest fitting version of each layer whose name comes after `after`. */
  async list(project: ProjectRef, fitting: Fitting, after: string, limit: number): Promise<LayerVersion[]> {
    return (await listLayers(this.#deps.control.sql, project, fitting, after, limit)).map(versionOf)
  }

  /** Numbers below `below`, the newest first. */
  async listVersions(project: ProjectRef, name: string, fitting: Fitting, below: number, limit: number): Promise<LayerVersion[]> {
    return (await listLayerVersions(this.#deps.control.sql, project, name, fitting, below, limit)).map(versionOf)
  }

  /** What is not there counts as deleted. */
  async delete(project: ProjectRef, name: string, number: number): Promise<void> {
    await hideLayerVersion(this.#deps.control.sql, project, name, number)
  }

  /** @throws MayflyError layer_not_found */
  async policy(project: ProjectRef, name: string, number: number): Promise<LayerPolicy> {
    const { statements, revisionId } = await this.#policyOf(project, name, number)
    return { statements, revisionId }
  }

  /**
   * @param change  makes the new statements; what it throws is thrown
   * @throws MayflyError layer_not_found, revision_mismatch
   */
  async changePolicy(
    project: ProjectRef,
    name: string,
    number: number,
    revisionId: string | null,
    change: (statements: readonly Statement[]) => readonly Statement[],
  ): Promise<LayerPolicy> {
    for (;;) {
      const before = await this.#policyOf(project, name, number)
      if (revisionId !== null && revisionId !== before.revisionId)
        throw new MayflyError('revision_mismatch', `the policy of version ${number} of the layer "${name}" has another revision id`)
      const statements = change(before.statements)
      const next = this.#id()
      // Whoever was first is seen by the next look.
      if (await savePolicy(this.#deps.control.sql, before.id, statements, next, before.revisionId)) return { statements, revisionId: next }
    }
  }

  async #policyOf(project: ProjectRef, name: string, number: number): Promise<LayerPolicy & { id: string }> {
    const row = await findLayerVersion(this.#deps.control.sql, project, name, number)
    if (!row || row.deleted) throw new MayflyError('layer_not_found', `the layer "${name}" has no version ${number}`)
    return { id: row.id, statements: row.policy, revisionId: row.policyRevisionId }
  }

  /**
   * May a function name these? What it named before it may keep, deleted or not.
   * @throws MayflyError bad_request, layer_missing
   */
  async admit(project: ProjectRef, arns: readonly string[], before: readonly string[] = []): Promise<void> {
    if (arns.length > MAX_LAYERS) throw new MayflyError('bad_request', `Cannot reference more than ${MAX_LAYERS} layers.`)
    const named = new Map<string, string>()
    for (const arn of arns) {
      const layer = arn.slice(0, arn.lastIndexOf(':'))
      const other = named.get(layer)
      if (other !== undefined)
        throw new MayflyError(
          'bad_request',
          `Two different versions of the same layer are not allowed to be referenced in the same function. ${other} and ${arn} are versions of the same layer.`,
        )
      named.set(layer, arn)
      const row = await this.#rowOf(project, arn)
      if (row.deleted && !before.includes(arn)) throw notThere(arn)
    }
  }

  /**
   * The folder of what these layers are together.
   * @param code  the artefact of the function's own code
   * @throws MayflyError bad_request when they are too large with the code, zip_invalid when they do not go together
   */
  async prepare(project: ProjectRef, arns: readonly string[], code: string): Promise<string | null> {
    if (arns.length === 0) return null
    const rows: LayerVersionRow[] = []
    for (const arn of arns) rows.push(await this.#rowOf(project, arn))
    const bytes = rows.reduce((sum, row) => sum + Number(row.unpackedBytes), await this.#deps.artefacts.unpackedBytes(project, code))
    if (bytes > LIMITS.unzippedCode.value)
      throw new MayflyError(
        'bad_request',
        `Function code combined with layers exceeds the maximum allowed size of ${LIMITS.unzippedCode.value} bytes. The actual size is ${bytes} bytes.`,
      )
    return await this.folder(project, rows)
  }

  /** Where the layers of a version lie, one over the other; null when it has none. */
  async folder(project: ProjectRef, layers: readonly Pick<UsedLayer, 'artefact'>[]): Promise<string | null> {
    if (layers.length === 0) return null
    return await this.#merged.ready(
      project,
      layers.map((layer) => layer.artefact),
    )
  }

  /** Removes what was deleted and is used no more; its artefact goes with the next look at those. */
  async sweep(graceSeconds: number): Promise<void> {
    const { control, clock } = this.#deps
    await deleteHiddenLayerVersions(control.sql, graceSeconds)
    await this.#merged.sweep(await usedLists(control.sql), graceSeconds, clock.now())
  }

  async #rowOf(project: ProjectRef, arn: string): Promise<LayerVersionRow> {
    const parsed = parseLayerVersionArn(arn)
    const row = parsed?.account === ACCOUNT_ID && (await findLayerVersion(this.#deps.control.sql, project, parsed.name, parsed.number))
    if (!row) throw notThere(arn)
    return row
  }

  #id(): string {
    return uuidv7(this.#deps.clock.now(), this.#random)
  }
}

/** The text is Lambda's: tools look for it. */
const notThere = (arn: string) => new MayflyError('layer_missing', `Layer version ${arn.slice(0, 300)} does not exist.`)

const versionOf = (row: LayerVersionRow): LayerVersion => ({
  name: row.name,
  number: row.number,
  description: row.description,
  license: row.license,
  runtimes: row.runtimes,
  architectures: row.architectures,
  artefact: row.artefact,
  codeBytes: Number(row.codeBytes),
  publishedAt: row.publishedAt,
})

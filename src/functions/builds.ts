import type { Database } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Sealer, SealPlace } from '../core/seal.ts'
import { OneByOne } from '../lib/one-by-one.ts'
import type { Artefacts } from './artefacts.ts'
import type { LateBuilds } from './late-builds.ts'
import type { Environment } from './definition.ts'
import type { Layers, UsedLayer } from './layers/service.ts'
import { artefactBytes, type FunctionRow, type NewVersion, type StoredDefinition } from './store.ts'
import type { FunctionDefinition, Version } from './types.ts'

/** A version of a function as its owner sees it; without a number it is the one that $LATEST names. */
export interface FunctionRecord {
  readonly id: string
  readonly name: string
  /** `$LATEST`, or the number of a published version. */
  readonly version: string
  readonly definition: FunctionDefinition
  /** Null when none was ever set; `{}` when it was set to be empty. */
  readonly environment: Environment | null
  readonly versionId: string
  readonly revisionId: string
  readonly artefact: string
  readonly codeBytes: number
  /** Those that the definition names, in its order. */
  readonly layers: readonly UsedLayer[]
  readonly createdAt: Date
  readonly modifiedAt: Date
  readonly state: 'pending' | 'active' | 'failed'
  readonly stateReason: string | null
  /** The last number that was given out to a version of the function. */
  readonly published: number
  /** Why the last update of $LATEST did not take effect; null when it did, and for a published version. */
  readonly refused: { readonly code: string; readonly reason: string } | null
  /** What the definition said when it was built; publishing may have put another description over it. */
  readonly builtDescription: string
}

export const LATEST = '$LATEST'
export const versionText = (number: number | null): string => (number === null || number === 0 ? LATEST : String(number))

export interface Wanted {
  readonly id: string
  readonly functionId: string
  readonly name: string
  readonly version: string
  readonly tags: FunctionDefinition['tags']
  readonly stored: StoredDefinition
  readonly environment: Environment | null
  readonly artefact: string
  /** The id of a build of the same function: where its code loads from the same compile cache, that one is used. */
  readonly like: string | null
  /**
   * Nearly all that it loads was loaded by the build before it, so its compile cache may be made later. That of the other is none of
   * its own: what code wrote there that is in this one no more would run in it.
   */
  readonly isEdit?: boolean
}

export interface BuildsDeps {
  readonly control: Database
  readonly artefacts: Artefacts
  readonly layers: Layers
  readonly sealer: Sealer
  readonly log: Log
  readonly build: (version: Version, like: string | null) => Promise<void>
  /** Absent where nothing is built later. */
  readonly late?: Pick<LateBuilds, 'add'>
}

/** Makes versions, and reads what was made: seals and opens environments, has the code unpacked. */
export class Builds {
  readonly #deps: BuildsDeps
  /** Which version was built last of an app whose functions all load the same. */
  readonly #ofApp = new Map<string, string>()
  readonly #apps = new OneByOne()

  constructor(deps: BuildsDeps) {
    this.#deps = deps
  }

  /** @throws MayflyError bad_request (no such artefact or layer, too much together), zip_invalid (layers that do not go together) */
  async make(project: ProjectRef, projectId: string, wanted: Wanted): Promise<NewVersion> {
    const { artefacts, layers, control, sealer, log } = this.#deps
    const { id, stored, artefact } = wanted
    const codeBytes = await artefactBytes(control.sql, project, artefact)
    if (codeBytes === null) throw noArtefact(artefact)
    const codeDir = await artefacts.ready(project, artefact)
    const optDir = await layers.prepare(project, stored.layers, artefact)
    const environment = wanted.environment === null ? null : sealer.seal(placeOf(projectId, id), Buffer.from(JSON.stringify(wanted.environment)))
    const version: Version = {
      id,
      project,
      functionId: wanted.functionId,
      functionName: wanted.name,
      version: wanted.version,
      definition: { ...stored, name: wanted.name, tags: wanted.tags },
      codeDir,
      optDir,
      environment: wanted.environment ?? {},
      state: 'pending',
      stateReason: null,
    }
    const build = () =>
      this.#build(version, wanted.like).catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error)
        log.warn({ project, function: wanted.name, version: id, reason }, 'no compile cache was made; the function will start slower')
      })
    if (wanted.isEdit && this.#deps.late) this.#deps.late.add(id, build)
    else await build()
    return { id, functionId: wanted.functionId, definition: stored, artefact, codeBytes, environment }
  }

  /** The functions of an app that are made at once wait for the first of them, whose compile cache serves them all. */
  async #build(version: Version, like: string | null): Promise<void> {
    const app = appOf(version)
    if (like !== null || app === null) return await this.#deps.build(version, like)
    await this.#apps.run(app, async () => {
      await this.#deps.build(version, this.#ofApp.get(app) ?? null)
      this.#ofApp.delete(app)
      this.#ofApp.set(app, version.id)
      if (this.#ofApp.size > LIMITS.rememberedVersions.value) this.#ofApp.delete(this.#ofApp.keys().next().value as string)
    })
  }

  async versionOf(project: ProjectRef, record: FunctionRecord): Promise<Version> {
    return {
      id: record.versionId,
      project,
      functionId: record.id,
      functionName: record.name,
      version: record.version,
      definition: record.definition,
      codeDir: await this.#deps.artefacts.ready(project, record.artefact),
      optDir: await this.#deps.layers.folder(project, record.layers),
      environment: record.environment ?? {},
      state: record.state,
      stateReason: record.stateReason,
    }
  }

  recordOf(row: FunctionRow): FunctionRecord {
    const { definition, codeBytes, environment, tags, projectId, number, ownDescription, refusedCode, refusedReason, ...rest } = row
    const opened = environment === null ? null : this.#deps.sealer.open(placeOf(projectId, row.versionId), environment)
    return {
      ...rest,
      version: versionText(number),
      builtDescription: definition.description,
      refused: refusedCode === null || number > 0 ? null : { code: refusedCode, reason: refusedReason ?? '' },
      definition: {
        ...definition,
        // Versions that were made before these could be set have nothing of them.
        async: definition.async ?? { maxAttempts: null, maxAgeSeconds: null },
        reservedConcurrency: definition.reservedConcurrency ?? null,
        provisioned: definition.provisioned ?? 0,
        secrets: definition.secrets ?? [],
        layers: definition.layers ?? [],
        driver: definition.driver ?? null,
        framework: definition.framework ?? null,
        description: ownDescription ?? definition.description,
        name: row.name,
        tags,
      },
      codeBytes: Number(codeBytes),
      environment: opened === null ? null : (JSON.parse(Buffer.from(opened).toString('utf8')) as Environment),
    }
  }
}

const placeOf = (project: string, versionId: string): SealPlace => ({
  project,
  table: 'function_version',
  column: 'environment',
  row: versionId,
})

/** What an app of another cloud is loaded from: all of its files, whichever of its functions is meant. Null for other code. */
function appOf({ definition: { framework, runtime, driver }, codeDir, optDir }: Version): string | null {
  return framework === null ? null : JSON.stringify([framework, runtime, driver, codeDir, optDir])
}

export const noArtefact = (sha256: string) => new MayflyError('bad_request', `artefact: ${sha256} was not uploaded to this project; PUT it first`)

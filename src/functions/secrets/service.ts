import { createHmac } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Database } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { Sealer, SealPlace } from '../../core/seal.ts'
import { bumpProjectVersion } from '../../core/store.ts'
import { ALL_SECRETS, checkSecretName } from './names.ts'
import { deleteSecrets, saveSecret, type SecretRow, secretsOf } from './store.ts'

export interface SecretsDeps {
  readonly control: Database
  readonly sealer: Sealer
  /** Told when what a project's functions may get is another than before. */
  readonly changed: (project: ProjectRef) => void
  /** Whether what is remembered may be used without asking the database again. */
  readonly believable?: () => boolean
}

/** What anyone is told of a secret: never its value. */
export interface SecretInfo {
  readonly name: string
  /** The same for the same value; of no use to who does not have the key of this instance. */
  readonly digest: string
  readonly createdAt: Date
  readonly modifiedAt: Date
}

type Values = Readonly<Record<string, string>>
const NONE: Values = Object.freeze({})
const DIGEST_DIGITS = 12

/**
 * The secrets of projects. They are sealed where they are kept; opened, they go into the environment of sandboxes whose
 * function names them, and nowhere else.
 */
export class Secrets {
  readonly #deps: SecretsDeps
  readonly #digestKey: Uint8Array
  readonly #known = new Map<ProjectRef, Values>()
  readonly #loading = new Map<ProjectRef, Promise<void>>()
  /** What is being read: a change of its project makes it stale, and then it is read again. Others' changes are nothing to it. */
  readonly #reads = new Map<ProjectRef, Set<{ stale: boolean }>>()

  constructor(deps: SecretsDeps) {
    this.#deps = deps
    this.#digestKey = deps.sealer.derive('digests of secrets')
  }

  /** What is known now, the same object until it is another content; null when nothing is: `ready` reads it. */
  of(project: ProjectRef): Values | null {
    return this.#known.get(project) ?? null
  }

  /** Whether `of` tells what may be believed. */
  isReady(project: ProjectRef): boolean {
    return this.#known.has(project) && (this.#deps.believable?.() ?? true)
  }

  /** Resolves when `of` tells what the database says, or said a moment ago. */
  async ready(project: ProjectRef): Promise<void> {
    if (this.isReady(project)) return
    const running = this.#loading.get(project) ?? this.#load(project)
    this.#loading.set(project, running)
    try {
      await running
    } finally {
      if (this.#loading.get(project) === running) this.#loading.delete(project)
    }
  }

  /** Something else changed a project: reads again what was known of it. Throws nothing. */
  async refresh(project: ProjectRef): Promise<void> {
    this.#outdate(project)
    if (!this.#known.has(project)) return
    this.#loading.delete(project)
    // When the database is away nothing is known, and the next call asks again.
    await this.#load(project).catch(() => this.forget(project))
  }

  forget(project: ProjectRef): void {
    this.#outdate(project)
    this.#known.delete(project)
    this.#loading.delete(project)
  }

  async #load(project: ProjectRef): Promise<void> {
    let read: { stale: boolean }
    let values: Values
    do {
      read = { stale: false }
      const reads = this.#reads.get(project) ?? new Set()
      this.#reads.set(project, reads.add(read))
      try {
        values = this.#open(await secretsOf(this.#deps.control.sql, project))
      } finally {
        reads.delete(read)
        if (reads.size === 0) this.#reads.delete(project)
      }
    } while (read.stale)
    const before = this.#known.get(project)
    if (before !== undefined && isDeepStrictEqual(before, values)) return
    this.#known.set(project, values)
    if (this.#known.size > LIMITS.rememberedVersions.value) this.#known.delete(this.#known.keys().next().value as ProjectRef)
    if (before !== undefined) this.#deps.changed(project)
  }

  #outdate(project: ProjectRef): void {
    for (const read of this.#reads.get(project) ?? []) read.stale = true
  }

  async list(project: ProjectRef): Promise<SecretInfo[]> {
    const rows = await secretsOf(this.#deps.control.sql, project)
    return rows.map((row) => ({
      name: row.name,
      digest: this.#digest(row.projectId, row.name, this.#valueOf(row)),
      createdAt: row.createdAt,
      modifiedAt: row.modifiedAt,
    }))
  }

  /**
   * Sets several at once, or none of them.
   * @returns the names whose value is another than before
   * @throws MayflyError bad_request: a name that may not be, a value that is too long, too many
   */
  async set(project: Project, values: Values): Promise<string[]> {
    const { control, sealer } = this.#deps
    for (const [name, value] of Object.entries(values)) {
      checkSecretName(name)
      checkValue(name, value)
    }
    const changed = await control.transaction(async (tx) => {
      // Raised first: it holds the project's row, so that two who set at once are counted together.
      await bumpProjectVersion(tx, project.ref)
      const before = this.#open(await secretsOf(tx, project.ref))
      checkTogether({ ...before, ...values })
      const other = Object.entries(values).filter(([name, value]) => before[name] !== value)
      for (const [name, value] of other) await saveSecret(tx, project.id, name, sealer.seal(placeOf(project.id, name), Buffer.from(value)))
      return other.map(([name]) => name)
    })
    await this.#became(project.ref)
    return changed.toSorted()
  }

  /** Removes all of them, or none. @throws MayflyError secret_not_found */
  async remove(project: Project, names: readonly string[]): Promise<void> {
    await this.#deps.control.transaction(async (tx) => {
      await bumpProjectVersion(tx, project.ref)
      const gone = new Set((await deleteSecrets(tx, project.id, names)).map((row) => row.name))
      const missing = names.find((name) => !gone.has(name))
      if (missing !== undefined) throw new MayflyError('secret_not_found', `the project ${project.ref} has no secret ${JSON.stringify(missing.slice(0, 128))}`)
    })
    await this.#became(project.ref)
  }

  /** A change is committed: it is in force here before who asked for it is told. */
  async #became(project: ProjectRef): Promise<void> {
    this.#outdate(project)
    this.#loading.delete(project)
    await this.#load(project)
  }

  #open(rows: readonly SecretRow[]): Values {
    const values: Record<string, string> = Object.create(null)
    for (const row of rows) values[row.name] = this.#valueOf(row)
    return Object.freeze(values)
  }

  #valueOf(row: SecretRow): string {
    return this.#deps.sealer.open(placeOf(row.projectId, row.name), row.value).toString('utf8')
  }

  /** With a key of this instance: whoever reads a digest cannot try values against it. */
  #digest(projectId: string, name: string, value: string): string {
    return createHmac('sha256', this.#digestKey)
      .update(JSON.stringify([projectId, name, value]))
      .digest('hex')
      .slice(0, DIGEST_DIGITS)
  }
}

const placeOf = (project: string, name: string): SealPlace => ({ project, table: 'secret', column: 'value', row: name })

function checkValue(name: string, value: string): void {
  const bytes = Buffer.byteLength(value)
  if (bytes > LIMITS.secretValue.value) throw new MayflyError('bad_request', `${name}: a secret may have ${LIMITS.secretValue.value} bytes, this has ${bytes}`)
  if (!value.isWellFormed() || value.includes('\0')) throw new MayflyError('bad_request', `${name}: a secret must be whole characters without NUL`)
}

function checkTogether(all: Values): void {
  const count = Object.keys(all).length
  if (count > LIMITS.secrets.value) throw new MayflyError('bad_request', `a project may have ${LIMITS.secrets.value} secrets; this would make ${count}`)
  const bytes = Object.entries(all).reduce((sum, [name, value]) => sum + name.length + Buffer.byteLength(value), 0)
  if (bytes > LIMITS.secretsTogether.value)
    throw new MayflyError('bad_request', `the secrets of a project may have ${LIMITS.secretsTogether.value} bytes together; this would make ${bytes}`)
}

/** Of the secrets of a project those that a function names; what is not there is left out. */
export function pickSecrets(all: Values, names: readonly string[]): Values {
  if (names.length === 0) return NONE
  if (names.includes(ALL_SECRETS)) return all
  return Object.fromEntries(names.flatMap((name) => (Object.hasOwn(all, name) ? [[name, all[name] as string]] : [])))
}

import { link, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import path from 'node:path'
import { createHash } from 'node:crypto'
import type { ProjectRef } from '../../core/project.ts'
import type { Clock } from '../../lib/clock.ts'
import { OneByOne } from '../../lib/one-by-one.ts'
import { writeSynced } from '../../lib/synced-files.ts'
import type { Wanted } from './installer.ts'

const DAY_MS = 86_400_000
/** Archives that no deploy has asked for in so long are made again when one does. */
const KEPT_MS = 30 * DAY_MS
/** Of package.json, what decides which packages are installed. */
const DECISIVE = ['dependencies', 'optionalDependencies', 'peerDependencies', 'overrides', 'resolutions', 'pnpm', 'workspaces', 'engines'] as const

/** Beyond so many of those that projects share, the ones that were asked for longest ago go. */
const SHARED_MOST = 200
/** Beside the projects' own folders; no project has such a ref. */
const SHARED = '.shared'

export interface PackagesDeps {
  /** A folder of the data directory that is this object's. */
  readonly folder: string
  readonly clock: Clock
  readonly newId: () => string
  readonly install: (wanted: Wanted) => Promise<Buffer>
  /** What installs, and for what: other versions of npm, other processors make other folders. */
  readonly platform: string
}

/**
 * Installed packages, kept by what they follow from. A project finds its own by what decides about them. Another project's it is given
 * where all that npm was told is the same to the byte, and no key of a registry had a part in it: then it would have got the same.
 */
export class Packages {
  readonly #deps: PackagesDeps
  readonly #oneByOne = new OneByOne()

  constructor(deps: PackagesDeps) {
    this.#deps = deps
  }

  /** The archive of `node_modules`. @throws MayflyError dependencies_failed */
  async of(project: ProjectRef, wanted: Wanted): Promise<{ readonly archive: Buffer; readonly key: string; readonly reused: boolean }> {
    const { folder, install } = this.#deps
    const key = this.#keyOf(wanted)
    const home = path.join(folder, project)
    const file = path.join(home, `${key}.zip`)
    return await this.#oneByOne.run(file, async () => {
      const kept = await this.#read(file)
      if (kept !== null) return { archive: kept, key, reused: true }
      await mkdir(home, { recursive: true, mode: 0o700 })
      if (!mayBeShared(wanted)) {
        const archive = await install(wanted)
        await this.#write(file, archive)
        return { archive, key, reused: false }
      }
      const shared = path.join(folder, SHARED, `${this.#sharedKeyOf(wanted, key)}.zip`)
      return await this.#oneByOne.run(shared, async () => {
        const there = await this.#read(shared)
        const archive = there ?? (await install(wanted))
        if (there === null) {
          await mkdir(path.dirname(shared), { recursive: true, mode: 0o700 })
          await this.#write(shared, archive)
        }
        // Neither is ever changed: one file under two names.
        await link(shared, file)
        return { archive, key, reused: there !== null }
      })
    })
  }

  /** Null when it is not there; who asks for it keeps it. */
  async #read(file: string): Promise<Buffer | null> {
    const kept = await readFile(file).catch(() => null)
    const now = new Date(this.#deps.clock.now())
    if (kept !== null) await utimes(file, now, now)
    return kept
  }

  async #write(file: string, archive: Buffer): Promise<void> {
    const beside = path.join(path.dirname(file), `.${this.#deps.newId()}`)
    try {
      await writeSynced(beside, [archive])
      await rename(beside, file)
    } finally {
      await rm(beside, { force: true })
    }
  }

  async dropProject(project: ProjectRef): Promise<void> {
    await rm(path.join(this.#deps.folder, project), { recursive: true, force: true })
  }

  /** Removes what was not asked for in a long time, and what a killed node left half written. */
  async sweep(): Promise<void> {
    const { folder, clock } = this.#deps
    const oldest = clock.now() - KEPT_MS
    for (const project of await readdir(folder).catch(() => [])) {
      for (const name of await readdir(path.join(folder, project)).catch(() => [])) {
        const file = path.join(folder, project, name)
        const age = await stat(file).catch(() => null)
        if (age && age.mtimeMs < (name.startsWith('.') ? clock.now() - DAY_MS : oldest)) await rm(file, { force: true })
      }
    }
    await this.#sweepShared()
  }

  async #sweepShared(): Promise<void> {
    const home = path.join(this.#deps.folder, SHARED)
    const kept: { readonly file: string; readonly at: number }[] = []
    for (const name of await readdir(home).catch(() => [])) {
      const file = path.join(home, name)
      const age = await stat(file).catch(() => null)
      if (age && name.endsWith('.zip')) kept.push({ file, at: age.mtimeMs })
    }
    for (const { file } of kept.toSorted((one, other) => other.at - one.at).slice(SHARED_MOST)) await rm(file, { force: true })
  }

  #keyOf({ files, add, scripts, runtime, registries, legacyPeerDeps, build }: Wanted): string {
    const { 'package.json': own = '{}', ...locks } = files
    const said = JSON.parse(own) as Record<string, unknown>
    const decisive = Object.fromEntries(DECISIVE.map((name) => [name, said[name] ?? null]))
    // Without a lockfile the registry decides, which says something else on another day.
    const day = Object.keys(locks).length > 0 && add.length === 0 ? null : Math.floor(this.#deps.clock.now() / DAY_MS)
    // Where packages come from counts, and not by which key: what a project may read it has.
    const from = registries.map(({ scope, url }) => [scope, url]).toSorted()
    const built = build === null ? null : [build.artefact, build.run]
    const text = JSON.stringify([
      this.#deps.platform,
      runtime,
      decisive,
      Object.entries(locks).map(withoutItsApp).toSorted(),
      add,
      scripts.toSorted(),
      day,
      from,
      legacyPeerDeps,
      built,
    ])
    return createHash('sha256').update(text).digest('hex')
  }

  /** Nothing is left out, whatever it may be good for: what one project says must not decide about what another gets. */
  #sharedKeyOf({ files }: Wanted, key: string): string {
    return createHash('sha256')
      .update(JSON.stringify([key, Object.entries(files).toSorted()]))
      .digest('hex')
  }
}

/** What a project may read by its own key is for nobody else. */
const mayBeShared = ({ registries }: Wanted) => registries.every(({ authorization }) => authorization === null)

/** Of a lockfile the name and version of its own app say nothing about what is installed. */
function withoutItsApp([name, text]: [string, string]): readonly unknown[] {
  if (name === 'yarn.lock') return [name, text]
  try {
    const { name: _, version: __, packages, ...lock } = JSON.parse(text) as Record<string, unknown>
    const { '': root, ...others } = packages as Record<string, Record<string, unknown>>
    const { name: ___, version: ____, ...said } = root ?? {}
    return [name, { ...lock, packages: { '': said, ...others } }]
  } catch {
    return [name, text]
  }
}

import { mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
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

export interface PackagesDeps {
  /** A folder of the data directory that is this object's. */
  readonly folder: string
  readonly clock: Clock
  readonly newId: () => string
  readonly install: (wanted: Wanted) => Promise<Buffer>
  /** What installs, and for what: other versions of npm, other processors make other folders. */
  readonly platform: string
}

/** Installed packages, kept by what they follow from, for each project on its own. */
export class Packages {
  readonly #deps: PackagesDeps
  readonly #oneByOne = new OneByOne()

  constructor(deps: PackagesDeps) {
    this.#deps = deps
  }

  /** The archive of `node_modules`. @throws MayflyError dependencies_failed */
  async of(project: ProjectRef, wanted: Wanted): Promise<{ readonly archive: Buffer; readonly key: string; readonly reused: boolean }> {
    const { folder, clock, install, newId } = this.#deps
    const key = this.#keyOf(wanted)
    const home = path.join(folder, project)
    const file = path.join(home, `${key}.zip`)
    return await this.#oneByOne.run(file, async () => {
      const kept = await readFile(file).catch(() => null)
      if (kept !== null) {
        const now = new Date(clock.now())
        await utimes(file, now, now)
        return { archive: kept, key, reused: true }
      }
      const archive = await install(wanted)
      await mkdir(home, { recursive: true, mode: 0o700 })
      const beside = path.join(home, `.${newId()}`)
      try {
        await writeSynced(beside, [archive])
        await rename(beside, file)
      } finally {
        await rm(beside, { force: true })
      }
      return { archive, key, reused: false }
    })
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
}

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

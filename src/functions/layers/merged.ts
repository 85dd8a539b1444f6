import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ProjectRef } from '../../core/project.ts'
import { type Artefacts, sha256Hex } from '../artefacts.ts'
import { mergeTrees } from './merge.ts'

const PREFIX = 'layers-'
const MARK = '.boot'

/**
 * The content of /opt for each list of layers that a version has: `layers-<hash of the list>/`, hard links of the unpacked
 * artefacts, made once and made again when it is missing. `layers-<hash>.boot` says in which boot of the machine it was
 * completed, and by its time when it was last asked for.
 */
export class MergedLayers {
  readonly #artefacts: Artefacts
  /** One change at a time for each folder. */
  readonly #queues = new Map<string, Promise<unknown>>()

  constructor(artefacts: Artefacts) {
    this.#artefacts = artefacts
  }

  /**
   * @param list  the layers' artefacts; a later one wins
   * @throws MayflyError zip_invalid when they do not go together
   */
  async ready(project: ProjectRef, list: readonly string[]): Promise<string> {
    const folder = this.#folder(project, list)
    await this.#alone(folder, async () => {
      const boot = await this.#artefacts.boot()
      const mark = await readFile(`${folder}${MARK}`, 'utf8').catch(() => null)
      if (mark === boot && (await exists(folder))) {
        const now = new Date()
        await utimes(`${folder}${MARK}`, now, now)
        return
      }
      const sources: string[] = []
      for (const artefact of list) sources.push(await this.#artefacts.ready(project, artefact))
      const made = this.#artefacts.temporary(project)
      const old = this.#artefacts.temporary(project)
      try {
        await mkdir(made, { mode: 0o755 })
        await mergeTrees(sources, made)
        await rm(`${folder}${MARK}`, { force: true })
        if (await exists(folder)) await rename(folder, old)
        await rename(made, folder)
        await writeFile(`${folder}${MARK}`, boot, { mode: 0o600 })
      } finally {
        await rm(made, { recursive: true, force: true })
        await rm(old, { recursive: true, force: true })
      }
    })
    return folder
  }

  /** Removes what no list names and nobody has asked for since. */
  async sweep(
    used: readonly { readonly project: ProjectRef; readonly artefacts: readonly string[] }[],
    olderThanSeconds: number,
    nowMs: number,
  ): Promise<void> {
    const kept = new Set(used.map(({ project, artefacts }) => this.#folder(project, artefacts)))
    for (const project of await this.#artefacts.projects()) {
      const home = this.#artefacts.home(project)
      const names = new Set((await readdir(home)).filter((name) => name.startsWith(PREFIX)).map((name) => name.replace(MARK, '')))
      for (const name of names) {
        const folder = join(home, name)
        if (kept.has(folder)) continue
        await this.#alone(folder, async () => {
          const mark = await stat(`${folder}${MARK}`).catch(() => null)
          if (mark !== null && nowMs - mark.mtimeMs < olderThanSeconds * 1000) return
          await rm(`${folder}${MARK}`, { force: true })
          await rm(folder, { recursive: true, force: true })
        })
      }
    }
  }

  #folder(project: ProjectRef, list: readonly string[]): string {
    return join(this.#artefacts.home(project), `${PREFIX}${sha256Hex(Buffer.from(list.join('\n')))}`)
  }

  async #alone(folder: string, work: () => Promise<void>): Promise<void> {
    const before = this.#queues.get(folder) ?? Promise.resolve()
    const mine = before.then(work, work)
    this.#queues.set(folder, mine)
    try {
      await mine
    } finally {
      if (this.#queues.get(folder) === mine) this.#queues.delete(folder)
    }
  }
}

const exists = async (path: string) =>
  await stat(path).then(
    () => true,
    () => false,
  )

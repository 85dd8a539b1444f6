import type { Database } from '../backends/database/database.ts'
import type { Project, ProjectRef } from './project.ts'
import type { Sealer } from './seal.ts'
import { selectProjects } from './store.ts'

/** The projects as a process knows them that changes none: read at its start, and again whenever one was changed. */
export class KnownProjects {
  readonly #control: Database
  readonly #sealer: Sealer
  #byRef: ReadonlyMap<ProjectRef, Project> = new Map()
  readonly #opened = new Set<string>()

  constructor(control: Database, sealer: Sealer) {
    this.#control = control
    this.#sealer = sealer
  }

  find(ref: ProjectRef): Project | null {
    return this.#byRef.get(ref) ?? null
  }

  /** @throws DatabaseError */
  async refresh(): Promise<void> {
    const rows = await selectProjects(this.#control.sql)
    for (const { id, dataKey } of rows) {
      if (this.#opened.has(id)) continue
      this.#opened.add(id)
      this.#sealer.useDataKey(id, dataKey)
    }
    const there = new Set(rows.map(({ id }) => id))
    for (const id of this.#opened) {
      if (there.has(id)) continue
      this.#opened.delete(id)
      this.#sealer.forget(id)
    }
    this.#byRef = new Map(rows.map(({ id, ref, name, state }) => [ref, { id, ref, name, state }]))
  }
}

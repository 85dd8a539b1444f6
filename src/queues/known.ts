import { Bell } from '../lib/bell.ts'
import type { QueueRow } from './store.ts'

/** The queues that there are, and the bells of those who wait at them. */
export class Known {
  readonly #byProject = new Map<string, Map<string, QueueRow>>()
  readonly #byId = new Map<string, QueueRow>()
  readonly #bells = new Map<string, Bell>()

  find(project: string, name: string): QueueRow | null {
    return this.#byProject.get(project)?.get(name) ?? null
  }

  byId(id: string): QueueRow | null {
    return this.#byId.get(id) ?? null
  }

  /** By name. */
  list(project: string): readonly QueueRow[] {
    return [...(this.#byProject.get(project)?.values() ?? [])].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  all(): readonly QueueRow[] {
    return [...this.#byId.values()]
  }

  countOf(project: string): number {
    return this.#byProject.get(project)?.size ?? 0
  }

  /** A new one, or what one has become. */
  keep(row: QueueRow): void {
    let own = this.#byProject.get(row.project)
    if (!own) {
      own = new Map()
      this.#byProject.set(row.project, own)
    }
    own.set(row.name, row)
    this.#byId.set(row.id, row)
  }

  /** Who waits at it is told. */
  forget(row: QueueRow): void {
    this.#byProject.get(row.project)?.delete(row.name)
    this.#byId.delete(row.id)
    this.ring(row.id)
    this.#bells.delete(row.id)
  }

  forgetProject(project: string): void {
    this.#byProject.delete(project)
  }

  bell(queueId: string): Bell {
    let bell = this.#bells.get(queueId)
    if (!bell) {
      bell = new Bell()
      this.#bells.set(queueId, bell)
    }
    return bell
  }

  ring(queueId: string): void {
    this.#bells.get(queueId)?.ring()
  }
}

import type { Database, Databases } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Entered, NewEntry, Queue, StillBorn } from '../invoke/index.ts'
import type { Definition } from './definition.ts'
import type { EventSource } from './event-source.ts'
import {
  countOutbox,
  deleteOutbox,
  deleteRelayed,
  hasOutbox,
  insertRelayed,
  type OutboxRow,
  readOutbox,
  selectInOutbox,
  selectRelayed,
  selectTriggersById,
  tryRelayLock,
} from './store.ts'
import { isTooDeep, NOBODY, tooDeep } from './too-deep.ts'

export interface RelayDeps {
  /** The id of a function that SQL named; null when there is none. */
  readonly functionId: (project: ProjectRef, name: string) => Promise<string | null>
  /** By their kinds. */
  readonly sources: ReadonlyMap<string, EventSource>
  readonly databases: Pick<Databases, 'control' | 'openProject'>
  readonly queue: Pick<Queue, 'enqueueIn'>
  /** The functions of a project that may go on where others are taken for a loop. */
  readonly loopers: (project: ProjectRef) => Promise<ReadonlySet<string>>
  readonly newId: () => string
  readonly region: string
  readonly crash: Crash
}

/** How much one transaction hands on. */
const BATCH = 500
const BATCH_TRIGGERS = 1_000
const FORGOTTEN = 10_000
/** `mayfly.invoke` in SQL: its event names its function. */
const INVOKED = 'invoke'

interface Delivery {
  readonly id: string
  readonly functionId: string | null
  readonly functionName: string
  readonly event: unknown
}

/**
 * Moves the events of one project from its outbox into the queue, each exactly once, whatever happens between two of
 * its steps: an event is handed on and remembered in one transaction of the control database; then its row goes; only
 * when that is on disk it is forgotten.
 */
export class Relay {
  readonly #deps: RelayDeps
  readonly #project: Project
  /** Whether what a former life left remembered was looked at. */
  #recalled = false
  /** Events seen in the outbox and not handed on yet. */
  backlog = 0

  constructor(deps: RelayDeps, project: Project) {
    this.#deps = deps
    this.#project = project
  }

  /**
   * Hands on what is visible until nothing is. @returns false when another relay works on it
   * @throws DatabaseError when one of the databases is away; MayflyError queue_full, storage_full: nothing is lost, come again
   */
  async run(signal: AbortSignal): Promise<boolean> {
    const { control, openProject } = this.#databases()
    const database = await openProject()
    if (!this.#recalled) await this.#recall(control, database)
    while (!signal.aborted && (await hasOutbox(database.sql))) {
      const taken = await this.#batch(control, database)
      if (taken === null) return false
      if (taken.length === 0) continue
      this.#deps.crash('afterOutboxDelete')
      await deleteRelayed(control.sql, this.#project.id, taken)
    }
    this.backlog = 0
    return true
  }

  #databases() {
    const { databases } = this.#deps
    return { control: databases.control, openProject: () => databases.openProject(this.#project.ref) }
  }

  /** @returns the events that are out of the outbox; null when another relay works on it */
  async #batch(control: Database, database: Database): Promise<string[] | null> {
    return await database.transaction(async (tx) => {
      if (!(await tryRelayLock(tx))) return null
      const rows = await readOutbox(tx, BATCH, BATCH_TRIGGERS)
      this.backlog = rows.length < BATCH ? rows.length : await countOutbox(tx as Database['sql'])
      if (rows.length === 0) return []
      await this.#handOn(control, rows)
      this.#deps.crash('afterRelay')
      await deleteOutbox(
        tx,
        rows.map(({ seq }) => seq),
      )
      return rows.map(({ eventId }) => eventId)
    })
  }

  async #handOn(control: Database, rows: readonly OutboxRow[]): Promise<void> {
    const { id: projectId } = this.#project
    let entered: Entered | null = null
    // Asked before the transaction: it holds a connection of its own.
    const loopers = rows.some(({ depth }) => isTooDeep(depth)) ? await this.#deps.loopers(this.#project.ref) : NOBODY
    const called = new Map<string, string | null>()
    for (const { kind, source } of rows) if (kind === INVOKED && !called.has(source)) called.set(source, await this.#deps.functionId(this.#project.ref, source))
    await control.transaction(async (tx) => {
      const fresh = await insertRelayed(
        tx,
        projectId,
        rows.map(({ eventId }) => eventId),
      )
      const news = rows.filter(({ eventId }) => fresh.has(eventId))
      if (news.length === 0) return
      const triggers = new Map((await selectTriggersById(tx, projectId, [...new Set(news.flatMap((row) => row.triggerIds))])).map((one) => [one.id, one]))
      const entries: NewEntry[] = []
      const stillBorn: StillBorn[] = []
      const deliver = (row: OutboxRow, { id, functionId, functionName, event }: Delivery) => {
        const base = { id, project: this.#project.ref, functionName, payload: Buffer.from(JSON.stringify(event)) }
        // The gateway has counted the function that caused it.
        const { depth } = row
        if (functionId === null)
          stillBorn.push({ ...base, reason: 'function_gone', errorType: 'function_not_found', errorMessage: `there is no function "${functionName}"` })
        else if (isTooDeep(depth) && !loopers.has(functionName)) stillBorn.push({ ...base, ...tooDeep(depth) })
        else entries.push({ ...base, functionId, traceId: null, clientContext: null, depth })
      }
      for (const row of news) {
        if (row.kind === INVOKED) {
          deliver(row, { id: row.eventId, functionId: called.get(row.source) ?? null, functionName: row.source, event: row.data })
          continue
        }
        for (const triggerId of row.triggerIds) {
          const trigger = triggers.get(triggerId)
          // Removed, or it waits for other keys.
          if (!trigger) continue
          const event = this.#eventFor(row, triggerId, trigger.definition as Definition)
          if (event === null || event === undefined) continue
          deliver(row, { id: this.#deps.newId(), functionId: trigger.functionId, functionName: trigger.functionName, event })
        }
      }
      entered = await this.#deps.queue.enqueueIn(tx, entries, stillBorn)
    })
    ;(entered as Entered | null)?.committed()
  }

  #eventFor(row: OutboxRow, triggerId: string, definition: Definition): unknown {
    if (definition.kind !== row.kind || definition.enabled === false) return null
    return this.#deps.sources.get(row.kind)?.eventFor?.(row, definition, { region: this.#deps.region, projectRef: this.#project.ref, triggerId })
  }

  /** A life that ended between the last two steps left events remembered that are in no outbox any more. */
  async #recall(control: Database, database: Database): Promise<void> {
    const { id } = this.#project
    const remembered = await selectRelayed(control.sql, id, FORGOTTEN)
    if (remembered.length > 0) {
      const there = await selectInOutbox(database.sql, remembered)
      await deleteRelayed(
        control.sql,
        id,
        remembered.filter((eventId) => !there.has(eventId)),
      )
    }
    this.#recalled = true
  }
}

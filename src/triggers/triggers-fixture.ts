import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Database, Tx } from '../backends/database/database.ts'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { noCrash } from '../core/crash.ts'
import { Journal } from '../core/journal.ts'
import type { LogEntry } from '../core/meter.ts'
import { MayflyError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Queue } from '../invoke/index.ts'
import { makeQueue } from '../invoke/queues-fixture.ts'
import { MiB } from '../lib/bytes.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Logs } from '../observe/index.ts'
import { Queues } from '../queues/index.ts'
import { eventSources } from './sources.ts'
import { Triggers, type TriggersDeps } from './service.ts'

/** Two real databases, control and a project's, with rows of functions that nothing runs. */
export interface Place {
  readonly databases: EmbeddedDatabases
  readonly project: Project
  readonly own: Database
  /** A queue that takes entries and runs none. */
  readonly queue: Queue
  readonly queues: Queues
  readonly logs: Logs
  /** The same log, in which there is room for nothing. */
  smallLog(going: NonNullable<ConstructorParameters<typeof Logs>[0]['going']>): Logs
  open(changes?: Partial<TriggersDeps>): Triggers
  addProject(ref: string): Promise<Project>
  addFunction(name: string, project?: Project): Promise<string>
  removeFunction(name: string): Promise<void>
  /** The events that were queued, of whatever function. */
  queued(): Promise<{ readonly name: string; readonly payload: string }[]>
  /** Empties all that is about triggers and the queue. */
  clear(): Promise<void>
  close(): Promise<void>
}

export async function openPlace(): Promise<Place> {
  const { databases, close } = await openTestDatabases()
  const { control } = databases
  const projects = new Map<string, Project>()
  const opened: Triggers[] = []
  const addProject = async (ref: string): Promise<Project> => {
    const project: Project = { id: randomUUID(), ref: ref as ProjectRef, name: ref, state: 'active' }
    await control.script(
      `begin; insert into mayfly.project (id, ref, name, state, data_key) values ('${project.id}', '${ref}', '${ref}', 'active', ''); commit`,
    )
    await databases.ensureProject(ref)
    projects.set(ref, project)
    return project
  }
  const project = await addProject('demo')
  const own = await databases.openProject('demo')
  const queue = makeQueue(control)
  const queues = new Queues({
    database: control,
    admitSpace: () => {},
    projectBytes: MiB,
    mostQueues: 10,
    newId: () => uuidv7(systemClock.now()),
    crash: noCrash,
    clock: systemClock,
    log: silentLog,
  })
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-logs-'))
  const journal = await Journal.open<LogEntry>(folder, silentLog)
  const logs = new Logs({ journal, database: control, clock: systemClock, log: silentLog, retentionDays: 14, projectBytes: 100 * MiB })
  const functions = new Map<string, string>()
  return {
    databases,
    project,
    own,
    queue,
    queues,
    logs,
    smallLog: (going) => new Logs({ journal, database: control, clock: systemClock, log: silentLog, retentionDays: 14, projectBytes: 0, going }),
    addProject,
    open: (changes = {}) => {
      const triggers = new Triggers({
        sources: eventSources(),
        databases,
        hasBucket: async () => true,
        loopers: async () => new Set(),
        functions: {
          get: async (ref, name) => {
            const id = functions.get(`${ref}/${name}`)
            if (id === undefined) throw new MayflyError('function_not_found', `no function named ${name}`)
            return { id }
          },
        },
        queue,
        queues,
        logs,
        mappings: async () => [],
        invoke: () => Promise.reject(new Error('nothing runs here')),
        recorded: async () => {},
        project: (ref) => projects.get(ref) ?? null,
        newId: () => uuidv7(systemClock.now()),
        region: 'us-east-1',
        crash: noCrash,
        clock: systemClock,
        log: silentLog,
        ...changes,
      })
      opened.push(triggers)
      return triggers
    },
    addFunction: async (name, of = project) => {
      const id = randomUUID()
      functions.set(`${of.ref}/${name}`, id)
      const version = randomUUID()
      const sha = 'a'.repeat(64)
      await control.script(`begin;
        insert into mayfly.artefact (project_id, sha256, bytes) values ('${of.id}', '${sha}', 1) on conflict do nothing;
        insert into mayfly.function (id, project_id, name, version_id, revision_id) values ('${id}', '${of.id}', '${name}', '${version}', '${version}');
        insert into mayfly.function_version (id, function_id, project_id, definition, artefact, code_bytes, state)
          values ('${version}', '${id}', '${of.id}', '{}', '${sha}', 1, 'active');
        commit`)
      return id
    },
    removeFunction: async (name) => {
      functions.delete(`demo/${name}`)
      await control.script(`begin; delete from mayfly.function where name = '${name}'; commit`)
    },
    queued: async () =>
      (await control.sql<{ name: string; payload: Buffer }>`select function_name as name, payload from mayfly.entry_payload order by entry_id`).map(
        ({ name, payload }) => ({ name, payload: payload.toString() }),
      ),
    clear: async () => {
      for (const triggers of opened.splice(0)) await triggers[Symbol.asyncDispose]()
      functions.clear()
      await control.script(`begin; delete from mayfly.function; delete from mayfly.trigger; delete from mayfly.mirror;
        truncate mayfly.relayed, mayfly.entry, mayfly.entry_payload, mayfly.dead_letter, mayfly.log_chunk; commit`)
      await own.script('truncate mayfly.outbox, mayfly.subscription')
    },
    close: async () => {
      for (const triggers of opened.splice(0)) await triggers[Symbol.asyncDispose]()
      await queues[Symbol.asyncDispose]()
      await logs[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
      await close()
    },
  }
}

/** The same database, each of whose steps goes through `step`: every statement, and the commit. */
export function cutting(database: Database, step: <T>(work: () => Promise<T>) => Promise<T>): Database {
  return {
    sql: ((strings: TemplateStringsArray, ...values: unknown[]) => step(() => database.sql(strings, ...values))) as Database['sql'],
    transaction: (work) =>
      step(() =>
        database.transaction((tx) =>
          work(
            Object.assign((strings: TemplateStringsArray, ...values: unknown[]) => step(() => tx(strings, ...values)), { inTransaction: true as const }) as Tx,
          ),
        ),
      ),
    flight: (work) => step(() => database.flight(work)),
    script: (text) => database.script(text),
    [Symbol.asyncDispose]: async () => {},
  }
}

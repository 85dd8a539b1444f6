import type { Database, Tx } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import type { Log } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Invoker, Queue } from '../invoke/index.ts'
import type { Clock } from '../lib/clock.ts'
import type { Logs } from '../observe/index.ts'
import type { Queues } from '../queues/index.ts'
import type { Definition } from './definition.ts'
import type { OutboxRow, Subscription } from './store.ts'

/**
 * What produces events of one kind. There are two ways, and a source has one of them or both:
 * - what happens in a project's own database is told there, in the transaction of its cause, to whoever `subscribes`, and
 *   brought to the queue by the relay, which asks `eventFor` what each function gets;
 * - what happens elsewhere is found by a pump that the source opens.
 * Each is named in `sources.ts`, and passes the suite of `source-conformance.ts`, unless its events are shared out as messages of a queue are.
 */
export interface EventSource<K extends Definition['kind'] = Definition['kind']> {
  readonly kind: K
  /** What the project's own database has to know of a trigger. */
  readonly subscribes?: (triggerId: string, definition: DefinitionOf<K>) => readonly Omit<Subscription, 'kind' | 'triggerId'>[]
  /** What the function of a trigger gets of an event that was told to it; null when it waits for others. */
  readonly eventFor?: (row: OutboxRow, definition: DefinitionOf<K>, context: EventContext) => unknown
  /** Makes what a trigger needs to be there, before it is kept. @throws MayflyError what refuses it */
  readonly prepare?: (host: SourceHost, project: ProjectRef, definition: DefinitionOf<K>, functionName: string) => Promise<void>
  /** What it waits for where that is not there, such as `the bucket "photos"`, and what makes it. Null where nothing lacks. */
  readonly lacks?: (host: SourceHost, project: ProjectRef, definition: DefinitionOf<K>) => Promise<string | null>
  /** In the transaction that keeps new triggers: what they begin from. */
  readonly begin?: (tx: Tx, host: SourceHost, project: ProjectRef, triggerIds: readonly string[]) => Promise<void>
  readonly open?: (host: SourceHost) => Pump
}

export type DefinitionOf<K extends Definition['kind']> = Extract<Definition, { readonly kind: K }>

export interface EventContext {
  readonly region: string
  readonly projectRef: string
  readonly triggerId: string
}

/** What a source that looks for its events by itself is given. Triggers of its kind are in `mayfly.trigger` of the control database. */
export interface SourceHost {
  readonly control: Database
  readonly queue: Pick<Queue, 'enqueueIn' | 'stillThere' | 'pausedOf' | 'maxPayloadBytes' | 'turnOf'>
  readonly queues: Pick<Queues, 'find' | 'create' | 'receive' | 'hide' | 'giveBack' | 'done'>
  readonly hasBucket: (project: ProjectRef, name: string) => Promise<boolean>
  readonly hasTable: (project: ProjectRef, schema: string, table: string) => Promise<boolean>
  readonly logs: Pick<Logs, 'lastSeqs' | 'chunksAfter'>
  /** The functions of a project that may go on where others are taken for a loop. */
  readonly loopers: (project: ProjectRef) => Promise<ReadonlySet<string>>
  /** The event source mappings of Lambda whose source is a queue. */
  readonly mappings: () => Promise<readonly QueueMapping[]>
  /** At once, not by the queue. */
  readonly invoke: Invoker['invoke']
  /** Resolves when what ran by now is metered and logged on disk. */
  readonly recorded: () => Promise<unknown>
  readonly project: (ref: ProjectRef) => Project | null
  readonly newId: () => string
  readonly region: string
  readonly crash: Crash
  readonly clock: Clock
  readonly log: Log
}

/** What Lambda's API was told of a queue and a function; the settings are in its words. */
export interface QueueMapping {
  readonly id: string
  readonly project: ProjectRef
  readonly functionId: string
  readonly functionName: string
  readonly qualifier: string | null
  readonly sourceArn: string
  readonly settings: Readonly<Record<string, unknown>>
}

/** One of a project's, as it was told, whatever its state. */
export interface KeptMapping extends Pick<QueueMapping, 'id' | 'functionName' | 'qualifier' | 'settings'> {
  readonly sourceArn: string | null
  readonly enabled: boolean
  readonly modifiedAt: Date
}

/** Looks for the events of one source, in all projects. Several may look at once, in several processes: each event is taken by one. */
export interface Pump extends AsyncDisposable {
  /**
   * Takes what there is now. Whoever calls it calls again, after a pause, when it throws: nothing is lost by that.
   * @returns after how many milliseconds it has to look again; earlier when it is rung for
   */
  pass(signal: AbortSignal): Promise<number>
}

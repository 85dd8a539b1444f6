import type { Tx } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import { MayflyError } from '../core/errors.ts'
import { DEFAULT_LIMIT_PROFILE, LIMIT_PROFILES, type LimitProfileName } from '../core/limit-profiles.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import { Bell } from '../lib/bell.ts'
import { within } from '../lib/within.ts'
import { GroupCommit } from '../lib/group-commit.ts'
import { eventContent } from './event.ts'
import type { Invocation, Outcome } from './service.ts'
import { type Entered, endOf, Settling, type SettlingDeps } from './settling.ts'
import {
  countDeadLetters,
  countEntries,
  countEntriesOf,
  type DeadLetter,
  deleteDeadLetter,
  deleteOldDeadLetters,
  deleteQueueOf,
  insertDeadLetters,
  insertEntries,
  leaseDue,
  type LeasedEntry,
  type NewEntry,
  renewLeases,
  selectThere,
  returnLeases,
  selectDeadLetter,
  selectDeadLetters,
  selectEntries,
  selectWaitingFunctions,
  type ShownEntry,
  type StillBorn,
} from './store.ts'

const LEASE_MS = 60_000
const RENEW_MS = 20_000
/** What a bell did not tell of is found by looking. */
const LOOK_MS = 1_000
const SWEEP_MS = 3_600_000
const GROUP = 500
const CLOSE_MS = 5_000

export interface QueueDeps extends SettlingDeps {
  /** `Invoker.invoke`. @throws MayflyError when the call does not come to user code */
  readonly invoke: (invocation: Invocation, signal: AbortSignal) => Promise<Outcome>
  /** Asked before an event is stored. @throws MayflyError storage_full */
  readonly admitSpace: () => void
  /** Which limits the events of a project are held to; Mayfly's own where this is absent. */
  readonly limitProfileOf?: (project: string) => LimitProfileName
  /** Resolves when what a run wrote and used is in the files of this node: only then it is settled. */
  readonly recorded: () => Promise<unknown>
  /** Who holds leases: the same in each life of a node. */
  readonly holder: string
  /** How many entries run at once. */
  readonly concurrency: number
  /** How many more of a function's could run now, where that is known. */
  readonly freeOf?: (functionId: string) => number
  readonly deadLetterDays: number
  readonly crash: Crash
}

/**
 * The queue of invocations that nobody waits for. An entry is committed before its sender is answered and then ends in
 * exactly one of: succeeded (it is gone), a dead letter, or still here. It runs at least once; its attempt number, which
 * rises with each lease, keeps a former holder from settling what another has by now.
 */
export class Queue implements AsyncDisposable {
  readonly #deps: QueueDeps
  readonly #bell = new Bell()
  readonly #stop = new AbortController()
  readonly #running = new Map<string, Promise<void>>()
  readonly #byFunction = new Map<string, number>()
  readonly #enqueue: GroupCommit<NewEntry>
  readonly #settling: Settling
  #loop: Promise<void> | null = null
  #renewing: NodeJS.Timeout | null = null
  #sweeping: NodeJS.Timeout | null = null
  #count = 0
  #failing = false
  /** When leases past their time were last looked for. */
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(deps: QueueDeps) {
    this.#deps = deps
    this.#enqueue = new GroupCommit(GROUP, (entries) => deps.database.transaction((tx) => insertEntries(tx, entries)))
    this.#settling = new Settling(deps, {
      enter: (tx, entry) => this.enqueueIn(tx, [entry]),
      ended: (entries) => {
        this.#count -= entries
      },
    })
  }

  /** Takes back what a former life held, and begins. */
  async start(): Promise<void> {
    const { database, holder, log } = this.#deps
    const back = await returnLeases(database.sql, holder, 1)
    if (back.length > 0) log.info({ entries: back.length }, 'entries that ran when this node ended wait again')
    await this.#settling.buryLost(back)
    this.#count = await countEntries(database.sql)
    this.#loop = this.#work()
    this.#renewing = setInterval(() => void this.#renew(), RENEW_MS)
    this.#sweeping = setInterval(() => void this.#sweep(), SWEEP_MS)
    for (const timer of [this.#renewing, this.#sweeping]) timer.unref()
    void this.#sweep()
  }

  /** Entries that run now. */
  get running(): number {
    return this.#running.size
  }
  /** Entries that wait or run. */
  get length(): number {
    return this.#count
  }

  /** How large the event of an entry may be. */
  maxPayloadBytes(project: string): number {
    return LIMIT_PROFILES[this.#limitProfileOf(project)].queuedPayload
  }

  #limitProfileOf(project: string): LimitProfileName {
    return this.#deps.limitProfileOf?.(project) ?? DEFAULT_LIMIT_PROFILE
  }

  /**
   * Resolves when the entry is on disk: it runs at least once, or becomes a dead letter.
   * @throws MayflyError payload_too_large, queue_full, storage_full; DatabaseError when it could not be stored
   */
  async enqueue(entry: NewEntry): Promise<void> {
    const most = this.maxPayloadBytes(entry.project)
    if (entry.payload.byteLength > most)
      throw new MayflyError(
        'payload_too_large',
        `the event of a queued invocation may have ${most} bytes, by the limit profile ${this.#limitProfileOf(entry.project)} of the project`,
      )
    this.#deps.admitSpace()
    if (this.#count >= LIMITS.queuedEntries.value) throw new MayflyError('queue_full', `${LIMITS.queuedEntries.value} invocations wait already`)
    this.#count++
    try {
      await this.#enqueue.add(entry)
    } catch (error) {
      this.#count--
      throw error
    }
    this.#bell.ring()
  }

  /**
   * Adds entries, and what is given up at once, in a transaction of the control database that its owner commits.
   * @throws MayflyError queue_full, storage_full: then the owner has to roll it back and to come again
   */
  async enqueueIn(tx: Tx, entries: readonly NewEntry[], stillBorn: readonly StillBorn[] = []): Promise<Entered> {
    this.#deps.admitSpace()
    if (this.#count + entries.length > LIMITS.queuedEntries.value) throw new MayflyError('queue_full', `${LIMITS.queuedEntries.value} invocations wait already`)
    if (entries.length > 0) await insertEntries(tx, entries)
    if (stillBorn.length > 0) await insertDeadLetters(tx, stillBorn)
    return {
      committed: () => {
        for (const letter of stillBorn) this.#settling.tellBuried(letter.id, letter)
        this.#count += entries.length
        if (entries.length > 0) this.#bell.ring()
      },
    }
  }

  /** Which of these wait or run: the others ended, well or not. */
  stillThere(tx: Tx, ids: readonly string[]): Promise<ReadonlySet<string>> {
    return ids.length === 0 ? Promise.resolve(new Set()) : selectThere(tx, ids)
  }

  /**
   * Lets what was given up wait again, as an entry of its own: the letter goes in the transaction in which that comes.
   * @param functionId  of the function that has the letter's name now
   * @returns the id of the new invocation
   * @throws MayflyError dead_letter_not_found, queue_full, storage_full
   */
  async replay(project: ProjectRef, letterId: string, functionOf: (name: string) => Promise<string>): Promise<string> {
    const { database, newId } = this.#deps
    const [found] = await selectDeadLetter(database.sql, project, letterId, 0)
    if (!found) throw noLetter(letterId)
    const functionId = await functionOf(found.functionName)
    const id = newId()
    const entered = await database.transaction(async (tx) => {
      const [letter] = await deleteDeadLetter(tx, project, letterId)
      if (!letter) throw noLetter(letterId)
      const { functionName, qualifier, payload } = letter
      return await this.enqueueIn(tx, [{ id, project, functionId, functionName, qualifier, traceId: null, clientContext: null, depth: 0, payload }])
    })
    entered.committed()
    return id
  }

  /** @throws MayflyError dead_letter_not_found */
  async removeDeadLetter(project: ProjectRef, letterId: string): Promise<void> {
    if ((await deleteDeadLetter(this.#deps.database.sql, project, letterId)).length === 0) throw noLetter(letterId)
  }

  /** One with the first LIMITS.shownPayload bytes of its event. @throws MayflyError dead_letter_not_found */
  async deadLetter(project: ProjectRef, letterId: string): Promise<DeadLetter & { readonly payload: Buffer }> {
    const [letter] = await selectDeadLetter(this.#deps.database.sql, project, letterId, LIMITS.shownPayload.value)
    if (!letter) throw noLetter(letterId)
    return letter
  }

  /** What waits and runs for a project: how many, and the first of them. */
  async entriesOf(project: ProjectRef, limit: number): Promise<{ waiting: number; running: number; entries: ShownEntry[] }> {
    const { sql } = this.#deps.database
    return { ...(await countEntriesOf(sql, project)), entries: await selectEntries(sql, project, limit) }
  }

  /** Of all projects. */
  countDeadLetters(): Promise<number> {
    return countDeadLetters(this.#deps.database.sql)
  }

  deadLetters(project: ProjectRef, functionName: string | null, limit: number): Promise<DeadLetter[]> {
    return selectDeadLetters(this.#deps.database.sql, project, functionName, limit)
  }

  /** A project goes, and what waits for its functions with it. */
  async dropProject(project: ProjectRef): Promise<void> {
    await this.#deps.database.transaction((tx) => deleteQueueOf(tx, project))
    this.#count = await countEntries(this.#deps.database.sql)
  }

  /** Takes nothing more, lets what runs end for a few seconds, and gives the rest back: it runs again in the next life. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { clock, database, holder, log } = this.#deps
    this.#stop.abort(new MayflyError('shutting_down', 'the node is stopping'))
    if (this.#renewing) clearInterval(this.#renewing)
    if (this.#sweeping) clearInterval(this.#sweeping)
    await this.#loop
    await within(clock, CLOSE_MS, Promise.allSettled(this.#running.values()))
    await Promise.allSettled([this.#enqueue.settled(), this.#settling.settled()])
    if (this.#running.size > 0)
      await returnLeases(database.sql, holder, 0).catch((error: Error) => log.warn({ error: error.message }, 'leases are given back at the next start'))
  }

  async #work(): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#stop
    while (!signal.aborted) {
      const rung = new AbortController()
      const waiting = this.#bell.wait(clock, LOOK_MS, AbortSignal.any([signal, rung.signal]))
      let nextMs = LOOK_MS
      try {
        nextMs = await this.#round()
        if (this.#failing) log.info({}, 'the queue is served again')
        this.#failing = false
      } catch (error) {
        if (!this.#failing) log.warn({ error: (error as Error).message }, 'the queue cannot be served; it is tried again')
        this.#failing = true
      }
      if (nextMs < LOOK_MS) {
        const soon = clock.timer(Math.max(0, nextMs), () => rung.abort())
        await waiting
        soon[Symbol.dispose]()
      } else await waiting
    }
  }

  /** Leases what is due and has room, and lets it run. @returns ms until it is worth looking again */
  async #round(): Promise<number> {
    const { clock, database, concurrency, holder } = this.#deps
    if (clock.monotonic() - this.#lookedAt >= LOOK_MS) {
      this.#lookedAt = clock.monotonic()
      await this.#settling.buryLost(await returnLeases(database.sql, null, 1))
    }
    const room = concurrency - this.#running.size
    if (room <= 0) return LOOK_MS
    const waiting = (await selectWaitingFunctions(database.sql)).toSorted((a, b) => a.dueMs - b.dueMs)
    // Those that run as many as they may are left until one of theirs is over.
    const due = waiting.filter(({ dueMs, functionId }) => dueMs <= 0 && this.#freeOf(functionId) > 0).map(({ functionId }) => functionId)
    if (due.length === 0) return waiting.find(({ dueMs }) => dueMs > 0)?.dueMs ?? LOOK_MS
    const leased = await leaseDue(database.sql, holder, this.#shares(due, room), LEASE_MS)
    if (leased.length > 0) this.#deps.crash('afterLease')
    for (const entry of leased) this.#begin(entry)
    return 0
  }

  /** The room is shared by the functions that wait; those with less running come first, then those that have waited longest. */
  #shares(functions: readonly string[], room: number) {
    const order = functions.toSorted((a, b) => (this.#byFunction.get(a) ?? 0) - (this.#byFunction.get(b) ?? 0))
    const chosen = order.slice(0, room)
    const each = Math.floor(room / chosen.length)
    const rest = room - each * chosen.length
    return { functions: chosen, slots: chosen.map((id, n) => Math.min(this.#freeOf(id), each + (n < rest ? 1 : 0))) }
  }

  #freeOf(functionId: string): number {
    return this.#deps.freeOf?.(functionId) ?? this.#deps.concurrency
  }

  #begin(entry: LeasedEntry): void {
    this.#byFunction.set(entry.functionId, (this.#byFunction.get(entry.functionId) ?? 0) + 1)
    const done = this.#run(entry)
      .catch((error: Error) => this.#deps.log.warn({ invocation: entry.id, error: error.message }, 'an entry could not be settled; its lease ends by itself'))
      .then(() => {
        this.#running.delete(entry.id)
        const left = (this.#byFunction.get(entry.functionId) ?? 1) - 1
        if (left === 0) this.#byFunction.delete(entry.functionId)
        else this.#byFunction.set(entry.functionId, left)
        this.#bell.ring()
      })
    this.#running.set(entry.id, done)
  }

  async #run(entry: LeasedEntry): Promise<void> {
    let outcome: Outcome
    try {
      outcome = await this.#deps.invoke(
        {
          id: entry.id,
          attempt: entry.attempt,
          failures: entry.spent,
          lastError: entry.lastError,
          // The clock of a database may be set back.
          queueMs: Math.max(0, entry.ageMs),
          project: entry.project as ProjectRef,
          functionName: entry.functionName,
          qualifier: entry.qualifier,
          traceId: entry.traceId,
          clientContext: entry.clientContext,
          depth: entry.depth,
          bytesIn: () => entry.payload.length,
          content: async (kind) => eventContent(kind, entry.payload),
          // What is handed to the sandbox leaves at the end of this turn of the event loop.
          handed: () => void setImmediate(() => setImmediate(() => this.#deps.crash('duringRun'))),
        },
        this.#stop.signal,
      )
    } catch (error) {
      if (!this.#stop.signal.aborted) await this.#settling.notRun(entry, error)
      return
    }
    // From here on user code has run: whatever its reply comes to is its outcome.
    const end = await endOf(outcome)
    await outcome.over
    await this.#deps.recorded()
    this.#deps.crash('afterRunBeforeSettle')
    if (end.failure === null) return await this.#settling.succeeded(entry, end.response)
    // What ends while the sandboxes are being closed says nothing about the function.
    if (!this.#stop.signal.aborted) await this.#settling.failed(entry, end.failure, end.response)
  }

  async #renew(): Promise<void> {
    const { database, holder, log } = this.#deps
    if (this.#running.size === 0) return
    await renewLeases(database.sql, holder, LEASE_MS).catch((error: Error) => log.warn({ error: error.message }, 'leases could not be renewed'))
  }

  async #sweep(): Promise<void> {
    const { database, deadLetterDays, log } = this.#deps
    await deleteOldDeadLetters(database.sql, deadLetterDays).catch((error: Error) =>
      log.warn({ error: error.message }, 'old dead letters could not be removed'),
    )
  }
}

const noLetter = (id: string) => new MayflyError('dead_letter_not_found', `there is no dead letter ${id} in this project`)

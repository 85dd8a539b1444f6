import type { Database, Tx } from '../backends/database/database.ts'
import type { Crash } from '../core/crash.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import { Bell } from '../lib/bell.ts'
import type { Clock } from '../lib/clock.ts'
import { storableText } from '../lib/text.ts'
import { within } from '../lib/within.ts'
import { backoffMs } from './backoff.ts'
import { deliveryOf, type DestinationsOf, type Target, type Told } from './destinations.ts'
import { GroupCommit } from './group-commit.ts'
import { eventContent, eventReply } from './event.ts'
import type { EventReply } from './event-to-fetch.ts'
import type { Invocation, Outcome } from './service.ts'
import {
  type Buried,
  buryEntry,
  type Called,
  countDeadLetters,
  countEntries,
  countEntriesOf,
  type DeadLetter,
  deleteDeadLetter,
  deleteEntries,
  deleteOldDeadLetters,
  deleteQueueOf,
  type Given,
  insertDeadLetters,
  insertEntries,
  leaseDue,
  type LeasedEntry,
  type NewEntry,
  renewLeases,
  retryEntry,
  returnLeases,
  selectDeadLetter,
  selectDeadLetters,
  selectEntries,
  selectWaitingFunctions,
  type Settled,
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

export interface QueueDeps {
  readonly database: Database
  /** `Invoker.invoke`. @throws MayflyError when the call does not come to user code */
  readonly invoke: (invocation: Invocation, signal: AbortSignal) => Promise<Outcome>
  /** Asked before an event is stored. @throws MayflyError storage_full */
  readonly admitSpace: () => void
  /** Resolves when what a run wrote and used is in the files of this node: only then it is settled. */
  readonly recorded: () => Promise<unknown>
  /** Who holds leases: the same in each life of a node. */
  readonly holder: string
  /** How many entries run at once. */
  readonly concurrency: number
  /** How many more of a function's could run now, where that is known. */
  readonly freeOf?: (functionId: string) => number
  readonly maxAttempts: number
  readonly maxAgeMs: number
  readonly deadLetterDays: number
  /** What a function says of its own tries; null where it leaves that to the two above. @throws MayflyError when it is gone */
  readonly triesOf: (project: ProjectRef, functionName: string, qualifier: string | null) => Promise<Tries>
  /** Which functions are told how its calls end; null for none. */
  readonly destinationsOf: DestinationsOf
  readonly newId: () => string
  readonly crash: Crash
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

export interface Tries {
  readonly maxAttempts: number | null
  readonly maxAgeSeconds: number | null
}

/** Entries that stand in a transaction of somebody else's; told when it has committed. */
export interface Entered {
  committed(): void
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
  readonly #succeed: GroupCommit<Settled>
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
    this.#succeed = new GroupCommit(GROUP, async (settled) => {
      this.#count -= (await deleteEntries(deps.database.sql, settled)).length
    })
  }

  /** Takes back what a former life held, and begins. */
  async start(): Promise<void> {
    const { database, holder, log } = this.#deps
    const back = await returnLeases(database.sql, holder, 1)
    if (back.length > 0) log.info({ entries: back.length }, 'entries that ran when this node ended wait again')
    await this.#buryLost(back)
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

  /**
   * Resolves when the entry is on disk: it runs at least once, or becomes a dead letter.
   * @throws MayflyError payload_too_large, queue_full, storage_full; DatabaseError when it could not be stored
   */
  async enqueue(entry: NewEntry): Promise<void> {
    if (entry.payload.byteLength > LIMITS.queuedPayload.value)
      throw new MayflyError('payload_too_large', `the event of a queued invocation may have ${LIMITS.queuedPayload.value} bytes`)
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
        for (const letter of stillBorn) this.#tellBuried(letter.id, letter)
        this.#count += entries.length
        if (entries.length > 0) this.#bell.ring()
      },
    }
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
    await Promise.allSettled([this.#enqueue.settled(), this.#succeed.settled()])
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
      await this.#buryLost(await returnLeases(database.sql, null, 1))
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
      if (!this.#stop.signal.aborted) await this.#notRun(entry, error)
      return
    }
    // From here on user code has run: whatever its reply comes to is its outcome.
    const reply = await eventReply(outcome).then(
      (said) => ({ said, told: toldBy(said) }),
      (error: unknown) => ({ said: null, told: toldByReply(error) }),
    )
    await outcome.over
    await this.#deps.recorded()
    this.#deps.crash('afterRunBeforeSettle')
    const { said, told } = reply
    const response = said && { payload: said.payload, executedVersion: outcome.version.version, isError: told !== null }
    if (told === null) return await this.#succeeded(entry, response)
    // What ends while the sandboxes are being closed says nothing about the function.
    if (!this.#stop.signal.aborted) await this.#failed(entry, told, response)
  }

  /** Gone, and told to whom it concerns in the same transaction. */
  async #succeeded(entry: LeasedEntry, response: Response): Promise<void> {
    const to = await this.#destinationsOf(entry)
    if (!to?.onSuccess) return await this.#succeed.add(entry)
    const { onSuccess, functionArn } = to
    const entered = await this.#deps.database.transaction(async (tx) => {
      if ((await deleteEntries(tx, [entry])).length === 0) return null
      const about = { functionArn, condition: 'Success', invocationId: entry.id, attempts: entry.spent + 1, request: entry.payload, response } as const
      return await this.#tell(tx, onSuccess, entry, about)
    })
    if (entered === null) return
    this.#count--
    entered.committed()
  }

  #destinationsOf(entry: Called) {
    return this.#deps.destinationsOf(entry.project as ProjectRef, entry.functionName, entry.qualifier)
  }

  /** What cannot be told is a dead letter in the same transaction. */
  async #tell(tx: Tx, target: Target, entry: { readonly project: string } & Pick<Buried, 'traceId' | 'depth'>, about: Omit<Told, 'at'>): Promise<Entered> {
    const { clock, newId } = this.#deps
    const { project, traceId, depth } = entry
    const made = deliveryOf(target, { id: newId(), project, traceId, depth }, { ...about, at: clock.now() })
    if ('letter' in made) return await this.#stillBorn(tx, made.letter)
    try {
      return await this.enqueueIn(tx, [made.entry])
    } catch (error) {
      // Refused before anything was written: the call itself has ended all the same.
      if (!(error instanceof MayflyError)) throw error
      const { id, functionName, payload } = made.entry
      return await this.#stillBorn(tx, { id, project, functionName, payload, reason: 'destination', errorType: error.code, errorMessage: error.message })
    }
  }

  async #stillBorn(tx: Tx, letter: StillBorn): Promise<Entered> {
    await insertDeadLetters(tx, [letter])
    return { committed: () => this.#tellBuried(letter.id, letter) }
  }

  /** It ran and ended with an error: an attempt is spent. */
  async #failed(entry: LeasedEntry, told: Failure, response: Response): Promise<void> {
    const { maxAttempts, maxAgeMs } = await this.#triesOf(entry)
    const failures = entry.spent + 1
    const waitMs = backoffMs(failures, this.#deps.random)
    if (failures >= maxAttempts) await this.#bury(entry, { reason: 'attempts', spent: 1, ...told }, response)
    else if (entry.ageMs + waitMs > maxAgeMs) await this.#bury(entry, { reason: 'age', spent: 1, ...told }, response)
    else await retryEntry(this.#deps.database.sql, entry, waitMs, 1, 0)
  }

  /** It did not come to user code: no attempt is spent, but its age counts, and a fault of ours is counted as one of the node's. */
  async #notRun(entry: LeasedEntry, error: unknown): Promise<void> {
    const known = error instanceof MayflyError ? error : null
    const told = { errorType: known?.code ?? 'internal', errorMessage: known?.message ?? 'a fault of this node' }
    if (known?.code === 'function_not_found' || known?.code === 'project_not_found')
      return await this.#bury(entry, { reason: 'function_gone', spent: 0, ...told })
    const isFault = known === null || known.code === 'internal'
    // A sandbox that was lost with other calls in it may be this one's doing.
    const lost = isFault || known.code === 'sandbox_lost' ? 1 : 0
    if (isFault) this.#deps.log.error({ invocation: entry.id, error: String(error) }, 'an entry could not be run by a fault of this node')
    const waitMs = backoffMs(Math.max(1, entry.attempt - entry.spent), this.#deps.random)
    const { maxAgeMs } = await this.#triesOf(entry)
    if (entry.lost + lost >= LIMITS.lostLeases.value) await this.#bury(entry, { reason: 'node', spent: 0, ...told })
    else if (entry.ageMs + waitMs > maxAgeMs) await this.#bury(entry, { reason: 'age', spent: 0, ...told })
    else await retryEntry(this.#deps.database.sql, entry, waitMs, 0, lost)
  }

  /** As the function says, else as the node does. */
  async #triesOf(entry: LeasedEntry): Promise<{ maxAttempts: number; maxAgeMs: number }> {
    const { maxAttempts, maxAgeMs, triesOf } = this.#deps
    // A function that is gone by now has nothing to say.
    const own = await triesOf(entry.project as ProjectRef, entry.functionName, entry.qualifier).catch(() => null)
    return { maxAttempts: own?.maxAttempts ?? maxAttempts, maxAgeMs: own?.maxAgeSeconds ? own.maxAgeSeconds * 1_000 : maxAgeMs }
  }

  /** @param response  of the last attempt; null when it did not come to user code */
  async #bury(entry: Called, given: Given, response: Response = null): Promise<void> {
    const to = await this.#destinationsOf(entry)
    const done = await this.#deps.database.transaction(async (tx) => {
      const [buried] = await buryEntry(tx, entry, given)
      if (!buried || !to?.onFailure) return buried ? NOBODY : null
      const { payload: request, attempts } = buried
      const condition = given.reason === 'age' ? 'EventAgeExceeded' : 'RetriesExhausted'
      const about = { functionArn: to.functionArn, condition, invocationId: entry.id, attempts, request, response } as const
      return await this.#tell(tx, to.onFailure, { ...buried, project: entry.project }, about)
    })
    if (done === null) return
    this.#count--
    this.#tellBuried(entry.id, given)
    done.committed()
  }

  #tellBuried(invocation: string, given: Pick<Given, 'reason' | 'errorType'>): void {
    this.#deps.log.warn({ invocation, reason: given.reason, error: given.errorType }, 'an invocation became a dead letter')
  }

  /** An event that ends nodes must not do so for ever. */
  async #buryLost(back: readonly (Called & { readonly lost: number })[]): Promise<void> {
    for (const entry of back) {
      if (entry.lost < LIMITS.lostLeases.value) continue
      const errorMessage = `the node ended ${entry.lost} times while it ran`
      await this.#bury(entry, { reason: 'node', spent: 0, errorType: 'node', errorMessage })
    }
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

type Failure = Pick<Given, 'errorType' | 'errorMessage'>
type Response = Told['response']

const NOBODY: Entered = { committed: () => {} }

/** What a function's outcome says of itself; null when it is no error. */
const toldBy = ({ errorType, payload }: EventReply): Failure | null =>
  errorType === null ? null : { errorType: storable(errorType), errorMessage: storable(messageOf(payload)) }

/** A reply that broke off. */
const toldByReply = (error: unknown): Failure => ({
  errorType: 'function_failed',
  errorMessage: storable(error instanceof Error ? error.message : String(error)),
})

const TOLD = 4_096
const storable = (text: string | null): string | null => (text === null ? null : storableText(text).slice(0, TOLD))

function messageOf(payload: Uint8Array): string | null {
  try {
    const { errorMessage } = JSON.parse(Buffer.from(payload).toString('utf8')) as { errorMessage?: unknown }
    return typeof errorMessage === 'string' ? errorMessage : null
  } catch {
    return null
  }
}

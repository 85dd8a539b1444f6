import { DatabaseError, type Tx } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { DEFAULT_LIMIT_PROFILE, LIMIT_PROFILES, type LimitProfileName } from '../core/limit-profiles.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import { Bell } from '../lib/bell.ts'
import { within } from '../lib/within.ts'
import { eventContent } from './event.ts'
import { Intake } from './intake.ts'
import type { Invocation, Outcome } from './service.ts'
import { type Entered, endOf, Settling, type SettlingDeps, type Tries } from './settling.ts'
import { Claims, type Placed } from './claims.ts'
import { Letters } from './letters/service.ts'
import { countDeadLetters, deleteOldDeadLetters } from './letters/store.ts'
import { LifeFeed, type Moment } from './lives/feed.ts'
import { deleteOldLives, endPause, type Pause, savePause, selectEntries, selectLife, selectPauses, type ShownEntry, type StoredLife } from './lives/store.ts'
import { orderKeyOf, storableKey } from './order-key.ts'
import { Places } from './places.ts'
import { Rates } from './rate.ts'
import {
  countEntries,
  countEntriesOf,
  deleteQueueOf,
  insertDeadLetters,
  insertEntries,
  type LeasedEntry,
  type NewEntry,
  renewLeases,
  selectThere,
  returnLeases,
  returnStrays,
  type Settled,
  type StillBorn,
  type Webhook,
} from './store.ts'
import { sendWebhook, type WebhooksDeps } from './webhooks.ts'

const LEASE_MS = 60_000
const RENEW_MS = 20_000
/** What a bell did not tell of is found by looking. */
const LOOK_MS = 1_000
const SWEEP_MS = 3_600_000
const CLOSE_MS = 5_000
/** Of a database that is away, has no room for now, or gave way to another transaction. */
const COMES_BACK = /^(08|40|53|57P|58)/
/** Between two tries to settle while it is so. */
const SETTLE_AGAIN_MS = { least: 50, most: 1_000 }

export interface QueueDeps extends SettlingDeps {
  /** `Invoker.invoke`. @throws MayflyError when the call does not come to user code */
  readonly invoke: (invocation: Invocation, signal: AbortSignal) => Promise<Outcome>
  /** Asked before an event is stored. @throws MayflyError storage_full */
  readonly admitSpace: () => void
  /** Which limits the events of a project are held to; Mayfly's own where this is absent. */
  readonly limitProfileOf?: (project: string) => LimitProfileName
  /** Who holds leases: the same in each life of a node. */
  readonly holder: string
  /** How many entries run at once. */
  readonly concurrency: number
  /** How many more of a function's could run now, where that is known. */
  readonly freeOf?: (functionId: string) => number
  readonly deadLetterDays: number
  readonly webhooks: WebhooksDeps
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
  readonly #running = new Map<string, Running>()
  readonly #places: Places
  readonly #intake: Intake
  readonly #claims: Claims
  readonly #settling: Settling
  readonly #rates: Rates
  readonly letters: Letters
  readonly feed = new LifeFeed()
  #loop: Promise<void> | null = null
  #renewing: NodeJS.Timeout | null = null
  #sweeping: NodeJS.Timeout | null = null
  #count = 0
  #failing = false
  /** An answer of the database was lost: what it did is found by looking. */
  #isDoubtful = false
  #isRecovering = false
  #soon: Disposable | null = null
  /** When leases past their time were last looked for. */
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(deps: QueueDeps) {
    this.#deps = deps
    this.#rates = new Rates(() => deps.clock.monotonic())
    this.#places = new Places(deps.concurrency)
    this.#claims = new Claims({
      ...deps,
      leaseMs: LEASE_MS,
      places: this.#places,
      rates: this.#rates,
      freeOf: (functionId) => this.#freeOf(functionId),
      ownOf: (one) => this.#ownOf(one),
      mayRefill: () => !this.#isRecovering && !this.#stop.signal.aborted,
      isStopped: () => this.#stop.signal.aborted,
      begin: (entry, isRated) => this.#begin(entry, isRated),
      lookAgain: () => this.#lookAgain(),
    })
    this.#intake = new Intake({
      ...deps,
      leaseMs: LEASE_MS,
      places: this.#places,
      mayTake: () => this.#loop !== null && !this.#isRecovering && !this.#stop.signal.aborted,
      isReserved: (functionId) => Number.isFinite(this.#freeOf(functionId)),
      stored: (entry) => this.#tellQueued(entry),
      begin: (entry) => this.#begin(entry, false),
      left: (functionIds) => this.#wait(functionIds),
    })
    this.#settling = new Settling(deps, {
      enter: (tx, entry) => this.enqueueIn(tx, [entry]),
      ended: (entries) => {
        this.#count -= entries
      },
      released: () => this.#lookAgain(),
      refill: (over) => this.#claims.refill(over.flatMap((entry) => this.#runOf(entry) ?? [])),
      tell: (project, moment) => this.#tell(project, moment),
    })
    this.letters = new Letters({
      database: deps.database,
      queues: deps.queues,
      enter: (tx, entries) => this.enqueueIn(tx, entries),
      checkPayload: (project, payload) => this.#checkPayload(project, payload),
      newId: deps.newId,
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

  #checkPayload(project: string, payload: Uint8Array): void {
    const most = this.maxPayloadBytes(project)
    if (payload.byteLength > most)
      throw new MayflyError(
        'payload_too_large',
        `the event of a queued invocation may have ${most} bytes, by the limit profile ${this.#limitProfileOf(project)} of the project`,
      )
  }

  /**
   * Resolves when the entry is on disk: it runs at least once, or becomes a dead letter.
   * @param onceKey  null, or what the event is known by: another of its function under the same key within the function's
   * window is the same event, and queued no second time
   * @returns the id of the invocation; that of the first where the key was used before
   * @throws MayflyError payload_too_large, bad_request, queue_full, storage_full; DatabaseError when it could not be stored
   */
  async enqueue(entry: NewEntry, onceKey: string | null = null): Promise<string> {
    this.#checkPayload(entry.project, entry.payload)
    checkTexts(entry)
    this.#deps.admitSpace()
    if (this.#count >= LIMITS.queuedEntries.value) throw new MayflyError('queue_full', `${LIMITS.queuedEntries.value} invocations wait already`)
    this.#count++
    try {
      const own = await this.#ownOf(entry)
      const standsFor = await this.#intake.add(ordered(entry, own), own, onceKey)
      if (standsFor !== entry.id) this.#count--
      return standsFor
    } catch (error) {
      this.#count--
      this.#isDoubtful = true
      throw error
    }
  }

  /**
   * Adds entries, and what is given up at once, in a transaction of the control database that its owner commits.
   * @throws MayflyError queue_full, storage_full: then the owner has to roll it back and to come again
   */
  async enqueueIn(tx: Tx, entries: readonly NewEntry[], stillBorn: readonly StillBorn[] = []): Promise<Entered> {
    this.#deps.admitSpace()
    if (this.#count + entries.length > LIMITS.queuedEntries.value) throw new MayflyError('queue_full', `${LIMITS.queuedEntries.value} invocations wait already`)
    if (entries.length > 0) {
      const coming: NewEntry[] = []
      for (const entry of entries) coming.push(ordered(entry, await this.#ownOf(entry)))
      await insertEntries(tx, coming)
    }
    if (stillBorn.length > 0) await insertDeadLetters(tx, stillBorn)
    return {
      committed: () => {
        for (const letter of stillBorn) this.#settling.tellBuried(letter, letter)
        this.#count += entries.length
        for (const entry of entries) this.#tellQueued(entry)
        if (entries.length > 0) this.#wait(entries.map(({ functionId }) => functionId))
      },
    }
  }

  /** Which of these wait or run: the others ended, well or not. */
  stillThere(tx: Tx, ids: readonly string[]): Promise<ReadonlySet<string>> {
    return ids.length === 0 ? Promise.resolve(new Set()) : selectThere(tx, ids)
  }

  /** What its function says of how its entries are handled. */
  async #ownOf({
    project,
    functionName,
    webhook,
  }: {
    readonly project: string
    readonly functionName: string
    readonly webhook?: Webhook | null
  }): Promise<Tries> {
    if (webhook) return UNSAID
    // A function that is gone by now has nothing to say.
    return await this.#deps.triesOf(project as ProjectRef, functionName, null).catch(() => UNSAID)
  }

  #tell(project: string, moment: Omit<Moment, 'at'>): void {
    if (this.feed.isHeard(project)) this.feed.tell(project, { at: new Date(this.#deps.clock.now()).toISOString(), ...moment })
  }

  #tellQueued({ id, project, functionName, webhook }: NewEntry): void {
    this.#tell(project, { invocation: id, function: functionName, what: 'queued', ...(webhook ? { url: webhook.url } : {}) })
  }

  /** Entries of the function wait from now on; what runs is left to end. @returns since when */
  async pause(functionId: string): Promise<Date> {
    const [pause] = await savePause(this.#deps.database.sql, functionId)
    this.#claims.forget()
    return (pause as Pause).pausedAt
  }

  /** What waited goes on, and is no older by its wait. @returns false when the function was not paused */
  async resume(functionId: string): Promise<boolean> {
    const ended = (await endPause(this.#deps.database.sql, functionId)).length > 0
    this.#lookAgain()
    return ended
  }

  /** Since when each of them is paused, where it is. */
  async pausedOf(functionIds: readonly string[]): Promise<ReadonlyMap<string, Date>> {
    return new Map((await selectPauses(this.#deps.database.sql, functionIds)).map(({ functionId, pausedAt }) => [functionId, pausedAt]))
  }

  /** What the queue knows of an invocation. */
  lifeOf(project: ProjectRef, id: string): Promise<StoredLife> {
    return selectLife(this.#deps.database.sql, project, id)
  }

  /** What waits and runs for a project: how many, and the first of them. */
  async entriesOf(
    project: ProjectRef,
    limit: number,
    of: { readonly functionName: string | null; readonly state: string | null } = { functionName: null, state: null },
  ): Promise<{ waiting: number; running: number; entries: ShownEntry[] }> {
    const { sql } = this.#deps.database
    return { ...(await countEntriesOf(sql, project)), entries: await selectEntries(sql, project, of, limit) }
  }

  /** Of all projects. */
  countDeadLetters(): Promise<number> {
    return countDeadLetters(this.#deps.database.sql)
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
    this.#soon?.[Symbol.dispose]()
    await this.#loop
    // What is being stored may be leased by that.
    await this.#intake.settled()
    await within(clock, CLOSE_MS, Promise.allSettled([...this.#running.values()].map(({ over }) => over)))
    await this.#settling.settled()
    // Those that have heeded the stop run no more, and are leased all the same.
    if (this.#loop !== null)
      await returnLeases(database.sql, holder, 0).catch((error: Error) => log.warn({ error: error.message }, 'leases are given back at the next start'))
  }

  async #work(): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#stop
    while (!signal.aborted) {
      const { rings } = this.#bell
      let nextMs = LOOK_MS
      try {
        if (this.#isDoubtful) await this.#recover()
        nextMs = await this.#round()
        if (this.#failing) log.info({}, 'the queue is served again')
        this.#failing = false
      } catch (error) {
        if (!this.#failing) log.warn({ error: (error as Error).message }, 'the queue cannot be served; it is tried again')
        this.#failing = true
        this.#isDoubtful = true
      }
      await this.#bell.wait(clock, Math.max(0, nextMs), signal, rings)
    }
  }

  /** What was answered while nobody heard it: leases that no run knows of, and entries that came or went. */
  async #recover(): Promise<void> {
    const { database, holder } = this.#deps
    this.#isDoubtful = false
    // What is taken while the strays are looked for would be one of them.
    this.#isRecovering = true
    try {
      await this.#claims.refilled()
      await returnStrays(database.sql, holder, [...this.#running.keys(), ...this.#intake.taking])
      this.#count = await countEntries(database.sql)
    } finally {
      this.#isRecovering = false
    }
  }

  /** Something of these functions waits. */
  #wait(functionIds: readonly string[]): void {
    const restMs = this.#claims.came(functionIds)
    if (restMs <= 0) this.#bell.ring()
    else
      this.#soon ??= this.#deps.clock.timer(restMs, () => {
        this.#soon = null
        this.#bell.ring()
      })
  }

  #lookAgain(): void {
    this.#claims.forget()
    this.#bell.ring()
  }

  /** Leases what is due and has room, and lets it run. @returns ms until it is worth looking again */
  async #round(): Promise<number> {
    const { clock, database } = this.#deps
    if (clock.monotonic() - this.#lookedAt >= LOOK_MS) {
      this.#lookedAt = clock.monotonic()
      await this.#settling.buryLost(await returnLeases(database.sql, null, 1))
    }
    return Math.min(LOOK_MS, await this.#claims.look())
  }

  /** Resolves when the rate of the function lets another call begin, which counts then. @throws the reason of the signal */
  async turnOf({ functionId, ...of }: RatedCall, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { rate } = await this.#ownOf({ ...of, webhook: null })
      const waitMs = rate === undefined ? 0 : this.#rates.waitMs(functionId, rate)
      if (waitMs === 0) {
        if (rate !== undefined) this.#rates.began(functionId)
        return
      }
      await this.#deps.clock.sleep(waitMs, signal)
    }
  }

  #freeOf(functionId: string): number {
    return this.#deps.freeOf?.(functionId) ?? Number.POSITIVE_INFINITY
  }

  /** Of what is leased and has its place. */
  #begin(entry: LeasedEntry, isRated: boolean): void {
    if (isRated) this.#rates.began(entry.functionId)
    this.#tell(entry.project, { invocation: entry.id, function: entry.functionName, what: 'started', attempt: entry.attempt })
    const { promise, resolve } = Promise.withResolvers<void>()
    const run: Running = { functionId: entry.functionId, attempt: entry.attempt, over: promise, hasPlace: true }
    this.#running.set(entry.id, run)
    this.#run(entry)
      .catch((error: Error) => this.#deps.log.warn({ invocation: entry.id, error: error.message }, 'an entry could not be settled; its lease ends by itself'))
      .then(() => {
        if (this.#runOf(entry) === run) this.#running.delete(entry.id)
        resolve()
        if (!run.hasPlace) return
        this.#places.giveBack(entry.functionId)
        this.#lookAgain()
      })
  }

  /** Of this attempt: one that outlasts its lease may have another beside it. */
  #runOf({ id, attempt }: Settled): Running | null {
    const run = this.#running.get(id)
    return run?.attempt === attempt ? run : null
  }

  async #run(entry: LeasedEntry): Promise<void> {
    if (isOfWebhook(entry)) return await this.#send(entry)
    let outcome: Outcome
    try {
      outcome = await this.#deps.invoke(
        {
          id: entry.id,
          attempt: entry.attempt,
          failures: entry.spent,
          lastError: entry.lastError,
          // The clock of a database may be set back.
          queueMs: Math.max(0, entry.queuedMs),
          project: entry.project as ProjectRef,
          functionName: entry.functionName,
          qualifier: entry.qualifier,
          traceId: entry.traceId,
          clientContext: entry.clientContext,
          depth: entry.depth,
          bytesIn: () => entry.payload.length,
          content: async (kind) => eventContent(kind, entry.payload),
          recordedBehind: true,
          // What is handed to the sandbox leaves at the end of this turn of the event loop.
          handed: () => void setImmediate(() => setImmediate(() => this.#deps.crash('duringRun'))),
        },
        this.#stop.signal,
      )
    } catch (error) {
      if (!this.#stop.signal.aborted) await this.#settle(() => this.#settling.notRun(entry, error))
      return
    }
    // From here on user code has run: whatever its reply comes to is its outcome.
    const end = await endOf(outcome)
    const { record = null } = await outcome.over
    this.#deps.crash('afterRunBeforeRecord')
    const { failure, response } = end
    if (failure === null) return await this.#settle(() => this.#settling.succeeded(entry, response, record))
    await this.#deps.recorded()
    this.#deps.crash('afterRunBeforeSettle')
    // What ends while the sandboxes are being closed says nothing about the function.
    if (!this.#stop.signal.aborted) await this.#settle(() => this.#settling.failed(entry, failure, response, record))
  }

  async #send(entry: LeasedEntry & { readonly webhook: Webhook }): Promise<void> {
    const failure = await sendWebhook(entry, this.#deps.webhooks, this.#stop.signal)
    this.#deps.crash('afterWebhookBeforeSettle')
    if (failure === null) await this.#settle(() => this.#settling.succeeded(entry, null, null))
    else if (!this.#stop.signal.aborted) await this.#settle(() => this.#settling.failed(entry, failure, null, null))
  }

  /**
   * A database that is away comes back. Until then the entry stays held: given up, it would run a second time. Whether a
   * settling whose answer was lost took place does not matter: the attempt is settled by then, and no second time.
   */
  async #settle(settle: () => Promise<void>): Promise<void> {
    for (let waitMs = SETTLE_AGAIN_MS.least; ; waitMs = Math.min(2 * waitMs, SETTLE_AGAIN_MS.most)) {
      try {
        return await settle()
      } catch (error) {
        if (!(error instanceof DatabaseError && COMES_BACK.test(error.sqlState)) || this.#stop.signal.aborted) throw error
      }
      this.#isDoubtful = true
      await this.#deps.clock.sleep(waitMs, this.#stop.signal)
    }
  }

  async #renew(): Promise<void> {
    const { database, holder, log } = this.#deps
    if (this.#running.size === 0) return
    await renewLeases(database.sql, holder, [...this.#running.keys()], LEASE_MS).catch((error: Error) =>
      log.warn({ error: error.message }, 'leases could not be renewed'),
    )
  }

  async #sweep(): Promise<void> {
    const { database, deadLetterDays, log } = this.#deps
    try {
      await deleteOldDeadLetters(database.sql, deadLetterDays)
      await deleteOldLives(database.sql, deadLetterDays)
    } catch (error) {
      log.warn({ error: (error as Error).message }, 'old dead letters could not be removed')
    }
  }
}

/** A call of a function beside the queue that its rate holds for as well. */
export interface RatedCall {
  readonly functionId: string
  readonly project: ProjectRef
  readonly functionName: string
  readonly qualifier: string | null
}

interface Running extends Placed {
  readonly attempt: number
  /** Resolves when it is settled, or given up. */
  readonly over: Promise<void>
}

const UNSAID: Tries = { maxAttempts: null, maxAgeSeconds: null }
const isOfWebhook = (entry: LeasedEntry): entry is LeasedEntry & { readonly webhook: Webhook } => entry.webhook !== null

/** What PostgreSQL keeps no text of fails by itself, and not what is stored in the same statement. @throws MayflyError bad_request */
function checkTexts({ functionName, qualifier = null, traceId, clientContext }: NewEntry): void {
  for (const text of [functionName, qualifier, traceId, clientContext])
    if (text?.includes('\0'))
      throw new MayflyError('bad_request', 'the name, the qualifier, the trace id and the client context of a call hold no NUL characters')
}

/** With the key that it is put in order by, where its function says which that is. */
function ordered(entry: NewEntry, { orderBy }: Tries): NewEntry {
  if (entry.orderKey != null) return { ...entry, orderKey: storableKey(entry.orderKey) }
  const orderKey = orderBy === undefined ? null : orderKeyOf(entry.payload, orderBy)
  return orderKey === null ? entry : { ...entry, orderKey }
}

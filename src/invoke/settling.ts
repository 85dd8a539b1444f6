import type { Database, Tx } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Crash } from '../core/crash.ts'
import type { Log } from '../core/log.ts'
import type { MeterRecord } from '../core/meter.ts'
import type { ProjectRef } from '../core/project.ts'
import type { RetryAfter } from '../core/spec-parts.ts'
import type { Clock } from '../lib/clock.ts'
import type { Sent } from '../queues/index.ts'
import { storableText } from '../lib/text.ts'
import { backoffMs, retryAfterMs } from './backoff.ts'
import {
  deliveryOf,
  type DestinationsOf,
  type EventTarget,
  letterOf,
  namedTarget,
  outcomeEvents,
  type QueuesOf,
  type QueueTarget,
  type StartedBy,
  type Target,
  type Told,
  toQueue,
} from './destinations.ts'
import { eventReply } from './event.ts'
import type { EventReply } from './event-to-fetch.ts'
import { GroupCommit } from '../lib/group-commit.ts'
import type { Moment } from './lives/feed.ts'
import { insertResults, insertTold, type KeptResult } from './lives/store.ts'
import type { Outcome } from './service.ts'
import {
  type Buried,
  buryEntry,
  type Called,
  deleteEntries,
  type Given,
  insertDeadLetters,
  type LeasedEntry,
  type NewEntry,
  releaseNext,
  retryEntry,
  type StillBorn,
  type Webhook,
} from './store.ts'
import { WEBHOOK_TRIES } from './webhooks.ts'

const GROUP = 500

export interface SettlingDeps {
  readonly database: Database
  readonly maxAttempts: number
  readonly maxAgeMs: number
  /** What a function says of its own tries; null where it leaves that to the two above. @throws MayflyError when it is gone */
  readonly triesOf: (project: ProjectRef, functionName: string, qualifier: string | null) => Promise<Tries>
  /** Which functions are told how its calls end; null for none. */
  readonly destinationsOf: DestinationsOf
  /** Those of the projects, which may be told. */
  readonly queues: QueuesOf
  /** What an event to a bus of a project starts; nothing where there are no buses. */
  readonly startedBy?: StartedBy
  /** Resolves when what a run wrote and used is in the files of this node: only then it is settled. */
  readonly recorded: () => Promise<unknown>
  /** Stores what a run used, in the transaction that ends the run's entry; whoever does so later finds it there. */
  readonly meterIn?: (tx: Tx, records: readonly MeterRecord[]) => Promise<unknown>
  /** It did, and that is committed. */
  readonly metered?: (records: readonly MeterRecord[]) => void
  readonly crash: Crash
  readonly newId: () => string
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

export interface Tries {
  readonly maxAttempts: number | null
  readonly maxAgeSeconds: number | null
  /** How long what failed waits, in seconds; the node's own backoff where it says nothing of that. */
  readonly retryAfter?: RetryAfter
  /** How many of its entries run at once, and how many begin in a second. */
  readonly parallelism?: number
  readonly rate?: number
  /** Where its events have what they are put in order by. */
  readonly orderBy?: string
  /** How long what it answered is kept. */
  readonly keepResultSeconds?: number
  /** How long a key stands for the event that came under it first. */
  readonly onceWithinSeconds?: number
}

/** Entries that stand in a transaction of somebody else's; told when it has committed. */
export interface Entered {
  committed(): void
}

/** What settling does to the queue around it. */
export interface Settlable {
  /** @throws MayflyError queue_full, storage_full, before anything is written */
  readonly enter: (tx: Tx, entry: NewEntry) => Promise<Entered>
  /** So many entries are there no more. */
  readonly ended: (entries: number) => void
  /** Something that stood behind another may be taken now. */
  readonly released: () => void
  /** Entries are over and about to end: what may run in their places is leased in the same transaction. */
  readonly refill: (over: readonly LeasedEntry[]) => Refill
  readonly tell: (project: string, moment: Omit<Moment, 'at'>) => void
}

/** What is leased while others end. */
export interface Refill {
  /** Null where it is not known that anything waits. */
  readonly lease: ((tx: Tx) => Promise<readonly LeasedEntry[]>) | null
  readonly begin: (leased: readonly LeasedEntry[]) => void
  /** Nothing of it came to pass, or nobody knows. */
  readonly failed: () => void
}

/** An entry whose run is over, with what there is to store of it. */
interface Done {
  readonly entry: LeasedEntry
  readonly record: MeterRecord | null
  readonly result: KeptResult | null
}

type Response = Told['response']

/** How a run ended: what it answered, and what that says if it is an error. */
export interface End {
  readonly failure: Failure | null
  readonly response: Response
}

/** Ends entries: gone, waiting again or a dead letter, each in one step that only who holds the entry can take. */
export class Settling {
  readonly #deps: SettlingDeps
  readonly #queue: Settlable
  readonly #succeed: GroupCommit<Done>

  constructor(deps: SettlingDeps, queue: Settlable) {
    this.#deps = deps
    this.#queue = queue
    this.#succeed = new GroupCommit(GROUP, (done) => this.#endWell(done))
  }

  /** What ended well in one instant. Where nothing depends on which of them another holder has by now it is one flight. */
  async #endWell(done: readonly Done[]): Promise<void> {
    await this.#deps.recorded()
    this.#deps.crash('afterRunBeforeSettle')
    const isPlain = ({ entry }: Done) => entry.orderKey === null
    const plain = done.filter(isPlain)
    if (plain.length > 0) await this.#endInFlight(plain)
    if (plain.length === done.length) return
    const others = done.filter((one) => !isPlain(one))
    const gone = await this.#deps.database.transaction(async (tx) => {
      const ended = await this.#end(tx, others)
      this.#deps.crash('beforeAckCommit')
      return ended
    })
    this.#deps.crash('afterAckCommit')
    this.#metered(others)
    this.#queue.ended(gone.length)
    this.#queue.released()
  }

  async #endInFlight(done: readonly Done[]): Promise<void> {
    const { database, crash } = this.#deps
    const entries = done.map(({ entry }) => entry)
    const refill = this.#queue.refill(entries)
    try {
      crash('beforeAckCommit')
      if (refill.lease) crash('beforeLease')
      const [gone, leased] = await database.flight((tx) => Promise.all([this.#endAll(tx, done), refill.lease?.(tx) ?? []]))
      crash('afterAckCommit')
      if (leased.length > 0) crash('afterLease')
      this.#metered(done)
      this.#queue.ended(gone.length)
      refill.begin(leased)
    } catch (error) {
      refill.failed()
      throw error
    }
  }

  #metered(done: readonly Done[]): void {
    this.#deps.metered?.(done.flatMap(({ record }) => record ?? []))
  }

  /** Entries end with what they used and answered; of one that another holder has by now only what it used stays. */
  async #end(tx: Tx, done: readonly Done[]): Promise<readonly { readonly id: string }[]> {
    const gone = await this.#endAll(tx, done)
    const ids = new Set(gone.map(({ id }) => id))
    await this.#release(
      tx,
      done.flatMap(({ entry }) => (ids.has(entry.id) ? [entry] : [])),
    )
    return gone
  }

  /** Asks for all of it before it waits for any. */
  async #endAll(tx: Tx, done: readonly Done[]): Promise<readonly { readonly id: string }[]> {
    const results = done.flatMap(({ result }) => result ?? [])
    const records = done.flatMap(({ record }) => record ?? [])
    const [, gone] = await Promise.all([
      results.length > 0 ? insertResults(tx, results) : null,
      deleteEntries(
        tx,
        done.map(({ entry }) => entry),
      ),
      this.#meter(tx, records),
    ])
    return gone
  }

  async #meter(tx: Tx, records: readonly MeterRecord[]): Promise<void> {
    if (records.length > 0) await this.#deps.meterIn?.(tx, records)
  }

  async #release(tx: Tx, entries: readonly { readonly functionId: string; readonly orderKey: string | null }[]): Promise<void> {
    const keyed = entries.flatMap(({ functionId, orderKey }) => (orderKey === null ? [] : [{ functionId, orderKey }]))
    if (keyed.length > 0) await releaseNext(tx, keyed)
  }

  /** Resolves when what was begun is over. */
  settled(): Promise<unknown> {
    return this.#succeed.settled()
  }

  /** Gone, and told to whom it concerns in the same transaction. */
  async succeeded(entry: LeasedEntry, response: Response, record: MeterRecord | null): Promise<void> {
    const done = { entry, record, result: await this.#resultOf(entry, response) }
    const to = await this.#destinationsOf(entry)
    if (!to?.onSuccess) await this.#succeed.add(done)
    else await this.#succeededAndTold(done, to.onSuccess, to.functionArn, response)
    this.#queue.tell(entry.project, { invocation: entry.id, function: entry.functionName, what: 'succeeded', attempt: entry.attempt, ...urlOf(entry) })
  }

  async #succeededAndTold(done: Done, target: Target, functionArn: string, response: Response): Promise<void> {
    const { entry } = done
    await this.#deps.recorded()
    this.#deps.crash('afterRunBeforeSettle')
    const entered = await this.#deps.database.transaction(async (tx) => {
      if ((await this.#end(tx, [done])).length === 0) return null
      const about = { functionArn, condition: 'Success', invocationId: entry.id, attempts: entry.spent + 1, request: entry.payload, response } as const
      const told = await this.#tell(tx, target, entry, about)
      this.#deps.crash('beforeAckCommit')
      return told
    })
    this.#deps.crash('afterAckCommit')
    if (entered === null) return
    this.#queue.ended(1)
    if (entry.orderKey !== null) this.#queue.released()
    entered.committed()
  }

  /** What is kept of an answer, where its function says so. */
  async #resultOf(entry: LeasedEntry, response: Response): Promise<KeptResult | null> {
    if (response === null || entry.webhook !== null) return null
    const { keepResultSeconds } = await this.#ownOf(entry)
    if (!keepResultSeconds) return null
    return {
      id: entry.id,
      attempt: entry.attempt,
      project: entry.project,
      isError: response.isError,
      payload: response.payload,
      keepSeconds: keepResultSeconds,
    }
  }

  /** Who is told of an outcome tells nobody of its own. */
  #destinationsOf(entry: Called & { readonly webhook: Webhook | null }) {
    if (entry.webhook !== null) return null
    return this.#deps.destinationsOf(entry.project as ProjectRef, entry.functionName, entry.qualifier)
  }

  /** What cannot be told is a dead letter in the same transaction. */
  async #tell(tx: Tx, target: Target, entry: { readonly project: string } & Pick<Buried, 'traceId' | 'depth'>, about: Omit<Told, 'at'>): Promise<Entered> {
    const { clock, newId } = this.#deps
    const { project, traceId, depth } = entry
    const told = { ...about, at: clock.now() }
    if ('queue' in target) return await this.#tellQueue(tx, target, { id: newId(), project, depth }, told)
    if ('event' in target) return await this.#tellBus(tx, target, entry, told)
    const made = deliveryOf(target, { id: newId(), project, traceId, depth }, told)
    const { id: deliveryId } = 'letter' in made ? made.letter : made.entry
    await insertTold(tx, { invocationId: about.invocationId, condition: about.condition, ...namedTarget(target), deliveryId })
    if ('letter' in made) return await this.#stillBorn(tx, made.letter)
    return await this.#enterOrBury(tx, made.entry)
  }

  async #tellQueue(tx: Tx, target: QueueTarget, from: { readonly id: string; readonly project: string; readonly depth: number }, told: Told): Promise<Entered> {
    const made = await toQueue(tx, this.#deps.queues, target, from, told)
    const deliveryId = 'letter' in made ? made.letter.id : made.id
    await insertTold(tx, { invocationId: told.invocationId, condition: told.condition, ...namedTarget(target), deliveryId })
    return 'letter' in made ? await this.#stillBorn(tx, made.letter) : made
  }

  /** What cannot be queued is a letter to each function that waits for the event. */
  async #tellBus(tx: Tx, target: EventTarget, { project, depth }: { readonly project: string; readonly depth: number }, told: Told): Promise<Entered> {
    const { newId, startedBy } = this.#deps
    const id = newId()
    await insertTold(tx, { invocationId: told.invocationId, condition: told.condition, ...namedTarget(target), deliveryId: id })
    const started = await startedBy?.(tx, project as ProjectRef, target.bus, outcomeEvents(target, id, told), depth + 1, target.loopers)
    const entered: Entered[] = []
    for (const letter of started?.letters ?? []) entered.push(await this.#stillBorn(tx, letter))
    for (const entry of started?.entries ?? []) entered.push(await this.#enterOrBury(tx, entry))
    return {
      committed: () => {
        for (const one of entered) one.committed()
      },
    }
  }

  /** Where it is refused, that is before anything was written: the call itself has ended all the same. */
  async #enterOrBury(tx: Tx, entry: NewEntry): Promise<Entered> {
    try {
      return await this.#queue.enter(tx, entry)
    } catch (error) {
      if (!(error instanceof MayflyError)) throw error
      const { id, project, functionName, qualifier = null, payload, webhook = null } = entry
      return await this.#stillBorn(tx, {
        id,
        project,
        functionName,
        qualifier,
        payload,
        webhook,
        reason: 'destination',
        errorType: error.code,
        errorMessage: error.message,
      })
    }
  }

  async #stillBorn(tx: Tx, letter: StillBorn): Promise<Entered> {
    await insertDeadLetters(tx, [letter])
    return { committed: () => this.tellBuried(letter, letter) }
  }

  /** It ran and ended with an error: an attempt is spent. */
  async failed(entry: LeasedEntry, told: Failure, response: Response, record: MeterRecord | null): Promise<void> {
    const { maxAttempts, maxAgeMs, retryAfter } = await this.#triesOf(entry)
    const failures = entry.spent + 1
    const { random } = this.#deps
    const backoff = retryAfter === undefined ? backoffMs(failures, random) : retryAfterMs(retryAfter, failures, random)
    const waitMs = Math.max(backoff, told.afterMs ?? 0)
    if (failures >= maxAttempts) await this.#bury(entry, { reason: 'attempts', spent: 1, ...told }, response, record)
    else if (entry.ageMs + waitMs > maxAgeMs) await this.#bury(entry, { reason: 'age', spent: 1, ...told }, response, record)
    else await this.#again(entry, { waitMs, spent: 1, lost: 0, error: { message: told.errorMessage, stack: told.stack }, told }, record)
  }

  async #again(entry: LeasedEntry, how: Parameters<typeof retryEntry>[2], record: MeterRecord | null): Promise<void> {
    const [again] = await this.#deps.database.transaction(async (tx) => {
      const done = await retryEntry(tx, entry, how)
      await this.#meter(tx, record ? [record] : [])
      this.#deps.crash('beforeRetryCommit')
      return done
    })
    this.#deps.crash('afterRetryCommit')
    if (!again) return
    const { errorType, errorMessage } = how.told
    const nextAt = again.nextAt.toISOString()
    const moment = { invocation: entry.id, function: entry.functionName, what: 'failed', attempt: entry.attempt, errorType, errorMessage, nextAt } as const
    this.#queue.tell(entry.project, { ...moment, ...urlOf(entry) })
  }

  /** It did not come to user code: no attempt is spent, but its age counts, and a fault of ours is counted as one of the node's. */
  async notRun(entry: LeasedEntry, error: unknown): Promise<void> {
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
    else await this.#again(entry, { waitMs, spent: 0, lost, error: null, told }, null)
  }

  async #ownOf(entry: LeasedEntry): Promise<Tries> {
    // A function that is gone by now has nothing to say.
    return await this.#deps.triesOf(entry.project as ProjectRef, entry.functionName, entry.qualifier).catch(() => UNSAID)
  }

  /** As the function says, else as the node does. */
  async #triesOf(entry: LeasedEntry): Promise<{ maxAttempts: number; maxAgeMs: number; retryAfter: RetryAfter | undefined }> {
    const { maxAttempts, maxAgeMs } = this.#deps
    const own = entry.webhook === null ? await this.#ownOf(entry) : WEBHOOK_TRIES
    return {
      maxAttempts: own.maxAttempts ?? maxAttempts,
      maxAgeMs: own.maxAgeSeconds ? own.maxAgeSeconds * 1_000 : maxAgeMs,
      retryAfter: own.retryAfter,
    }
  }

  /** @param response  of the last attempt; null when it did not come to user code */
  async #bury(entry: Called & { readonly webhook: Webhook | null }, given: Given, response: Response = null, record: MeterRecord | null = null): Promise<void> {
    const to = await this.#destinationsOf(entry)
    const done = await this.#deps.database.transaction(async (tx) => {
      await this.#meter(tx, record ? [record] : [])
      const [buried] = await buryEntry(tx, entry, given)
      this.#deps.crash('beforeBuryCommit')
      if (!buried) return null
      await this.#release(tx, [buried])
      const letter = to?.letters == null ? NOBODY : await this.#sendLetter(tx, to.letters, entry, buried.payload, given)
      if (!to?.onFailure) return letter
      const { payload: request, attempts } = buried
      const condition = given.reason === 'age' ? 'EventAgeExceeded' : 'RetriesExhausted'
      const about = { functionArn: to.functionArn, condition, invocationId: entry.id, attempts, request, response } as const
      const told = await this.#tell(tx, to.onFailure, { ...buried, project: entry.project }, about)
      return {
        committed: () => {
          letter.committed()
          told.committed()
        },
      }
    })
    this.#deps.crash('afterBuryCommit')
    if (done === null) return
    this.#queue.ended(1)
    this.#queue.released()
    this.tellBuried(entry, given)
    done.committed()
  }

  /** To the queue that the function's `DeadLetterConfig` names; one that cannot be sent is a dead letter of the node, which goes there when it is sent again. */
  async #sendLetter(tx: Tx, queue: string, { id, project, functionName }: Called, payload: Uint8Array, given: Given): Promise<Entered> {
    const { newId, queues } = this.#deps
    const { attributes = null, ...letter } = letterOf(payload, functionName, id, given.errorMessage ?? '')
    const told = { what: 'letter', invocationId: id, condition: given.reason, kind: 'queue', target: queue } as const
    let sent: Sent
    try {
      sent = await queues.sendIn(tx, queues.get(project as ProjectRef, queue), { ...letter, attributes })
    } catch (error) {
      if (!(error instanceof MayflyError)) throw error
      const { code: errorType, message: errorMessage } = error
      const unsent = { id: newId(), project, functionName, payload, queue, attributes, reason: 'destination', errorType, errorMessage } as const
      await insertTold(tx, { ...told, deliveryId: unsent.id })
      return await this.#stillBorn(tx, unsent)
    }
    await insertTold(tx, { ...told, deliveryId: sent.id })
    return sent
  }

  tellBuried(
    { id: invocation, project, functionName, webhook }: Pick<StillBorn, 'id' | 'project' | 'functionName' | 'webhook'>,
    { reason, errorType, errorMessage }: Pick<Given, 'reason' | 'errorType' | 'errorMessage'>,
  ): void {
    this.#deps.log.warn({ invocation, reason, error: errorType }, 'an invocation became a dead letter')
    this.#queue.tell(project, { invocation, function: functionName, what: 'dead', reason, errorType, errorMessage, ...urlOf({ webhook: webhook ?? null }) })
  }

  /** An event that ends nodes must not do so for ever. */
  async buryLost(back: readonly (Called & { readonly lost: number; readonly webhook: Webhook | null })[]): Promise<void> {
    for (const entry of back) {
      if (entry.lost < LIMITS.lostLeases.value) continue
      const errorMessage = `the node ended ${entry.lost} times while it ran`
      await this.#bury(entry, { reason: 'node', spent: 0, errorType: 'node', errorMessage })
    }
  }
}

type Failure = Pick<Given, 'errorType' | 'errorMessage'> & { readonly stack: string | null; readonly afterMs?: number | null }
const UNSAID: Tries = { maxAttempts: null, maxAgeSeconds: null }
const urlOf = ({ webhook }: { readonly webhook: Webhook | null }) => (webhook === null ? {} : { url: webhook.url })
const NOBODY: Entered = { committed: () => {} }

export async function endOf(outcome: Outcome): Promise<End> {
  return await eventReply(outcome).then(
    (said) => {
      const failure = toldBy(said)
      return { failure, response: { payload: said.payload, executedVersion: outcome.version.version, isError: failure !== null } }
    },
    (error: unknown) => ({ failure: toldByReply(error), response: null }),
  )
}

/** What a function's outcome says of itself; null when it is no error. */
const toldBy = ({ errorType, payload }: EventReply): Failure | null => (errorType === null ? null : { errorType: storable(errorType), ...wordsOf(payload) })

/** A reply that broke off. */
const toldByReply = (error: unknown): Failure => ({
  errorType: 'function_failed',
  errorMessage: storable(error instanceof Error ? error.message : String(error)),
  stack: null,
})

const TOLD = 4_096
const storable = (text: string | null): string | null => (text === null ? null : storableText(text.slice(0, TOLD)))

function wordsOf(payload: Uint8Array): Pick<Failure, 'errorMessage' | 'stack'> {
  try {
    const { errorMessage, trace } = JSON.parse(Buffer.from(payload).toString('utf8')) as { errorMessage?: unknown; trace?: unknown }
    return {
      errorMessage: typeof errorMessage === 'string' ? storable(errorMessage) : null,
      stack: Array.isArray(trace) ? storable(trace.filter((line) => typeof line === 'string').join('\n')) : null,
    }
  } catch {
    return { errorMessage: null, stack: null }
  }
}

import type { Database, Tx } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Clock } from '../lib/clock.ts'
import { storableText } from '../lib/text.ts'
import { backoffMs, type RetryAfter, retryAfterMs } from './backoff.ts'
import { deliveryOf, type DestinationsOf, type Target, type Told } from './destinations.ts'
import { eventReply } from './event.ts'
import type { EventReply } from './event-to-fetch.ts'
import { GroupCommit } from '../lib/group-commit.ts'
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
  retryEntry,
  type Settled,
  type StillBorn,
} from './store.ts'

const GROUP = 500

export interface SettlingDeps {
  readonly database: Database
  readonly maxAttempts: number
  readonly maxAgeMs: number
  /** What a function says of its own tries; null where it leaves that to the two above. @throws MayflyError when it is gone */
  readonly triesOf: (project: ProjectRef, functionName: string, qualifier: string | null) => Promise<Tries>
  /** Which functions are told how its calls end; null for none. */
  readonly destinationsOf: DestinationsOf
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
  readonly #succeed: GroupCommit<Settled>

  constructor(deps: SettlingDeps, queue: Settlable) {
    this.#deps = deps
    this.#queue = queue
    this.#succeed = new GroupCommit(GROUP, async (settled) => queue.ended((await deleteEntries(deps.database.sql, settled)).length))
  }

  /** Resolves when what was begun is over. */
  settled(): Promise<unknown> {
    return this.#succeed.settled()
  }

  /** Gone, and told to whom it concerns in the same transaction. */
  async succeeded(entry: LeasedEntry, response: Response): Promise<void> {
    const to = await this.#destinationsOf(entry)
    if (!to?.onSuccess) return await this.#succeed.add(entry)
    const { onSuccess, functionArn } = to
    const entered = await this.#deps.database.transaction(async (tx) => {
      if ((await deleteEntries(tx, [entry])).length === 0) return null
      const about = { functionArn, condition: 'Success', invocationId: entry.id, attempts: entry.spent + 1, request: entry.payload, response } as const
      return await this.#tell(tx, onSuccess, entry, about)
    })
    if (entered === null) return
    this.#queue.ended(1)
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
      return await this.#queue.enter(tx, made.entry)
    } catch (error) {
      // Refused before anything was written: the call itself has ended all the same.
      if (!(error instanceof MayflyError)) throw error
      const { id, functionName, qualifier = null, payload } = made.entry
      return await this.#stillBorn(tx, {
        id,
        project,
        functionName,
        qualifier,
        payload,
        reason: 'destination',
        errorType: error.code,
        errorMessage: error.message,
      })
    }
  }

  async #stillBorn(tx: Tx, letter: StillBorn): Promise<Entered> {
    await insertDeadLetters(tx, [letter])
    return { committed: () => this.tellBuried(letter.id, letter) }
  }

  /** It ran and ended with an error: an attempt is spent. */
  async failed(entry: LeasedEntry, told: Failure, response: Response): Promise<void> {
    const { maxAttempts, maxAgeMs, retryAfter } = await this.#triesOf(entry)
    const failures = entry.spent + 1
    const { random } = this.#deps
    const waitMs = retryAfter === undefined ? backoffMs(failures, random) : retryAfterMs(retryAfter, failures, random)
    if (failures >= maxAttempts) await this.#bury(entry, { reason: 'attempts', spent: 1, ...told }, response)
    else if (entry.ageMs + waitMs > maxAgeMs) await this.#bury(entry, { reason: 'age', spent: 1, ...told }, response)
    else await retryEntry(this.#deps.database.sql, entry, { waitMs, spent: 1, lost: 0, error: { message: told.errorMessage, stack: told.stack } })
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
    else await retryEntry(this.#deps.database.sql, entry, { waitMs, spent: 0, lost, error: null })
  }

  /** As the function says, else as the node does. */
  async #triesOf(entry: LeasedEntry): Promise<{ maxAttempts: number; maxAgeMs: number; retryAfter: RetryAfter | undefined }> {
    const { maxAttempts, maxAgeMs, triesOf } = this.#deps
    // A function that is gone by now has nothing to say.
    const own = await triesOf(entry.project as ProjectRef, entry.functionName, entry.qualifier).catch(() => null)
    return {
      maxAttempts: own?.maxAttempts ?? maxAttempts,
      maxAgeMs: own?.maxAgeSeconds ? own.maxAgeSeconds * 1_000 : maxAgeMs,
      retryAfter: own?.retryAfter,
    }
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
    this.#queue.ended(1)
    this.tellBuried(entry.id, given)
    done.committed()
  }

  tellBuried(invocation: string, given: Pick<Given, 'reason' | 'errorType'>): void {
    this.#deps.log.warn({ invocation, reason: given.reason, error: given.errorType }, 'an invocation became a dead letter')
  }

  /** An event that ends nodes must not do so for ever. */
  async buryLost(back: readonly (Called & { readonly lost: number })[]): Promise<void> {
    for (const entry of back) {
      if (entry.lost < LIMITS.lostLeases.value) continue
      const errorMessage = `the node ended ${entry.lost} times while it ran`
      await this.#bury(entry, { reason: 'node', spent: 0, errorType: 'node', errorMessage })
    }
  }
}

type Failure = Pick<Given, 'errorType' | 'errorMessage'> & { readonly stack: string | null }
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

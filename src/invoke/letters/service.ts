import type { Database, Tx } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import { messageOf, type QueuesOf, withAttributes } from '../destinations.ts'
import type { Entered } from '../settling.ts'
import type { NewEntry } from '../store.ts'
import { addressId } from '../webhooks.ts'
import { type DeadLetter, type LetterFilter, selectDeadLetter, selectDeadLetters, takeDeadLetters, type TakenLetter } from './store.ts'

export interface LettersDeps {
  readonly database: Database
  readonly queues: QueuesOf
  readonly enter: (tx: Tx, entries: readonly NewEntry[]) => Promise<Entered>
  /** @throws MayflyError payload_too_large */
  readonly checkPayload: (project: string, payload: Uint8Array) => void
  readonly newId: () => string
}

/** Of the function that has this name now. @throws MayflyError function_not_found */
export type FunctionOf = (name: string) => Promise<string>

export const ANY: LetterFilter = { functionName: null, reason: null, errorType: null, from: null, to: null, after: null }
const WHOLE = 2 ** 30

/** Invocations that were given up: read, sent again, changed and sent again, or dropped. */
export class Letters {
  readonly #deps: LettersDeps

  constructor(deps: LettersDeps) {
    this.#deps = deps
  }

  list(project: ProjectRef, filter: LetterFilter, limit: number): Promise<DeadLetter[]> {
    return selectDeadLetters(this.#deps.database.sql, project, filter, limit)
  }

  /** One with its event, or the first LIMITS.shownPayload bytes of that. @throws MayflyError dead_letter_not_found */
  async one(project: ProjectRef, id: string, isWhole = false): Promise<DeadLetter & { readonly payload: Buffer }> {
    const [letter] = await selectDeadLetter(this.#deps.database.sql, project, id, isWhole ? WHOLE : LIMITS.shownPayload.value)
    if (!letter) throw noLetter(id)
    return letter
  }

  /** All of them with their whole events, one after the other. */
  async *whole(project: ProjectRef, filter: LetterFilter): AsyncGenerator<DeadLetter & { readonly payload: Buffer }> {
    const { sql } = this.#deps.database
    let { after } = filter
    for (;;) {
      const page = await selectDeadLetters(sql, project, { ...filter, after }, LIMITS.deadLetterPage.value)
      for (const { id } of page) yield* await selectDeadLetter(sql, project, id, WHOLE)
      after = page.at(-1)?.id ?? null
      if (page.length < LIMITS.deadLetterPage.value) return
    }
  }

  /**
   * Lets one wait again, as an entry of its own: the letter goes in the transaction in which that comes.
   * @param payload  another event in the place of its own; null leaves it
   * @returns the id of the new invocation, or of the message where a queue is told
   * @throws MayflyError dead_letter_not_found, function_not_found, queue_not_found, payload_too_large, queue_full, storage_full
   */
  async replay(project: ProjectRef, id: string, functionOf: FunctionOf, payload: Uint8Array | null = null): Promise<string> {
    if (payload !== null) this.#deps.checkPayload(project, payload)
    const [found] = await selectDeadLetter(this.#deps.database.sql, project, id, 0)
    if (!found) throw noLetter(id)
    const { entries } = await this.#again(project, [found], functionOf, payload)
    const [entry] = entries
    if (!entry) throw noLetter(id)
    return entry
  }

  /**
   * The same for all that are meant, `limit` at most, the newest first; they wait in the order in which they came once.
   * Those whose function or queue is gone stay.
   * @returns how many wait again, and how many of those that were looked at stayed
   */
  async replayMany(project: ProjectRef, filter: LetterFilter, limit: number, functionOf: FunctionOf): Promise<{ replayed: number; stayed: number }> {
    const found = await this.list(project, filter, limit)
    const gone = new Set<string>()
    for (const name of new Set(found.filter(isOfFunction).map(({ functionName }) => functionName))) {
      await functionOf(name).catch((error: unknown) => {
        if (!(error instanceof MayflyError) || error.code !== 'function_not_found') throw error
        gone.add(name)
      })
    }
    const isThere = (letter: DeadLetter) =>
      letter.queue === null ? !isOfFunction(letter) || !gone.has(letter.functionName) : this.#deps.queues.find(project, letter.queue) !== null
    const meant = found.filter(isThere)
    const { entries } = await this.#again(project, meant, functionOf, null)
    return { replayed: entries.length, stayed: found.length - entries.length }
  }

  async #again(project: ProjectRef, letters: readonly DeadLetter[], functionOf: FunctionOf, payload: Uint8Array | null): Promise<{ entries: string[] }> {
    const { database, newId, enter, queues } = this.#deps
    if (letters.length === 0) return { entries: [] }
    const functions = new Map<string, string>()
    for (const { functionName } of letters.filter(isOfFunction)) if (!functions.has(functionName)) functions.set(functionName, await functionOf(functionName))
    const ids: string[] = []
    const entered = await database.transaction(async (tx) => {
      ids.length = 0
      const taken = await takeDeadLetters(
        tx,
        project,
        letters.map(({ id }) => id),
      )
      const sent: Entered[] = []
      const entries: NewEntry[] = []
      for (const letter of taken) {
        if (letter.queue === null) {
          const entry = entryOf(letter, newId(), project, functions, payload)
          entries.push(entry)
          ids.push(entry.id)
          continue
        }
        const message = await queues.sendIn(
          tx,
          queues.get(project, letter.queue),
          withAttributes(messageOf(payload ?? letter.payload, letter.functionName), letter.attributes),
        )
        sent.push(message)
        ids.push(message.id)
      }
      return [...sent, await enter(tx, entries)]
    })
    for (const one of entered) one.committed()
    return { entries: ids }
  }

  /** @throws MayflyError dead_letter_not_found */
  async remove(project: ProjectRef, id: string): Promise<void> {
    if ((await takeDeadLetters(this.#deps.database.sql, project, [id])).length === 0) throw noLetter(id)
  }

  /** Drops all that are meant, `limit` at most, the newest first. @returns how many */
  async removeMany(project: ProjectRef, filter: LetterFilter, limit: number): Promise<number> {
    const found = await this.list(project, filter, limit)
    const ids = found.map(({ id }) => id)
    return (await takeDeadLetters(this.#deps.database.sql, project, ids)).length
  }
}

function entryOf(letter: TakenLetter, id: string, project: string, functions: ReadonlyMap<string, string>, payload: Uint8Array | null): NewEntry {
  const { functionName, qualifier, webhook } = letter
  const functionId = webhook === null ? (functions.get(functionName) as string) : addressId(project, webhook.url)
  return { id, project, functionId, functionName, qualifier, traceId: null, clientContext: null, depth: 0, payload: payload ?? letter.payload, webhook }
}

const isOfFunction = ({ url, queue }: DeadLetter) => url === null && queue === null

const noLetter = (id: string) => new MayflyError('dead_letter_not_found', `there is no dead letter ${id} in this project`)

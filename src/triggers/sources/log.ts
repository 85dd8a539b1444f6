import type { Tx } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import { type LineTest, logPattern } from '../../lib/log-pattern.ts'
import { Turns } from '../../lib/turns.ts'
import type { Entered, NewEntry, StillBorn } from '../../invoke/index.ts'
import { linesOfChunk } from '../../observe/index.ts'
import type { DefinitionOf, EventSource, Pump, SourceHost } from '../event-source.ts'
import { Batches, cloudwatchEvent, plainEvent } from '../log/batches.ts'
import { insertCursors, lockCursor, type LogTrigger, moveCursor, selectLogTriggers } from '../log/store.ts'
import { isTooDeep, tooDeep } from '../too-deep.ts'

const LOOK_MS = 1_000
const PAGE_CHUNKS = 200
const PAGE_BYTES = 1024 * 1024
const TURN_MS = 5
/** Of its time, the share in which lines may be looked at: a quarter. What comes faster than that waits. */
const REST = 3
const REST_MAX_MS = 10_000

type LogDefinition = DefinitionOf<'log'>['log']

/**
 * Lines that functions write, from when they are stored. Each trigger has a cursor of its own, which moves on in the
 * transaction that queues what it found.
 */
export const logSource: EventSource<'log'> = {
  kind: 'log',
  prepare: async (_host, _project, { log }, functionName) => {
    if (log.function === functionName)
      throw new MayflyError('bad_request', `triggers: "${functionName}" cannot be started by lines of its own log: each would cause the next`)
  },
  begin: async (tx, { logs }, project, triggerIds) => {
    await insertCursors(tx, triggerIds, (await logs.lastSeqs(tx, [project])).get(project) ?? '0')
  },
  open: (host) => new Followers(host),
}

class Followers implements Pump {
  readonly #host: SourceHost
  /** By their triggers, which never change. */
  #tests = new Map<string, LineTest>()

  constructor(host: SourceHost) {
    this.#host = host
  }

  async pass(signal: AbortSignal): Promise<number> {
    const { clock, control, logs } = this.#host
    const triggers = await selectLogTriggers(control.sql)
    this.#tests = new Map(triggers.map(({ id, definition }) => [id, this.#tests.get(id) ?? logPattern(logOf(definition).pattern ?? '')]))
    const last = triggers.length === 0 ? new Map<string, string>() : await logs.lastSeqs(control.sql, [...new Set(triggers.map(({ project }) => project))])
    const began = clock.monotonic()
    let isMore = false
    for (const { id, project, seq } of triggers) {
      if (signal.aborted) break
      if (BigInt(last.get(project) ?? 0) > BigInt(seq)) isMore = (await this.#follow(id)) || isMore
    }
    return Math.max(isMore ? 1 : LOOK_MS, Math.min(REST_MAX_MS, (clock.monotonic() - began) * REST))
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** One page of lines. @returns whether there are more by now */
  async #follow(triggerId: string): Promise<boolean> {
    const { control, crash } = this.#host
    let entered: Entered | null = null
    const isMore = await control.transaction(async (tx) => {
      const trigger = await lockCursor(tx, triggerId)
      if (!trigger) return false
      const read = await this.#read(tx, trigger)
      if (read.batches.length > 0) entered = await this.#enqueue(tx, trigger, read.batches)
      if (read.upTo !== trigger.seq) await moveCursor(tx, triggerId, read.upTo)
      crash('beforeLinesCommit')
      return read.isMore
    })
    crash('afterLinesCommit')
    ;(entered as Entered | null)?.committed()
    return isMore
  }

  async #read(tx: Tx, trigger: LogTrigger): Promise<{ readonly batches: Batches['all']; readonly upTo: string; readonly isMore: boolean }> {
    const { clock, logs, queue } = this.#host
    const { project, functionName, seq } = trigger
    const { function: wanted, batchSize, windowSeconds = 0 } = logOf(trigger.definition)
    // Before the page: what is stored up to there is in the page, or none of what is wanted.
    const last = (await logs.lastSeqs(tx, [project])).get(project) ?? seq
    const page = { project, functionName: wanted === '*' ? null : wanted, afterSeq: seq, limit: PAGE_CHUNKS, bytes: PAGE_BYTES }
    const chunks = await logs.chunksAfter(tx, page)
    // Where no room was left in the page, its end is the last that is known.
    const end = chunks.at(-1)?.seq ?? seq
    const isWhole = chunks.length < PAGE_CHUNKS && chunks.reduce((sum, chunk) => sum + chunk.bytes, 0) < PAGE_BYTES
    const upTo = isWhole && BigInt(last) > BigInt(end) ? last : end
    const found = new Batches(batchSize, queue.maxPayloadBytes(project))
    let lines = 0
    let first: { readonly before: string; readonly at: number } | null = null
    let before = seq
    const test = this.#tests.get(trigger.id) ?? logPattern(logOf(trigger.definition).pattern ?? '')
    const turns = new Turns(clock, TURN_MS)
    for (const chunk of chunks) {
      if (wanted !== '*' || chunk.functionName !== functionName)
        for (const line of linesOfChunk(chunk)) {
          if (turns.over) await turns.next()
          if (!test(line.text)) continue
          first ??= { before, at: line.at.getTime() }
          lines++
          found.add(chunk, line)
        }
      before = chunk.seq
    }
    const waits = first !== null && isWhole && lines < batchSize && clock.now() - first.at < windowSeconds * 1000
    return waits && first ? { batches: [], upTo: first.before, isMore: false } : { batches: found.all, upTo, isMore: !isWhole }
  }

  async #enqueue(tx: Tx, { id: triggerId, project, functionId, functionName, definition }: LogTrigger, batches: Batches['all']): Promise<Entered> {
    const { loopers, newId, queue } = this.#host
    // A delivery stands behind who wrote the lines.
    const isDeep = batches.some((batch) => isTooDeep(batch.depth + 1))
    const mayLoop = isDeep && (await loopers(project)).has(functionName)
    const entries: NewEntry[] = []
    const letters: StillBorn[] = []
    for (const batch of batches) {
      const depth = batch.depth + 1
      const event = logOf(definition).format === 'plain' ? plainEvent(batch) : await cloudwatchEvent(batch, triggerId)
      const base = { id: newId(), project, functionName, payload: Buffer.from(JSON.stringify(event)) }
      if (isTooDeep(depth) && !mayLoop) letters.push({ ...base, ...tooDeep(depth) })
      else entries.push({ ...base, functionId, traceId: null, clientContext: null, depth })
    }
    return await queue.enqueueIn(tx, entries, letters)
  }
}

const logOf = (definition: unknown): LogDefinition => (definition as DefinitionOf<'log'>).log

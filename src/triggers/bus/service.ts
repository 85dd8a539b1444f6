import { createHash } from 'node:crypto'
import type { Database, Tx } from '../../backends/database/database.ts'
import type { Crash } from '../../core/crash.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { Entered, NewEntry, Queue, StillBorn } from '../../invoke/index.ts'
import type { Clock } from '../../lib/clock.ts'
import { eventPattern } from '../../lib/event-pattern.ts'
import { Turns } from '../../lib/turns.ts'
import { isTooDeep, NOBODY, tooDeep } from '../too-deep.ts'
import { ACCOUNT, type BusEvent } from './event.ts'
import { type BusTrigger, selectBusTriggers, takeEventKeys } from './store.ts'
import { oneOfEach, topicRecord } from './topic.ts'

const TURN_MS = 5

export interface EventBusDeps {
  readonly control: Database
  readonly queue: Pick<Queue, 'enqueueIn' | 'maxPayloadBytes'>
  /** The functions of a project that may go on where others are taken for a loop. */
  readonly loopers: (project: ProjectRef) => Promise<ReadonlySet<string>>
  readonly newId: () => string
  readonly region: string
  readonly crash: Crash
  readonly clock: Clock
}

/** An event as it was sent; what is absent is filled in. */
export interface SentEvent {
  /** By its sender: the same one of a source is the same event. */
  readonly id: string | null
  readonly detailType: string
  readonly source: string
  /** To the second. */
  readonly time: Date | null
  readonly resources: readonly string[]
  readonly detail: unknown
  /** What a CloudEvent says beside its data. */
  readonly cloudevent: Readonly<Record<string, string | number | boolean>> | null
}

/** What became of it. */
export interface TakenEvent {
  readonly id: string
  /** How many functions it starts. */
  readonly started: number
  /** Its id was seen before: it starts nothing a second time. */
  readonly seen: boolean
}

interface Waiting {
  readonly trigger: BusTrigger
  readonly payload: Buffer
}

interface Coming extends TakenEvent {
  readonly key: string | null
  readonly waiting: readonly Waiting[]
}

/** The buses of projects: an event that is sent to one starts the functions that wait for it there, and those at the topic of its name. */
export class EventBus {
  readonly #deps: EventBusDeps

  constructor(deps: EventBusDeps) {
    this.#deps = deps
  }

  /**
   * Resolves when all of them are on disk: then each runs at least once, or becomes a dead letter, in each function that waits for it.
   * @param depth  how many functions stand before whoever sends them; too many, and it is a dead letter where it would start one
   * @throws MayflyError payload_too_large, queue_full, storage_full; then none of them is taken
   */
  async send(project: Project, bus: string, events: readonly SentEvent[], depth: number): Promise<TakenEvent[]> {
    const { control, queue, crash } = this.#deps
    const coming = await this.#match(project, bus, events)
    const loopers = isTooDeep(depth) ? await this.#deps.loopers(project.ref) : NOBODY
    const isGivenUp = ({ functionName }: BusTrigger) => isTooDeep(depth) && !loopers.has(functionName)
    let entered: Entered | null = null
    const taken = await control.transaction(async (tx) => {
      const keys = new Set(coming.flatMap(({ key }) => key ?? []))
      const free = keys.size === 0 ? keys : await takeEventKeys(tx, project.id, [...keys], LIMITS.busEventWindow.value)
      const fresh = new Set(coming.filter(({ key }) => key === null || free.delete(key)))
      const entries: NewEntry[] = []
      const letters: StillBorn[] = []
      for (const { waiting } of fresh)
        for (const { trigger, payload } of waiting) {
          const entry = this.#entry(project, trigger, payload, depth)
          if (isGivenUp(trigger)) letters.push({ ...entry, ...tooDeep(depth) })
          else entries.push(entry)
        }
      entered = await queue.enqueueIn(tx, entries, letters)
      crash('beforePublishCommit')
      const started = (one: Coming) => (fresh.has(one) ? one.waiting.filter(({ trigger }) => !isGivenUp(trigger)).length : 0)
      return coming.map((one) => ({ id: one.id, started: started(one), seen: !fresh.has(one) }))
    })
    ;(entered as Entered | null)?.committed()
    crash('afterPublishCommit')
    return taken
  }

  /**
   * What an event starts that comes to be with another change, and what of it is given up at once; its owner writes both.
   * @param forms  of the event, the whole one first: the first that is not too long is sent, or else the last is given up
   */
  async startedBy(
    tx: Tx,
    project: Project,
    bus: string,
    forms: readonly Pick<SentEvent, 'detailType' | 'source' | 'resources' | 'detail'>[],
    id: string,
    depth: number,
    loopers: ReadonlySet<string>,
  ): Promise<{ readonly entries: readonly NewEntry[]; readonly letters: readonly StillBorn[] }> {
    const triggers = await selectBusTriggers(tx, project.id, bus)
    if (triggers.length === 0) return { entries: [], letters: [] }
    const most = this.#deps.queue.maxPayloadBytes(project.ref)
    const made = forms.map((form) => this.#eventOf({ ...form, time: null, cloudevent: null }, id))
    const entries: NewEntry[] = []
    const letters: StillBorn[] = []
    for (const trigger of oneOfEach(triggers, id)) {
      const payloads = made.map((event) => payloadOf(trigger, event))
      const at = payloads.findIndex(({ byteLength }) => byteLength <= most)
      const chosen = at === -1 ? made.length - 1 : at
      const [event, payload] = [made[chosen], payloads[chosen]]
      if (!event || !payload || !testOf(trigger)(event)) continue
      const entry = this.#entry(project, trigger, payload, depth)
      if (isTooDeep(depth) && !loopers.has(trigger.functionName)) letters.push({ ...entry, ...tooDeep(depth) })
      else if (at === -1)
        letters.push({
          ...entry,
          reason: 'destination',
          errorType: 'payload_too_large',
          errorMessage: `an event may have ${most} bytes, by the limit profile of the project`,
        })
      else entries.push(entry)
    }
    return { entries, letters }
  }

  /** Before the transaction, and in turns: long lists and patterns of one project hold up nobody else. */
  async #match(project: Project, bus: string, events: readonly SentEvent[]): Promise<Coming[]> {
    const { clock, control, newId, queue } = this.#deps
    const all = await selectBusTriggers(control.sql, project.id, bus)
    const triggers = all.map((trigger) => ({ trigger, test: testOf(trigger) }))
    const most = queue.maxPayloadBytes(project.ref)
    const turns = new Turns(clock, TURN_MS)
    const coming: Coming[] = []
    let bytes = 0
    for (const sent of events) {
      const id = sent.id ?? newId()
      const event = this.#eventOf(sent, id)
      const whole = Buffer.from(JSON.stringify(event))
      const takes = (payload: Buffer) => {
        if (payload.byteLength > most) throw new MayflyError('payload_too_large', `an event may have ${most} bytes, by the limit profile of the project`)
        return payload
      }
      takes(whole)
      const chosen = new Set(oneOfEach(all, id))
      const waiting: Waiting[] = []
      for (const { trigger, test } of triggers) {
        if (chosen.has(trigger) && test(event)) {
          const payload = trigger.kind === 'bus' ? whole : takes(payloadOf(trigger, event))
          bytes += payload.byteLength
          if (bytes <= LIMITS.busFanOut.value) waiting.push({ trigger, payload })
        }
        if (turns.over) await turns.next()
      }
      if (bytes > LIMITS.busFanOut.value)
        throw new MayflyError(
          'payload_too_large',
          `what the functions get of the events of one request may have ${LIMITS.busFanOut.value} bytes together: send fewer at once`,
        )
      coming.push({ id, started: 0, seen: false, key: sent.id === null ? null : keyOf(bus, sent.source, sent.id), waiting })
    }
    return coming
  }

  #eventOf({ detailType, source, time, resources, detail, cloudevent }: Omit<SentEvent, 'id'>, id: string): BusEvent {
    return {
      version: '0',
      id,
      'detail-type': detailType,
      source,
      account: ACCOUNT,
      time: `${(time ?? new Date(this.#deps.clock.now())).toISOString().slice(0, 19)}Z`,
      region: this.#deps.region,
      resources,
      detail,
      ...(cloudevent === null ? {} : { cloudevent }),
    }
  }

  #entry(project: Project, { functionId, functionName }: BusTrigger, payload: Buffer, depth: number): NewEntry {
    return { id: this.#deps.newId(), project: project.ref, functionId, functionName, traceId: null, clientContext: null, depth, payload }
  }
}

/** Its names may be longer together than an index takes. */
const keyOf = (bus: string, source: string, id: string) =>
  createHash('sha256')
    .update(JSON.stringify([bus, source, id]))
    .digest('hex')

const payloadOf = (trigger: BusTrigger, event: BusEvent) => Buffer.from(JSON.stringify(trigger.kind === 'topic' ? topicRecord(event, trigger) : event))

function testOf({ kind, definition }: BusTrigger): (event: BusEvent) => boolean {
  const pattern = kind === 'topic' ? undefined : (definition as { readonly bus: { readonly pattern?: unknown } }).bus.pattern
  if (pattern === undefined) return () => true
  const test = eventPattern(pattern)
  return (event) => test({ ...event })
}

import type { Bus, BusValue } from '../backends/bus/bus.ts'
import { type ErrorCode, ERRORS, MayflyError } from '../core/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { Ticking } from '../lib/ticking.ts'
import type { Admission, Caller, Slot } from './admission.ts'

/** What an invocation asks for its slot. */
export interface Admits {
  readonly running: number
  /** At once where one is at hand. @throws MayflyError, or rejects, as `Admission.enter` */
  enter(caller: Caller): Slot | Promise<Slot>
  /** Null where it would have to wait. */
  atOnce(caller: Caller): Slot | null | Promise<Slot | null>
  /** As `Admission.wait`. */
  wait(caller: Caller, ms: number, signal: AbortSignal): Promise<Slot>
}

const TAKE = 'slots.take'
const GIVE = 'slots.give'
const LEAVE = 'slots.leave'
const recallOf = (worker: number) => `slots.recall.${worker}`

/** So many more than asked for are lent of functions without a reservation, while less than half of the node is in use. */
const AHEAD = 3
/** An idle one goes back after one to two of these. */
const SWEEP_MS = 500
/** Where slots are short, none is kept idle for so long. */
const SHORT_MS = 1_000
const RECALL_MS = 2_000

/** Enters, or else is refused; or else has none; or waits so long. */
type Patience = 'enter' | 'atOnce' | number
type Asked = { readonly worker: number; readonly project: string; readonly functionId: string; readonly patience: Patience; readonly question: number }
type Given = { readonly count: number } | { readonly code: ErrorCode; readonly message: string }
type Left = { readonly worker: number; readonly question: number }
type Back = { readonly worker: number; readonly functionId: string; readonly count: number }
type Idle = Readonly<Record<string, number>>

/**
 * Of the main process: lends slots to the workers. What is lent counts in the one admission as what runs, so that each
 * limit holds over all processes; what stands idle with one of them is called back before anybody is refused.
 */
export class SlotLender implements Admits, Disposable {
  readonly #admission: Admission
  readonly #bus: Bus
  readonly #lent = new Map<number, Map<string, Slot[]>>()
  /** By worker and question: who asked still waits. */
  readonly #waiting = new Map<number, Map<number, AbortController>>()
  readonly #stop = new DisposableStack()
  #lentAll = 0
  #recalling: Promise<void> | null = null

  constructor(admission: Admission, bus: Bus) {
    this.#admission = admission
    this.#bus = bus
    this.#stop.use(bus.respond(TAKE, async (value) => (await this.#lend(value as unknown as Asked)) as BusValue))
    this.#stop.use(
      bus.subscribe(GIVE, (value) => {
        const { worker, functionId, count } = value as unknown as Back
        this.#takeBack(worker, { [functionId]: count })
      }),
    )
    this.#stop.use(
      bus.subscribe(LEAVE, (value) => {
        const { worker, question } = value as unknown as Left
        this.#waiting.get(worker)?.get(question)?.abort()
      }),
    )
  }

  [Symbol.dispose](): void {
    this.#stop[Symbol.dispose]()
  }

  /** What runs in this process. */
  get running(): number {
    return this.#admission.running - this.#lentAll
  }

  /** As `Admission.freeOf`; what is lent may stand idle. */
  freeOf(functionId: string): number {
    let lent = 0
    for (const of of this.#lent.values()) lent += of.get(functionId)?.length ?? 0
    return this.#admission.freeOf(functionId) + lent
  }

  enter(caller: Caller): Slot | Promise<Slot> {
    return this.#lentAll === 0 ? this.#admission.enter(caller) : (this.#find(caller, 'enter', NEVER) as Promise<Slot>)
  }

  atOnce(caller: Caller): Slot | null | Promise<Slot | null> {
    return this.#lentAll === 0 ? this.#admission.atOnce(caller) : this.#find(caller, 'atOnce', NEVER)
  }

  wait(caller: Caller, ms: number, signal: AbortSignal): Promise<Slot> {
    return this.#lentAll === 0 ? this.#admission.wait(caller, ms, signal) : (this.#find(caller, ms, signal) as Promise<Slot>)
  }

  /** A worker takes calls: it may have slots. */
  join(worker: number): void {
    this.#lent.set(worker, new Map())
  }

  /** A worker is gone, and all that ran in it: what it held is free. */
  leave(worker: number): void {
    const held = this.#lent.get(worker)
    this.#lent.delete(worker)
    for (const left of this.#waiting.get(worker)?.values() ?? []) left.abort()
    for (const slots of held?.values() ?? []) this.#free(slots)
  }

  /** Null only of `atOnce`. */
  async #find(caller: Caller, patience: Patience, signal: AbortSignal): Promise<Slot | null> {
    const slot = this.#admission.atOnce(caller)
    if (slot) return slot
    await this.#recall()
    if (patience === 'atOnce') return this.#admission.atOnce(caller)
    if (patience === 'enter') return this.#admission.enter(caller)
    // What becomes free elsewhere while this waits must come here, and not stay there for the next call.
    const timer = setInterval(() => void this.#recall(), SHORT_MS / 2)
    try {
      return await this.#admission.wait(caller, patience, signal)
    } finally {
      clearInterval(timer)
    }
  }

  async #lend({ worker, project, functionId, patience, question }: Asked): Promise<Given> {
    const caller = { project, functionId }
    const left = new AbortController()
    const waiting = this.#waiting.get(worker) ?? new Map<number, AbortController>()
    this.#waiting.set(worker, waiting.set(question, left))
    try {
      const first = await this.#find(caller, patience, left.signal)
      if (first === null) return { count: 0 }
      const slots = [first]
      const own = this.#lent.get(worker)
      if (!own) {
        this.#free(slots, 0)
        return NO_PART
      }
      while (slots.length <= AHEAD && this.#admission.isRoomy(functionId)) {
        const more = this.#admission.atOnce(caller)
        if (!more) break
        slots.push(more)
      }
      own.set(functionId, [...(own.get(functionId) ?? []), ...slots])
      this.#lentAll += slots.length
      return { count: slots.length }
    } catch (error) {
      if (error instanceof MayflyError) return { code: error.code, message: error.message }
      if (left.signal.aborted) return this.#lent.has(worker) ? { count: 0 } : NO_PART
      throw error
    } finally {
      waiting.delete(question)
      if (waiting.size === 0 && this.#waiting.get(worker) === waiting) this.#waiting.delete(worker)
    }
  }

  /** All that stands idle anywhere comes back; those who need it at once share one call. */
  #recall(): Promise<void> {
    this.#recalling ??= this.#recallAll().finally(() => {
      this.#recalling = null
    })
    return this.#recalling
  }

  async #recallAll(): Promise<void> {
    const signal = AbortSignal.timeout(RECALL_MS)
    await Promise.all(
      [...this.#lent.keys()].map(async (worker) => {
        // Who does not answer has what it has until it ends.
        const idle = await this.#bus.request(recallOf(worker), null, signal).catch(() => ({}))
        this.#takeBack(worker, idle as Idle)
      }),
    )
  }

  #takeBack(worker: number, idle: Idle): void {
    const own = this.#lent.get(worker)
    for (const [functionId, count] of Object.entries(idle)) {
      const slots = own?.get(functionId) ?? []
      this.#free(slots.splice(0, count))
      if (slots.length === 0) own?.delete(functionId)
    }
  }

  #free(slots: readonly Slot[], lent = slots.length): void {
    this.#lentAll -= lent
    for (const slot of slots) slot[Symbol.dispose]()
  }
}

const NEVER = new AbortController().signal
const NO_PART: Given = { code: 'shutting_down', message: 'the process that asked is no part of the node' }

interface Held {
  idle: number
  /** The fewest that were idle since the last sweep. */
  least: number
}

/** Of a worker: the slots that the main process lent it. A warm call takes one that is at hand and asks nobody. */
export class LeasedSlots implements Admits, Disposable {
  readonly #bus: Bus
  readonly #worker: number
  readonly #clock: Clock
  readonly #held = new Map<string, Held>()
  readonly #stop = new DisposableStack()
  #running = 0
  #questions = 0
  #shortUntil = Number.NEGATIVE_INFINITY
  readonly #sweeper = new Ticking(SWEEP_MS, () => {
    this.#giveBack((held) => held.least)
    return this.#held.size > 0
  })

  constructor(bus: Bus, worker: number, clock: Clock) {
    this.#bus = bus
    this.#worker = worker
    this.#clock = clock
    this.#stop.use(
      bus.respond(recallOf(worker), async () => {
        this.#shortUntil = clock.monotonic() + SHORT_MS
        return this.#takeIdle((held) => held.idle)
      }),
    )
  }

  [Symbol.dispose](): void {
    this.#stop[Symbol.dispose]()
    this.#sweeper[Symbol.dispose]()
    this.giveBackIdle()
  }

  get running(): number {
    return this.#running
  }

  enter(caller: Caller): Slot | Promise<Slot> {
    return this.#atHand(caller) ?? (this.#ask(caller, 'enter', NEVER) as Promise<Slot>)
  }

  atOnce(caller: Caller): Slot | Promise<Slot | null> {
    return this.#atHand(caller) ?? this.#ask(caller, 'atOnce', NEVER)
  }

  async wait(caller: Caller, ms: number, signal: AbortSignal): Promise<Slot> {
    signal.throwIfAborted()
    return this.#atHand(caller) ?? ((await this.#ask(caller, ms, signal)) as Slot)
  }

  /** What a limit says may be another now. */
  giveBackIdle(): void {
    this.#giveBack((held) => held.idle)
  }

  #atHand({ functionId }: Caller): Slot | null {
    const held = this.#held.get(functionId)
    if (!held || held.idle === 0) return null
    held.idle--
    held.least = Math.min(held.least, held.idle)
    return this.#slot(functionId)
  }

  /** Null only of `atOnce`. */
  async #ask({ project, functionId }: Caller, patience: Patience, signal: AbortSignal): Promise<Slot | null> {
    const worker = this.#worker
    const question = ++this.#questions
    // Who leaves makes room for another to wait.
    const leave = () => this.#bus.publish(LEAVE, { worker, question })
    signal.addEventListener('abort', leave)
    // What was asked for is always taken: nobody else would give it back.
    const answer = await this.#bus
      .request(TAKE, { worker, project, functionId, patience, question }, NEVER)
      .catch((cause: unknown) => {
        throw new MayflyError('shutting_down', 'the main process of the node is away', { cause })
      })
      .finally(() => signal.removeEventListener('abort', leave))
    const given = answer as unknown as Given
    if ('code' in given) throw new MayflyError(given.code in ERRORS ? given.code : 'internal', given.message)
    if (given.count === 0) {
      signal.throwIfAborted()
      return null
    }
    if (given.count > 1) this.#of(functionId).idle += given.count - 1
    const slot = this.#slot(functionId)
    if (!signal.aborted) return slot
    slot[Symbol.dispose]()
    throw signal.reason
  }

  #of(functionId: string): Held {
    const held = this.#held.get(functionId) ?? { idle: 0, least: 0 }
    this.#held.set(functionId, held)
    this.#sweeper.wake()
    return held
  }

  #slot(functionId: string): Slot {
    this.#running++
    let taken = true
    return {
      [Symbol.dispose]: () => {
        if (!taken) return
        taken = false
        this.#running--
        this.#of(functionId).idle++
        if (this.#clock.monotonic() < this.#shortUntil) this.giveBackIdle()
      },
    }
  }

  #giveBack(many: (held: Held) => number): void {
    for (const [functionId, count] of Object.entries(this.#takeIdle(many))) this.#bus.publish(GIVE, { worker: this.#worker, functionId, count })
  }

  #takeIdle(many: (held: Held) => number): Record<string, number> {
    const idle: Record<string, number> = {}
    for (const [functionId, held] of this.#held) {
      const count = many(held)
      held.idle -= count
      held.least = held.idle
      if (count > 0) idle[functionId] = count
      if (held.idle === 0) this.#held.delete(functionId)
    }
    return idle
  }
}

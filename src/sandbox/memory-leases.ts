import type { Bus, BusValue } from '../backends/bus/bus.ts'

/** What one process of a node asks of another's memory: so much of what it does not use, down to so much that it keeps. */
export interface Recalled {
  readonly mb: number
  readonly leastMb: number
  /** Idle sandboxes go for it. */
  readonly evict: boolean
}

/** Where a budget gets more than it began with. */
export interface MemorySource {
  readonly firstMb: number
  /** Asks for so much more. @returns all that it has then */
  more(mb: number): Promise<number>
  /** Names who gives up what is asked back, and answers with all that is left. */
  lends(give: (asked: Recalled) => number): void
}

const TAKE = 'memory.take'
const recallOf = (worker: number) => `memory.recall.${worker}`
const ANSWER_MS = 2_000
/** Of an even part, what each process keeps whatever others want: a project whose functions live there is never without. */
const KEPT = 0.5

const next = () => new Promise<void>((resolve) => setImmediate(resolve))

/**
 * Of the main process: the memory for sandboxes, dealt out evenly to the processes of the node at first, and lent by those
 * that do not use it to those that need it. What is told is always all that a process has, so that an answer that was
 * lost is made good by the next.
 */
export class MemoryLender implements Disposable {
  readonly #bus: Bus
  readonly #totalMb: number
  readonly #evenMb: number
  readonly #has: number[]
  readonly #stop = new DisposableStack()
  #freeMb: number
  #give: ((asked: Recalled) => number) | null = null
  /** One after another, as each changes what the next finds. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(bus: Bus, totalMb: number, processes: number) {
    this.#bus = bus
    this.#totalMb = Math.max(totalMb, processes)
    this.#evenMb = Math.floor(this.#totalMb / processes)
    this.#has = Array.from({ length: processes }, () => this.#evenMb)
    this.#freeMb = this.#totalMb - this.#evenMb * processes
    this.#stop.use(
      bus.respond(TAKE, async (value) => {
        const { worker, mb } = value as { worker: number; mb: number }
        return await this.#take(worker, mb)
      }),
    )
  }

  [Symbol.dispose](): void {
    this.#stop[Symbol.dispose]()
  }

  /** What the main process itself has of it. */
  get own(): MemorySource {
    return {
      firstMb: this.#evenMb,
      more: (mb) => this.#take(0, mb),
      lends: (give) => {
        this.#give = give
      },
    }
  }

  /** The most that one process may ever have. */
  get mostMb(): number {
    return this.#totalMb - (this.#has.length - 1) * this.#keptMb
  }

  /** What a worker that is started begins with: no more than an even part, and less where others have it. */
  firstOf(worker: number): number {
    return Math.min(this.#has[worker] as number, this.#evenMb)
  }

  /** A worker takes calls, and what its predecessor had beyond `firstOf` is with nobody. */
  join(worker: number): void {
    const first = this.firstOf(worker)
    this.#freeMb += (this.#has[worker] as number) - first
    this.#has[worker] = first
  }

  get #keptMb(): number {
    return Math.ceil(this.#evenMb * KEPT)
  }

  #take(asker: number, mb: number): Promise<number> {
    const taken = this.#last.then(() => this.#gather(asker, mb))
    // What was answered is on its way before anything is asked back of who asked.
    this.#last = taken.then(next, next)
    return taken
  }

  async #gather(asker: number, mb: number): Promise<number> {
    const others = () =>
      [...this.#has.keys()].filter((one) => one !== asker).toSorted((one, other) => (this.#has[other] as number) - (this.#has[one] as number))
    for (const from of others()) await this.#recall(from, { mb: mb - this.#freeMb, leastMb: this.#keptMb, evict: false })
    // Who has less than an even part gets it of those that have more.
    const dueMb = Math.min(mb, this.#evenMb - (this.#has[asker] as number))
    for (const from of others()) await this.#recall(from, { mb: dueMb - this.#freeMb, leastMb: this.#evenMb, evict: true })
    const given = Math.min(mb, this.#freeMb)
    this.#freeMb -= given
    this.#has[asker] = (this.#has[asker] as number) + given
    return this.#has[asker] as number
  }

  async #recall(from: number, asked: Recalled): Promise<void> {
    const had = this.#has[from] as number
    if (asked.mb <= 0 || had <= asked.leastMb) return
    const left = from === 0 ? this.#give?.(asked) : await this.#bus.request(recallOf(from), { ...asked }, AbortSignal.timeout(ANSWER_MS)).catch(() => null)
    // Who does not answer has what it has until it ends.
    if (typeof left !== 'number' || left > had) return
    this.#has[from] = left
    this.#freeMb += had - left
  }
}

/** Of a worker. */
export function leasedMemory(bus: Bus, worker: number, firstMb: number): MemorySource {
  return {
    firstMb,
    more: async (mb) => (await bus.request(TAKE, { worker, mb }, AbortSignal.timeout(ANSWER_MS))) as number,
    lends: (give) => void bus.respond(recallOf(worker), async (value) => give(value as unknown as Recalled) as BusValue),
  }
}

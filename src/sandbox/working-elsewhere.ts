import type { Bus } from '../backends/bus/bus.ts'
import type { Clock } from '../lib/clock.ts'

const WORKING = 'sandboxes.working'
/** Each process tells once a second at least: of one that was not heard for so long nothing works. */
const FORGOTTEN_MS = 3_000

interface Told {
  readonly process: number
  readonly running: Readonly<Record<string, number>>
}

/** How many sandboxes of each project work in the other processes of a node, as they told last: a hint that the next one makes good. */
export class WorkingElsewhere {
  readonly #bus: Bus
  readonly #process: number
  readonly #clock: Pick<Clock, 'monotonic'>
  /** By process. */
  readonly #heard = new Map<number, { readonly at: number; readonly running: ReadonlyMap<string, number> }>()
  #changed: () => void = () => {}
  /** Whether others may know of anything here. */
  #told = false

  /** @param process  which of the node's this is */
  constructor(bus: Bus, process: number, clock: Pick<Clock, 'monotonic'>) {
    this.#bus = bus
    this.#process = process
    this.#clock = clock
    bus.subscribe(WORKING, (value) => this.#hear(value as unknown as Told))
  }

  onChange(changed: () => void): void {
    this.#changed = changed
  }

  of(project: string): number {
    let sum = 0
    for (const { running } of this.#fresh()) sum += running.get(project) ?? 0
    return sum
  }

  projects(): string[] {
    return [...new Set(this.#fresh().flatMap(({ running }) => [...running.keys()]))]
  }

  /** What works here now. */
  tell(running: ReadonlyMap<string, number>): void {
    if (running.size === 0 && !this.#told) return
    this.#told = running.size > 0
    this.#bus.publish(WORKING, { process: this.#process, running: Object.fromEntries(running) })
  }

  #hear({ process, running }: Told): void {
    if (process === this.#process) return
    const heard = { at: this.#clock.monotonic(), running: new Map(Object.entries(running)) }
    const former = this.#heard.get(process)?.running ?? new Map()
    this.#heard.set(process, heard)
    // Two that tell each other the same for long would have each other tell it again.
    if (heard.running.size !== former.size || [...heard.running].some(([project, count]) => former.get(project) !== count)) this.#changed()
  }

  #fresh() {
    const since = this.#clock.monotonic() - FORGOTTEN_MS
    return [...this.#heard.values()].filter(({ at }) => at >= since)
  }
}

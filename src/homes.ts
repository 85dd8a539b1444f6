import { createHash } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import path from 'node:path'
import type { Bus } from './backends/bus/bus.ts'
import type { BusyHere } from './busy-here.ts'
import { type Hands, Peer } from './gateway/index.ts'

/**
 * Whose main thread took more of a processor than this lately has no room for calls of others. That its event loop is
 * late says nothing: on a machine that is short of processors all of them are, and one more sandbox makes it worse.
 */
const BUSY = 0.85
const LOOK_MS = 250
const MAX_KNOWN = 10_000

const LIVE = 'workers.live'
const LOAD = 'workers.load'

interface Live {
  readonly peer: Peer
  busy: boolean
}

export const socketOf = (folder: string, process: number): string => path.join(folder, `${process}.sock`)

/**
 * Which worker a function lives in. All processes rank the live workers alike for each function, by a hash of both, so
 * that one that comes or goes moves only its own; calls are handed to the first, while that one has room. So a function
 * that is called now and then has one warm sandbox, and a busy one as many as all processes can keep busy.
 */
export class Homes implements Disposable {
  readonly #self: number
  readonly #folder: string
  readonly #bus: Bus
  readonly #live = new Map<number, Live>()
  readonly #known = new Map<string, number>()
  readonly #stop = new DisposableStack()
  #busy = false
  #here: BusyHere | null = null

  /** @param self  0 in the main process */
  constructor(self: number, folder: string, bus: Bus) {
    this.#self = self
    this.#folder = folder
    this.#bus = bus
    this.#stop.use(bus.subscribe(LIVE, (value) => this.set(value as number[])))
    this.#stop.use(
      bus.subscribe(LOAD, (value) => {
        const { process, busy } = value as { process: number; busy: boolean }
        const live = this.#live.get(process)
        if (live) live.busy = busy
      }),
    )
    if (self > 0) this.#watch()
  }

  [Symbol.dispose](): void {
    this.#stop[Symbol.dispose]()
    for (const { peer } of this.#live.values()) peer[Symbol.dispose]()
  }

  /** From here on this process serves itself what it is called for often. */
  serve(here: BusyHere): void {
    this.#here = here
  }

  get live(): readonly number[] {
    return [...this.#live.keys()]
  }

  /** The workers that take calls now. */
  set(live: readonly number[]): void {
    for (const [process, { peer }] of this.#live) {
      if (live.includes(process)) continue
      this.#live.delete(process)
      peer[Symbol.dispose]()
    }
    for (const process of live) if (!this.#live.has(process)) this.#live.set(process, { peer: new Peer(socketOf(this.#folder, process)), busy: false })
    this.#known.clear()
  }

  /** Of the main process: says to all which they are. */
  tell(live: readonly number[]): void {
    this.set(live)
    this.#bus.publish(LIVE, live)
  }

  /** The worker that a function lives in; null where there is none. */
  of(key: string): number | null {
    const known = this.#known.get(key)
    if (known !== undefined) return known
    let best: number | null = null
    let most = ''
    for (const process of this.#live.keys()) {
      const score = createHash('sha1').update(`${process}/${key}`).digest('hex')
      if (score > most) [best, most] = [process, score]
    }
    if (best === null) return null
    if (this.#known.size >= MAX_KNOWN) this.#known.clear()
    this.#known.set(key, best)
    return best
  }

  /** Who is to serve a request to it; null for this process. */
  peerFor(key: string): Peer | null {
    const home = this.of(key)
    if (home === null || home === this.#self) return null
    const live = this.#live.get(home) as Live
    return live.busy ? this.#insteadOfBusy() : live.peer
  }

  /** Who is to serve a call of it; null for this process. Each counts, for whether it is called so often that it is served here. */
  callsOf(key: string): Hands | null {
    const peer = this.peerFor(key)
    const here = this.#here
    if (peer === null || here === null) return peer
    return here.serves(key) ? null : { hand: (request, response, of) => peer.hand(request, response, of).finally(() => here.ended(key)) }
  }

  /** The main process has other things to do, if anybody has room. */
  #insteadOfBusy(): Peer | null {
    if (this.#self > 0) return null
    for (const { busy, peer } of this.#live.values()) if (!busy) return peer
    return null
  }

  /** Tells the others when this process becomes busy and when it is no more. */
  #watch(): void {
    let since = performance.now()
    let before = process.threadCpuUsage()
    const timer = setInterval(() => {
      const { user, system } = process.threadCpuUsage(before)
      const busyMs = (user + system) / 1_000
      const now = performance.now()
      const isBusy = busyMs > BUSY * (now - since)
      since = now
      before = process.threadCpuUsage()
      if (isBusy === this.#busy) return
      this.#busy = !this.#busy
      this.#bus.publish(LOAD, { process: this.#self, busy: this.#busy })
    }, LOOK_MS)
    timer.unref()
    this.#stop.defer(() => clearInterval(timer))
  }
}

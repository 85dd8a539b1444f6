import { type Duplex, duplexPair } from 'node:stream'
import type { Driver, RuntimeName, SandboxProcess, StartOptions } from '../types.ts'
import { type OnCall, SimulatedGuest } from './guest.ts'
import type { Steps } from './steps.ts'

/** What a test asks of it at the end. */
export interface Counts {
  starts: number
  /** Under way at once, the most ever; of those that calls wait for. */
  mostStarts: number
  kills: number
}

/** Sandboxes that are a few objects of this process: each step of theirs waits for the test, which says how it goes. */
export class SimulatedDriver implements Driver {
  readonly name = 'process'
  readonly limits = ['time']
  readonly missing = []
  readonly resizesTmp = true
  readonly counts: Counts = { starts: 0, mostStarts: 0, kills: 0 }
  /** What was started and is not given back. */
  readonly alive = new Map<string, SimulatedGuest>()
  /** Ends of descriptors on this side: whoever speaks by them closes them. */
  readonly #sockets: { readonly id: string; readonly control: Duplex; readonly relay: Duplex }[] = []
  /** What no sandbox or pool may ever do, once it was done. */
  readonly faults: string[] = []
  readonly #steps: Steps
  readonly #onCall: OnCall
  readonly #onKill: (guest: SimulatedGuest) => void
  #starting = 0
  #isDisposed = false

  /**
   * @param onCall  told of each call that a guest hears
   * @param onKill  told of each guest that is ended while it lives
   */
  constructor(steps: Steps, onCall: OnCall, onKill: (guest: SimulatedGuest) => void = () => {}) {
    this.#steps = steps
    this.#onCall = onCall
    this.#onKill = onKill
  }

  get isDisposed(): boolean {
    return this.#isDisposed
  }

  /** Descriptors that nobody has closed. */
  get open(): readonly string[] {
    return this.#sockets.flatMap(({ id, control, relay }) => [
      ...(control.destroyed ? [] : [`control of ${id}`]),
      ...(relay.destroyed ? [] : [`relay of ${id}`]),
    ])
  }

  runs(_runtime: RuntimeName): boolean {
    return true
  }

  start(options: StartOptions): Promise<SandboxProcess> {
    if (this.#isDisposed) this.faults.push('a start after the end')
    const { promise, resolve, reject } = Promise.withResolvers<SandboxProcess>()
    const over = () => {
      if (!options.background) this.#starting--
    }
    if (!options.background) this.counts.mostStarts = Math.max(this.counts.mostStarts, ++this.#starting)
    const begin = (hello: boolean) => {
      over()
      const started = this.#make(options)
      if (hello) started.guest.hello()
      resolve(started.process)
    }
    this.#steps.add(`start ${options.id}`, {
      well: () => begin(true),
      fails: () => {
        over()
        reject(new Error('no room for another'))
      },
      silent: () => begin(false),
      dies: () => {
        begin(false)
        this.alive.get(options.id)?.die()
      },
    })
    return promise
  }

  async sweep(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.alive.size > 0) this.faults.push(`at the end ${[...this.alive.keys()].join(', ')} are left`)
    this.#isDisposed = true
  }

  #make(options: StartOptions): { guest: SimulatedGuest; process: SandboxProcess } {
    const [control, guestControl] = duplexPair()
    const [relay, guestRelay] = duplexPair()
    for (const socket of [control, relay, guestControl, guestRelay]) socket.on('error', () => {})
    guestRelay.resume()
    const { id } = options
    this.#sockets.push({ id, control, relay })
    const guest = new SimulatedGuest(id, guestControl, guestRelay, this.#steps, { faults: this.faults, onCall: this.#onCall })
    if (this.alive.has(id)) this.faults.push(`two sandboxes are named ${id}`)
    this.alive.set(id, guest)
    this.counts.starts++
    let killing: Promise<void> | null = null
    const kill = () => {
      killing ??= new Promise<void>((resolve, reject) => {
        if (!guest.isDead) this.#onKill(guest)
        guest.die()
        const over = (how: () => void) => () => {
          this.alive.delete(id)
          this.counts.kills++
          how()
        }
        // What is left then goes with the sweep of the driver's end.
        this.#steps.add(`kill ${id}`, { well: over(resolve), fails: over(() => reject(new Error('the control group does not become empty'))) })
      })
      return killing
    }
    const isAlive = (what: string) => {
      if (killing !== null) this.faults.push(`${what} of ${id}, which is being killed`)
    }
    const process: SandboxProcess = {
      id,
      control,
      relay,
      paths: { code: '/code', opt: '/opt', keptCache: '/cache', cache: null, lang: null, runtime: null },
      cache: null,
      isolated: true,
      stderrTail: () => '',
      hear: () => {},
      heardOut: async () => {},
      limit: () => isAlive('a limit'),
      grant: async () => isAlive('a grant'),
      resizeTmp: async () => isAlive('a size of /tmp'),
      freeze: () => guest.freezer(true),
      thaw: () => guest.freezer(false),
      kill,
      exited: guest.exited,
      memory: () => (killing === null ? { currentMb: 10, peakMb: 20 } : null),
    }
    return { guest, process }
  }
}

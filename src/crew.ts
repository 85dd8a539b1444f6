import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import type { BusValue } from './backends/bus/bus.ts'
import type { WiredBus } from './backends/bus/wired.ts'
import { StartError } from './core/data-directory.ts'
import type { Log } from './core/log.ts'
import type { Homes } from './homes.ts'
import type { SlotLender } from './invoke/index.ts'
import type { Clock } from './lib/clock.ts'

export interface CrewDeps {
  readonly count: number
  readonly bus: WiredBus
  readonly homes: Homes
  readonly lender: () => SlotLender
  /** What a worker is told when it starts. */
  readonly boot: (worker: number) => BusValue
  /** Starts the program as a worker. */
  readonly command: (worker: number) => readonly string[]
  /** What a worker says of itself now and then. */
  readonly heard: (worker: number, said: BusValue) => void
  /** A worker ended; what it held is with nobody. */
  readonly ended: (worker: number) => void
  /** A worker takes calls. */
  readonly joined: (worker: number) => void
  readonly clock: Clock
  readonly log: Log
}

/** As `/health` and the status show them. */
export interface ShownWorker {
  readonly worker: number
  readonly pid: number | null
  readonly state: 'starting' | 'ready' | 'ended'
  readonly restarts: number
}

interface Member {
  readonly number: number
  child: ChildProcess | null
  state: ShownWorker['state']
  restarts: number
  /** Since when it lives. */
  startedAt: number
  pauseMs: number
  ended: Promise<void>
  /** It took calls once. */
  readonly ready: PromiseWithResolvers<void>
}

const START_MS = 60_000
/** A worker that does not answer for so long is ended: what it serves is not known any more. */
const ANSWER_MS = 15_000
const PULSE_MS = 2_000
const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 10_000
/** Who lived so long is started again at once. */
const STEADY_MS = 60_000
/** Beyond what its calls may take, for a worker to end its sandboxes and store what it wrote. */
const END_MS = 15_000

/**
 * The workers of a node, kept by its main process: started with it, started again when they end, and ended with it. They
 * end by the kernel's doing when the main process dies, however it does.
 */
export class Crew implements AsyncDisposable {
  readonly #deps: CrewDeps
  readonly #members: readonly Member[]
  readonly #stop = new AbortController()
  readonly #responders = new DisposableStack()
  /** What a worker is told is known. */
  readonly #opened = Promise.withResolvers<void>()
  #draining = false

  /** Starts their processes, which load what is theirs and wait to be told the rest by `start`. */
  constructor(deps: CrewDeps) {
    this.#deps = deps
    this.#members = Array.from({ length: deps.count }, (_, at) => ({
      number: at + 1,
      child: null,
      state: 'ended' as const,
      restarts: 0,
      startedAt: 0,
      pauseMs: FIRST_PAUSE_MS,
      ended: Promise.resolve(),
      ready: Promise.withResolvers<void>(),
    }))
    this.#responders.use(
      deps.bus.respond('worker.boot', async (worker) => {
        await this.#opened.promise
        return deps.boot(worker as number)
      }),
    )
    this.#responders.use(deps.bus.respond('worker.ready', async (worker) => this.#joined(worker as number)))
    for (const member of this.#members) this.#startOne(member)
  }

  /** Resolves when all of them take calls. @throws StartError */
  async start(): Promise<void> {
    const late = Promise.withResolvers<never>()
    using _ = this.#deps.clock.timer(START_MS, () => late.reject(new StartError(`The workers were not ready after ${START_MS / 1000} s; the log says why.`)))
    this.#opened.resolve()
    await Promise.race([Promise.all(this.#members.map((member) => member.ready.promise)), late.promise])
    const { heard } = this.#deps
    const pulse = setInterval(() => {
      void this.ask('pulse', null).then((answers) => {
        for (const { worker, value } of answers) heard(worker, value)
      })
    }, PULSE_MS)
    pulse.unref()
    this.#responders.defer(() => clearInterval(pulse))
  }

  describe(): readonly ShownWorker[] {
    return this.#members.map(({ number, child, state, restarts }) => ({ worker: number, pid: child?.pid ?? null, state, restarts }))
  }

  /** Asks each that takes calls. Who does not answer in time is ended, and started again. @returns the answers */
  async ask(what: string, value: BusValue, ms = ANSWER_MS): Promise<{ readonly worker: number; readonly value: BusValue }[]> {
    const answers = await Promise.all(
      this.#members.map(async (member) => {
        if (member.state !== 'ready') return null
        const { child } = member
        try {
          return { worker: member.number, value: await this.askOne(member.number, what, value, ms) }
        } catch (error) {
          if (member.child !== child || child?.exitCode !== null || this.#draining) return null
          this.#deps.log.error({ worker: member.number, what, error: (error as Error).message }, 'a worker did not answer and is ended')
          child.kill('SIGKILL')
          await member.ended
          return null
        }
      }),
    )
    return answers.filter((answer) => answer !== null)
  }

  /** @throws Error when it does not answer */
  async askOne(worker: number, what: string, value: BusValue, ms = ANSWER_MS): Promise<BusValue> {
    return await this.#deps.bus.request(`worker.${worker}.${what}`, value, AbortSignal.timeout(ms))
  }

  /** They take nothing new, end what runs within `graceMs`, and then themselves. */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true
    this.#stop.abort()
    await Promise.all(
      this.#members.map(async ({ number, child, state, ended }) => {
        if (state === 'ready') await this.askOne(number, 'drain', graceMs, graceMs + END_MS).catch(() => {})
        const late = this.#deps.clock.timer(state === 'ready' ? END_MS : 0, () => child?.kill('SIGKILL'))
        await ended
        late[Symbol.dispose]()
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0)
    this.#responders[Symbol.dispose]()
  }

  #startOne(member: Member): void {
    const { bus, clock, log, command } = this.#deps
    const all = command(member.number)
    // Its life is ours, whatever happens to us: nothing else would end one that hangs.
    const [program = '', ...args] = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', ...all] : all
    // A group of its own: what a terminal sends to all would end what starts sandboxes there, before anybody says that it is over.
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'], detached: true })
    member.child = child
    member.state = 'starting'
    member.startedAt = clock.monotonic()
    bus.attach(child.stdio[3] as Duplex, () => {})
    member.ended = new Promise((resolve) => {
      const over = (how: string) => {
        if (member.child !== child) return
        member.child = null
        const was = member.state
        member.state = 'ended'
        if (was === 'ready') this.#left(member.number)
        resolve()
        if (this.#stop.signal.aborted) return
        log.error({ worker: member.number, pid: child.pid, how }, 'a worker ended; it is started again')
        void this.#again(member)
      }
      child.once('error', (error) => over(error.message))
      child.once('exit', (code, signal) => over(signal ?? `exit code ${code}`))
    })
  }

  async #again(member: Member): Promise<void> {
    const { clock } = this.#deps
    if (clock.monotonic() - member.startedAt >= STEADY_MS) member.pauseMs = FIRST_PAUSE_MS
    await clock.sleep(member.pauseMs, this.#stop.signal).catch(() => {})
    member.pauseMs = Math.min(MAX_PAUSE_MS, member.pauseMs * 2)
    if (this.#stop.signal.aborted) return
    member.restarts++
    this.#startOne(member)
  }

  /** It has cleared away what its predecessor left: what that one held is free. */
  #joined(worker: number): BusValue {
    const { homes, log } = this.#deps
    const lender = this.#deps.lender()
    const member = this.#members[worker - 1]
    if (member?.state !== 'starting') throw new Error(`no worker ${worker} is being started`)
    lender.leave(worker)
    lender.join(worker)
    member.state = 'ready'
    if (member.restarts > 0) log.info({ worker, pid: member.child?.pid }, 'a worker is back')
    homes.tell([...homes.live, worker])
    member.ready.resolve()
    this.#deps.joined(worker)
    return homes.live
  }

  #left(worker: number): void {
    const { homes, ended } = this.#deps
    homes.tell(homes.live.filter((one) => one !== worker))
    ended(worker)
  }
}

const SETPRIV = '/usr/bin/setpriv'

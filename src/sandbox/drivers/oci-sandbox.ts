import type { promises as fs } from 'node:fs'
import type { Duplex } from 'node:stream'
import type { EgressPolicy } from '../../core/egress.ts'
import type { Cgroup } from '../../lib/cgroup.ts'
import type { Clock } from '../../lib/clock.ts'
import { within } from '../../lib/within.ts'
import type { Network } from '../egress/network.ts'
import { shellTold } from '../exits.ts'
import type { Entrance, GuestPaths, SandboxProcess, SandboxSpec } from '../types.ts'
import { startingWeight, weightOf } from './driver-options.ts'
import { BEGIN, endOfItself, INSIDE, LAST_WORDS_MS } from './inside.ts'
import type { Looked, RouteQueues } from './route-queues.ts'
import { ShownMemory } from './shown.ts'
import type { StderrTail } from './stderr-tail.ts'
import { resizeTmp } from './tmp-size.ts'

/** A running sandbox of an OCI runtime. */
export class OciSandbox implements SandboxProcess {
  readonly id: string
  readonly control: Duplex
  readonly relay: Duplex
  readonly paths: GuestPaths
  readonly cache: fs.FileHandle | null
  readonly isolated = true
  readonly exited: SandboxProcess['exited']
  /** A sandbox with a kernel of its own has none. */
  entrance?: () => Promise<Entrance | null>
  /** What it reads as the memory of the machine. */
  readonly #meminfo: ShownMemory
  readonly #cgroup: Cgroup
  /** The first process inside, by its number outside; null where the host sees none of them. */
  readonly #init: number | null
  readonly #network: Network | null
  readonly #tail: StderrTail
  readonly #giveBack: () => Promise<void>
  readonly #clock: Clock
  /** Nobody here ended it. */
  readonly #endsItself: () => boolean
  #killing: Promise<void> | null = null
  #groupSays: Promise<{ readonly memory: boolean; readonly processes: boolean }> | null = null
  #running = true
  #overdrawn = false
  /** Of the version that it became. */
  #memoryMb: number | null = null
  #watch: Disposable | null = null
  #begun = true

  constructor(
    id: string,
    ways: {
      readonly control: Duplex
      readonly relay: Duplex
      readonly cache: fs.FileHandle | null
      readonly meminfo: string
      readonly network: Network | null
    },
    cgroup: Cgroup,
    init: number | null,
    tail: StderrTail,
    giveBack: () => Promise<void>,
    clock: Clock,
  ) {
    this.id = id
    this.control = ways.control
    this.relay = ways.relay
    this.cache = ways.cache
    this.#meminfo = new ShownMemory(ways.meminfo)
    this.paths = { ...INSIDE, cache: ways.cache === null ? null : '/cache' }
    this.#cgroup = cgroup
    this.#init = init
    this.#network = ways.network
    this.#tail = tail
    this.#giveBack = giveBack
    this.#clock = clock
    this.control.on('error', () => {})
    this.relay.on('error', () => {})
    // The first process is no child of ours: that it is gone is known by the end of its descriptor.
    this.#endsItself = endOfItself(this.control, this.relay)
    this.exited = new Promise((resolve) => {
      this.control.once('close', () => {
        void Promise.all([this.#askGroup(), this.#lastWords()]).then(([{ memory, processes }]) => {
          const outOfMemory = memory || this.#overdrawn
          // Code is told by its kernel that it gets no more. Only a kernel of the sandbox's own ends with that, by a fault of which it says nothing.
          const outOfProcesses = processes && this.#init === null && !outOfMemory
          resolve({ ...(outOfMemory ? { code: null, signal: 'SIGKILL' } : shellTold(tail.status)), outOfMemory, outOfProcesses })
        })
      })
    })
  }
  stderrTail(): string {
    return this.#tail.text()
  }
  hear(take: (bytes: Uint8Array) => void): void {
    this.#tail.take = take
  }
  heardOut(): Promise<void> {
    return this.#tail.heardOut()
  }
  limit({ memoryMb, share }: { memoryMb: number; share?: number }): void {
    this.expectLimit(memoryMb, share)
    this.#memoryMb = memoryMb
  }
  expectLimit(memoryMb: number, share?: number): void {
    this.#cgroup.limit({ memoryMb, cpuWeight: weightOf(memoryMb, share) })
    this.#meminfo.set(memoryMb)
  }
  weigh(share: number): void {
    if (this.#killing === null && this.#memoryMb !== null) this.#cgroup.weigh(weightOf(this.#memoryMb, share))
  }
  async resizeTmp(mb: number): Promise<void> {
    if (this.#init === null || !(await this.#cgroup.has(this.#init))) throw new Error('the sandbox has ended')
    await resizeTmp(this.#init, mb)
  }
  async grant(policy: EgressPolicy, counted: SandboxSpec['countEgress']): Promise<void> {
    await this.#network?.grant(policy, counted)
  }
  async freeze(): Promise<void> {
    await this.#cgroup.freeze(true, this.#clock)
    this.#running = false
    void this.#network?.sleep()
  }
  async thaw(): Promise<void> {
    this.#network?.wake()
    this.#running = true
    await this.#cgroup.freeze(false, this.#clock)
  }
  begin(share = 1): void {
    this.#begun = true
    this.#cgroup.weigh(startingWeight({ share }))
    this.control.write(BEGIN)
  }
  /** @param pid  of a process of it */
  watchedBy(queues: RouteQueues, pid: number, held: boolean): void {
    this.#begun = !held
    const looked: Looked = {
      pid,
      running: () => this.#begun && this.#running && this.#killing === null,
      overdrawn: () => {
        this.#overdrawn = true
        void this.kill()
      },
    }
    this.#watch = queues.look(looked)
  }
  kill(): Promise<void> {
    this.#watch?.[Symbol.dispose]()
    this.#killing ??= Promise.all([this.#askGroup(), this.#lastWords()])
      .then(() => this.#giveBack())
      .finally(() => {
        this.control.destroy()
        this.relay.destroy()
      })
    return this.#killing
  }
  /** Whether the kernel ended something in it for want of memory, or refused it a process: asked before the group goes, and once. */
  #askGroup() {
    this.#groupSays ??= Promise.all([this.#cgroup.outOfMemory(), this.#init === null && this.#cgroup.outOfProcesses()]).then(([memory, processes]) => ({
      memory,
      processes,
    }))
    return this.#groupSays
  }
  /** How its program ended is told by the first process, once that has heard of it: it has a moment. */
  async #lastWords(): Promise<void> {
    if (this.#endsItself()) await within(this.#clock, LAST_WORDS_MS, this.#tail.over)
  }
  memory() {
    return this.#killing ? null : this.#cgroup.memory()
  }
  cpuMs(): number | null {
    return this.#killing ? null : this.#cgroup.cpuMs()
  }
}

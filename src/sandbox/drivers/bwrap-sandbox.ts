import type { FileHandle } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import type { Cgroup } from '../../lib/cgroup.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Launched } from '../../lib/launched.ts'
import { within } from '../../lib/within.ts'
import type { EgressPolicy } from '../../core/egress.ts'
import type { Network } from '../egress/network.ts'
import { shellTold } from '../exits.ts'
import type { Entrance, GuestPaths, SandboxProcess, SandboxSpec } from '../types.ts'
import { guestOfInit } from './entrance.ts'
import { continueFamily, memoryOf, stopFamily } from './family.ts'
import { startingWeight, weightOf } from './driver-options.ts'
import { BEGIN, endOfItself, INSIDE, LAST_WORDS_MS } from './inside.ts'
import type { MemoryWatch } from './memory-watch.ts'
import type { RouteQueues } from './route-queues.ts'
import { ShownMemory } from './shown.ts'
import type { StderrTail } from './stderr-tail.ts'

const DYING_MS = 5_000

export interface Bwrapping {
  /** bubblewrap itself, which waits for the first process inside. */
  readonly child: Launched
  /** That first process, by its number outside. */
  readonly init: number
  readonly cache: FileHandle | null
  /** Null where this node has no control groups to give. */
  readonly cgroup: Cgroup | null
  /** Null where a control group bounds its memory. */
  readonly watch: MemoryWatch<BwrapSandbox> | null
  readonly queues: RouteQueues
  readonly network: Network | null
  /** The file of what it reads as the memory of the machine. */
  readonly meminfo: string
  readonly tail: StderrTail
  /** Called when nothing inside lives any more. */
  readonly giveBack: () => Promise<void>
  readonly clock: Clock
  /** Its program has yet to begin. */
  readonly held: boolean
}

/** A running sandbox of bubblewrap. */
export class BwrapSandbox implements SandboxProcess {
  readonly id: string
  readonly control: Duplex
  readonly relay: Duplex
  readonly paths: GuestPaths
  readonly cache: FileHandle | null
  readonly isolated = true
  readonly exited: Promise<{ code: number | null; signal: string | null; outOfMemory: boolean }>
  readonly #made: Bwrapping
  readonly #endsItself: () => boolean
  readonly #meminfo: ShownMemory
  #begun: boolean
  #over = false
  #stands = false
  #tookTooMuch = false
  #limitMb: number | null = null
  #groupSays: Promise<boolean> | null = null
  #killing: Promise<void> | null = null

  constructor(id: string, made: Bwrapping) {
    const { child, cache } = made
    this.id = id
    this.#made = made
    this.#meminfo = new ShownMemory(made.meminfo)
    this.#begun = !made.held
    this.control = child.streams[3] as Duplex
    this.relay = child.streams[4] as Duplex
    this.cache = cache
    this.paths = { ...INSIDE, cache: cache === null ? null : '/cache' }
    this.control.on('error', () => {})
    this.relay.on('error', () => {})
    this.control.once('close', () => void this.#askGroup())
    this.#endsItself = endOfItself(this.control, this.relay)
    const looked = made.queues.look({
      pid: made.init,
      running: () => this.#begun && !this.#stands && !this.#over,
      overdrawn: () => this.#takesTooMuch(),
    })
    this.exited = new Promise((resolve) => {
      const end = (status: number | null) => {
        this.#over = true
        looked[Symbol.dispose]()
        made.watch?.leave(this)
        // A code of the program's own the runtime tells itself.
        const told = status === null ? { code: null, signal: 'SIGKILL' } : shellTold(status)
        void this.#askGroup().then((outOfMemory) => resolve({ ...told, outOfMemory: outOfMemory || this.#tookTooMuch }))
      }
      child.exited.then(
        ({ code }) => end(code),
        () => end(null),
      )
    })
  }

  stderrTail(): string {
    return this.#made.tail.text()
  }

  hear(take: (bytes: Uint8Array) => void): void {
    this.#made.tail.take = take
  }

  heardOut(): Promise<void> {
    return this.#made.tail.heardOut()
  }

  begin(share = 1): void {
    this.#begun = true
    this.#made.cgroup?.weigh(startingWeight({ share }))
    this.control.write(BEGIN)
  }

  limit({ memoryMb, share }: { memoryMb: number; share?: number }): void {
    this.expectLimit(memoryMb, share)
    this.#limitMb = memoryMb
    this.#watch()
  }

  expectLimit(memoryMb: number, share?: number): void {
    this.#meminfo.set(memoryMb)
    this.#made.cgroup?.limit({ memoryMb, cpuWeight: weightOf(memoryMb, share) })
  }

  weigh(share: number): void {
    if (this.#killing === null && this.#limitMb !== null) this.#made.cgroup?.weigh(weightOf(this.#limitMb, share))
  }

  async grant(policy: EgressPolicy, counted: SandboxSpec['countEgress']): Promise<void> {
    await this.#made.network?.grant(policy, counted)
  }

  async resizeTmp(): Promise<void> {
    throw new Error('the size of /tmp is set when a sandbox of bubblewrap is started')
  }

  async freeze(): Promise<void> {
    const { cgroup, init, clock } = this.#made
    if (cgroup) await cgroup.freeze(true, clock)
    else if (!this.#over) await stopFamily(init, clock)
    this.#stands = true
    void this.#made.network?.sleep()
    this.#made.watch?.leave(this)
  }

  async thaw(): Promise<void> {
    this.#stands = false
    this.#made.network?.wake()
    const { cgroup, init, clock } = this.#made
    if (cgroup) await cgroup.freeze(false, clock)
    else if (!this.#over) continueFamily(init)
    this.#watch()
  }

  kill(): Promise<void> {
    this.#killing ??= this.#kill().finally(() => {
      this.control.destroy()
      this.relay.destroy()
    })
    return this.#killing
  }

  memory() {
    if (this.#killing || this.#over) return null
    return this.#made.cgroup ? this.#made.cgroup.memory() : memoryOf(this.#made.init)
  }

  cpuMs(): number | null {
    return this.#killing || this.#over ? null : (this.#made.cgroup?.cpuMs() ?? null)
  }

  async entrance(): Promise<Entrance | null> {
    const { init, child, network } = this.#made
    const guest = this.#over ? null : guestOfInit(init)
    // bubblewrap itself is still where the sandbox's own user namespace was made: from there an ordinary user has every right over it.
    const own = process.getuid?.() === 0 ? [] : ['--preserve-credentials', `--user=/proc/${child.pid}/ns/user`]
    return guest === null ? null : { guest, network: network?.entrance ?? [...own, `--net=/proc/${init}/ns/net`] }
  }

  /** Whether the kernel ended something in it for want of memory: asked before the group goes, and once. */
  #askGroup(): Promise<boolean> {
    this.#groupSays ??= this.#made.cgroup?.outOfMemory() ?? Promise.resolve(false)
    return this.#groupSays
  }

  #watch(): void {
    const { watch, init } = this.#made
    if (this.#over || this.#limitMb === null) return
    watch?.watch(this, {
      init,
      limitMb: this.#limitMb,
      over: () => this.#takesTooMuch(),
    })
  }

  #takesTooMuch(): void {
    this.#tookTooMuch = true
    this.#end()
  }

  /** With the first process of their namespace the kernel ends all others, and bubblewrap ends when that is done. */
  #end(): void {
    if (this.#over) return
    try {
      process.kill(this.#made.init, 'SIGKILL')
    } catch {
      // It is gone.
    }
  }

  async #kill(): Promise<void> {
    const { child, cgroup, giveBack, clock } = this.#made
    // How its program ended is told by the first process, once that has heard of it.
    if (this.#endsItself()) await within(clock, LAST_WORDS_MS, this.exited)
    this.#end()
    await this.#askGroup()
    const grouped = cgroup?.destroy(clock)
    if (!(await within(clock, DYING_MS, this.exited))) child.kill('SIGKILL')
    await grouped
    await giveBack()
  }
}

import { promises as fs } from 'node:fs'
import path from 'node:path'
import { type AllowedHost, allowedHosts, type EgressPolicy } from '../../core/egress.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Resolved } from './answers.ts'
import type { Links } from './links.ts'
import type { Asker } from './name-server.ts'
import { GROUP } from './rules.ts'

/** How long an address stays open at least: clients keep what a name was resolved to, and connect again. */
const MIN_OPEN_MS = 300_000
const MAX_OPEN_MS = 86_400_000
/** So much of an allow-list is open at once for one sandbox: who answers for a listed name may give others without end. Those that close first make room. */
const MOST_OPEN = 1_024
/** And so much by one answer, so that there is always something to make room. */
const MOST_AT_ONCE = MOST_OPEN / 2
/** What opens starts a program of the host: so often at once, and then so often in a second. */
const OPENINGS_AT_ONCE = 64
const OPENINGS_A_SECOND = 8

export interface Bytes {
  readonly bytesIn: number
  readonly bytesOut: number
}

/** The elements of the rules' sets that stand for an address of a sandbox. */
const elementsOf = (device: string, address: string, ports: readonly (number | null)[]) =>
  ports.map((port) =>
    port === null
      ? ({ set: 'anyport', element: `"${device}" . ${address}` } as const)
      : ({ set: 'listed', element: `"${device}" . ${address} . ${port}` } as const),
  )
type Element = ReturnType<typeof elementsOf>[number]
interface Open {
  readonly element: Element
  untilMs: number
}

/** One sandbox's network: shut until it is granted, counted from then on. */
export class Network implements Asker {
  readonly address: string
  /** The namespace, as a file. */
  readonly path: string
  /** The arguments of `nsenter` for what is to be in it. */
  readonly entrance: readonly string[]
  readonly #n: number
  readonly #links: Links
  readonly #clock: Clock
  readonly #onGone: (network: Network) => Promise<void>
  readonly #granting = Promise.withResolvers<EgressPolicy>()
  #allowed: readonly AllowedHost[] = []
  /** Open elements of an allow-list and until when. */
  readonly #open = new Map<string, Open>()
  #openings = OPENINGS_AT_ONCE
  #openedAtMs = 0
  /** Changes of the rules, one after the other. */
  #changes: Promise<void> = Promise.resolve()
  #counted: ((bytes: Bytes) => void) | null = null
  /** The file of the kernel that a grant is written to, open while it waits for that. */
  #group: Promise<fs.FileHandle | null> | null = null
  #seen = { bytesIn: 0, bytesOut: 0 }
  #counting: Promise<void> | null = null
  #asleep = false
  #gone: Promise<void> | null = null

  constructor(n: number, address: string, links: Links, clock: Clock, onGone: (network: Network) => Promise<void>) {
    this.#n = n
    this.address = address
    this.path = links.pathOf(n)
    this.entrance = links.entranceOf(n)
    this.#links = links
    this.#clock = clock
    this.#onGone = onGone
  }

  get number(): number {
    return this.#n
  }
  get granted(): Promise<EgressPolicy> {
    return this.#granting.promise
  }
  get allowed(): readonly AllowedHost[] {
    return this.#allowed
  }

  /** A call may wait for its grant: nothing is to be looked up then. */
  async prepare(): Promise<void> {
    this.#group ??= fs.open(this.#groupFile, 'r+').catch(() => null)
    await this.#group
  }

  /**
   * Opens it, once and for good. @param counted  told what it carried, each byte once
   * @throws Error when the kernel refuses; then it stays shut
   */
  async grant(policy: EgressPolicy, counted: (bytes: Bytes) => void): Promise<void> {
    try {
      if (this.#gone) return
      if (policy.mode !== 'none') this.#counted = counted
      if (policy.mode === 'hosts') {
        this.#allowed = allowedHosts(policy.hosts)
        const literal = this.#allowed.filter(({ kind }) => kind === 'address')
        const elements = literal.flatMap(({ host, port }) => elementsOf(this.#device, host, [port]))
        await this.#add(elements.map((element) => ({ element, untilMs: Number.POSITIVE_INFINITY })))
      }
      const group = await this.#group
      if (group) await group.write(String(GROUP[policy.mode]), 0)
      else await fs.writeFile(this.#groupFile, String(GROUP[policy.mode]))
      this.#granting.resolve(policy)
    } finally {
      this.#granting.resolve({ mode: 'none' })
      this.#closeGroup()
    }
  }

  async open(resolved: readonly Resolved[], ports: readonly (number | null)[]): Promise<void> {
    const now = this.#clock.monotonic()
    await this.#add(
      resolved.flatMap(({ address, seconds }) => {
        const untilMs = now + Math.min(MAX_OPEN_MS, Math.max(MIN_OPEN_MS, 2_000 * seconds))
        return elementsOf(this.#device, address, ports).map((element) => ({ element, untilMs }))
      }),
    )
  }

  /** Shuts what nobody has resolved for long. What is connected stays so. */
  async expire(): Promise<void> {
    const now = this.#clock.monotonic()
    if ([...this.#open.values()].every(({ untilMs }) => untilMs > now)) return
    await this.#change(async () => {
      await this.#shut([...this.#open].filter(([, { untilMs }]) => untilMs <= now))
    })
  }

  /** It was frozen, or runs again: what stands still carries nothing. */
  async sleep(): Promise<void> {
    await this.count()
    this.#asleep = true
  }
  wake(): void {
    this.#asleep = false
  }
  get isAwake(): boolean {
    return !this.#asleep && this.#counted !== null
  }

  /** Tells what it carried since it was last asked. */
  count(): Promise<void> {
    if (this.#counted === null) return Promise.resolve()
    this.#counting ??= this.#count(this.#counted).finally(() => {
      this.#counting = null
    })
    return this.#counting
  }

  /** Resolves when nothing of it is left; what it carried was told before. Idempotent. */
  release(): Promise<void> {
    this.#gone ??= this.#release()
    return this.#gone
  }

  get #device(): string {
    return `v${this.#n}`
  }
  get #groupFile(): string {
    return path.join(this.#links.statisticsOf(this.#n), 'netdev_group')
  }
  #closeGroup(): void {
    void this.#group?.then((file) => file?.close())
    this.#group = null
  }

  async #release(): Promise<void> {
    this.#granting.resolve({ mode: 'none' })
    this.#closeGroup()
    await this.#counting
    await this.count()
    await this.#onGone(this)
    await this.#change(async () => {
      const all = [...this.#open.values()].map(({ element }) => element)
      this.#open.clear()
      if (all.length > 0) await this.#links.change('delete', all)
    }).catch(() => {})
  }

  async #count(counted: (bytes: Bytes) => void): Promise<void> {
    const folder = path.join(this.#links.statisticsOf(this.#n), 'statistics')
    const read = async (name: string) => Number(await fs.readFile(path.join(folder, name), 'utf8'))
    // What the router sends is what the sandbox gets.
    const now = await Promise.all([read('tx_bytes'), read('rx_bytes')]).catch(() => null)
    if (now === null) return
    const bytes = { bytesIn: now[0] - this.#seen.bytesIn, bytesOut: now[1] - this.#seen.bytesOut }
    this.#seen = { bytesIn: now[0], bytesOut: now[1] }
    if (bytes.bytesIn > 0 || bytes.bytesOut > 0) counted(bytes)
  }

  #add(entries: readonly Open[]): Promise<void> {
    return this.#change(async () => {
      const fresh = new Map<string, Open>()
      for (const entry of entries) {
        const { set, element } = entry.element
        const key = `${set} ${element}`
        const known = this.#open.get(key)
        if (known) known.untilMs = Math.max(known.untilMs, entry.untilMs)
        else if (fresh.size < MOST_AT_ONCE) fresh.set(key, entry)
      }
      if (fresh.size === 0) return
      if (!this.#mayOpen()) throw new Error('other addresses come too often')
      await this.#makeRoom(fresh.size)
      const elements = [...fresh.values()].map(({ element }) => element)
      try {
        await this.#links.change('add', elements)
      } catch (error) {
        // Its program may have been lost after it was done: what nobody knows of nobody would shut.
        await this.#links.change('delete', elements).catch(() => {})
        throw error
      }
      for (const [key, entry] of fresh) this.#open.set(key, entry)
    })
  }

  #mayOpen(): boolean {
    const now = this.#clock.monotonic()
    this.#openings = Math.min(OPENINGS_AT_ONCE, this.#openings + ((now - this.#openedAtMs) / 1_000) * OPENINGS_A_SECOND)
    this.#openedAtMs = now
    if (this.#openings < 1) return false
    this.#openings--
    return true
  }

  async #makeRoom(count: number): Promise<void> {
    const over = this.#open.size + count - MOST_OPEN
    if (over <= 0) return
    // Never what the list itself names.
    const first = [...this.#open].filter(([, { untilMs }]) => untilMs !== Number.POSITIVE_INFINITY).toSorted(([, a], [, b]) => a.untilMs - b.untilMs)
    await this.#shut(first.slice(0, over))
  }

  async #shut(which: readonly (readonly [string, Open])[]): Promise<void> {
    for (const [key] of which) this.#open.delete(key)
    if (which.length > 0)
      await this.#links.change(
        'delete',
        which.map(([, { element }]) => element),
      )
  }

  #change(work: () => Promise<void>): Promise<void> {
    const done = this.#changes.then(work)
    this.#changes = done.catch(() => {})
    return done
  }
}

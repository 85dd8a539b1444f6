import { createHash } from 'node:crypto'
import type { Log } from '../../core/log.ts'
import type { Clock } from '../../lib/clock.ts'
import { AddressBook, type Share } from './addresses.ts'
import { NameServer } from './name-server.ts'
import { Network } from './network.ts'
import { OwnRouter } from './own-router.ts'
import { packagesMissing, type Starter } from './programs.ts'
import { type Doubts, HostRouter, type Router } from './router.ts'
import { Stock } from './stock.ts'
import { Upstream } from './upstream.ts'

const COUNT_MS = 1_000
const EXPIRE_MS = 5_000

export interface NetworksOptions {
  /** Short, root's own, emptied by a reboot: `/run`. */
  readonly runBase: string
  /** What no other node of this machine is called. */
  readonly name: string
  /** Who resolves names; empty: whom this machine asks. */
  readonly dns: readonly string[]
  /** How programs are started that make networks; absent: by this process. */
  readonly start?: Starter
  readonly clock: Clock
  readonly log: Log
}

/** What keeps functions from having a network here, and what to type. */
export interface NoNetworks {
  readonly why: string
  readonly todo: string
}

/** The networks of a node's sandboxes, each of which has one from before it is anyone's until its end. */
export class Networks implements AsyncDisposable {
  readonly doubts: Doubts
  readonly #router: Router
  readonly #names: NameServer
  readonly #addresses: AddressBook
  readonly #clock: Clock
  readonly #taken = new Set<Network>()
  readonly #stock: Stock<Network>
  readonly #timers: NodeJS.Timeout[]
  #removing: Promise<void> | null = null
  #toRemove: number[] = []
  #made = 0

  private constructor(router: Router, share: Share, names: NameServer, doubts: Doubts, { clock, log }: NetworksOptions) {
    this.doubts = doubts
    this.#router = router
    this.#names = names
    this.#addresses = new AddressBook(share)
    this.#clock = clock
    this.#stock = new Stock({
      make: (count) => this.#make(count),
      failed: (error) => log.warn({ error: error.message }, 'no network could be made ready for a sandbox'),
    })
    const each = (ms: number, work: () => Promise<unknown>) =>
      setInterval(() => void work().catch((error: Error) => log.debug({ error: error.message }, 'networks of sandboxes')), ms).unref()
    this.#timers = [
      each(COUNT_MS, () => Promise.all([...this.#taken].filter(({ isAwake }) => isAwake).map((network) => network.count()))),
      each(router.keepMs, () => router.keep()),
      each(EXPIRE_MS, async () => {
        for (const network of this.#taken) await network.expire()
      }),
    ]
  }

  /** Removes what a former life left, and makes all that sandboxes' networks have in common. */
  static async open(options: NetworksOptions): Promise<Networks | NoNetworks> {
    const asRoot = process.getuid?.() === 0
    const missing = packagesMissing(asRoot)
    if (missing.length > 0)
      return {
        why: `${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} not installed, without which functions have no network`,
        todo: `Run \`npm run setup\`, or type \`${asRoot ? '' : 'sudo '}apt-get install ${missing.join(' ')}\`.`,
      }
    const router = asRoot ? new HostRouter(tagOf(options.name), options.runBase, options.start) : new OwnRouter(tagOf(options.name), options.start)
    try {
      const { share, names, doubts } = await router.open()
      return new Networks(router, share, new NameServer(names, new Upstream(options.dns)), doubts, options)
    } catch (error) {
      await router.close()
      return {
        why: `this machine let no network be made for functions: ${(error as Error).message.replaceAll(/\s+/g, ' ')}`,
        todo: asRoot
          ? 'Network namespaces, veth devices and nf_tables with NAT must be part of the kernel, and root must be allowed to use them.'
          : 'An ordinary user takes user namespaces, veth devices and nf_tables with NAT in the kernel, and `/dev/net/tun` that all may open (`sudo chmod 666 /dev/net/tun`); or start the node as root.',
      }
    }
  }

  /** One that is shut. @throws Error when none can be made */
  async take(): Promise<Network> {
    const network = await this.#stock.take()
    this.#taken.add(network)
    await network.prepare()
    this.#names.know(network.address, network)
    return network
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await this.#stock.close()
    await Promise.all([...this.#taken].map((network) => network.release()))
    await this.#names[Symbol.asyncDispose]()
    await this.#router.close()
  }

  /** @returns as many, or as there are addresses for, but one at least. @throws Error */
  async #make(count: number): Promise<Network[]> {
    const which: { n: number; address: string }[] = []
    for (let address = this.#addresses.take(); address !== null; address = which.length < count ? this.#addresses.take() : null)
      which.push({ n: ++this.#made, address })
    if (which.length === 0) throw new Error('every address for sandboxes is in use')
    try {
      await this.#router.links.make(which)
    } catch (error) {
      for (const { address } of which) this.#addresses.giveBack(address)
      throw error
    }
    return which.map(({ n, address }) => new Network(n, address, this.#router.links, this.#clock, (network) => this.#gone(network)))
  }

  async #gone(network: Network): Promise<void> {
    this.#taken.delete(network)
    this.#names.forget(network.address)
    this.#toRemove.push(network.number)
    await this.#remove()
    this.#addresses.giveBack(network.address)
  }

  /** All that came together go together. */
  async #remove(): Promise<void> {
    while (this.#removing) await this.#removing
    if (this.#toRemove.length === 0) return
    const which = this.#toRemove
    this.#toRemove = []
    this.#removing = this.#router.links.remove(which).finally(() => {
      this.#removing = null
    })
    await this.#removing
  }
}

export const hasNetworks = (found: Networks | NoNetworks): found is Networks => found instanceof Networks

/** By which all that they make on this machine is named. Interfaces have names of 15 characters at most. */
export const tagOf = (name: string) => createHash('sha256').update(name).digest('hex').slice(0, 12)

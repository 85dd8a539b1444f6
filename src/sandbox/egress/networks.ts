import { createHash } from 'node:crypto'
import type { Log } from '../../core/log.ts'
import type { Clock } from '../../lib/clock.ts'
import { AddressBook, type Share } from './addresses.ts'
import { Forwarding } from './forwarding.ts'
import { NameServer } from './name-server.ts'
import { Network } from './network.ts'
import { packagesMissing } from './programs.ts'
import { Router } from './router.ts'
import { Upstream } from './upstream.ts'

/** How many networks stand ready, so that starting a sandbox does not wait for one. */
const SPARE = 2
const COUNT_MS = 1_000
const CARE_MS = 5_000

export interface NetworksOptions {
  /** Short, root's own, emptied by a reboot: `/run`. */
  readonly runBase: string
  /** What no other node of this machine is called. */
  readonly name: string
  /** Who resolves names; empty: whom this machine asks. */
  readonly dns: readonly string[]
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
  readonly #router: Router
  readonly #names: NameServer
  readonly #addresses: AddressBook
  readonly #forwarding: Forwarding
  readonly #clock: Clock
  readonly #log: Log
  readonly #taken = new Set<Network>()
  readonly #spare: Network[] = []
  readonly #timers: NodeJS.Timeout[]
  #filling: Promise<void> | null = null
  #removing: Promise<void> | null = null
  #toRemove: number[] = []
  #made = 0
  #isClosed = false

  private constructor(router: Router, share: Share, names: NameServer, forwarding: Forwarding, { clock, log }: NetworksOptions) {
    this.#router = router
    this.#names = names
    this.#addresses = new AddressBook(share)
    this.#forwarding = forwarding
    this.#clock = clock
    this.#log = log
    const each = (ms: number, work: () => Promise<unknown>) =>
      setInterval(() => void work().catch((error: Error) => log.debug({ error: error.message }, 'networks of sandboxes')), ms).unref()
    this.#timers = [
      each(COUNT_MS, () => Promise.all([...this.#taken].filter(({ isAwake }) => isAwake).map((network) => network.count()))),
      each(CARE_MS, async () => {
        await forwarding.keep(router.link)
        for (const network of this.#taken) await network.expire()
      }),
    ]
  }

  /** Removes what a former life left, and makes all that sandboxes' networks have in common. */
  static async open(options: NetworksOptions): Promise<Networks | NoNetworks> {
    const missing = packagesMissing()
    if (missing.length > 0)
      return {
        why: `${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} not installed, without which functions have no network`,
        todo: `Run \`npm run setup\`, or type \`apt-get install ${missing.join(' ')}\`.`,
      }
    const router = new Router(tagOf(options.name), options.runBase)
    let names: NameServer | null = null
    try {
      await router.close()
      const share = await router.open()
      names = await NameServer.open(share.host, new Upstream(options.dns))
      await router.rule(share, names.port)
      const forwarding = new Forwarding(options.runBase, (interfaces) => router.guard(interfaces))
      await forwarding.keep(router.link)
      return new Networks(router, share, names, forwarding, options)
    } catch (error) {
      await names?.[Symbol.asyncDispose]()
      await router.close()
      return {
        why: `this machine let no network be made for functions: ${(error as Error).message.replaceAll(/\s+/g, ' ')}`,
        todo: 'Network namespaces, veth devices and nf_tables with NAT must be part of the kernel, and root must be allowed to use them.',
      }
    }
  }

  /** One that is shut. @throws Error when none can be made */
  async take(): Promise<Network> {
    const network = this.#spare.shift() ?? (await this.#make())
    this.#taken.add(network)
    this.#names.know(network.address, network)
    void this.#fill()
    return network
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    for (const timer of this.#timers) clearInterval(timer)
    await this.#filling
    await Promise.all([...this.#taken].map((network) => network.release()))
    await this.#names[Symbol.asyncDispose]()
    await this.#router.close()
    await this.#forwarding.leave()
  }

  #fill(): Promise<void> {
    this.#filling ??= (async () => {
      try {
        while (!this.#isClosed && this.#spare.length < SPARE) this.#spare.push(await this.#make())
      } catch (error) {
        this.#log.warn({ error: (error as Error).message }, 'no network could be made ready for a sandbox')
      } finally {
        this.#filling = null
      }
    })()
    return this.#filling
  }

  async #make(): Promise<Network> {
    const address = this.#addresses.take()
    if (address === null) throw new Error('every address for sandboxes is in use')
    const n = ++this.#made
    try {
      await this.#router.make(n, address)
    } catch (error) {
      this.#addresses.giveBack(address)
      throw error
    }
    return new Network(n, address, this.#router, this.#clock, (network) => this.#gone(network))
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
    this.#removing = this.#router.remove(which).finally(() => {
      this.#removing = null
    })
    await this.#removing
  }
}

export const hasNetworks = (found: Networks | NoNetworks): found is Networks => found instanceof Networks

/** Interfaces have names of 15 characters at most. */
const tagOf = (name: string) => createHash('sha256').update(name).digest('hex').slice(0, 12)

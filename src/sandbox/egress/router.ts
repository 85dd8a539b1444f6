import { promises as fs } from 'node:fs'
import path from 'node:path'
import { deadFolders, ownFolder, OWNER_FILE } from '../../core/owned-folders.ts'
import { overlap, type Share, sharesFor } from './addresses.ts'
import { Forwarding, LINK_PREFIX } from './forwarding.ts'
import { Links, ROUTES } from './links.ts'
import { type NameSockets, socketsAt } from './name-server.ts'
import { run, type Starter } from './programs.ts'
import { GATEWAY, hostRules, paceFor, routerRules, WAY_OUT } from './rules.ts'

const NAMESPACES = '/run/netns'
const FOLDER_PREFIX = 'mayfly-net-'
const TABLE_PREFIX = 'mayfly_'
const INTERFACES = '/proc/sys/net/ipv4/conf'
/** The kernel's own choice on small machines. */
const SMALL_TABLE = 65_536

/** What may keep packets from passing though all was made. */
export type Doubts = readonly { readonly what: string; readonly why: string; readonly todo: string }[]

/** A network namespace of the node's own, in which each sandbox's network ends: what one may reach is decided there, and all of it goes with the namespace. */
export interface Router {
  readonly links: Links
  /** How often it wants to be kept. */
  readonly keepMs: number
  /**
   * Removes what a former life left, and makes all that sandboxes' networks have in common.
   * @returns the addresses of this node, and where it hears questions for names. @throws Error, and then `close` tidies up
   */
  open(): Promise<{ readonly share: Share; readonly names: NameSockets; readonly doubts: Doubts }>
  /** Looks whether the way out is what it was. @throws Error */
  keep(): Promise<void>
  /** Removes all that this or a former life made. */
  close(): Promise<void>
}

/** That of root: linked to the host, which sees a single interface however many sandboxes there are, and sends on what comes from there. */
export class HostRouter implements Router {
  readonly keepMs = 5_000
  readonly links: Links
  readonly #tag: string
  readonly #runBase: string
  /** The host's end of the link to it. */
  readonly #link: string
  readonly #forwarding: Forwarding
  #tidying: Promise<void> | null = null
  readonly #start: Starter | undefined
  #isClosed = false

  /** @param tag  12 hexadecimal digits that no other node of this machine has */
  constructor(tag: string, runBase: string, start?: Starter) {
    this.#start = start
    this.#tag = tag
    this.#runBase = runBase
    this.#link = `${LINK_PREFIX}${tag}`
    this.#forwarding = new Forwarding(runBase, (interfaces) => this.#guard(interfaces))
    this.links = new Links({
      name: this.#namespace,
      namespaces: NAMESPACES,
      devices: path.join(this.#folder, 'sys', 'class', 'net'),
      entrance: [],
      mtu: null,
      inside: (command, input) => this.#inside(command, input),
    })
  }

  get #namespace(): string {
    return `mayfly-${this.#tag}`
  }
  get #folder(): string {
    return path.join(this.#runBase, `${FOLDER_PREFIX}${this.#tag}`)
  }
  get #table(): string {
    return `${TABLE_PREFIX}${this.#tag}`
  }

  async open() {
    // Named before anything is made: what nobody is named for nobody may take away.
    await ownFolder(this.#folder, 0o700, () => this.#remove())
    const chains = chainsOfHost()
    chains.catch(() => {})
    const share = await this.#make()
    const names = await socketsAt(share.host)
    try {
      await this.#rule(share, names.udp.address().port)
      await this.#forwarding.keep(this.#link)
      // Behind the start: each table is asked for every packet of the host.
      this.#tidying = this.#removeLeft(await chains).catch(() => {})
      return { share, names, doubts: doubtsOf(await chains) }
    } catch (error) {
      names.udp.close()
      names.tcp.close()
      throw error
    }
  }

  async keep(): Promise<void> {
    await this.#forwarding.keep(this.#link)
  }

  /** @returns what of the addresses is this node's. @throws Error */
  async #make(): Promise<Share> {
    await run(
      'ip',
      ['-batch', '-'],
      `netns add ${this.#namespace}\nlink add ${this.#link} type veth peer name ${WAY_OUT} netns ${this.#namespace}\nlink set ${this.#link} up\n`,
    )
    await fs.writeFile(`/proc/sys/net/ipv6/conf/${this.#link}/disable_ipv6`, '1').catch(() => {})
    const share = await this.#claim()
    const system = path.join(this.#folder, 'sys')
    await fs.mkdir(system, { recursive: true, mode: 0o700 })
    // A view of the devices of that namespace, so that granting and counting are reads and writes of files.
    const script = `set -e
mount -t sysfs -o nosuid,nodev,noexec mayfly "$1"
${ROUTES}
exec ip -batch -`
    await this.#inside(
      ['sh', '-c', script, 'sh', system],
      `link set lo up
addr add ${GATEWAY}/32 dev lo
addr add ${share.router}/32 dev ${WAY_OUT}
link set ${WAY_OUT} up
route add default via ${share.host} dev ${WAY_OUT} onlink
`,
    )
    return share
  }

  /** @param nameServerPort  at the share's host address */
  async #rule(share: Share, nameServerPort: number): Promise<void> {
    await run('nft', ['-f', '-'], hostRules(this.#table, this.#link, share, nameServerPort))
    const connections = Number(await fs.readFile('/proc/sys/net/netfilter/nf_conntrack_max', 'utf8').catch(() => ''))
    await this.#inside(['nft', '-f', '-'], routerRules(paceFor(connections || SMALL_TABLE), { host: share.host, port: nameServerPort }))
  }

  /** The interfaces of the host by which nobody may send through it to others. */
  async #guard(interfaces: readonly string[]): Promise<void> {
    const set = `ip ${this.#table} guarded`
    const add = interfaces.length === 0 ? '' : `add element ${set} { ${interfaces.map((name) => JSON.stringify(name)).join(', ')} }\n`
    await run('nft', ['-f', '-'], `flush set ${set}\n${add}`)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#tidying
    await this.#remove()
    await this.#forwarding.leave()
  }

  async #remove(): Promise<void> {
    const names = (await fs.readdir(NAMESPACES).catch(() => [])).filter((name) => name === this.#namespace || name.startsWith(`${this.#namespace}-`))
    const isThere = (file: string) =>
      fs.access(file).then(
        () => true,
        () => false,
      )
    if (names.length === 0 && !(await isThere(this.#folder)) && !(await isThere(path.join(INTERFACES, this.#link)))) return
    await run('ip', ['-force', '-batch', '-'], [`link del ${this.#link}`, ...names.map((name) => `netns del ${name}`)].join('\n')).catch(() => {})
    await run('nft', ['-f', '-'], `add table ip ${this.#table}\ndelete table ip ${this.#table}\n`).catch(() => {})
    await run('umount', ['-l', path.join(this.#folder, 'sys')]).catch(() => {})
    await fs.rm(path.join(this.#folder, OWNER_FILE), { force: true })
    // Never what is below it: were it mounted still, that would be the kernel's own.
    for (const folder of [path.join(this.#folder, 'sys'), this.#folder]) await fs.rmdir(folder).catch(() => {})
  }

  /** What nodes left that were killed, and that nobody has started again since. */
  async #removeDead(how: 'try' | 'wait'): Promise<void> {
    for (const { name, take } of await deadFolders(this.#runBase, FOLDER_PREFIX))
      if (/^[0-9a-f]{12}$/.test(name) && !this.#isClosed) await take(() => new HostRouter(name, this.#runBase).#remove(), how)
  }

  /** The same, and tables whose link is gone: it was there before them, and goes with a container in which nobody tidies up. */
  async #removeLeft(chains: readonly Chain[]): Promise<void> {
    await this.#removeDead('try')
    if (!(await linkless(chains.map(({ family, table }) => ({ family, name: table })))).length) return
    const { nftables } = JSON.parse(await run('nft', ['-j', 'list', 'tables'])) as { nftables: { table?: { family: string; name: string; handle: number } }[] }
    const tables = nftables.flatMap(({ table }) => table ?? [])
    // By its number: one that was made meanwhile, by the same name, is another.
    for (const { handle } of await linkless(tables)) await run('nft', ['delete', 'table', 'ip', 'handle', String(handle)])
  }

  async #claim(): Promise<Share> {
    const share = await this.#claimFree()
    if (share !== null) return share
    await this.#removeDead('wait')
    const freed = await this.#claimFree()
    if (freed === null) throw new Error('every range of addresses for sandboxes is taken on this machine')
    return freed
  }

  /** The kernel gives one range to one: whoever comes second is told so. */
  async #claimFree(): Promise<Share | null> {
    const routes = JSON.parse((await run('ip', ['-j', '-4', 'route', 'show'])) || '[]') as { dst: string }[]
    const taken = routes.map(({ dst }) => dst).filter((dst) => /^[\d.]+(\/\d+)?$/.test(dst))
    for (const share of sharesFor(this.#tag)) {
      if (taken.some((range) => overlap(range, share.subnet))) continue
      const lines = `addr add ${share.host}/32 dev ${this.#link}\nroute add ${share.subnet} via ${share.router} dev ${this.#link} onlink\n`
      try {
        await run('ip', ['-batch', '-'], lines)
        return share
      } catch {
        await run('ip', ['addr', 'flush', 'dev', this.#link])
      }
    }
    return null
  }

  #inside(command: readonly string[], input: string): Promise<string> {
    return run('nsenter', [`--net=${path.join(NAMESPACES, this.#namespace)}`, ...command], input, this.#start)
  }
}

interface Chain {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly hook?: string
  readonly policy?: string
}

async function chainsOfHost(): Promise<Chain[]> {
  const { nftables } = JSON.parse(await run('nft', ['-j', 'list', 'chains'])) as { nftables: { chain?: Chain }[] }
  return nftables.flatMap(({ chain }) => chain ?? [])
}

/** Those of nodes whose link to the host there is not. */
async function linkless<Table extends { readonly family: string; readonly name: string }>(tables: readonly Table[]): Promise<Table[]> {
  const links = new Set(await fs.readdir(INTERFACES))
  return tables.filter(({ family, name }) => {
    const [, tag] = new RegExp(`^${TABLE_PREFIX}([0-9a-f]{12})$`).exec(name) ?? []
    return family === 'ip' && tag !== undefined && !links.has(`${LINK_PREFIX}${tag}`)
  })
}

/** Firewalls of the host that let pass only what they are told to: whether it is ours, their rules say. */
function doubtsOf(chains: readonly Chain[]): Doubts {
  return chains.flatMap(({ family, table, name, hook, policy }) => {
    if (policy !== 'drop' || !['forward', 'input'].includes(String(hook)) || !['ip', 'inet'].includes(family)) return []
    const place = `${family} ${table} ${name}`
    const pass = hook === 'forward' ? [`iifname "${LINK_PREFIX}*"`, `oifname "${LINK_PREFIX}*"`] : [`iifname "${LINK_PREFIX}*"`]
    return {
      what: `egress through ${place}`,
      why: `a firewall of this machine drops what it is not told to let pass (${place}); functions reach the internet only if it lets them`,
      todo: `If it has no such rule yet: ${pass.map((match) => `\`nft insert rule ${place} ${match} accept\``).join(' and ')}.`,
    }
  })
}

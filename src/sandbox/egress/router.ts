import { promises as fs } from 'node:fs'
import path from 'node:path'
import { startTicks } from '../../core/data-directory.ts'
import { overlap, type Share, sharesFor } from './addresses.ts'
import { LINK_PREFIX } from './forwarding.ts'
import { run } from './programs.ts'
import { GATEWAY, hostRules, paceFor, routerRules, TABLE, WAY_OUT } from './rules.ts'

const NAMESPACES = '/run/netns'
/** The kernel's own choice on small machines. */
const SMALL_TABLE = 65_536

/**
 * A network namespace of the node's own, in which each sandbox's network ends: what one may reach is decided there, the
 * host sees a single interface however many sandboxes there are, and all of it goes with the namespace.
 */
export class Router {
  readonly #tag: string
  readonly #runBase: string
  /** The host's end of the link to it. */
  readonly link: string

  /** @param tag  12 hexadecimal digits that no other node of this machine has */
  constructor(tag: string, runBase: string) {
    this.#tag = tag
    this.#runBase = runBase
    this.link = `${LINK_PREFIX}${tag}`
  }

  get #namespace(): string {
    return `mayfly-${this.#tag}`
  }
  get #folder(): string {
    return path.join(this.#runBase, `mayfly-net-${this.#tag}`)
  }
  get #table(): string {
    return `mayfly_${this.#tag}`
  }

  namespaceOf(n: number): string {
    return `${this.#namespace}-${n}`
  }
  pathOf(n: number): string {
    return path.join(NAMESPACES, this.namespaceOf(n))
  }
  /** What the kernel tells of the router's end of a sandbox's link. */
  statisticsOf(n: number): string {
    return path.join(this.#folder, 'sys', 'class', 'net', `v${n}`)
  }

  /** @returns what of the addresses is this node's. @throws Error */
  async open(): Promise<Share> {
    await run(
      'ip',
      ['-batch', '-'],
      `netns add ${this.#namespace}\nlink add ${this.link} type veth peer name ${WAY_OUT} netns ${this.#namespace}\nlink set ${this.link} up\n`,
    )
    await fs.writeFile(`/proc/sys/net/ipv6/conf/${this.link}/disable_ipv6`, '1').catch(() => {})
    const share = await this.#claim()
    const system = path.join(this.#folder, 'sys')
    await fs.mkdir(system, { recursive: true, mode: 0o700 })
    await fs.writeFile(path.join(this.#folder, 'owner'), await ownerOf(process.pid))
    // A view of the devices of that namespace, so that granting and counting are reads and writes of files.
    const script = `set -e
mount -t sysfs -o nosuid,nodev,noexec mayfly "$1"
cd /proc/sys/net
for all in all default; do if [ -e ipv6/conf/$all/disable_ipv6 ]; then echo 1 > ipv6/conf/$all/disable_ipv6; fi; echo 1 > ipv4/conf/$all/rp_filter; done
echo 1 > ipv4/ip_forward
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
  async rule(share: Share, nameServerPort: number): Promise<void> {
    await run('nft', ['-f', '-'], hostRules(this.#table, this.link, share, nameServerPort))
    const connections = Number(await fs.readFile('/proc/sys/net/netfilter/nf_conntrack_max', 'utf8').catch(() => ''))
    await this.#inside(['nft', '-f', '-'], routerRules({ host: share.host, port: nameServerPort }, paceFor(connections || SMALL_TABLE)))
  }

  /** The interfaces of the host by which nobody may send through it to others. */
  async guard(interfaces: readonly string[]): Promise<void> {
    const set = `ip ${this.#table} guarded`
    const add = interfaces.length === 0 ? '' : `add element ${set} { ${interfaces.map((name) => JSON.stringify(name)).join(', ')} }\n`
    await run('nft', ['-f', '-'], `flush set ${set}\n${add}`)
  }

  /**
   * Namespaces with nothing but their own loopback and a link that ends in the router: several at once, as starting a
   * program costs the node more than what it does here. @throws Error, and then nothing of them is left
   */
  async make(which: readonly { readonly n: number; readonly address: string }[]): Promise<void> {
    const outside = which.map(({ n, address }) => {
      const name = this.namespaceOf(n)
      return `netns add ${name}\nlink add v${n} type veth peer name eth0 netns ${name}\nlink set v${n} up\nroute add ${address}/32 dev v${n}\n`
    })
    // Without an address of its own making there is no IPv6: the router speaks none.
    const inside = which.map(
      ({ n, address }) => `ip -n ${this.namespaceOf(n)} -batch - <<'.'
link set lo up
link set eth0 addrgenmode none
addr add ${address}/32 dev eth0
link set eth0 up
route add default via ${GATEWAY} dev eth0 onlink
.
`,
    )
    try {
      await this.#inside(['sh', '-e'], `ip -batch - <<'.'\n${outside.join('')}.\n${inside.join('')}`)
    } catch (error) {
      await this.remove(which.map(({ n }) => n))
      throw error
    }
  }

  /** Takes networks away; those that are gone already are no fault. */
  async remove(which: readonly number[]): Promise<void> {
    const lines = which.map((n) => `link del v${n}\nnetns del ${this.namespaceOf(n)}\n`)
    await this.#inside(['ip', '-force', '-batch', '-'], lines.join('')).catch(() => {})
  }

  /** Opens addresses, or shuts them again. @param elements  of the sets of the rules, together or not at all */
  async change(how: 'add' | 'delete', elements: readonly { readonly set: 'listed' | 'anyport'; readonly element: string }[]): Promise<void> {
    const text = elements.map(({ set, element }) => `${how} element ip ${TABLE} ${set} { ${element} }\n`)
    await this.#inside(['nft', '-f', '-'], text.join(''))
  }

  /** Removes all that this or a former life made. */
  async close(): Promise<void> {
    const names = (await fs.readdir(NAMESPACES).catch(() => [])).filter((name) => name === this.#namespace || name.startsWith(`${this.#namespace}-`))
    const isThere = (file: string) =>
      fs.access(file).then(
        () => true,
        () => false,
      )
    if (names.length === 0 && !(await isThere(this.#folder)) && !(await isThere(`/proc/sys/net/ipv4/conf/${this.link}`))) return
    await run('ip', ['-force', '-batch', '-'], [`link del ${this.link}`, ...names.map((name) => `netns del ${name}`)].join('\n')).catch(() => {})
    await run('nft', ['-f', '-'], `add table ip ${this.#table}\ndelete table ip ${this.#table}\n`).catch(() => {})
    await run('umount', ['-l', path.join(this.#folder, 'sys')]).catch(() => {})
    await fs.rm(path.join(this.#folder, 'owner'), { force: true })
    // Never what is below it: were it mounted still, that would be the kernel's own.
    for (const folder of [path.join(this.#folder, 'sys'), this.#folder]) await fs.rmdir(folder).catch(() => {})
  }

  /** What nodes left that were killed, and whose data nobody has started again since. */
  async #removeDead(): Promise<void> {
    for (const name of await fs.readdir(this.#runBase)) {
      const [, tag] = /^mayfly-net-([0-9a-f]{12})$/.exec(name) ?? []
      const owner = await fs.readFile(path.join(this.#runBase, name, 'owner'), 'utf8').catch(() => null)
      if (tag === undefined || tag === this.#tag || owner === null) continue
      const [pid, , space] = owner.split(' ')
      const [, , own] = (await ownerOf(process.pid)).split(' ')
      if (space === own && (await ownerOf(Number(pid))) !== owner) await new Router(tag, this.#runBase).close()
    }
  }

  async #claim(): Promise<Share> {
    const share = await this.#claimFree()
    if (share !== null) return share
    await this.#removeDead()
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
      const lines = `addr add ${share.host}/32 dev ${this.link}\nroute add ${share.subnet} via ${share.router} dev ${this.link} onlink\n`
      try {
        await run('ip', ['-batch', '-'], lines)
        return share
      } catch {
        await run('ip', ['addr', 'flush', 'dev', this.link])
      }
    }
    return null
  }

  #inside(command: readonly string[], input: string): Promise<string> {
    return run('nsenter', [`--net=${path.join(NAMESPACES, this.#namespace)}`, ...command], input)
  }
}

/** A process, when it began, and the network namespace it is in; none of the two when there is no such process. */
async function ownerOf(pid: number): Promise<string> {
  const space = await fs.readlink(`/proc/${pid}/ns/net`).catch(() => '')
  return `${pid} ${startTicks(pid)} ${space}`
}

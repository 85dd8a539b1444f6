import path from 'node:path'
import { GATEWAY, TABLE } from './rules.ts'

/** A network namespace in which a router stands, and how this process gets at what lies there. */
export interface Space {
  /** How namespaces of sandboxes are called, before their number. */
  readonly name: string
  /** Where those are files. */
  readonly namespaces: string
  /** Where the kernel tells of the devices of the router's namespace. */
  readonly devices: string
  /** What programs are entered with that may work with its namespaces. */
  readonly entrance: readonly string[]
  /** The longest packet of a link; null: the kernel's own choice. */
  readonly mtu: number | null
  /** Runs a program there to its end. @returns what it wrote. @throws Error with what it complained of */
  readonly inside: (command: readonly string[], input: string) => Promise<string>
}

/** What a namespace that routes is told of itself; the shell is left in `/proc/sys/net`. */
export const ROUTES = `cd /proc/sys/net
for all in all default; do if [ -e ipv6/conf/$all/disable_ipv6 ]; then echo 1 > ipv6/conf/$all/disable_ipv6; fi; echo 1 > ipv4/conf/$all/rp_filter; done
echo 1 > ipv4/ip_forward`

/** The networks of sandboxes, each of which ends in one router. */
export class Links {
  readonly #space: Space

  constructor(space: Space) {
    this.#space = space
  }

  /** The namespace, as a file. */
  pathOf(n: number): string {
    return path.join(this.#space.namespaces, this.#namespaceOf(n))
  }
  /** The arguments of `nsenter` for what is to be in it. */
  entranceOf(n: number): string[] {
    return [...this.#space.entrance, `--net=${this.pathOf(n)}`]
  }
  /** What the kernel tells of the router's end of a sandbox's link. */
  statisticsOf(n: number): string {
    return path.join(this.#space.devices, `v${n}`)
  }

  /**
   * Namespaces with nothing but their own loopback and a link that ends in the router: several at once, as starting a
   * program costs the node more than what it does here. @throws Error, and then nothing of them is left
   */
  async make(which: readonly { readonly n: number; readonly address: string }[]): Promise<void> {
    const mtu = this.#space.mtu === null ? '' : `mtu ${this.#space.mtu} `
    const outside = which.map(({ n, address }) => {
      const name = this.#namespaceOf(n)
      return `netns add ${name}\nlink add v${n} ${mtu}type veth peer name eth0 ${mtu}netns ${name}\nlink set v${n} up\nroute add ${address}/32 dev v${n}\n`
    })
    // Without an address of its own making there is no IPv6: the router speaks none.
    const inside = which.map(
      ({ n, address }) => `ip -n ${this.#namespaceOf(n)} -batch - <<'.'
link set lo up
link set eth0 addrgenmode none
addr add ${address}/32 dev eth0
link set eth0 up
route add default via ${GATEWAY} dev eth0 onlink
.
`,
    )
    try {
      await this.#space.inside(['sh', '-e'], `ip -batch - <<'.'\n${outside.join('')}.\n${inside.join('')}`)
    } catch (error) {
      await this.remove(which.map(({ n }) => n))
      throw error
    }
  }

  /** Takes networks away; those that are gone already are no fault. */
  async remove(which: readonly number[]): Promise<void> {
    const lines = which.map((n) => `link del v${n}\nnetns del ${this.#namespaceOf(n)}\n`)
    await this.#space.inside(['ip', '-force', '-batch', '-'], lines.join('')).catch(() => {})
  }

  /** Opens addresses, or shuts them again. @param elements  of the sets of the rules, together or not at all */
  async change(how: 'add' | 'delete', elements: readonly { readonly set: 'listed' | 'anyport'; readonly element: string }[]): Promise<void> {
    const text = elements.map(({ set, element }) => `${how} element ip ${TABLE} ${set} { ${element} }\n`)
    await this.#space.inside(['nft', '-f', '-'], text.join(''))
  }

  #namespaceOf(n: number): string {
    return `${this.#space.name}-${n}`
  }
}

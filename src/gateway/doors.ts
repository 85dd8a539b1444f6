import { BlockList, isIP } from 'node:net'
import { MayflyError } from '../core/errors.ts'
import { type ProjectRef, parseProjectRef } from '../core/project.ts'

/** The host names this node answers to; any other gets 421, so that a page elsewhere cannot reach it by rebinding a name. */
export class HostNames {
  readonly #names: ReadonlySet<string>
  readonly #isLocal: (name: string) => boolean
  /** @param isLocal  which names of this machine are served; sites have theirs below `localhost`, the console must not */
  constructor(names: readonly string[], isLocal: (name: string) => boolean = isLoopbackName) {
    this.#names = new Set(names.map((name) => name.toLowerCase()))
    this.#isLocal = isLocal
  }

  /** @throws MayflyError misdirected_request */
  check(host: string | undefined): void {
    const name = hostName(host)
    if (name === null) throw new MayflyError('misdirected_request', 'the request names no host')
    if (!this.#isLocal(name) && !this.#names.has(name)) {
      throw new MayflyError('misdirected_request', `this node does not serve the host name ${JSON.stringify(name.slice(0, 255))}`)
    }
  }
}

/** The name in a Host header without its port, lower case, brackets of IPv6 removed; null when it is malformed. */
export function hostName(host: string | undefined): string | null {
  if (!host) return null
  const known = names.get(host)
  if (known !== undefined) return known
  const name = readHostName(host)
  if (names.size >= MOST_NAMES) names.clear()
  if (host.length <= LONGEST_NAME) names.set(host, name)
  return name
}

// Each request asks several times, and most say the same.
export const MOST_NAMES = 256
export const LONGEST_NAME = 256
const names = new Map<string, string | null>()

function readHostName(host: string): string | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/?#@\s\\]+))(?::(\d{1,5}))?$/.exec(host)
  if (!match) return null
  return (match[1] ?? match[2] ?? '').toLowerCase().replace(/\.$/, '')
}

export function isLoopbackName(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'))
}

/** The console's names of this machine: no host name of a site or a function is among them. */
export const isConsoleName = (name: string): boolean => isLoopbackName(name) && (!name.endsWith('.localhost') || name === 'console.localhost')

/** Cuts a project prefix `/p/<ref>` off a raw path. @throws MayflyError project_not_found when the ref has no valid form */
export function cutProject(rawPath: string): { ref: ProjectRef | null; rest: string } {
  if (!rawPath.startsWith('/p/')) return { ref: null, rest: rawPath }
  const end = rawPath.indexOf('/', 3)
  const text = end === -1 ? rawPath.slice(3) : rawPath.slice(3, end)
  const ref = parseProjectRef(text)
  if (!ref) throw new MayflyError('project_not_found', 'the path names no valid project ref after /p/')
  return { ref, rest: end === -1 ? '/' : rawPath.slice(end) }
}

/** The proxies whose forwarding headers are believed. */
export class TrustedProxies {
  readonly #list = new BlockList()
  readonly #some: boolean
  /** @param ranges CIDR blocks or single addresses. @throws Error naming the one that is neither */
  constructor(ranges: readonly string[]) {
    this.#some = ranges.length > 0
    for (const range of ranges) {
      const [address = '', bits] = range.split('/')
      const family = isIP(address)
      if (family === 0) throw new Error(`--behind-proxy ${range}: not an address or CIDR block`)
      const type = family === 4 ? 'ipv4' : 'ipv6'
      if (bits === undefined) this.#list.addAddress(address, type)
      else {
        const width = Number(bits)
        if (!Number.isInteger(width) || width < 0 || width > (family === 4 ? 32 : 128)) throw new Error(`--behind-proxy ${range}: not a CIDR block`)
        this.#list.addSubnet(address, width, type)
      }
    }
  }
  /**
   * Who a trusted proxy says it speaks for: the last address that is no trusted proxy itself. Proxies append to what
   * the client sent, so whatever stands before that one is the client's own word.
   */
  clientOf(forwardedFor: string | string[] | undefined): string | null {
    const chain = (Array.isArray(forwardedFor) ? forwardedFor.join(',') : (forwardedFor ?? '')).split(',').map((one) => one.trim())
    const client = chain.findLast((address) => address !== '' && !this.trusts(address)) ?? chain[0]
    return client || null
  }

  trusts(address: string): boolean {
    if (!this.#some) return false
    const plain = address.startsWith('::ffff:') ? address.slice(7) : address
    const family = isIP(plain)
    return family !== 0 && this.#list.check(plain, family === 4 ? 'ipv4' : 'ipv6')
  }
}

import { BlockList, isIPv4 } from 'node:net'

/** What network user code has beside its own project. */
export type EgressPolicy = { readonly mode: 'none' } | { readonly mode: 'internet' } | { readonly mode: 'hosts'; readonly hosts: readonly string[] }

/** As a definition holds it. */
export type Egress = 'none' | 'internet' | readonly string[]

export const policyOf = (egress: Egress): EgressPolicy => (typeof egress === 'string' ? { mode: egress } : { mode: 'hosts', hosts: egress })

/**
 * What no sandbox reaches, whatever its policy: addresses that are private, of this machine alone, of the link (where
 * clouds keep their metadata), of carriers, of tests and documentation, of many receivers, or of nobody; and the public one
 * at which Azure hands out the secrets of its machines.
 * @see IANA IPv4 Special-Purpose Address Registry
 */
export const NEVER_REACHED = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const

/** Mail from server to server: what a machine is put on lists of spammers for. Submission has ports of its own. */
export const NEVER_REACHED_PORT = 25

const never = new BlockList()
for (const range of NEVER_REACHED) {
  const [address = '', bits] = range.split('/')
  never.addSubnet(address, Number(bits))
}

/** @param address  an IPv4 address */
export const isNeverReached = (address: string): boolean => never.check(address)

/** One entry of an allow-list. */
export interface AllowedHost {
  /** In lower case; of `*.example.org` what follows the star and its dot. */
  readonly host: string
  readonly kind: 'name' | 'below' | 'address'
  /** Null: every port but NEVER_REACHED_PORT. */
  readonly port: number | null
}

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?'
const ENTRY = new RegExp(`^(\\*\\.)?((?:${LABEL}\\.)+${LABEL})(?::(\\d{1,5}))?$`)
const MAX_NAME = 253

/** @returns the entry, or in a text what is wrong with it */
export function parseAllowedHost(text: string): AllowedHost | string {
  const [, star, host = '', digits] = ENTRY.exec(text.toLowerCase()) ?? []
  if (host === '' || host.length > MAX_NAME || (!isIPv4(host) && /^[\d.]+$|\.\d+$/.test(host)) || (star !== undefined && isIPv4(host)))
    return 'must be a host such as `api.example.com`, `*.example.org` or an IPv4 address, with a port behind a colon if only that one is meant'
  const port = digits === undefined ? null : Number(digits)
  if (port !== null && (port < 1 || port > 65_535)) return 'must have a port from 1 to 65535'
  if (port === NEVER_REACHED_PORT) return 'port 25 stays shut; mail is handed in at port 465 or 587'
  if (!isIPv4(host)) return { host, kind: star === undefined ? 'name' : 'below', port }
  if (isNeverReached(host)) return 'is an address that no function reaches: private, of this machine or link, reserved, or of many receivers'
  return { host, kind: 'address', port }
}

/** @param name  in lower case, without a final dot */
const covers = (allowed: AllowedHost, name: string): boolean =>
  allowed.kind === 'name' ? allowed.host === name : allowed.kind === 'below' && name.endsWith(`.${allowed.host}`)

/** The ports that an allow-list opens of a name: null when it does not list it, and within the list null for all of them. */
export function portsOf(allowed: readonly AllowedHost[], name: string): readonly (number | null)[] | null {
  const lower = name.toLowerCase().replace(/\.$/, '')
  const ports = new Set(allowed.filter((one) => covers(one, lower)).map(({ port }) => port))
  if (ports.size === 0) return null
  return ports.has(null) ? [null] : [...ports]
}

/** Of a list that was checked before. */
export const allowedHosts = (hosts: readonly string[]): AllowedHost[] =>
  hosts.map(parseAllowedHost).filter((one): one is AllowedHost => typeof one !== 'string')

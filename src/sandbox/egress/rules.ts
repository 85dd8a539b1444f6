import { NEVER_REACHED, NEVER_REACHED_PORT } from '../../core/egress.ts'

/** Where a sandbox looks for names and sends what is not its own: the same in all of them. */
export const GATEWAY = '198.18.0.1'
/** A sandbox's interface is in one of these groups of the kernel from when it is granted; in none before. */
export const GROUP = { none: 16, internet: 17, hosts: 18 } as const
/** In the router's namespace, the way out. */
export const WAY_OUT = 'out'
/** The table in the router's namespace. */
export const TABLE = 'mayfly'

export interface Addresses {
  /** The node's share of the range for such networks, such as `198.18.16.0/20`. */
  readonly subnet: string
  /** The host's end of the link to the router, and the router's. */
  readonly host: string
  readonly router: string
}

/** At once, so that nobody waits: by a reset where there is one, for the kernel sends only so many other messages in a second. */
const REFUSE = `chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmp admin-prohibited
  }`
const SHUT = 'goto refuse'

/** New connections in a second, of one sandbox and of all: what goes beyond is not sent, and the sandbox's kernel tries again. */
export interface Pace {
  readonly each: number
  readonly all: number
}

/** The longest that the kernel remembers a connection that came to nothing, or is over. */
const REMEMBERED_SECONDS = 120

/**
 * So many that those which functions begin and leave never fill more than half of the host's table of connections:
 * a full one lets nobody on this machine connect any more.
 */
export function paceFor(hostConnections: number): Pace {
  const all = Math.max(8, Math.floor(hostConnections / 2 / REMEMBERED_SECONDS))
  return { all, each: Math.ceil(all / 4) }
}

/**
 * What the router lets pass. Before its grant a sandbox's packets fall into nothing, so that a connection that is begun
 * a moment too early is tried again by the kernel; after it, what is shut is refused at once.
 */
export const routerRules = (nameServer: { readonly host: string; readonly port: number }, pace: Pace): string => `
table ip ${TABLE} {
  set never { type ipv4_addr; flags interval; elements = { ${NEVER_REACHED.join(', ')} }; }
  set listed { type ifname . ipv4_addr . inet_service; }
  set anyport { type ifname . ipv4_addr; }
  set fresh { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
  ${REFUSE}
  chain shut {
    ip daddr @never ${SHUT}
    meta l4proto != { tcp, udp } drop
    th dport ${NEVER_REACHED_PORT} ${SHUT}
  }
  chain passed {
    update @fresh { iifname limit rate over ${pace.each}/second burst ${pace.each * 4} packets } drop
    limit rate over ${pace.all}/second burst ${pace.all * 4} packets drop
    accept
  }
  chain nothing {
    ${SHUT}
  }
  chain internet {
    jump shut
    goto passed
  }
  chain hosts {
    jump shut
    iifname . ip daddr . th dport @listed goto passed
    iifname . ip daddr @anyport goto passed
    ${SHUT}
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    ct state established,related accept
    oifname != "${WAY_OUT}" ${SHUT}
    ip daddr ${nameServer.host} meta l4proto { tcp, udp } th dport ${nameServer.port} ct status dnat goto passed
    meta iifgroup vmap { ${GROUP.none} : goto nothing, ${GROUP.internet} : goto internet, ${GROUP.hosts} : goto hosts }
  }
  chain names {
    type nat hook prerouting priority dstnat;
    ip daddr ${GATEWAY} meta l4proto { tcp, udp } th dport 53 dnat to ${nameServer.host}:${nameServer.port}
  }
  chain input {
    type filter hook input priority filter; policy drop;
    meta l4proto icmp accept
    meta l4proto { tcp, udp } ${SHUT}
  }
}
`

/**
 * What the host lets pass from the router and to it. Every address of the host is looked up in the kernel's own table
 * of them, before any other rule of the host may have changed where a packet goes.
 */
export const hostRules = (table: string, link: string, { subnet, host }: Addresses, nameServerPort: number): string => `
add table ip ${table}
delete table ip ${table}
table ip ${table} {
  set never { type ipv4_addr; flags interval; elements = { ${NEVER_REACHED.join(', ')} }; }
  set guarded { type ifname; }
  ${REFUSE}
  chain sandboxes {
    ip daddr ${host} meta l4proto { tcp, udp } th dport ${nameServerPort} accept
    fib daddr type != unicast ${SHUT}
    ip daddr @never ${SHUT}
  }
  chain before {
    type filter hook prerouting priority raw; policy accept;
    iifname "${link}" jump sandboxes
  }
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname "${link}" meta l4proto { tcp, udp } ip daddr ${host} th dport ${nameServerPort} accept
    iifname "${link}" drop
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    oifname "${link}" ct state established,related accept
    oifname "${link}" drop
    iifname "${link}" tcp flags syn tcp option maxseg size set rt mtu
    iifname "${link}" accept
    iifname @guarded oifname != "mf-*" ct state new drop
  }
  chain after {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${subnet} oifname != "${link}" masquerade
  }
}
`

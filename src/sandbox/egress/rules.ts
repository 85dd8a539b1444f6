import { NEVER_REACHED, NEVER_REACHED_PORT } from '../../core/egress.ts'

/** Where a sandbox looks for names and sends what is not its own: the same in all of them. */
export const GATEWAY = '198.18.0.1'
/** A sandbox's interface is in one of these groups of the kernel from when it is granted; in none before. */
export const GROUP = { none: 16, internet: 17, hosts: 18 } as const
/** In the router's namespace, the way out. */
export const WAY_OUT = 'out'
/** The table in the router's namespace. */
export const TABLE = 'mayfly'
/** Where a router that is linked to nobody is told the addresses of the host: it cannot look them up. */
export const HOST_SET = 'host'

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
/** Questions for names end in the node's own process: those of a flood are not to come so far, whatever connection they are of. */
const ASKING = `set asking { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
  chain asked {
    update @asking { iifname limit rate over 256/second burst 1024 packets } drop
  }`

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
 * What differs where no rule of the host comes behind those of the router: names are asked for at the router itself, the
 * host's addresses stand in a set, and what goes out is sent for the router. Each datagram to another port is a socket of the program
 * that connects for it, held for minutes: of those fewer are begun.
 */
const ALONE = {
  sets: `set ${HOST_SET} { type ipv4_addr; flags interval; auto-merge; }
  set talking { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }`,
  shut: `ip daddr @${HOST_SET} ${SHUT}`,
  passed: `meta l4proto udp update @talking { iifname limit rate over 8/second burst 256 packets } drop
    meta l4proto udp limit rate over 32/second burst 1024 packets drop`,
  forward: '',
  asking: '',
  input: `ip daddr ${GATEWAY} meta l4proto { tcp, udp } th dport 53 jump asked
    ct state invalid drop
    ct state established accept
    ip daddr ${GATEWAY} meta l4proto { tcp, udp } th dport 53 goto paced`,
  chains: `chain after {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "${WAY_OUT}" masquerade
  }`,
}
const linkedTo = ({ host, port }: { readonly host: string; readonly port: number }): typeof ALONE => ({
  sets: '',
  shut: '',
  passed: '',
  asking: `ip daddr ${host} meta l4proto { tcp, udp } th dport ${port} jump asked`,
  forward: `ip daddr ${host} meta l4proto { tcp, udp } th dport ${port} ct status dnat goto paced`,
  input: '',
  chains: `chain names {
    type nat hook prerouting priority dstnat;
    ip daddr ${GATEWAY} meta l4proto { tcp, udp } th dport 53 dnat to ${host}:${port}
  }`,
})

/**
 * What the router lets pass. Before its grant a sandbox's packets fall into nothing, so that a connection that is begun
 * a moment too early is tried again by the kernel; after it, what is shut is refused at once.
 * @param nameServer  of the host; null where the router is linked to none
 */
export function routerRules(pace: Pace, nameServer: { readonly host: string; readonly port: number } | null): string {
  const own = nameServer === null ? ALONE : linkedTo(nameServer)
  return `
table ip ${TABLE} {
  set never { type ipv4_addr; flags interval; elements = { ${NEVER_REACHED.join(', ')} }; }
  set listed { type ifname . ipv4_addr . inet_service; }
  set anyport { type ifname . ipv4_addr; }
  set fresh { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
  ${own.sets}
  ${ASKING}
  ${REFUSE}
  chain shut {
    ip daddr @never ${SHUT}
    ${own.shut}
    meta l4proto != { tcp, udp } drop
    th dport ${NEVER_REACHED_PORT} ${SHUT}
  }
  chain paced {
    update @fresh { iifname limit rate over ${pace.each}/second burst ${pace.each * 4} packets } drop
    limit rate over ${pace.all}/second burst ${pace.all * 4} packets drop
    accept
  }
  chain passed {
    ${own.passed}
    goto paced
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
    ${own.asking}
    ct state invalid drop
    ct state established,related accept
    oifname != "${WAY_OUT}" ${SHUT}
    ${own.forward}
    meta iifgroup vmap { ${GROUP.none} : goto nothing, ${GROUP.internet} : goto internet, ${GROUP.hosts} : goto hosts }
  }
  chain input {
    type filter hook input priority filter; policy drop;
    ${own.input}
    meta l4proto icmp accept
    meta l4proto { tcp, udp } ${SHUT}
  }
  ${own.chains}
}
`
}

/** Tells it which addresses the host has now, all at once. @param ranges  one at least: its loopback */
export const hostIs = (ranges: readonly string[]): string => `flush set ip ${TABLE} ${HOST_SET}\nadd element ip ${TABLE} ${HOST_SET} { ${ranges.join(', ')} }\n`

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

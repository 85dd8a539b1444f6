/** What the kernel tells of its routes of IPv4, to everybody. */
export const ROUTES_FILE = '/proc/net/fib_trie'

/**
 * The ranges that a machine takes for its own, or that mean several at once: what the kernel's own rules know as an address
 * that is no other's. @param text  of `fib_trie`, in which a line with an address is followed by what it is in which length
 * @throws Error when there is none: each machine has its loopback
 */
export function hostRanges(text: string): string[] {
  const found = new Set<string>()
  let address = ''
  for (const line of text.split('\n')) {
    address = /\|-- ([\d.]+)$/.exec(line)?.[1] ?? address
    const [, bits] = /^\s*\/(\d+) \S+ (?:LOCAL|BROADCAST|ANYCAST|MULTICAST)\b/.exec(line) ?? []
    // A route that takes everything as its own is there for marked packets alone.
    if (bits !== undefined && Number(bits) > 0 && address !== '') found.add(`${address}/${bits}`)
  }
  if (found.size === 0) throw new Error(`${ROUTES_FILE} names no address of this machine`)
  return [...found].toSorted()
}

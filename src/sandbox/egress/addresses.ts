/** The range that benchmarks of routers use between themselves: nothing on the internet has an address of it, and hardly a private network. */
const RANGE = toNumber('198.18.0.0')
/** A node's share: 4,096 addresses. The first share is everybody's gateway. */
const SHARE_BITS = 20
const SHARE = 2 ** (32 - SHARE_BITS)
const SHARES = 32
/** What of a share is not for sandboxes. */
const KEPT = 16

export interface Share {
  readonly subnet: string
  /** The host's end of the link to the router, and the router's. */
  readonly host: string
  readonly router: string
}

/** The shares that a node may ask for, in the order in which it does: another for each name. */
export function sharesFor(tag: string): Share[] {
  const first = Number.parseInt(tag.slice(-6), 16) % (SHARES - 1)
  return Array.from({ length: SHARES - 1 }, (_, i) => {
    const base = RANGE + (1 + ((first + i) % (SHARES - 1))) * SHARE
    return { subnet: `${toText(base)}/${SHARE_BITS}`, host: toText(base + 1), router: toText(base + 2) }
  })
}

/** Whether two ranges such as `10.0.0.0/8` have an address in common; one without bits is a single address. */
export function overlap(a: string, b: string): boolean {
  const [one, other] = [boundsOf(a), boundsOf(b)]
  return one.first <= other.last && other.first <= one.last
}

function boundsOf(range: string): { first: number; last: number } {
  const [address = '', bits = '32'] = range.split('/')
  const size = 2 ** (32 - Number(bits))
  const first = Math.floor(toNumber(address) / size) * size
  return { first, last: first + size - 1 }
}

/** Addresses of sandboxes: one that was given back is the last to be taken again, when nothing on its way to the former is left. */
export class AddressBook {
  readonly #free: string[]
  #made = 0
  readonly #base: number

  constructor({ subnet }: Share) {
    this.#base = boundsOf(subnet).first
    this.#free = []
  }

  /** Null when all are taken. */
  take(): string | null {
    if (this.#made < SHARE - KEPT - 1) return toText(this.#base + KEPT + this.#made++)
    return this.#free.shift() ?? null
  }

  giveBack(address: string): void {
    this.#free.push(address)
  }
}

function toNumber(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}

function toText(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.')
}

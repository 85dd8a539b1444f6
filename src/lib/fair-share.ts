import type { Clock } from './clock.ts'

/** Of what several share so much stays free for a party that has used nothing lately, where there is one. */
const NEWCOMER_SHARE = 0.1
/** What a party used within this is kept for it, up to its share: no other has it when it comes again. */
const REMEMBERED_MS = 60_000

export interface Use {
  readonly used: number
  /** The most that it used lately. */
  readonly wanted: number
  readonly weight: number
}

/**
 * How much of `total` a party may have, where what is given cannot be taken back: its share by weight in any case; more
 * where that leaves to each other what it used lately, up to its own share, and a little to who comes new.
 * @param uses  of all parties, this one included
 * @param newcomers  whether there are parties that used nothing lately
 */
export function mostOf(own: string, uses: ReadonlyMap<string, Use>, total: number, newcomers: boolean): number {
  let weights = newcomers ? 1 : 0
  for (const [party, { used, wanted, weight }] of uses) if (party === own || used > 0 || wanted > 0) weights += weight
  const shareOf = (weight: number) => (total * weight) / Math.max(weights, weight)
  let taken = 0
  let held = 0
  for (const [party, { used, wanted, weight }] of uses) {
    if (party === own) continue
    taken += used
    held += Math.max(0, Math.min(shareOf(weight), wanted) - used)
  }
  const kept = Math.max(held, newcomers ? total * NEWCOMER_SHARE : 0)
  return Math.max(shareOf(uses.get(own)?.weight ?? 1), total - taken - kept)
}

/** What parties use of something, now and at most lately. */
export class Uses {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #byParty = new Map<string, { used: number; most: number; before: number }>()
  #turnedAt: number

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
    this.#turnedAt = clock.monotonic()
  }

  of(party: string): number {
    return this.#byParty.get(party)?.used ?? 0
  }

  set(party: string, used: number): void {
    this.#turn()
    const now = this.#byParty.get(party)
    if (now) {
      now.used = used
      now.most = Math.max(now.most, used)
    } else if (used > 0) this.#byParty.set(party, { used, most: used, before: 0 })
  }

  all(weightOf: (party: string) => number): Map<string, Use> {
    this.#turn()
    return new Map([...this.#byParty].map(([party, { used, most, before }]) => [party, { used, wanted: Math.max(most, before), weight: weightOf(party) }]))
  }

  names(): string[] {
    return [...this.#byParty.keys()]
  }

  /** What all wanted lately, together. */
  wantedTogether(): number {
    let sum = 0
    for (const { most, before } of this.#byParty.values()) sum += Math.max(most, before)
    return sum
  }

  /** The parties that use something, or did lately. */
  get parties(): number {
    this.#turn()
    return this.#byParty.size
  }

  /** Remembers the period that is over, and forgets the one before it. */
  #turn(): void {
    const passed = this.#clock.monotonic() - this.#turnedAt
    if (passed < REMEMBERED_MS) return
    this.#turnedAt = this.#clock.monotonic()
    for (const [party, use] of this.#byParty) {
      use.before = passed < 2 * REMEMBERED_MS ? use.most : use.used
      use.most = use.used
      if (use.used === 0 && use.before === 0) this.#byParty.delete(party)
    }
  }
}

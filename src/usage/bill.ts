import { type Amount, costNano, FreeTier, gbSecondsOf, type PriceList, showNano } from './prices.ts'

/** A function's day as the database has it: whole numbers, too large for a double in principle, as text. */
export interface DaySums {
  readonly day: string
  readonly functionName: string
  readonly executions: string
  readonly errors: string
  readonly cut: string
  readonly cold: string
  readonly billedMs: string
  readonly billedMbMs: string
  readonly bytesIn: string
  readonly bytesOut: string
  readonly egressIn: string
  readonly egressOut: string
}

export interface UsageTotal {
  readonly executions: number
  readonly errors: number
  /** Lost with their node, or refused: not billed, and in no other number. */
  readonly cut: number
  readonly cold: number
  readonly billedMs: number
  readonly gbSeconds: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** What it got of others than the platform, and sent to them. */
  readonly egressIn: number
  readonly egressOut: number
  /** In the currency of the price list, nine digits behind the point. */
  readonly cost: string
}

export interface UsageRow extends UsageTotal {
  /** Null where days are added up. */
  readonly day: string | null
  /** Null where functions are added up. */
  readonly functionName: string | null
}

export type GroupBy = 'day,function' | 'day' | 'function'

interface Sum {
  executions: bigint
  errors: bigint
  cut: bigint
  cold: bigint
  billedMs: bigint
  mbMs: bigint
  bytesIn: bigint
  bytesOut: bigint
  egressIn: bigint
  egressOut: bigint
  nano: bigint
}

const nothing = (): Sum => ({
  executions: 0n,
  errors: 0n,
  cut: 0n,
  cold: 0n,
  billedMs: 0n,
  mbMs: 0n,
  bytesIn: 0n,
  bytesOut: 0n,
  egressIn: 0n,
  egressOut: 0n,
  nano: 0n,
})
const add = (to: Sum, one: Readonly<Sum>) => {
  for (const key of Object.keys(to) as (keyof Sum)[]) to[key] += one[key]
}
const shown = (sum: Sum): UsageTotal => ({
  executions: Number(sum.executions),
  errors: Number(sum.errors),
  cut: Number(sum.cut),
  cold: Number(sum.cold),
  billedMs: Number(sum.billedMs),
  gbSeconds: gbSecondsOf(sum.mbMs),
  bytesIn: Number(sum.bytesIn),
  bytesOut: Number(sum.bytesOut),
  egressIn: Number(sum.egressIn),
  egressOut: Number(sum.egressOut),
  cost: showNano(sum.nano),
})

/**
 * Prices days and adds them up.
 *
 * @param days  in rising order; those before `from` only use up what their month has for nothing
 */
export function billOf(days: readonly DaySums[], from: string, prices: PriceList, by: GroupBy): { usage: UsageRow[]; total: UsageTotal } {
  const free = new FreeTier(prices)
  const total = nothing()
  const groups = new Map<string, { day: string | null; functionName: string | null; sum: Sum }>()
  for (const one of days) {
    const amount: Amount = {
      executions: BigInt(one.executions),
      mbMs: BigInt(one.billedMbMs),
      bytesIn: BigInt(one.bytesIn),
      bytesOut: BigInt(one.bytesOut),
      egressIn: BigInt(one.egressIn),
      egressOut: BigInt(one.egressOut),
    }
    const nano = costNano(free.take(one.day, amount), prices)
    if (one.day < from) continue
    const sum: Sum = { ...amount, errors: BigInt(one.errors), cut: BigInt(one.cut), cold: BigInt(one.cold), billedMs: BigInt(one.billedMs), nano }
    add(total, sum)
    const day = by === 'function' ? null : one.day
    const functionName = by === 'day' ? null : one.functionName
    const key = `${day} ${functionName}`
    const group = groups.get(key) ?? { day, functionName, sum: nothing() }
    add(group.sum, sum)
    groups.set(key, group)
  }
  const compare = (a: string | null, b: string | null) => ((a ?? '') < (b ?? '') ? -1 : (a ?? '') > (b ?? '') ? 1 : 0)
  const usage = [...groups.values()]
    .sort((a, b) => compare(b.day, a.day) || compare(a.functionName, b.functionName))
    .map(({ day, functionName, sum }) => ({ day, functionName, ...shown(sum) }))
  return { usage, total: shown(total) }
}

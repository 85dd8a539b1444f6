import { readFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'

const BUILT_IN = path.join(import.meta.dirname, 'prices.json')
const MAX_BYTES = 65_536

const price = z.string().regex(/^\d{1,12}(\.\d{1,12})?$/, 'must be a decimal number as text, such as "0.20", with at most 12 digits behind the point')
const whole = z.number().int().min(0).max(1_000_000_000_000)
const priceList = z.strictObject({
  name: z.string().min(1).max(200),
  currency: z.string().regex(/^[A-Z]{3}$/, 'must be a code of three capital letters, such as "USD"'),
  /** When these prices were taken from where they come from. */
  asOf: z.string().max(40).default(''),
  note: z.string().max(2_000).default(''),
  perMillionExecutions: price,
  /** A GB of memory, 1,024 MB, for a second. */
  perGbSecond: price,
  /** A GB of traffic, 1,000,000,000 bytes. */
  perGbIn: price,
  perGbOut: price,
  /** The same of what functions get of others than the platform, and send to them. */
  perGbEgressIn: price.default('0'),
  perGbEgressOut: price.default('0'),
  /** What each project has for nothing in a calendar month (UTC), taken by the earliest days first. */
  free: z
    .strictObject({ executions: whole.default(0), gbSeconds: whole.default(0), gbIn: whole.default(0), gbOut: whole.default(0) })
    .default({ executions: 0, gbSeconds: 0, gbIn: 0, gbOut: 0 }),
})
export type PriceList = z.infer<typeof priceList>

/** Why a price list cannot be used; a sentence for the operator. */
export class PriceListError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'PriceListError'
  }
}

/** @param file  null: the example that comes with us. @throws PriceListError */
export function readPriceList(file: string | null): PriceList {
  const shown = file ?? BUILT_IN
  let text: string
  try {
    text = readFileSync(shown, 'utf8')
  } catch (error) {
    throw new PriceListError(`The price list ${shown} cannot be read: ${(error as Error).message}`)
  }
  return parsePriceList(text, shown)
}

export function parsePriceList(text: string, shown: string): PriceList {
  if (text.length > MAX_BYTES) throw new PriceListError(`The price list ${shown} is longer than ${MAX_BYTES} bytes`)
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch (error) {
    throw new PriceListError(`The price list ${shown} is not JSON: ${(error as Error).message}`)
  }
  const parsed = priceList.safeParse(given)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => (issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`))
  throw new PriceListError(`The price list ${shown} cannot be used: ${problems.join('; ')}`)
}

/** What is priced. Whole numbers all of them; `mbMs` is MB of memory times billed milliseconds. */
export interface Amount {
  readonly executions: bigint
  readonly mbMs: bigint
  readonly bytesIn: bigint
  readonly bytesOut: bigint
  readonly egressIn: bigint
  readonly egressOut: bigint
}

const MB_MS_PER_GB_SECOND = 1_024_000n
const BYTES_PER_GB = 1_000_000_000n
/** Prices as they are counted with: 10^-12 of the currency. */
const PICO_DIGITS = 12
/** The least common denominator of a million executions, a GB-second in MB and ms, and a GB in bytes. */
const DENOMINATOR = 16_000_000_000n
const PICO_PER_NANO = 1_000n

function pico(text: string): bigint {
  const [units = '', digits = ''] = text.split('.')
  return BigInt(units + digits.padEnd(PICO_DIGITS, '0'))
}

/**
 * What an amount costs, in billionths of the currency.
 *
 * The parts are added up exactly and rounded once, half up. A bill prices each function's day so and adds
 * those up, so that its total is the sum of what it shows.
 */
export function costNano(amount: Amount, prices: PriceList): bigint {
  const exact =
    amount.executions * pico(prices.perMillionExecutions) * (DENOMINATOR / 1_000_000n) +
    amount.mbMs * pico(prices.perGbSecond) * (DENOMINATOR / MB_MS_PER_GB_SECOND) +
    amount.bytesIn * pico(prices.perGbIn) * (DENOMINATOR / BYTES_PER_GB) +
    amount.bytesOut * pico(prices.perGbOut) * (DENOMINATOR / BYTES_PER_GB) +
    amount.egressIn * pico(prices.perGbEgressIn) * (DENOMINATOR / BYTES_PER_GB) +
    amount.egressOut * pico(prices.perGbEgressOut) * (DENOMINATOR / BYTES_PER_GB)
  const divisor = DENOMINATOR * PICO_PER_NANO
  return (exact + divisor / 2n) / divisor
}

/** `0.000001867`: nine digits behind the point, always. */
export function showNano(nano: bigint): string {
  const digits = nano.toString().padStart(10, '0')
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`
}

export const gbSecondsOf = (mbMs: bigint): number => Number(mbMs) / Number(MB_MS_PER_GB_SECOND)

type Free = Omit<Amount, 'egressIn' | 'egressOut'>

/** What of a month is for nothing (nothing of what goes to others): what is taken from it first is free, and the rest is handed back. */
export class FreeTier {
  #month = ''
  #left: Free
  readonly #each: Free

  constructor({ free }: PriceList) {
    this.#each = {
      executions: BigInt(free.executions),
      mbMs: BigInt(free.gbSeconds) * MB_MS_PER_GB_SECOND,
      bytesIn: BigInt(free.gbIn) * BYTES_PER_GB,
      bytesOut: BigInt(free.gbOut) * BYTES_PER_GB,
    }
    this.#left = this.#each
  }

  get isEmpty(): boolean {
    return Object.values(this.#each).every((one) => one === 0n)
  }

  /** @param day  `2026-07-31`; asked in rising order */
  take(day: string, amount: Amount): Amount {
    const month = day.slice(0, 7)
    if (month !== this.#month) [this.#month, this.#left] = [month, this.#each]
    const rest = (of: bigint, from: bigint): [bigint, bigint] => (of > from ? [of - from, 0n] : [0n, from - of])
    const [executions, leftExecutions] = rest(amount.executions, this.#left.executions)
    const [mbMs, leftMbMs] = rest(amount.mbMs, this.#left.mbMs)
    const [bytesIn, leftBytesIn] = rest(amount.bytesIn, this.#left.bytesIn)
    const [bytesOut, leftBytesOut] = rest(amount.bytesOut, this.#left.bytesOut)
    this.#left = { executions: leftExecutions, mbMs: leftMbMs, bytesIn: leftBytesIn, bytesOut: leftBytesOut }
    return { ...amount, executions, mbMs, bytesIn, bytesOut }
  }
}

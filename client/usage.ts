/** What was executed, and what it costs in the currency of the price list. */
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
  readonly egressIn: number
  readonly egressOut: number
  /** A decimal number. */
  readonly cost: string
}

/** `day` or `functionName` is null where all of them are added up. */
export interface UsageRow extends UsageTotal {
  readonly day: string | null
  readonly functionName: string | null
}

export interface PriceList {
  readonly name: string
  readonly currency: string
  readonly asOf: string
  readonly note: string
  readonly perMillionExecutions: string
  readonly perGbSecond: string
  readonly perGbIn: string
  readonly perGbOut: string
  readonly perGbEgressIn: string
  readonly perGbEgressOut: string
  readonly free: { readonly executions: number; readonly gbSeconds: number; readonly gbIn: number; readonly gbOut: number }
}

export interface Bill {
  readonly usage: readonly UsageRow[]
  readonly total: UsageTotal
  readonly prices: PriceList
}

export const ACCOUNT = '000000000000'

/** As EventBridge tells it. */
export interface BusEvent {
  readonly version: '0'
  readonly id: string
  readonly 'detail-type': string
  readonly source: string
  readonly account: string
  /** To the second. */
  readonly time: string
  readonly region: string
  readonly resources: readonly string[]
  readonly detail: unknown
  readonly cloudevent?: Readonly<Record<string, string | number | boolean>>
}

/** What `up` prints when it takes work, and `status` tells of it. */
export interface ReadyLine {
  readonly ready: true
  readonly url: string
  readonly console: string
  readonly project: { readonly ref: string; readonly url: string; readonly publishableKey: string; readonly secretKey: string }
  readonly accessKey: { readonly id: string; readonly secret: string }
  readonly region: string
  readonly sandbox: { readonly driver: string; readonly limits: readonly string[] }
}

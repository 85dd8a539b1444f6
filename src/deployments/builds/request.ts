export type Framework = 'google' | 'azure'

export interface BuildRequest {
  /** The app as its folder holds it, without packages. */
  readonly artefact: string
  readonly framework: Framework
  readonly runtime: string
  /** What of the app is meant, as the framework names it. */
  readonly handler: string
  /** Variables of its own by which an app is loaded. */
  readonly environment: Readonly<Record<string, string>>
  /** Packages whose install scripts may run. */
  readonly installScripts: readonly string[]
}

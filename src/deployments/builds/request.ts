export type Framework = 'google' | 'azure'

/** A registry that an app's .npmrc names. */
export interface NamedRegistry {
  /** Null: of all packages without a scope of their own. */
  readonly scope: string | null
  readonly url: string
  /** What is sent along; it stays in the node, for one build. */
  readonly authorization: string | null
}

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
  readonly registries: readonly NamedRegistry[]
  /** As npm's setting of the name. */
  readonly legacyPeerDeps: boolean
  /** Scripts of package.json that are run before the app is taken, with its development packages at hand. */
  readonly run: readonly string[]
}

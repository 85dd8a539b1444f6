import type { Egress } from '../core/egress.ts'
import type { FunctionRole } from '../core/principal.ts'
import type { ProjectRef } from '../core/project.ts'
import type { RetryAfter } from '../core/spec-parts.ts'

/** What a user says of a function; `mayfly.json` and the Lambda API both end here. */
export interface FunctionDefinition {
  readonly name: string
  readonly runtime: string
  readonly handler: string
  /** The cloud whose framework the code is written for; null where it exports handlers of Lambda's or of the web's form. */
  readonly framework: 'google' | 'azure' | null
  readonly description: string
  readonly memoryMb: number
  readonly timeoutSeconds: number
  readonly tmpMb: number
  readonly concurrency: number
  readonly reuse: 'function' | 'fork' | 'never'
  /** What keeps its sandboxes apart; null: what the node takes. */
  readonly driver: 'crun' | 'runc' | 'gvisor' | 'bwrap' | null
  readonly egress: Egress
  readonly role: FunctionRole
  /** `/functions/v1/<name>` demands a key when true. */
  readonly verifyJwt: boolean
  /** Names of the project's secrets that it gets as environment variables; `*` for all. */
  readonly secrets: readonly string[]
  /** So many of its calls run at once and no more, kept free for them; null where it says nothing of that. */
  readonly reservedConcurrency: number | null
  /** So many sandboxes of the newest version are kept loaded. */
  readonly provisioned: number
  readonly async: AsyncSettings
  /** ARNs of versions of layers, from below to above: what a later one has in /opt stands over what an earlier one has. */
  readonly layers: readonly string[]
  /** The Lambda API's Role ARN, checked for its form only; null when deployed by mayfly.json. */
  readonly awsRole: string | null
  /** What the Lambda API was told beside all this; absent when it never was. */
  readonly kept?: KeptSettings
  readonly tags: Readonly<Record<string, string>>
}

/** Of calls from the queue: how often it may fail and how old it may become; null leaves it to the node's settings. */
export interface AsyncSettings {
  readonly maxAttempts: number | null
  readonly maxAgeSeconds: number | null
  /** How many seconds what failed waits, or between which it doubles; absent: by the node's own backoff. */
  readonly retryAfter?: RetryAfter
  /** How many run at once, and how many begin in a second; absent: as many as there is room for. */
  readonly parallelism?: number
  readonly rate?: number
  /** Where events have what they are put in order by, such as `detail.customer`. */
  readonly orderBy?: string
  /** How long what was answered is kept; absent: it is not. */
  readonly keepResultSeconds?: number
  /** How long a key stands for the event that came under it first; absent: a day. */
  readonly onceWithinSeconds?: number
  /** It goes on where others are taken for a loop; what the Lambda API says of that counts before it. */
  readonly mayLoop?: true
  readonly onSuccess?: DestinationSpec
  readonly onFailure?: DestinationSpec
}

/** Who is told how a queued call ended: a function, a queue or a bus of the project, or an address, with the name of the secret that signs. */
export type DestinationSpec =
  | { readonly function: string }
  | { readonly queue: string }
  | { readonly event: string; readonly bus?: string | undefined }
  | { readonly webhook: string; readonly secret: string }

/** How a function's log is written. Null: as Lambda does by default. */
export interface Logging {
  readonly format: 'Text' | 'JSON'
  /** Of JSON only. */
  readonly applicationLevel: string | null
  readonly systemLevel: string | null
  readonly group: string | null
}

/** What the Lambda API says of a function and no other way does. Only `logging` changes how it runs. */
export interface KeptSettings {
  readonly logging: Logging | null
  readonly tracing: 'Active' | 'PassThrough'
  readonly deadLetterArn: string | null
  readonly snapStart: 'None' | 'PublishedVersions'
  /** An empty VpcConfig was sent: it is told as one that was cleared. */
  readonly vpcCleared: boolean
}

/** One immutable build of a function. `$LATEST` names the newest one, whose id changes with every change; a number names one for good. */
export interface Version {
  readonly id: string
  readonly project: ProjectRef
  readonly functionId: string
  readonly functionName: string
  /** `$LATEST`, or the number of a published version. */
  readonly version: string
  readonly definition: FunctionDefinition
  /** Host directory with the unpacked code. */
  readonly codeDir: string
  /** Host directory with the layers merged in their order; null without layers. */
  readonly optDir: string | null
  /** Opened (unsealed) environment as the user set it. */
  readonly environment: Readonly<Record<string, string>>
  readonly state: 'pending' | 'active' | 'failed'
  readonly stateReason: string | null
}

/** What `invoke` and the gateway see of this room. */
export interface Functions {
  /**
   * From the cache, at most 2 s stale on other processes.
   * @param qualifier  null or `$LATEST`, a number, or an alias; an alias with a share for another version picks one per call
   * @throws MayflyError function_not_found, function_not_ready
   */
  resolve(project: ProjectRef, name: string, qualifier?: string | null): Promise<Version>
}

import type { FunctionRole } from '../core/principal.ts'
import type { ProjectRef } from '../core/project.ts'

/** What a user says of a function; `mayfly.json` and the Lambda API both end here. */
export interface FunctionDefinition {
  readonly name: string
  readonly runtime: string
  readonly handler: string
  readonly description: string
  readonly memoryMb: number
  readonly timeoutSeconds: number
  readonly tmpMb: number
  readonly concurrency: number
  readonly reuse: 'function' | 'never'
  readonly egress: 'none' | 'internet'
  readonly role: FunctionRole
  /** `/functions/v1/<name>` demands a key when true. */
  readonly verifyJwt: boolean
  /** Of calls from the queue: how often it may fail and how old it may become; null leaves it to the node's settings. */
  readonly async: { readonly maxAttempts: number | null; readonly maxAgeSeconds: number | null }
  /** The Lambda API's Role ARN, checked for its form only; null when deployed by mayfly.json. */
  readonly awsRole: string | null
  readonly tags: Readonly<Record<string, string>>
}

/** One immutable build of a function. `$LATEST` names the newest one; its id changes with every change. */
export interface Version {
  readonly id: string
  readonly project: ProjectRef
  readonly functionId: string
  readonly functionName: string
  /** `$LATEST` in this issue. */
  readonly version: string
  readonly definition: FunctionDefinition
  /** Host directory with the unpacked code. */
  readonly codeDir: string
  /** Opened (unsealed) environment as the user set it. */
  readonly environment: Readonly<Record<string, string>>
  readonly state: 'pending' | 'active' | 'failed'
  readonly stateReason: string | null
}

/** What `invoke` and the gateway see of this room. */
export interface Functions {
  /** From the cache, at most 2 s stale on other processes. @throws MayflyError function_not_found, function_not_ready */
  resolve(project: ProjectRef, name: string): Promise<Version>
}

import type { Duplex } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { policyOf } from '../core/egress.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import { pickSecrets, type Version } from '../functions/index.ts'
import { type RelayIdentity, type SandboxSpec, sandboxRuntime, type VersionContext } from '../sandbox/index.ts'

/** Keys that are valid only on the relay of the sandbox that they were given to. */
export interface Handle {
  readonly key: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  revoke(): void
}

export interface SpecsDeps {
  readonly issueHandle: (identity: RelayIdentity) => Handle
  readonly openRelay: (connection: Duplex, identity: RelayIdentity, depth: () => number) => void
  /** What a sandbox sent to others than the platform, and got of them. */
  readonly countEgress: (identity: RelayIdentity, bytes: Parameters<SandboxSpec['countEgress']>[0]) => void
  /** What the world sees, such as `http://127.0.0.1:54321`; asked late, as the port is known only when listening. */
  readonly publicUrl: () => string
  /** The loopback ports that lead to the platform from inside as they do from outside; plain HTTP only. */
  readonly relayPorts: () => readonly number[]
  readonly defaultProject: string
  readonly region: string
  /** All secrets of a project, the same object while they are the same; null while they are not known. */
  readonly secretsOf: (project: ProjectRef) => Readonly<Record<string, string>> | null
  /** Told a spec of whose version another holds now. */
  readonly outdated: (spec: SandboxSpec) => void
}

/** The literal that the runtime replaces by the relay's origin inside the sandbox. */
const RELAY = '{relay}'
export const ACCOUNT_ID = '000000000000'

interface Entry {
  readonly version: Version
  readonly handle: Handle
  spec: SandboxSpec
  /** What was known of its project's secrets, and what of them the spec says. */
  all: Readonly<Record<string, string>> | null
  secrets: Readonly<Record<string, string>>
}

const NONE: Readonly<Record<string, string>> = {}

/** Makes of a function's version what a sandbox is made of, and keeps it while the version lives. */
export class Specs {
  readonly #deps: SpecsDeps
  readonly #entries = new Map<string, Entry>()
  /** Which stands last in them. */
  #latest: string | null = null

  constructor(deps: SpecsDeps) {
    this.#deps = deps
  }

  of(version: Version): SandboxSpec {
    return this.#entry(version).spec
  }

  /** Forgets a version; what was given to its sandboxes opens nothing any more. */
  retire(key: string): void {
    this.#entries.get(key)?.handle.revoke()
    this.#entries.delete(key)
  }

  /** A version as its spec was made of: what is known of one that takes the place of another is not whole before it does. */
  known(version: Version): Version {
    return this.#entries.get(version.id)?.version ?? version
  }

  /** Of a project, those that are kept. */
  versionsOf(project: ProjectRef): string[] {
    return [...this.#entries].filter(([, { version }]) => version.project === project).map(([key]) => key)
  }

  /** The secrets of a project are others: the specs that say old ones are outdated. */
  secretsChanged(project: ProjectRef): void {
    for (const entry of this.#entries.values()) if (entry.version.project === project) this.#renew(entry)
  }

  /** Sandboxes of former secrets keep their handle until their calls are over: it is the version's. */
  #renew(entry: Entry): void {
    const all = this.#deps.secretsOf(entry.version.project)
    if (all === null || all === entry.all) return
    const secrets = pickSecrets(all, entry.version.definition.secrets)
    entry.all = all
    if (isDeepStrictEqual({ ...secrets }, { ...entry.secrets })) return
    const former = entry.spec
    entry.secrets = secrets
    entry.spec = { ...former, environment: this.#environment(entry.version, entry.handle, former.context, secrets) }
    this.#deps.outdated(former)
  }

  #entry(version: Version): Entry {
    const known = this.#entries.get(version.id)
    if (known) {
      // Kept in order of use, so that the oldest is the one to forget.
      if (version.id !== this.#latest) {
        this.#entries.delete(version.id)
        this.#entries.set(version.id, known)
        this.#latest = version.id
      }
      this.#renew(known)
      return known
    }
    const made = this.#make(version)
    this.#entries.set(version.id, made)
    this.#latest = version.id
    if (this.#entries.size > LIMITS.rememberedVersions.value) this.retire(this.#entries.keys().next().value as string)
    return made
  }

  #make(version: Version): Entry {
    const { definition } = version
    const all = this.#deps.secretsOf(version.project)
    const secrets = all === null ? NONE : pickSecrets(all, definition.secrets)
    const identity: RelayIdentity = { project: version.project, functionName: version.functionName, version: version.id, role: definition.role }
    const handle = this.#deps.issueHandle(identity)
    const context: VersionContext = {
      functionName: version.functionName,
      functionVersion: version.version,
      functionArn: `arn:aws:lambda:${this.#deps.region}:${ACCOUNT_ID}:function:${version.functionName}`,
      memoryMb: definition.memoryMb,
      logGroup: definition.kept?.logging?.group ?? `/aws/lambda/${version.functionName}`,
      logStream: `${version.version.replace('$', '')}/${version.id}`,
    }
    const spec: SandboxSpec = {
      key: version.id,
      runtime: sandboxRuntime(definition.runtime),
      driver: definition.driver,
      codeDir: version.codeDir,
      optDir: version.optDir,
      handler: definition.handler,
      framework: definition.framework,
      context,
      environment: this.#environment(version, handle, context, secrets),
      memoryMb: definition.memoryMb,
      tmpMb: definition.tmpMb,
      egress: policyOf(definition.egress),
      countEgress: (bytes) => this.#deps.countEgress(identity, bytes),
      timeoutMs: definition.timeoutSeconds * 1000,
      concurrency: definition.concurrency,
      reuse: definition.reuse === 'never' ? 'never' : 'function',
      relayPorts: this.#deps.relayPorts(),
      openRelay: this.#deps.openRelay,
      identity,
    }
    return { version, handle, spec, all, secrets }
  }

  #environment(version: Version, handle: Handle, context: VersionContext, secrets: Readonly<Record<string, string>>): Record<string, string> {
    const publicUrl = this.#deps.publicUrl()
    const projectUrl = version.project === this.#deps.defaultProject ? publicUrl : `${publicUrl}/p/${version.project}`
    const withKey: Record<string, string> =
      version.definition.role === 'none'
        ? {}
        : {
            MAYFLY_KEY: handle.key,
            SUPABASE_SERVICE_ROLE_KEY: handle.key,
            AWS_ACCESS_KEY_ID: handle.accessKeyId,
            AWS_SECRET_ACCESS_KEY: handle.secretAccessKey,
          }
    return {
      LANG: 'en_US.UTF-8',
      TZ: ':UTC',
      HOME: '/tmp',
      ...frameworkVariables(version),
      ...version.environment,
      ...secrets,
      MAYFLY_URL: RELAY,
      MAYFLY_PUBLIC_URL: projectUrl,
      SUPABASE_URL: RELAY,
      AWS_ENDPOINT_URL: RELAY,
      AWS_REGION: this.#deps.region,
      AWS_DEFAULT_REGION: this.#deps.region,
      ...withKey,
      _HANDLER: version.definition.handler,
      // What a function brings itself has no name there.
      ...(version.definition.runtime.startsWith('provided') ? {} : { AWS_EXECUTION_ENV: `AWS_Lambda_${version.definition.runtime}` }),
      AWS_LAMBDA_FUNCTION_NAME: context.functionName,
      AWS_LAMBDA_FUNCTION_VERSION: context.functionVersion,
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(context.memoryMb),
      AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
      // The runtime takes it away before it loads the code.
      ...(version.definition.reuse === 'fork' ? { _MAYFLY_FORKS: '1' } : {}),
      ...loggingOf(version),
      AWS_LAMBDA_LOG_GROUP_NAME: context.logGroup,
      AWS_LAMBDA_LOG_STREAM_NAME: context.logStream,
    }
  }
}

/** What the functions of other clouds look for; what the function itself says counts. */
function frameworkVariables({ definition, functionName, id }: Version): Record<string, string> {
  if (definition.framework === null) return {}
  if (definition.framework === 'azure')
    return {
      NODE_ENV: 'production',
      FUNCTIONS_WORKER_RUNTIME: 'node',
      FUNCTIONS_EXTENSION_VERSION: '~4',
      AZURE_FUNCTIONS_ENVIRONMENT: 'Production',
      WEBSITE_SITE_NAME: functionName,
    }
  return { NODE_ENV: 'production', K_SERVICE: functionName, K_REVISION: id, K_CONFIGURATION: functionName, FUNCTION_TARGET: definition.handler }
}

/** Runtimes write and filter what the function logs by these. */
function loggingOf({ definition }: Version): Record<string, string> {
  const logging = definition.kept?.logging
  return logging?.format === 'JSON' ? { AWS_LAMBDA_LOG_FORMAT: 'JSON', AWS_LAMBDA_LOG_LEVEL: logging.applicationLevel ?? 'INFO' } : {}
}

import path from 'node:path'
import type { Auth } from './auth/index.ts'
import type { Bus } from './backends/bus/bus.ts'
import type { Database } from './backends/database/database.ts'
import type { Config } from './config.ts'
import type { Meter } from './core/meter.ts'
import type { ProjectRef } from './core/project.ts'
import type { Sealer } from './core/seal.ts'
import { DEFAULT_PROJECT, REGION } from './defaults.ts'
import { Artefacts, Concurrency, FunctionSettings, FunctionsService, FunctionUrls, Secrets, type Version } from './functions/index.ts'
import type { Gateway } from './gateway/index.ts'
import type { Host } from './host.ts'
import { Specs } from './invoke/index.ts'
import type { openSandboxRoom } from './opening.ts'
import { LoadError } from './sandbox/index.ts'

export interface WorkerRoomDeps {
  readonly config: Config
  readonly host: Host
  readonly data: string
  readonly control: Database
  readonly sealer: Sealer
  readonly auth: Auth
  readonly bus: Bus
  readonly sandbox: Awaited<ReturnType<typeof openSandboxRoom>>
  readonly believable: () => boolean
  readonly countEgress: Meter['carried']
  /** Null until it listens. */
  readonly gateway: () => Gateway | null
  readonly address: string
  readonly port: number
}

/** So long the main process may take to unpack a version's code. */
const UNPACK_MS = 60_000

/** What a worker knows of functions: as much as calls need. It changes nothing. */
export function openWorkerRoom(opening: AsyncDisposableStack, deps: WorkerRoomDeps) {
  const { config, host, data, control, sealer, auth, bus, sandbox, believable, gateway } = deps
  const { clock, log } = host
  const { node: settings } = config
  const { sandboxes } = sandbox
  const kept = new Map<string, { readonly version: Version; count: number }>()
  const concurrency = opening.use(new Concurrency({ control, clock }))
  const secrets = new Secrets({ control, sealer, changed: (ref) => specs.secretsChanged(ref), believable })
  const specs = new Specs({
    issueHandle: (identity) => auth.issueHandle(identity),
    countEgress: ({ project, functionName, version }, bytes) => deps.countEgress({ project, functionName, version, at: clock.now(), ...bytes }),
    openRelay: (connection, identity, depth) => {
      const door = gateway()
      if (door) door.acceptRelay(connection, identity, depth)
      else connection.destroy()
    },
    publicUrl: () => settings.publicUrl ?? deps.address,
    relayPorts: () => (sandbox.isolated && settings.tlsCert === null ? [deps.port] : []),
    defaultProject: DEFAULT_PROJECT,
    region: REGION,
    secretsOf: (ref) => secrets.of(ref),
    outdated: (spec) => {
      sandboxes.restart(spec)
      const stays = kept.get(spec.key)
      if (stays) sandboxes.provision(specs.of(stays.version), stays.count)
    },
  })
  const retired = (versionId: string): void => {
    kept.delete(versionId)
    sandboxes.retire(versionId)
    specs.retire(versionId)
  }
  const functionSettings = new FunctionSettings({ control, clock, believable })
  const functions = new FunctionsService({
    control,
    artefacts: new Artefacts({ root: path.join(data, 'artefacts') }),
    sealer,
    clock,
    log,
    build: async () => {},
    retired,
    secrets,
    refusal: sandbox.refusal,
    // Only one process of the node unpacks code.
    unpacked: async (project, name, qualifier) => {
      await bus.request('version.unpacked', { project, name, qualifier }, AbortSignal.timeout(UNPACK_MS))
    },
    expected: (version) => sandboxes.prepare(specs.of(version)),
    believable,
  })
  const urls = new FunctionUrls({ control, functionId: async (ref, name) => (await functions.find(ref, name))?.id ?? null, believable })
  return {
    functions,
    concurrency,
    settings: functionSettings,
    urls,
    specs,
    retired,
    /** A project was changed: what is remembered of it is forgotten when this returns, and what calls believe read again when it resolves. */
    changed: async (ref: ProjectRef): Promise<void> => {
      void functions.refresh(ref)
      functionSettings.forget(ref)
      urls.forget(ref)
      concurrency.heard()
      await secrets.refresh(ref)
    },
    dropProject: (ref: ProjectRef): void => {
      for (const version of specs.versionsOf(ref)) retired(version)
      functions.invalidate(ref)
      functionSettings.forget(ref)
      secrets.forget(ref)
    },
    /** A project rests: its sandboxes end with their calls. */
    rest: (ref: ProjectRef): void => sandboxes.rest(ref),
    /** For what takes the place of another: as `FunctionsDeps.start`. */
    start: async ({ version, instead }: { version: Version; instead: Version | null }) => {
      try {
        if (instead === null || sandboxes.hasLoaded(specs.of(instead))) {
          await secrets.ready(version.project)
          await sandboxes.start(specs.of(version))
        }
      } catch (error) {
        if (error instanceof LoadError) return { fault: { type: error.errorType, message: error.errorWithPlace } }
        log.warn({ project: version.project, function: version.functionName, error: String(error) }, 'no sandbox was started ahead of the first call')
      }
      return { fault: null }
    },
    keep: (version: Version, count: number): void => {
      kept.set(version.id, { version, count })
      void secrets.ready(version.project).then(
        () => {
          const now = kept.get(version.id)
          if (now) sandboxes.provision(specs.of(version), now.count)
        },
        (error: Error) => log.warn({ error: error.message }, 'what is provisioned is made when secrets can be read'),
      )
    },
    /** What is to be kept, loaded yet or not. */
    keepsAny: (): boolean => kept.size > 0 || sandboxes.provisionedKeys().length > 0,
    letGo: (key: string): void => {
      kept.delete(key)
      sandboxes.unprovision(key)
    },
  }
}

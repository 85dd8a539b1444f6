import path from 'node:path'
import { openAppBuilds } from './app-builds.ts'
import type { Auth } from './auth/index.ts'
import type { Bus } from './backends/bus/bus.ts'
import type { Database } from './backends/database/database.ts'
import type { Config } from './config.ts'
import type { Meter } from './core/meter.ts'
import type { LimitProfileName } from './core/limit-profiles.ts'
import type { ProjectRef } from './core/project.ts'
import type { Sealer } from './core/seal.ts'
import type { Stays } from './core/stays.ts'
import { DEFAULT_PROJECT, REGION } from './defaults.ts'
import { Artefacts, ArtefactLinks, Concurrency, FunctionSettings, FunctionsService, FunctionUrls, LateBuilds, Secrets } from './functions/index.ts'
import type { Gateway } from './gateway/index.ts'
import type { Host } from './host.ts'
import { Admission, type KeepsLoaded, Provisioning, Specs } from './invoke/index.ts'
import type { openSandboxRoom } from './opening.ts'
import { LoadError } from './sandbox/index.ts'
import type { Workforce } from './workforce.ts'

export interface FunctionRoomDeps {
  readonly config: Config
  readonly host: Host
  /** The data directory. */
  readonly data: string
  readonly control: Database
  readonly sealer: Sealer
  readonly auth: Auth
  readonly bus: Bus
  readonly stays: Stays
  readonly sandbox: Awaited<ReturnType<typeof openSandboxRoom>>
  readonly believable: () => boolean
  /** Who runs the calls, where this process is not the only one that does. */
  readonly workers: Pick<Workforce, 'keeps' | 'startAt' | 'memory'> | null
  readonly countEgress: Meter['carried']
  readonly limitProfileOf: (project: ProjectRef) => LimitProfileName
  /** Null until the node listens, as are the address and the port. */
  readonly gateway: () => Gateway | null
  readonly address: () => string
  readonly port: () => number
  /** A function is gone: what else is bound to it goes. */
  readonly gone: (project: ProjectRef) => Promise<void>
}

/** What is known of functions and what brings them into sandboxes, which need one another. */
export async function openFunctionRoom(opening: AsyncDisposableStack, deps: FunctionRoomDeps) {
  const { config, host, data, control, sealer, auth, bus, stays, sandbox, believable, gateway } = deps
  const { clock, log } = host
  const { node: settings } = config
  const { sandboxes } = sandbox

  const concurrency = opening.use(new Concurrency({ control, clock, slots: config.invoke.concurrency, provisioningChanged: () => provisioning.look() }))
  const secrets = new Secrets({ control, sealer, changed: (ref) => specs.secretsChanged(ref), believable })
  const specs = new Specs({
    issueHandle: (identity) => auth.issueHandle(identity),
    openRelay: (connection, identity, depth) => {
      const door = gateway()
      if (door) door.acceptRelay(connection, identity, depth)
      else connection.destroy()
    },
    countEgress: ({ project, functionName, version }, bytes) => deps.countEgress({ project, functionName, version, at: clock.now(), ...bytes }),
    publicUrl: () => settings.publicUrl ?? deps.address(),
    relayPorts: () => (sandbox.isolated && settings.tlsCert === null ? [deps.port()] : []),
    defaultProject: DEFAULT_PROJECT,
    region: REGION,
    secretsOf: (ref) => secrets.of(ref),
    outdated: (spec) => {
      sandboxes.restart(spec)
      provisioning.look()
    },
  })
  const artefacts = new Artefacts({ root: path.join(data, 'artefacts') })
  await artefacts.recover()
  const late = opening.use(new LateBuilds(clock))
  const retired = (versionId: string) => {
    late.drop(versionId)
    sandboxes.retire(versionId)
    specs.retire(versionId)
    bus.publish('version.retired', versionId)
  }
  const functionSettings = new FunctionSettings({ control, clock, believable })
  const functions = new FunctionsService({
    control,
    concurrency,
    artefacts,
    stays,
    sealer,
    clock,
    log,
    build: async (version, like) => {
      const spec = specs.of(version)
      if (like === null || !(await sandboxes.adopt(spec, like))) await sandboxes.build(spec)
    },
    late,
    start: async (version, instead) => {
      const elsewhere = await deps.workers?.startAt(specs.known(version), instead && specs.known(instead))
      if (elsewhere) return elsewhere.fault
      try {
        if (instead === null || sandboxes.hasLoaded(specs.of(instead))) await sandboxes.start(specs.of(version))
      } catch (error) {
        if (error instanceof LoadError) return { type: error.errorType, message: error.errorWithPlace }
        log.warn({ project: version.project, function: version.functionName, error: String(error) }, 'no sandbox was started ahead of the first call')
      }
      return null
    },
    retired,
    deleted: (ref) => {
      functionSettings.forget(ref)
      return deps.gone(ref)
    },
    secrets,
    refusal: sandbox.refusal,
    egressWarning: sandbox.egressWarning,
    driverRefusal: sandbox.driverRefusal,
    limitProfileOf: deps.limitProfileOf,
    memoryBudgetMb: () => deps.workers?.memory.mostMb ?? (sandboxes.status().memory.budgetMb || null),
    expected: (version) => sandboxes.prepare(specs.of(version)),
    believable,
  })
  const apps = openAppBuilds({ config, host, data, functions, artefacts, sandboxes })
  const urls = new FunctionUrls({ control, functionId: async (ref, name) => (await functions.find(ref, name))?.id ?? null, believable })
  const { concurrency: node, projectConcurrency: perProject, functionConcurrency: perFunction } = config.invoke
  const admission = new Admission({ node, perProject, perFunction }, clock, {
    of: (id) => concurrency.of(id),
    weightOf: (ref) => concurrency.weightOf(ref),
    mostOf: (ref) => concurrency.mostOf(ref),
    get total() {
      return concurrency.total
    },
    get projects() {
      return concurrency.projects
    },
    get mostWeight() {
      return concurrency.mostWeight
    },
  })
  const here: KeepsLoaded = {
    provision: (version, count) => sandboxes.provision(specs.of(version), count),
    unprovision: (key) => sandboxes.unprovision(key),
    provisionedKeys: () => sandboxes.provisionedKeys(),
    provisioned: (key) => sandboxes.provisioned(key),
  }
  const kept = deps.workers?.keeps(here) ?? here
  const provisioning = opening.use(new Provisioning({ concurrency, functions, sandboxes: kept, retired, clock, log }))
  return {
    functions,
    apps,
    concurrency,
    secrets,
    settings: functionSettings,
    urls,
    specs,
    admission,
    kept,
    provisioning,
    links: new ArtefactLinks(clock),
    /** A project was changed, here or elsewhere: what is remembered of it is asked for again. */
    changed: (ref: ProjectRef): void => {
      void functions.refresh(ref)
      concurrency.heard()
      provisioning.look()
      functionSettings.forget(ref)
      void secrets.refresh(ref)
      urls.forget(ref)
    },
    dropProject: async (ref: ProjectRef): Promise<void> => {
      await functions.dropProject(ref)
      await apps.packages.dropProject(ref)
      functionSettings.forget(ref)
      secrets.forget(ref)
    },
  }
}

export type FunctionRoom = Awaited<ReturnType<typeof openFunctionRoom>>

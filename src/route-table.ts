import path from 'node:path'
import { routes as authRoutes } from './auth/http.ts'
import { type Auth, keyRoutes, tokenRoutes, type Tokens, type UserAdmin, userRoutes, type Users } from './auth/index.ts'
import type { Databases, Tx } from './backends/database/database.ts'
import type { Config } from './config.ts'
import type { InvocationCounters } from './core/counters.ts'
import type { DiskGuard } from './core/disk.ts'
import type { Journal } from './core/journal.ts'
import type { LogEntry } from './core/meter.ts'
import type { Project, ProjectRef } from './core/project.ts'
import type { Pausing } from './core/pausing.ts'
import type { Projects } from './core/projects.ts'
import type { Route } from './core/route.ts'
import { routes as dataRoutes } from './data/http.ts'
import type { Data } from './data/index.ts'
import { DEFAULT_PROJECT, projectUrl } from './defaults.ts'
import { routes as doorRoutes } from './door/http.ts'
import type { Door, DoorPlace } from './door/index.ts'
import { journalsOfAll, poolOfAll, problemsOfAll } from './all-processes.ts'
import { archivesOfFunctions } from './deploying.ts'
import { routes as deploymentRoutes } from './deployments/http.ts'
import { buildRoutes, type Deployments } from './deployments/index.ts'
import { routes as migrationRoutes } from './migrations/http.ts'
import type { Migrations } from './migrations/index.ts'
import type { FunctionRoom } from './function-room.ts'
import { lambdaRoutes, projectConcurrencyRoutes, routes as functionRoutes, secretRoutes, urlRoutes } from './functions/index.ts'
import { consoleRoutes, type Content, nodeRoutes, type OwnPorts, projectRoutes } from './gateway/index.ts'
import type { Host } from './host.ts'
import { callRoutes, type Invoker, lambdaInvokeRoutes, provisionedOf, type Queue, queueRoutes, urlDoorRoutes } from './invoke/index.ts'
import type { Logs } from './observe/index.ts'
import { metricsRoutes, routes as logRoutes } from './observe/http.ts'
import type { openSandboxRoom } from './opening.ts'
import type { ReadyLine } from './ready-line.ts'
import type { Realtime } from './realtime/index.ts'
import { routes as realtimeRoutes } from './realtime/http.ts'
import { bytesBelow, ownNumbers, type watchEventLoop } from './self-watch.ts'
import { routes as siteRoutes } from './sites/http.ts'
import type { Sites } from './sites/index.ts'
import { routes as storageRoutes } from './storage/http.ts'
import { messageQueueRoutes, sqsRoutes } from './queues/http.ts'
import { nameOfArn, type Queues } from './queues/index.ts'
import type { Storage } from './storage/index.ts'
import {
  busRoutes,
  type EventBus,
  type HttpRoutes,
  httpRoutes,
  routes as triggerRoutes,
  type Triggers,
  webhookRoutes,
  type WebhooksIn,
} from './triggers/index.ts'
import { routes as usageRoutes } from './usage/http.ts'
import type { Usage } from './usage/index.ts'
import { verifyUrlSignature } from './verify-aws.ts'
import type { Workforce } from './workforce.ts'

/** The rooms of a node, as far as they have routes. */
export interface Rooms {
  readonly config: Config
  readonly host: Host
  /** The data directory. */
  readonly data: string
  readonly databases: Databases
  readonly disk: DiskGuard
  readonly auth: Auth
  readonly tokens: Tokens
  readonly users: Users
  readonly userAdmin: UserAdmin
  readonly projects: Projects
  readonly pausing: Pausing
  readonly ownPorts: OwnPorts
  readonly content: Content
  readonly sandbox: Awaited<ReturnType<typeof openSandboxRoom>>
  readonly room: FunctionRoom
  readonly invoker: Invoker
  readonly queue: Queue
  readonly queues: Queues
  readonly triggers: Triggers
  readonly eventBus: EventBus
  readonly webhooks: WebhooksIn
  readonly httpRoutes: HttpRoutes
  readonly storage: Storage
  readonly tables: Data
  readonly door: Door
  /** Null until the node listens, and where it is closed. */
  readonly doorPlace: () => DoorPlace | null
  readonly realtime: Realtime
  readonly sites: Sites
  readonly deployments: Deployments
  readonly migrations: Migrations
  readonly logs: Logs
  readonly logJournal: Journal<LogEntry>
  readonly usage: Usage
  readonly counters: InvocationCounters
  readonly lag: ReturnType<typeof watchEventLoop>
  /** Null where the node is one process. */
  readonly workforce: Workforce | null
  readonly consoleLogin: () => Promise<string>
  /** Ends all logins of the console. @returns how many there were */
  readonly endLogins: () => Promise<number>
  readonly isReady: () => boolean
  /** Null until the node listens. */
  readonly readyLine: () => ReadyLine | null
  /** The node takes nothing new; then, nothing runs on. */
  readonly draining: AbortSignal
  readonly stopping: AbortSignal
}

/** Every route that the node has. */
export function routeTable(rooms: Rooms): Route[] {
  const {
    config,
    host,
    data,
    databases,
    disk,
    auth,
    tokens,
    projects,
    content,
    sandbox,
    room,
    invoker,
    queue,
    queues,
    triggers,
    eventBus,
    storage,
    tables,
    realtime,
    ownPorts,
  } = rooms
  const { sites, deployments, migrations, logs, logJournal, usage, counters, lag, workforce, draining, stopping } = rooms
  const { clock, log } = host
  const { sandboxes } = sandbox
  const { functions } = room
  const urlAddress = (origin: string, id: string) => content.functionUrl(origin, id)
  const siteAddress = (origin: string, ref: ProjectRef, site: string) => content.address(origin, ref, site)
  const statusOfWorkers = async () => (await workforce?.status()) ?? []
  const runningOfAll = (workers: readonly { readonly running: number }[]) => workers.reduce((sum, { running }) => sum + running, invoker.running)
  return [
    ...nodeRoutes({
      version: host.version,
      sandbox: () => {
        const own = sandbox.describe()
        return { ...own, problems: problemsOfAll(own.problems, workforce?.problems() ?? []) }
      },
      database: () => databases.kind,
      databaseMemoryMb: () => databases.memoryMb,
      databaseMissing: () => databases.missing,
      disk: () => disk.describe(),
      ready: rooms.isReady,
      status: async () => rooms.readyLine(),
      pool: async () => {
        const workers = await statusOfWorkers()
        const problems = problemsOfAll(
          sandboxes.problems(),
          workers.map(({ pulse }) => pulse),
        )
        const all = poolOfAll(sandboxes.status(), workers)
        return { ...all, missing: [...all.missing, ...databases.missing], problems, running: runningOfAll(workers) }
      },
      workers: () => workforce?.describe() ?? null,
    }),
    ...projectRoutes({
      projects,
      pausing: rooms.pausing,
      revealKeys: async (project) => {
        const legacy = await tokens.legacy.reveal(project)
        return { ...(await auth.revealProjectKeys(project)), ...(legacy && { legacy }) }
      },
      create: async (ref, name, profile, given, port) => {
        let asked: Project | null = null
        const issue = async (tx: Tx, project: Project) => {
          const { publishableKey: publishable, secretKey: secret } = given
          await auth.issueProjectKeys(tx, project, { ...(publishable && { publishable }), ...(secret && { secret }) })
          if (given.legacy) await tokens.legacy.bring(tx, project, given.legacy)
          asked = project
          if (port !== null) await ownPorts.bring(tx, project, port)
        }
        try {
          return await projects.create(ref, name, profile, issue)
        } catch (error) {
          // What is in the control database comes to be at the next start, and its port is its own.
          const made = asked as Project | null
          if (made !== null && projects.find(made.ref)?.id !== made.id) ownPorts.close(made.ref)
          throw error
        }
      },
      portOf: (ref) => ownPorts.of(ref),
      setPort: (project, port) => ownPorts.change(project, port),
      defaultProject: DEFAULT_PROJECT,
      audit: (what, project) => log.info({ audit: true, project }, what),
    }),
    ...tokenRoutes(tokens),
    ...userRoutes({
      users: rooms.users,
      admin: rooms.userAdmin,
      config: config.auth,
      version: host.version,
      clock,
      audit: (what, project) => log.info({ audit: true, project }, what),
    }),
    ...keyRoutes({
      keys: auth.keys,
      legacy: tokens.legacy,
      issuers: tokens.issuers,
      project: (ref) => projects.find(ref),
      cut: (ref) => realtime.dropProject(ref, 'a key was revoked'),
      audit: (what, project) => log.info({ audit: true, project }, what),
    }),
    ...authRoutes({ tokens: auth.tokens, audit: (what, project) => log.info({ audit: true, project }, what) }),
    ...consoleRoutes({
      login: rooms.consoleLogin,
      endAll: rooms.endLogins,
      audit: (what) => log.info({ audit: true }, what),
    }),
    ...functionRoutes({
      functions,
      links: room.links,
      concurrencyOf: (record) => ({ reserved: room.concurrency.of(record.id), kept: room.kept.provisioned(record.versionId) }),
    }),
    ...projectConcurrencyRoutes(room.concurrency),
    ...secretRoutes(room.secrets),
    ...urlRoutes({ urls: room.urls, urlAddress }),
    ...siteRoutes({ sites, address: siteAddress }),
    ...buildRoutes(room.apps.builds),
    ...deploymentRoutes({ deployments, address: siteAddress }),
    ...migrationRoutes({ migrations, audit: (what, project) => log.info({ audit: true, project }, what) }),
    ...logRoutes(logs, draining),
    ...metricsRoutes(async () => {
      const workers = await statusOfWorkers()
      return {
        invocations: workforce?.countersWith(counters) ?? counters,
        admission: () => ({
          running: runningOfAll(workers),
          limit: config.invoke.concurrency,
          waiting: room.admission.waiting,
          refused: room.admission.refused,
        }),
        provisioned: () => provisionedOf(room.kept),
        queue: async () => ({
          waiting: Math.max(0, queue.length - queue.running),
          running: queue.running,
          deadLetters: await queue.countDeadLetters(),
          backlog: triggers.backlog,
        }),
        sandboxes: () => poolOfAll(sandboxes.status(), workers),
        journals: async () =>
          journalsOfAll(
            [
              { name: 'logs', bytes: await bytesBelow(path.join(data, 'journal', 'main', 'logs')), dropped: logs.dropped, writable: logJournal.writable },
              { name: 'meters', bytes: await bytesBelow(path.join(data, 'journal', 'main', 'meters')), dropped: usage.dropped, writable: usage.writable },
            ],
            workers,
          ),
        logLinesUnseen: () => triggers.unseenLines(),
        logLinesDropped: () => workers.reduce((sum, { logLinesDropped }) => sum + logLinesDropped, logs.droppedByRate),
        disk: () => disk.samples,
        serversRunning: async () => (await databases.status()).filter((server) => server.running).length,
        process: () => ownNumbers(clock),
        workers: () => {
          const all = workforce?.describe() ?? []
          const ready = all.filter(({ state }) => state === 'ready').length
          return { wanted: all.length, ready, restarts: all.reduce((sum, { restarts }) => sum + restarts, 0) }
        },
        lag: lag.read,
        realtime: () => realtime.numbers,
      }
    }),
    ...usageRoutes(usage),
    ...callRoutes({ invoker, queue, functions, now: () => clock.now(), patienceMs: config.invoke.waitMs, stopping: stopping }),
    ...queueRoutes({ queue, functions, executionsOf: (ref, id) => usage.executionsOf(ref, id), clock, draining }),
    ...urlDoorRoutes({
      invoker,
      urls: room.urls,
      settings: room.settings,
      project: async (ref) => projects.find(ref),
      verifySignature: (request, from) => verifyUrlSignature(auth, request, from, clock),
      now: () => clock.now(),
      patienceMs: config.invoke.waitMs,
    }),
    ...triggerRoutes(triggers, (origin, ref) => projectUrl(config.node.publicUrl ?? origin, ref)),
    ...busRoutes(eventBus),
    ...httpRoutes({ routes: rooms.httpRoutes, invoker, now: () => clock.now(), patienceMs: config.invoke.waitMs }),
    ...webhookRoutes({ webhooks: rooms.webhooks, now: () => clock.now() }),
    ...messageQueueRoutes({ queues, draining }),
    ...sqsRoutes(queues),
    ...lambdaInvokeRoutes({ invoker, queue, functions, stopping: stopping }),
    ...realtimeRoutes(realtime),
    ...storageRoutes(storage),
    ...dataRoutes(tables),
    ...doorRoutes({ door: rooms.door, place: rooms.doorPlace, audit: (what, project) => log.info({ audit: true, project }, what) }),
    ...lambdaRoutes({
      functions,
      concurrency: room.concurrency,
      provisioned: (versionId) => room.kept.provisioned(versionId),
      links: room.links,
      settings: room.settings,
      archives: archivesOfFunctions(storage, (ref) => projects.find(ref)),
      urls: room.urls,
      urlAddress,
      hasQueue: (ref, arn) => {
        const name = nameOfArn(arn)
        return name === null ? null : queues.find(ref, name) !== null
      },
      architecture: process.arch === 'arm64' ? 'arm64' : 'x86_64',
    }),
  ]
}

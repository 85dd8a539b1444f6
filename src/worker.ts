import path from 'node:path'
import { Auth, Tokens } from './auth/index.ts'
import type { Bus, BusValue } from './backends/bus/bus.ts'
import { connectionOf } from './backends/database/external.ts'
import { PostgresDatabase } from './backends/database/postgres.ts'
import { BusyHere, bringHere } from './busy-here.ts'
import { InvocationCounters } from './core/counters.ts'
import { DiskGuard } from './core/disk.ts'
import { MayflyError } from './core/errors.ts'
import { Journal } from './core/journal.ts'
import { KnownProjects } from './core/known-projects.ts'
import type { LogEntry } from './core/meter.ts'
import type { ProjectRef } from './core/project.ts'
import { ProjectVersions } from './core/project-versions.ts'
import { publicFetch } from './core/public-fetch.ts'
import { Sealer } from './core/seal.ts'
import { DEFAULT_PROJECT, issuerOf } from './defaults.ts'
import type { Version } from './functions/index.ts'
import { Content, Gateway, HandOver, HostNames, Peer, TrustedProxies } from './gateway/index.ts'
import { Homes, socketOf } from './homes.ts'
import type { Host } from './host.ts'
import { type KeptStates, ToldOfKept } from './kept-loaded.ts'
import type { Clock } from './lib/clock.ts'
import { callRoutes, inspectUpgrades, Invoker, lambdaInvokeRoutes, LeasedSlots, urlDoorRoutes } from './invoke/index.ts'
import { MiB } from './lib/bytes.ts'
import { Ticking } from './lib/ticking.ts'
import { tlsOf } from './listening.ts'
import { Logs } from './observe/index.ts'
import { openSandboxRoom } from './opening.ts'
import { findGuests, leasedMemory, type ProvisionedState, WorkingElsewhere } from './sandbox/index.ts'
import { bytesBelow } from './self-watch.ts'
import { type MeterEntry, readPriceList, Usage } from './usage/index.ts'
import { verifyAws, verifyUrlSignature } from './verify-aws.ts'
import { openWorkerRoom } from './worker-room.ts'
import { HttpRoutes, httpRoutes } from './triggers/http.ts'
import { type Boot, peerOf, type Pulse, type WorkerStatus } from './workforce.ts'

/** Of the control database's, all processes together. */
const CONNECTIONS = 3
const KEPT_LOOK_MS = 200
/** How often it is told at most that a project is used. */
const TOLD_MS = 1_000
const FAREWELL_MS = 2_000

/**
 * A process that takes connections beside the main one and runs functions itself. What it knows it reads from the control
 * database as the main process does; what is not a call it hands there.
 */
export class RunningWorker implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack
  readonly ended: Promise<void>

  private constructor(stack: AsyncDisposableStack, ended: Promise<void>) {
    this.#stack = stack
    this.ended = ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }

  static async start(boot: Boot, host: Host, bus: Bus): Promise<RunningWorker> {
    await using opening = new AsyncDisposableStack()
    const { worker, config, data } = boot
    const { clock, log } = host
    const { node: settings } = config
    const name = `worker-${worker}`
    // How a server that is not ours proves itself cannot be written down in a message.
    const reached = settings.databaseUrl === null ? boot.control : connectionOf(settings.databaseUrl)
    const control = opening.use(new PostgresDatabase(reached, { max: CONNECTIONS, statementTimeoutMs: 60_000 }))
    const sealer = new Sealer(Buffer.from(boot.key, 'base64'))
    const projects = new KnownProjects(control, sealer)
    /** What a change that was found has still to be read again for. */
    const rereading = new Set<Promise<unknown>>()
    const reread = (work: Promise<unknown>) => {
      const settled = work.catch((error: Error) => log.warn({ error: error.message }, 'what was changed could not be read again yet'))
      rereading.add(settled)
      void settled.finally(() => rereading.delete(settled))
    }
    const versions = opening.use(
      new ProjectVersions({
        database: control,
        clock,
        log,
        onChange: (ref) => {
          auth.forget()
          tokens.forget()
          reread(projects.refresh())
          reread(room.changed(ref))
          routesOfProjects.forget(ref)
        },
      }),
    )
    const routesOfProjects = new HttpRoutes({ control, believable: () => versions.believable })
    const auth = new Auth(control, sealer, clock, () => versions.believable)
    const tokens = new Tokens({
      database: control,
      sealer,
      clock,
      believable: () => versions.believable,
      issuerOf: (ref) => issuerOf(settings.publicUrl ?? boot.address, ref),
      fetch: (url, asked) => publicFetch(url, asked, config.auth.issuerOrigins),
      log,
    })
    auth.believeOperator(Buffer.from(boot.operatorHash, 'base64'))
    const journals = path.join(data, 'journal', name)
    const logJournal = opening.use(await Journal.open<LogEntry>(path.join(journals, 'logs'), log))
    const meterJournal = opening.use(await Journal.open<MeterEntry>(path.join(journals, 'meters'), log))
    const logs = opening.use(
      new Logs({
        journal: logJournal,
        database: control,
        clock,
        log,
        retentionDays: config.observe.retentionDays,
        projectBytes: config.observe.projectLogMb * MiB,
        process: name,
      }),
    )
    const counters = new InvocationCounters()
    const usage = opening.use(
      new Usage({ journal: meterJournal, database: control, clock, log, counters, ...config.usage, prices: readPriceList(config.usage.prices), process: name }),
    )
    // What the one before left, its sandboxes and its records, is cleared away before anything new begins.
    const place = { data, instanceId: boot.instanceId, process: worker, processes: boot.workers + 1, found: boot.driver }
    const shares = { projects: () => room.concurrency.projects, weightOf: (ref: string) => room.concurrency.weightOf(ref) }
    const sandbox = await openSandboxRoom(config, host, place, await findGuests(host.root, boot.python), shares, {
      memory: leasedMemory(bus, worker, boot.memoryMb),
      elsewhere: new WorkingElsewhere(bus, worker, clock),
    })
    opening.use(sandbox.sandboxes)
    const slots = opening.use(new LeasedSlots(bus, worker, clock))
    let gateway: Gateway | null = null
    const room = openWorkerRoom(opening, {
      config,
      host,
      data,
      control,
      sealer,
      auth,
      bus,
      sandbox,
      believable: () => versions.believable,
      countEgress: (egress) => usage.carried(egress),
      gateway: () => gateway,
      address: boot.address,
      port: boot.port,
    })
    await projects.refresh()
    await Promise.all([logs.start(), usage.start(), versions.start(), room.concurrency.refresh()])
    const stopping = new AbortController()
    const invoker = opening.use(
      new Invoker({
        functions: room.functions,
        sandboxes: sandbox.sandboxes,
        admission: slots,
        meter: usage,
        logs,
        specs: room.specs,
        clock,
        log,
        meterWritable: () => usage.writable,
        enter: openUses(bus, clock),
      }),
    )
    const disk = opening.use(
      await DiskGuard.open({
        places: [
          { name: 'the data directory', folder: data },
          { name: "the data directory's journal", folder: path.join(data, 'journal') },
        ],
        reserveMb: settings.diskReserveMb,
        ballast: null,
        clock,
        log,
      }),
    )
    const project = async (ref: ProjectRef) => projects.find(ref)
    const content = new Content({
      sites: NO_SITES,
      project,
      defaultProject: DEFAULT_PROJECT,
      publishableKey: () => Promise.reject(elsewhere()),
      domain: settings.domain,
      publicUrl: settings.publicUrl,
    })
    const { functions, urls } = room
    const queue = { enqueue: () => Promise.reject(elsewhere()), maxPayloadBytes: () => 0 }
    const patienceMs = config.invoke.waitMs
    const routes = [
      ...callRoutes({ invoker, queue, functions, now: () => clock.now(), patienceMs, stopping: stopping.signal }),
      ...urlDoorRoutes({
        invoker,
        urls,
        settings: room.settings,
        project,
        verifySignature: (request, from) => verifyUrlSignature(auth, request, from, clock),
        now: () => clock.now(),
        patienceMs,
      }),
      ...httpRoutes({ routes: routesOfProjects, invoker, now: () => clock.now(), patienceMs }),
      ...lambdaInvokeRoutes({ invoker, queue, functions, stopping: stopping.signal }),
    ]
    const homes = opening.use(new Homes(worker, boot.folder, bus))
    homes.serve(new BusyHere(clock, bringHere(room, sandbox.sandboxes)))
    const main = opening.use(new Peer(socketOf(boot.folder, 0)))
    const named = [...settings.allowHost, ...(settings.publicUrl === null ? [] : [new URL(settings.publicUrl).hostname])]
    const served = opening.use(
      new Gateway({
        routes,
        upgrades: inspectUpgrades({ functions, sandboxes: sandbox.sandboxes, specs: room.specs, clock, log }),
        credentials: {
          verifyKey: (text) => auth.verifyKey(text),
          verifyToken: (ref, token) => tokens.verify(ref, token),
          verifyHandle: (text) => auth.verifyHandle(text),
        },
        verifyAws: (request, relay, service) => verifyAws(auth, request, relay, clock, service),
        project: (ref) => projects.find(ref),
        defaultProject: DEFAULT_PROJECT,
        mayLoop: ({ project: ref, functionName }) => room.settings.mayLoop(ref as ProjectRef, functionName),
        admitSpace: (adds) => disk.admit(adds),
        content,
        hosts: new HostNames([...named, ...(settings.domain === null ? [] : [settings.domain])]),
        proxies: new TrustedProxies(settings.behindProxy),
        clock,
        log,
        tls: tlsOf(config),
        processes: {
          handOver: new HandOver({ routes, content, rest: main, of: (asked) => peerOf(asked, { auth, urls, httpRoutes: routesOfProjects }, homes) }),
          handleOf: (identity) => auth.handleOf(identity),
          adoptHandle: (identity, handle) => auth.adoptHandle(identity, handle),
          settled: async () => {},
          homeOf: () => null,
        },
      }),
    )
    gateway = served

    const { sandboxes } = sandbox
    const keptStates = (): KeptStates => Object.fromEntries(sandboxes.provisionedKeys().map((key) => [key, sandboxes.provisioned(key) as ProvisionedState]))
    const told = new ToldOfKept(keptStates)
    const looker = opening.use(
      new Ticking(KEPT_LOOK_MS, () => {
        for (const kept of told.changed()) bus.publish('workers.kept', { worker, kept: kept as unknown as BusValue })
        return room.keepsAny()
      }),
    )
    const pulse = (): Pulse => ({ counters: counters.snapshot(), kept: told.some(), problems: sandboxes.problems() })
    const ended = Promise.withResolvers<void>()
    const answer = (what: string, how: (value: BusValue) => Promise<unknown>) =>
      opening.use(bus.respond(`worker.${worker}.${what}`, async (value) => ((await how(value)) ?? null) as BusValue))
    answer('pulse', async () => pulse())
    answer('sync', async () => {
      await versions.beat()
      await Promise.all(rereading)
      // Limits may be others now.
      slots.giveBackIdle()
    })
    answer('store', () => Promise.all([logs.catchUp(), usage.catchUp()]).then(() => null))
    answer('depart', async (value) => {
      const ref = value as ProjectRef
      await versions.beat()
      await Promise.all(rereading)
      room.dropProject(ref)
      await Promise.all([logs.depart(ref), usage.depart(ref)])
    })
    answer('rest', async (value) => room.rest(value as ProjectRef))
    answer('start', (value) => room.start(value as unknown as { version: Version; instead: Version | null }))
    answer('provision', async (value) => {
      const { version, count } = value as unknown as { version: Version; count: number }
      room.keep(version, count)
      looker.wake()
    })
    answer('unprovision', async (value) => room.letGo(value as string))
    answer(
      'status',
      async (): Promise<WorkerStatus> => ({
        running: invoker.running,
        pool: sandboxes.status(),
        journals: [
          { name: 'logs', bytes: await bytesBelow(path.join(journals, 'logs')), dropped: logs.dropped, writable: logJournal.writable },
          { name: 'meters', bytes: await bytesBelow(path.join(journals, 'meters')), dropped: usage.dropped, writable: usage.writable },
        ],
        logLinesDropped: logs.droppedByRate,
        pulse: pulse(),
      }),
    )
    answer('drain', async (graceMs) => {
      await served.drain(graceMs as number)
      await main.quiet(clock, FAREWELL_MS)
      stopping.abort(new MayflyError('shutting_down', 'the node is stopping'))
      ended.resolve()
    })
    opening.use(bus.subscribe('version.retired', (value) => room.retired(value as string)))

    // Who follows a log waits in the main process.
    const stop = new AbortController()
    opening.defer(() => stop.abort())
    void (async () => {
      while (!stop.signal.aborted) {
        await logs.changed(60_000, stop.signal)
        bus.publish('logs.stored', null)
      }
    })()

    await served.listenForPeers(socketOf(boot.folder, worker))
    // From here on the main process tells of changes; what was changed before that is found once more by this.
    const live = (await bus.request('worker.ready', worker, AbortSignal.timeout(10_000))) as number[]
    homes.set(live)
    await versions.beat()
    await Promise.all(rereading)
    await served.listen(settings.host ?? '127.0.0.1', boot.port, true)
    void functions.expectAll(stopping.signal)
    const stack = opening.move()
    return new RunningWorker(stack, ended.promise)
  }
}

/** Tells the main process which projects have calls here, and no more often than that must be known. */
function openUses(bus: Bus, clock: Clock): (ref: ProjectRef) => Disposable {
  const toldAt = new Map<ProjectRef, number>()
  const tell = (ref: ProjectRef) => {
    const now = clock.monotonic()
    if (now - (toldAt.get(ref) ?? Number.NEGATIVE_INFINITY) < TOLD_MS) return
    toldAt.set(ref, now)
    bus.publish('project.used', ref)
  }
  return (ref) => {
    tell(ref)
    return { [Symbol.dispose]: () => tell(ref) }
  }
}

const elsewhere = () => new MayflyError('internal', 'that is kept by the main process of the node')
/** Requests for sites are handed on before anything of a site is looked at. */
const NO_SITES = { find: () => Promise.reject(elsewhere()), read: () => Promise.reject(elsewhere()), readCompressed: () => Promise.reject(elsewhere()) }

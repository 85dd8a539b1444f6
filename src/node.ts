import { existsSync } from 'node:fs'
import path from 'node:path'
import { Auth, ConsoleSessions, Passwords, Tokens, UserAdmin, Users } from './auth/index.ts'
import { DiskBlobs } from './backends/blobs/disk.ts'
import type { Bus } from './backends/bus/bus.ts'
import { openInProcessBus } from './backends/bus/in-process.ts'
import type { Databases } from './backends/database/database.ts'
import { EMBEDDED_MAJOR } from './backends/database/embedded.ts'
import type { Config } from './config.ts'
import { Ballast } from './core/ballast.ts'
import { InvocationCounters } from './core/counters.ts'
import { DataDirectory, StartError, startTicks } from './core/data-directory.ts'
import { DiskGuard } from './core/disk.ts'
import { Journal } from './core/journal.ts'
import { LIMITS } from './core/limits.ts'
import type { LogEntry } from './core/meter.ts'
import type { Project, ProjectRef } from './core/project.ts'
import { ProjectVersions } from './core/project-versions.ts'
import { Pausing, waking } from './core/pausing.ts'
import { Projects } from './core/projects.ts'
import { publicFetch } from './core/public-fetch.ts'
import { instanceKey, Sealer } from './core/seal.ts'
import { Stays } from './core/stays.ts'
import { bucketsOfDeployment, queuesOfDeployment, triggersOfDeployment, urlsOfDeployment } from './deploying.ts'
import { Data } from './data/index.ts'
import { Deployments } from './deployments/index.ts'
import { upgrades as doorUpgrades } from './door/http.ts'
import { Door, type DoorPlace } from './door/index.ts'
import { Migrations } from './migrations/index.ts'
import { ConsoleListener, Content, Gateway, HostNames, isConsoleName, OwnPorts, TrustedProxies, usualWorkers } from './gateway/index.ts'
import type { Host } from './host.ts'
import { destinationsOf, inspectUpgrades, Invoker, Queue, SlotLender } from './invoke/index.ts'
import { MiB } from './lib/bytes.ts'
import { randomFraction } from './lib/ids.ts'
import { OwnGroup } from './lib/own-group.ts'
import { storeFormerJournals } from './former-journals.ts'
import { checkDoors, consoleHost, listen, listenForPostgres, readText, tlsOf } from './listening.ts'
import { Logs } from './observe/index.ts'
import { openDatabases, openSandboxRoom, sweepFormerWorkers } from './opening.ts'
import { findGuests, WorkingElsewhere } from './sandbox/index.ts'
import { Queues } from './queues/index.ts'
import { SiteFiles, Sites } from './sites/index.ts'
import { Heard, Realtime } from './realtime/index.ts'
import { upgrades as realtimeUpgrades } from './realtime/http.ts'
import { DEFAULT_PROJECT, issuerOf, REGION } from './defaults.ts'
import type { Concurrency } from './functions/index.ts'
import { BusyHere, bringHere } from './busy-here.ts'
import { openFunctionRoom } from './function-room.ts'
import { restOf } from './resting.ts'
import type { ReadyLine } from './ready-line.ts'
import { routeTable } from './route-table.ts'
import { writeRun } from './run-file.ts'
import { watchEventLoop } from './self-watch.ts'
import { Storage } from './storage/index.ts'
import { type MeterEntry, PriceListError, type PriceList, readPriceList, Usage } from './usage/index.ts'
import { EventBus, eventSources, HttpRoutes, noteUnseen, Triggers, WebhooksIn } from './triggers/index.ts'
import { verifyAws } from './verify-aws.ts'
import { Workforce } from './workforce.ts'

const SWEEP_MS = 3_600_000

/** A running node: everything opened in order, and given back in reverse. */
export class RunningNode implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack
  readonly #drain: () => Promise<void>
  readonly ready: ReadyLine
  readonly operatorToken: string
  /** Where it is on this machine; what `ready` tells may be what the world sees. */
  readonly listens: string
  readonly directory: DataDirectory
  readonly #markReady: () => Promise<void>
  readonly #consoleLogin: () => Promise<string>

  private constructor(parts: {
    stack: AsyncDisposableStack
    drain: () => Promise<void>
    ready: ReadyLine
    operatorToken: string
    listens: string
    directory: DataDirectory
    markReady: () => Promise<void>
    consoleLogin: () => Promise<string>
  }) {
    this.#stack = parts.stack
    this.#drain = parts.drain
    this.ready = parts.ready
    this.operatorToken = parts.operatorToken
    this.listens = parts.listens
    this.directory = parts.directory
    this.#markReady = parts.markReady
    this.#consoleLogin = parts.consoleLogin
  }

  /** A fresh address of the console that signs in whoever opens it first: valid once and for 15 minutes. */
  consoleLogin(): Promise<string> {
    return this.#consoleLogin()
  }

  /** Says to the world (`/ready`, run.json) that it takes work. */
  async announce(): Promise<void> {
    await this.#markReady()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#drain()
    await this.#stack.disposeAsync()
  }

  static async start(config: Config, host: Host): Promise<RunningNode> {
    await using opening = new AsyncDisposableStack()
    const { clock, log } = host
    const { node: settings } = config
    checkDoors(config)
    const prices = pricesOf(config.usage.prices)
    // Asks a program, which answers while the database starts.
    const guests = findGuests(host.root)

    const external = settings.databaseUrl !== null
    const directory = opening.use(
      await DataDirectory.open(settings.data, () => ({ instanceId: host.newId(), postgresMajor: external ? null : EMBEDDED_MAJOR }), clock),
    )
    const data = directory.path
    const given = settings.instanceKey ?? (settings.instanceKeyFile === null ? null : readText(settings.instanceKeyFile, 'instance key'))
    const wasExternal = directory.instance.postgresMajor === null
    if (wasExternal !== external) {
      throw new StartError(
        wasExternal
          ? `The data directory ${data} belongs to a node on an external PostgreSQL: give its address with --database-url, or choose another place with --data.`
          : `The data directory ${data} has a PostgreSQL of its own inside: leave --database-url away, or choose another place with --data.`,
      )
    }
    const hasData = !directory.isNew && (external || existsSync(path.join(data, 'pg')))
    const key = await instanceKey({ file: path.join(data, 'instance.key'), given, isNew: !hasData })
    const sealer = new Sealer(key)

    const ballast = new Ballast(data, LIMITS.ballast.value)
    const count = settings.workers === 'auto' ? usualWorkers(host.cores) : settings.workers
    // Before anything is started that belongs to it: workers and PostgreSQL.
    opening.use(await OwnGroup.enter(`mayfly-${directory.instance.instanceId.replaceAll('-', '').slice(-12)}-node`))
    // What is theirs to load they load while the database starts; they are ended before it is.
    await using early = new AsyncDisposableStack()
    const workforce: Workforce | null =
      count === 0
        ? null
        : early.use(
            await Workforce.open({
              count,
              config,
              host,
              directory,
              key,
              control: () => places.controlConnection(),
              lender: (): SlotLender => lender as SlotLender,
              found: () => ({ driver: sandbox.found, python: sandbox.python }),
              provisioningChanged: () => room.provisioning.look(),
            }),
          )
    const places: Databases = opening.use(await openDatabases(config, host, data, sealer, ballast))
    const databases = waking(places, (ref) => pausing.wake(ref))
    early.move()
    if (workforce) opening.use(workforce)
    const bus: Bus = workforce?.bus ?? opening.use(openInProcessBus())
    const versions = opening.use(
      new ProjectVersions({
        database: databases.control,
        clock,
        log,
        onChange: (ref) => {
          auth.forget()
          tokens.forget()
          room.changed(ref)
          httpRoutes.forget(ref)
          void projects.heard(ref)
          sites.invalidate(ref)
        },
      }),
    )
    const httpRoutes = new HttpRoutes({ control: databases.control, believable: () => versions.believable })
    const auth = new Auth(databases.control, sealer, clock, () => versions.believable)
    const tokens = new Tokens({
      database: databases.control,
      sealer,
      clock,
      believable: () => versions.believable,
      issuerOf: (ref) => issuerOf(settings.publicUrl ?? address, ref),
      fetch: (url, asked) => publicFetch(url, asked, config.auth.issuerOrigins),
      log,
    })
    const others = workforce === null ? {} : { others: () => workforce.stored() }
    const logJournal = opening.use(await Journal.open<LogEntry>(path.join(data, 'journal', 'main', 'logs'), log))
    const meterJournal = opening.use(await Journal.open<MeterEntry>(path.join(data, 'journal', 'main', 'meters'), log))
    const logs = opening.use(
      new Logs({
        journal: logJournal,
        database: databases.control,
        clock,
        log,
        retentionDays: config.observe.retentionDays,
        projectBytes: config.observe.projectLogMb * MiB,
        going: (tx, gone) => noteUnseen(tx, gone, log),
        ...others,
      }),
    )
    const counters = new InvocationCounters()
    const usage = opening.use(new Usage({ journal: meterJournal, database: databases.control, clock, log, counters, ...config.usage, prices, ...others }))
    const lag = opening.use(watchEventLoop())

    let concurrency: Concurrency | null = null
    const shares = { projects: () => concurrency?.projects ?? 1, weightOf: (ref: string) => concurrency?.weightOf(ref) ?? 1 }
    const place = { data, instanceId: directory.instance.instanceId, processes: count + 1 }
    const sandbox = await openSandboxRoom(
      config,
      host,
      { ...place, process: 0 },
      await guests,
      shares,
      workforce && { memory: workforce.memory.own, elsewhere: new WorkingElsewhere(bus, 0, clock) },
    )
    opening.use(sandbox.sandboxes)
    const draining = new AbortController()
    const stopping = new AbortController()
    let address = ''
    let port = 0
    let gateway: Gateway | null = null
    const stays = new Stays()
    const room = await openFunctionRoom(opening, {
      config,
      host,
      data,
      control: databases.control,
      sealer,
      auth,
      bus,
      stays,
      sandbox,
      believable: () => versions.believable,
      workers: workforce,
      countEgress: (egress) => usage.carried(egress),
      limitProfileOf: (ref) => projects.limitProfileOf(ref),
      gateway: () => gateway,
      address: () => address,
      port: () => port,
      gone: (ref) => triggers.functionGone(ref),
    })
    workforce?.homes.serve(new BusyHere(clock, bringHere(room, sandbox.sandboxes)))
    const { functions } = room
    concurrency = room.concurrency
    const lender: SlotLender | null = workforce === null ? null : opening.use(new SlotLender(room.admission, bus))
    const admits = lender ?? room.admission
    const siteFiles = new SiteFiles(path.join(data, 'sites'))
    await siteFiles.recover()
    const sites = new Sites({ control: databases.control, files: siteFiles, stays, clock, believable: () => versions.believable })
    const blobs = opening.use(await DiskBlobs.open({ root: path.join(data, 'blobs'), clock }))
    const disk = opening.use(
      await DiskGuard.open({
        places: [
          { name: 'the data directory', folder: data },
          // Any of them may be a mount of its own.
          ...['pg', 'journal', 'artefacts', 'blobs', 'sites', 'sandboxes', 'cache'].map((name) => ({
            name: `the data directory's ${name}`,
            folder: path.join(data, name),
          })),
        ],
        reserveMb: settings.diskReserveMb,
        ballast,
        clock,
        log,
      }),
    )
    const sweeper = setInterval(() => {
      void functions.sweep().catch((error: Error) => log.warn({ error: error.message }, 'old versions could not be removed'))
      void room.apps.packages.sweep().catch((error: Error) => log.warn({ error: error.message }, 'packages that are not used any more could not be removed'))
      void sites.sweep().catch((error: Error) => log.warn({ error: error.message }, 'files of former sites could not be removed'))
    }, SWEEP_MS)
    sweeper.unref()
    opening.defer(() => clearInterval(sweeper))
    const queues = opening.use(
      new Queues({
        database: databases.control,
        admitSpace: () => disk.admit('data'),
        projectBytes: config.queues.projectMb * MiB,
        mostQueues: config.queues.perProject,
        newId: host.newId,
        crash: host.crash,
        clock,
        log,
      }),
    )

    const queue: Queue = opening.use(
      new Queue({
        database: databases.control,
        invoke: (invocation, signal) => invoker.invoke(invocation, signal),
        admitSpace: () => disk.admit('data'),
        limitProfileOf: (ref) => projects.limitProfileOf(ref as ProjectRef),
        recorded: () => Promise.all([usage.settled(), logs.settled()]),
        holder: directory.instance.instanceId,
        concurrency: config.invoke.queueConcurrency,
        freeOf: (functionId) => admits.freeOf(functionId),
        maxAttempts: config.invoke.maxAttempts,
        maxAgeMs: config.invoke.maxAgeMs,
        deadLetterDays: config.invoke.deadLetterDays,
        triesOf: async (project, name, qualifier) => {
          const own = (await functions.resolve(project, name, qualifier)).definition.async
          const set = await room.settings.eventInvokeOf(project, name, qualifier)
          return {
            ...own,
            maxAttempts: set?.maxRetries == null ? own.maxAttempts : set.maxRetries + 1,
            maxAgeSeconds: set?.maxAgeSeconds ?? own.maxAgeSeconds,
          }
        },
        meterIn: (tx, records) => usage.storeIn(tx, records),
        metered: (records) => usage.stored(records),
        webhooks: {
          fetch: (url, asked) => publicFetch(url, asked, config.invoke.webhookOrigins),
          secretOf: async (ref, name) => {
            await room.secrets.ready(ref)
            return room.secrets.of(ref)?.[name] ?? null
          },
          now: () => clock.now(),
        },
        startedBy: async (tx, ref, bus, forms, depth, loopers) => {
          const project = projects.find(ref)
          return project ? await eventBus.startedBy(tx, project, bus, forms, forms[0]?.id ?? host.newId(), depth, loopers) : { entries: [], letters: [] }
        },
        destinationsOf: destinationsOf({ functions, settings: room.settings, region: REGION }),
        queues,
        newId: host.newId,
        crash: host.crash,
        clock,
        random: randomFraction,
        log,
      }),
    )
    const storage = opening.use(
      new Storage({
        databases,
        blobs,
        projects: () => projects.list(),
        rests: ({ ref }) => pausing.rests(ref),
        stays,
        maxObjectBytes: config.storage.objectMb * MiB,
        wake: (ref) => triggers.wake(ref),
        crash: host.crash,
        clock,
        log,
      }),
    )
    const tables = opening.use(new Data({ databases, config: config.data, clock, log }))
    const door = opening.use(new Door({ databases, sealer, project: (ref) => projects.find(ref), clock, log }))
    let doorPlace: DoorPlace | null = null
    const passwords = new Passwords(host.cores)
    const users = new Users({ databases, tokens, passwords, refreshSecret: sealer.derive('refresh tokens'), newId: host.newId, clock })
    const userAdmin = new UserAdmin({ databases, users, passwords, newId: host.newId })
    const realtime = opening.use(
      new Realtime({
        databases,
        config: config.realtime,
        verifyToken: (ref, token) => tokens.verify(ref, token),
        hear: (project, hear) => new Heard({ project, databases, clock, log, hear }),
        newId: host.newId,
        clock,
        log,
      }),
    )
    const bucketsOf = bucketsOfDeployment(storage, (ref) => projects.find(ref))
    const triggers: Triggers = opening.use(
      new Triggers({
        sources: eventSources(),
        databases,
        functions,
        queue,
        queues,
        logs,
        mappings: () => room.settings.activeSources('sqs'),
        mappingsOf: (ref) => room.settings.eventSources(ref, { functionName: null, qualifier: null, sourceArn: null }, null, LIMITS.eventSourceMappings.value),
        invoke: (invocation, signal) => invoker.invoke(invocation, signal),
        recorded: () => Promise.all([usage.settled(), logs.settled()]),
        loopers: (ref) => room.settings.loopers(ref),
        hasBucket: async (ref, name) => (await bucketsOf.get(ref, name)) !== null,
        project: (ref) => projects.find(ref),
        projects: () => projects.list(),
        rests: (ref) => pausing.rests(ref),
        secretNames: async (ref) => (await room.secrets.list(ref)).map(({ name }) => name),
        routesChanged: (ref) => httpRoutes.forget(ref),
        newId: host.newId,
        region: REGION,
        crash: host.crash,
        clock,
        log,
      }),
    )
    const webhooks = new WebhooksIn({
      control: databases.control,
      queue,
      secretsOf: async (ref) => {
        await room.secrets.ready(ref)
        return room.secrets.of(ref) ?? {}
      },
      newId: host.newId,
      log,
    })
    const eventBus = new EventBus({
      control: databases.control,
      queue,
      loopers: (ref) => room.settings.loopers(ref),
      newId: host.newId,
      region: REGION,
      crash: host.crash,
      clock,
    })
    const migrations = new Migrations({
      databases,
      clock,
      served: async (ref) => (await (await tables.placeOf(ref)).schema.current()).settings.schemas,
      changed: async (ref) => await tables.changed(ref),
    })
    const ownPorts = opening.use(
      new OwnPorts({ database: databases.control, gateway: () => gateway as Gateway, host: settings.host, tls: tlsOf(config), clock, log }),
    )
    const projects: Projects = new Projects({
      databases,
      sealer,
      clock,
      log,
      onCreate: (tx, project) => auth.issueProjectKeys(tx, project),
      onClone: async (source, project) => {
        using _bytes = storage.holdBytes(source)
        await databases.cloneProject(source.ref, project.ref)
        host.crash('afterCloneDatabase')
        await storage.cloneProject(source, project)
        host.crash('afterCloneObjects')
        await queues.cloneProject(source.ref, project.ref)
        await triggers.clearCopy(project.ref)
        // Its login roles have the passwords of the source until then.
        await databases.ensureProject(project.ref)
        await auth.endSessions(await databases.openLogin(project.ref))
      },
      onDelete: async (project) => {
        await stays.end(project.id)
        await workforce?.depart(project.ref)
        await room.dropProject(project.ref)
        await sites.dropProject(project.ref)
        await triggers.dropProject(project.ref)
        await queue.dropProject(project.ref)
        await queues.dropProject(project.ref)
        door.end(project.ref, 'all')
        ownPorts.close(project.ref)
        await realtime.dropProject(project.ref)
        await tables.dropProject(project.ref)
        await migrations.dropProject(project.ref)
        await storage.dropProject(project)
        await logs.dropProject(project.ref)
        await usage.dropProject(project.ref)
        pausing.forget(project.ref)
        auth.forget()
        tokens.forget()
      },
    })
    const pausing: Pausing = opening.use(
      new Pausing({
        control: places.control,
        projects,
        ...restOf({ places, room, sandboxes: sandbox.sandboxes, workforce, realtime, door, tables, triggers, queue }),
        idleMs: settings.pauseAfterSeconds * 1000,
        crash: host.crash,
        clock,
        log,
      }),
    )
    await pausing.start()
    await storeFormerJournals(data, { database: databases.control, clock, log, config })
    await sweepFormerWorkers(config, host, place, await guests)
    await Promise.all([projects.start(), logs.start(), usage.start(), versions.start(), room.concurrency.refresh(), queues.start()])
    const isFirst = projects.find(DEFAULT_PROJECT) === null
    if (isFirst) await projects.create(DEFAULT_PROJECT, DEFAULT_PROJECT)

    const invoker = opening.use(
      new Invoker({
        functions,
        sandboxes: sandbox.sandboxes,
        admission: admits,
        meter: usage,
        logs,
        specs: room.specs,
        clock,
        log,
        meterWritable: () => usage.writable,
        enter: (ref) => pausing.enter(ref),
      }),
    )
    const deployments = opening.use(
      new Deployments({
        control: databases.control,
        sealer,
        rooms: {
          functions,
          sites,
          buckets: bucketsOf,
          triggers: triggersOfDeployment(triggers),
          urls: urlsOfDeployment(room.urls),
          queues: queuesOfDeployment(queues),
          migrations,
        },
        clock,
        log,
        crash: host.crash,
      }),
    )
    const operatorToken = auth.issueOperatorToken()
    let isReady = false
    let readyLine: ReadyLine | null = null
    const consoleSessions = new ConsoleSessions({
      database: databases.control,
      clock,
      sessionHours: config.auth.consoleSessionHours,
      idleHours: config.auth.consoleIdleHours,
    })
    const consoleLogin = async () => `${readyLine?.console}/#code=${await consoleSessions.issueCode()}`
    const named = [...settings.allowHost, ...(settings.publicUrl === null ? [] : [new URL(settings.publicUrl).hostname])]
    const hosts = new HostNames([...named, ...(settings.domain === null ? [] : [settings.domain])])
    const content = new Content({
      sites,
      project: async (ref) => projects.find(ref),
      defaultProject: DEFAULT_PROJECT,
      publishableKey: async (project) => (await auth.revealProjectKeys(project)).publishableKey,
      domain: settings.domain,
      publicUrl: settings.publicUrl,
    })
    const routes = routeTable({
      config,
      host,
      data,
      databases,
      disk,
      auth,
      tokens,
      users,
      userAdmin,
      projects,
      pausing,
      ownPorts,
      content,
      sandbox,
      room,
      invoker,
      queue,
      queues,
      triggers,
      eventBus,
      webhooks,
      httpRoutes,
      storage,
      tables,
      door,
      doorPlace: () => doorPlace,
      realtime,
      sites,
      deployments,
      migrations,
      logs,
      logJournal,
      usage,
      counters,
      lag,
      workforce,
      consoleLogin,
      endLogins: async () => {
        const ended = await consoleSessions.endAll()
        consoleListener.cut(null)
        return ended
      },
      isReady: () => isReady,
      readyLine: () => readyLine,
      draining: draining.signal,
      stopping: stopping.signal,
    })
    const tls = tlsOf(config)
    const proxies = new TrustedProxies(settings.behindProxy)
    const served = opening.use(
      new Gateway({
        routes,
        upgrades: [
          ...realtimeUpgrades(realtime),
          ...inspectUpgrades({ functions, sandboxes: sandbox.sandboxes, specs: room.specs, clock, log }),
          ...doorUpgrades({ door, audit: (what, project) => log.info({ audit: true, project }, what) }),
        ],
        credentials: {
          verifyKey: (text) => auth.verifyKey(text),
          verifyToken: (ref, token) => tokens.verify(ref, token),
          verifyHandle: (text) => auth.verifyHandle(text),
        },
        verifyAws: (request, relay, service) => verifyAws(auth, request, relay, clock, service),
        project: (ref) => projects.find(ref),
        enter: (ref) => pausing.enter(ref),
        defaultProject: DEFAULT_PROJECT,
        apiOrigin: () => readyLine?.url ?? '',
        mayLoop: ({ project, functionName }) => room.settings.mayLoop(project as ProjectRef, functionName),
        admitSpace: (adds) => disk.admit(adds),
        content,
        hosts,
        proxies,
        clock,
        log,
        tls,
        ...(workforce === null ? {} : { processes: workforce.processes({ auth, urls: room.urls, httpRoutes }, routes, content) }),
      }),
    )
    gateway = served
    const consoleListener: ConsoleListener = opening.use(
      new ConsoleListener({
        files: path.join(host.root, 'console', 'dist'),
        logins: consoleSessions,
        describe: () => ({
          projects: projects.list().map(({ ref, name, state }) => ({ ref, name, state })),
          defaultProject: DEFAULT_PROJECT,
          apiUrl: readyLine?.url ?? '',
        }),
        serve: (request, response, principal) => served.serveVisitor(request, response, principal),
        hosts: new HostNames([...named, ...(settings.consoleUrl === null ? [] : [new URL(settings.consoleUrl).hostname])], isConsoleName),
        proxies,
        clock,
        log,
        tls,
      }),
    )
    const listening = await listen(served, consoleListener, config, directory, workforce !== null)
    port = listening.port
    await ownPorts.start()
    doorPlace = await listenForPostgres(opening, door, config, directory, port)
    const scheme = settings.tlsCert === null ? 'http' : 'https'
    const shown = settings.host === '0.0.0.0' || settings.host === '::' ? '127.0.0.1' : settings.host?.includes(':') ? `[${settings.host}]` : settings.host
    address = `${scheme}://${shown}:${port}`
    const url = settings.publicUrl ?? address
    const project = projects.find(DEFAULT_PROJECT) as Project
    const { accessKey, ...keys } = await auth.revealProjectKeys(project)
    readyLine = {
      ready: true,
      url,
      console: settings.consoleUrl ?? `${scheme}://${consoleHost(scheme, shown ?? '')}:${listening.consolePort}`,
      project: { ref: project.ref, url, ...keys },
      accessKey,
      region: REGION,
      sandbox: { driver: sandbox.describe().driver, limits: sandbox.describe().limits },
    }
    const line = readyLine
    // Who is on this machine needs no proxy; a certificate is made for the public name alone.
    const listens = scheme === 'http' ? address : url

    if (workforce) {
      bus.subscribe('logs.stored', () => logs.heard())
      bus.subscribe('project.used', (ref) => pausing.used(ref as ProjectRef))
      bus.respond('version.unpacked', async (value) => {
        const { project: ref, name, qualifier } = value as { project: ProjectRef; name: string; qualifier: string }
        await functions.resolve(ref, name, qualifier)
        return null
      })
      await served.listenForPeers(workforce.socket)
      await workforce.start({ address, port, operatorHash: auth.operatorHash ?? new Uint8Array() })
    }

    // What was begun in a former life goes on, and the first job needs them.
    await queue.start()
    await triggers.start()
    await deployments.start()
    storage.start()
    pausing.watch()

    const stack = opening.move()
    return new RunningNode({
      stack,
      ready: line,
      consoleLogin,
      operatorToken,
      listens,
      directory,
      markReady: async () => {
        isReady = true
        void functions.expectAll(stopping.signal)
        room.provisioning.look()
        void storage.warm(stopping.signal)
        await writeRun(stack, host, data, { ...line, listens, pid: process.pid, startTicks: startTicks(process.pid), operatorToken, data })
      },
      drain: async () => {
        isReady = false
        draining.abort()
        ownPorts.leave()
        const from = clock.monotonic()
        if (workforce) {
          // Their calls need this process until they are over.
          served.leave()
          await workforce.drain(settings.drainMs)
        }
        await served.drain(Math.max(0, settings.drainMs - (clock.monotonic() - from)))
        stopping.abort()
      },
    })
  }
}

function pricesOf(file: string | null): PriceList {
  try {
    return readPriceList(file)
  } catch (error) {
    throw error instanceof PriceListError ? new StartError(error.message, 2) : error
  }
}

import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { DatabaseUnusable } from './backends/database/database.ts'
import { EMBEDDED_MAJOR } from './backends/database/embedded.ts'
import { inspectExternal } from './backends/database/external.ts'
import { memoryUnbounded, missingOf, serverMemoryMb } from './backends/database/memory.ts'
import { MigrationError } from './backends/database/migrate.ts'
import { SECTIONS } from './config.ts'
import { StartError } from './core/data-directory.ts'
import { diskState, measureDisk, reserveBytes } from './core/disk.ts'
import { MayflyError } from './core/errors.ts'
import { flagName, resolveSettings, SettingsError } from './core/settings.ts'
import type { Resized } from './first-job.ts'
import { helpText, isNodeCommand, parseFlags } from './flags.ts'
import type { Host } from './host.ts'
import { MiB } from './lib/bytes.ts'
import { detectHierarchies } from './lib/cgroup.ts'
import { makeRoomInContainer } from './lib/container-groups.ts'
import { growByAsMuchAgain } from './lib/heap.ts'
import type { RunningNode } from './node.ts'
import { readyText } from './ready-text.ts'
import { detectDriver, findGuests, isDriver, RUNTIMES, tryRuntimes } from './sandbox/index.ts'

/** What the command is given of the world. */
export interface CommandLine {
  readonly command: string
  readonly args: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The folder of this program. */
  readonly root: string
  readonly hostOf: (logLevel: string) => Host
}

const say = (line: string) => void process.stderr.write(`${line}\n`)

/** @returns the exit code */
export async function run(line: CommandLine): Promise<number> {
  const { command, args } = line
  try {
    if (isNodeCommand(command) && (args.includes('--help') || args.includes('-h'))) {
      process.stdout.write(`${helpText(command, SECTIONS)}\n`)
      return 0
    }
    return command === 'config' ? showConfig(line) : command === 'doctor' ? await doctor(line) : await up(line)
  } catch (error) {
    return failure(error)
  }
}

function settings({ environment }: CommandLine, flags: Record<string, string | boolean>) {
  const file = environment.MAYFLY_CONFIG ?? 'mayfly.config.json'
  let parsed: unknown = null
  if (existsSync(file)) {
    try {
      parsed = JSON.parse(readFileSync(file, 'utf8'))
    } catch (error) {
      throw new SettingsError([`${file} is not JSON: ${(error as Error).message}`])
    }
  }
  return resolveSettings(SECTIONS, { flags, environment, file: parsed })
}

async function up(line: CommandLine): Promise<number> {
  const { RunningNode } = await import('./node.ts')
  const { values: config } = settings(line, parseFlags(line.args, SECTIONS))
  const host = line.hostOf(config.node.logLevel)
  const stop = Promise.withResolvers<string>()
  let signals = 0
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      // One Ctrl-C may arrive twice, by the terminal and by the launcher.
      if (++signals === 1) stop.resolve(name)
    })
  }
  const { clock } = host
  const startedAt = clock.monotonic()
  const node = await RunningNode.start(config, host)
  try {
    const { ready } = node
    if (!node.directory.instance.firstJobDone) {
      // Where functions cannot run yet, a later start does it.
      const settled = config.node.empty || (await firstJob(node, host, line.root))
      if (settled) await node.directory.update({ firstJobDone: true })
    }
    await node.announce()
    const tookMs = clock.monotonic() - startedAt
    growByAsMuchAgain()
    if (config.node.json) process.stdout.write(`${JSON.stringify(ready)}\n`)
    else {
      // Beside a terminal it is a pipe, a file or the journal, where an address would sign in who reads that.
      const login = process.stdout.isTTY ? await node.consoleLogin() : null
      process.stdout.write(readyText({ ready, tookMs, data: node.directory.path, login }))
    }
    host.log.info({ signal: await stop.promise }, 'the node stops')
  } finally {
    await node[Symbol.asyncDispose]()
  }
  return 0
}

/** @returns false when it has to wait for a machine that can run functions */
async function firstJob(node: RunningNode, host: Host, root: string): Promise<boolean> {
  const { ready } = node
  if (ready.sandbox.driver === 'none') {
    say('The first job is left out: functions cannot run on this machine yet (see above, or `npx mayfly doctor`).')
    return false
  }
  try {
    // It bundles, as a client does; what that takes is loaded by the one start that does it.
    const { doFirstJob } = await import('./first-job.ts')
    const job = await doFirstJob({
      root,
      data: node.directory.path,
      // What stands before the node may well start after it.
      ready: { ...ready, url: node.listens, project: { ...ready.project, url: node.listens } },
      operatorToken: node.operatorToken,
      say,
      now: () => host.clock.now(),
      monotonic: () => host.clock.monotonic(),
    })
    const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`
    const where = ready.sandbox.driver === 'process' ? 'a function that nothing isolates (--sandbox process)' : 'an isolated function'
    const why = (cold: string | null) => (cold === null ? '' : ` (${cold}${cold === 'first-call' ? ': no sandbox had its code yet' : ''})`)
    const took = ({ totalMs, functionMs, cold }: Resized) =>
      `${totalMs.toFixed(0)} ms from the upload to the last thumbnail, ${functionMs.toFixed(0)} of them in the function${why(cold)}`
    say(`Resized a photograph in ${where}: ${kib(job.source.bytes)} in, three sizes out, ${kib(job.thumbnails.bytes)} together.`)
    say(`  cold  ${took(job.first)}`)
    say(`  warm  ${took(job.second)}`)
    say(`  both cost ${job.cost.amount} ${job.cost.currency} by the price list "${job.cost.list}"; \`npx mayfly usage\` shows it`)
    say(`  thumbnails: ${job.thumbnails.folder}`)
    if (job.page !== null) say(`  your own picture: ${job.page}`)
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).replace(/\.$/, '')
    say(`The first job failed: ${why}. The node runs all the same; try it again with \`npx mayfly deploy examples/photo-app\`.`)
  }
  return true
}

function showConfig(line: CommandLine): number {
  const { args } = line
  const json = args.includes('--json')
  const flags = parseFlags(
    args.filter((arg) => arg !== '--json'),
    SECTIONS,
  )
  const { values, origins } = settings(line, flags)
  const rows: { name: string; value: unknown; from: string; doc: string }[] = []
  for (const [section, all] of Object.entries(SECTIONS)) {
    for (const [name, setting] of Object.entries(all)) {
      const value = (values as Record<string, Record<string, unknown>>)[section]?.[name]
      const isSecret = 'secret' in setting && setting.secret === true
      rows.push({
        name: flagName(section, name),
        value: isSecret && value !== null ? '(set, not shown)' : value,
        from: origins[`${section}.${name}`] ?? 'default',
        doc: setting.doc,
      })
    }
  }
  if (json)
    process.stdout.write(
      `${JSON.stringify({ node: process.execPath, settings: Object.fromEntries(rows.map((row) => [row.name, { value: row.value, from: row.from }])) })}\n`,
    )
  else for (const row of rows) process.stdout.write(`${row.name.padEnd(28)} ${(String(row.value ?? '') || '-').padEnd(24)} ${row.from.padEnd(12)} ${row.doc}\n`)
  return 0
}

/** What keeps functions apart, and may be named. */
const ISOLATING = ['crun', 'runc', 'gvisor', 'bwrap'] as const

async function doctor(line: CommandLine): Promise<number> {
  const { args, root } = line
  const json = args.includes('--json')
  const { values } = settings(
    line,
    parseFlags(
      args.filter((arg) => arg !== '--json'),
      SECTIONS,
    ),
  )
  const host = line.hostOf('error')
  const how = {
    runBase: host.runBase,
    guests: await findGuests(root),
    runtimesPath: path.join(root, 'runtimes'),
    dns: values.egress.dns,
    clock: host.clock,
    log: host.log,
  }
  // As a start would.
  makeRoomInContainer(await detectHierarchies())
  const driverOf = (name: typeof values.sandbox.sandbox) => detectDriver(name, { ...how, name: `doctor-${process.pid}-${name}` })
  const found = await driverOf(values.sandbox.sandbox)
  const sandbox = isDriver(found)
    ? { name: found.name as string, limits: found.limits, blocking: [], missing: found.missing }
    : { name: 'none', limits: [] as readonly string[], blocking: [{ what: 'functions', why: found.why, todo: found.todo }], missing: [] }
  const failing = isDriver(found) ? await tryRuntimes(found, RUNTIMES, host.clock) : []
  if (isDriver(found)) await found[Symbol.asyncDispose]()
  const drivers: { name: string; why: string | null; todo: string | null }[] = []
  for (const name of ISOLATING) {
    const other = isDriver(found) && found.name === name ? found : await driverOf(name)
    drivers.push({ name, why: isDriver(other) ? null : other.why, todo: isDriver(other) ? null : other.todo })
    if (isDriver(other) && other !== found) await other[Symbol.asyncDispose]()
  }
  const database = await databaseReport(values.node.databaseUrl, values.node.databaseMemoryMb)
  const disk = await diskReport(values.node.data, values.node.diskReserveMb)
  const blocking = [...sandbox.blocking, ...database.blocking]
  const missing = [...blocking, ...sandbox.missing, ...failing, ...database.missing, ...disk.missing]
  const ok = blocking.length === 0
  if (json) {
    const report = {
      ok,
      sandbox: sandbox.name,
      limits: sandbox.limits,
      drivers,
      database: database.kind,
      databaseMemoryMb: database.memoryMb,
      shared: database.shared,
      disk: disk.shown,
      login: { confirmsEmail: false, why: NO_MAIL },
      missing,
    }
    process.stdout.write(`${JSON.stringify({ ...report, node: process.version, version: host.version })}\n`)
  } else {
    process.stdout.write(
      `Node      ${process.version}\nSandbox   ${sandbox.name}\nHolds     ${sandbox.limits.join(', ') || 'nothing'}\nDrivers   ${driversReport(drivers)}\nDatabase  ${database.kind}${database.memoryMb === null ? '' : `, at most ${database.memoryMb} MB a server`}\nDisk      ${disk.shown.state}: ${disk.shown.freeMb} MiB free, ${disk.shown.reserveMb} MiB of them kept free\nLogin     ${NO_MAIL}\n`,
    )
    if (database.shared.length > 0) process.stdout.write(`Shared    by all projects: ${database.shared.join('; ')}\n`)
    for (const gap of missing) process.stdout.write(`Missing   ${gap.what}: ${gap.why}\n          ${gap.todo}\n`)
  }
  return ok ? 0 : 1
}

/** Those that are there, and for each other what it would take. */
function driversReport(drivers: readonly { name: string; why: string | null; todo: string | null }[]): string {
  const there = drivers.filter(({ why }) => why === null).map(({ name }) => name)
  const others = drivers.flatMap(({ name, why, todo }) => (why === null ? [] : [`no ${name}: ${why}. ${todo}`]))
  return [there.join(', ') || 'none', ...others].join('\n          ')
}

const NO_MAIL = 'addresses of users are not confirmed: no mail server can be configured yet'

/** The file system that the data directory has, or would have. */
async function diskReport(data: string, reserveMb: number) {
  let folder = path.resolve(data)
  while (!existsSync(folder)) folder = path.dirname(folder)
  const { freeBytes, totalBytes } = await measureDisk(folder)
  const reserve = reserveBytes(totalBytes, reserveMb)
  const shown = { state: diskState(freeBytes, reserve), freeMb: Math.floor(freeBytes / MiB), reserveMb: Math.floor(reserve / MiB) }
  const missing = {
    what: 'disk',
    why: `${shown.freeMb} MiB are free at ${folder}; below ${shown.reserveMb} deploys and uploads are refused, below half of that functions do not run`,
    todo: 'Free some space, or set another bound with --disk-reserve-mb.',
  }
  return { shown, missing: shown.state === 'ok' ? [] : [missing] }
}

async function databaseReport(url: string | null, memoryMb: number) {
  if (url === null) {
    const unbounded = await memoryUnbounded()
    return {
      kind: `embedded ${EMBEDDED_MAJOR}`,
      memoryMb: unbounded === null ? serverMemoryMb(memoryMb) : null,
      blocking: [],
      missing: missingOf(unbounded),
      shared: [],
    }
  }
  try {
    const { version, ...report } = await inspectExternal(url)
    return { kind: `external ${version}`, memoryMb: null, ...report }
  } catch (error) {
    if (!(error instanceof DatabaseUnusable)) throw error
    const gap = { what: 'database', why: error.message, todo: 'Check --database-url (MAYFLY_DATABASE_URL), or leave it away for the embedded PostgreSQL.' }
    return { kind: 'external, not usable', memoryMb: null, blocking: [gap], missing: [], shared: [] }
  }
}

function failure(error: unknown): number {
  if (error instanceof SettingsError) {
    for (const problem of error.problems) say(problem)
    return 2
  }
  if (error instanceof StartError) {
    say(error.message)
    return error.exitCode
  }
  if (error instanceof DatabaseUnusable || error instanceof MigrationError || error instanceof MayflyError) {
    say(`The node does not start: ${error.message}`)
    return 1
  }
  const { code, message, path: file } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC') say(`The node does not start: the disk is full${file ? ` (${file})` : ''}. Free some space.`)
  // The system says what, and a path says where: a stack would say no more.
  else if (code !== undefined && file !== undefined) say(`The node does not start: ${message}. Mend that path, or choose another place with --data.`)
  else say(`The node failed: ${error instanceof Error ? (error.stack ?? message) : String(error)}`)
  return 1
}

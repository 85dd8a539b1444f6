import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type RunningMayfly, startMayfly } from '../acceptance/harness.ts'
import { type ServerOfOthers, startServerOfOthers } from '../acceptance/postgres-server.ts'
import { Check, type Verdict } from './check.ts'
import { deploy, manage } from './functions.ts'
import { FAULTS, type Fault, type Victim } from './nemesis.ts'
import { Notes } from './notes.ts'
import { CuttingProxy } from './proxy.ts'
import { Random } from './random.ts'
import { Workload } from './workload.ts'
import { Disk, startRecorder } from './world.ts'

export interface FaultsOptions {
  readonly folder: string
  readonly events: number
  /** It sends no longer than so, however many events that were. */
  readonly minutes: number
  readonly seed: number
  /** How many are struck, each that can be at least once if there are as many; null for those of the short run. */
  readonly faults: number | null
  /** How the names of those begin that may strike; null for any. */
  readonly only: string | null
  readonly database: 'embedded' | 'external'
  readonly senders: number
  readonly drainMs: number
  /** The network namespace of the recorder; null where there is none. */
  readonly outside: string | null
  readonly say: (line: string) => void
  /** Ends it before its time, with all that it started. */
  readonly signal: AbortSignal
}

export interface FaultsResult extends Verdict {
  readonly struck: ReadonlyMap<string, number>
  /** By fault, why it was not done. */
  readonly skipped: ReadonlyMap<string, string>
  readonly sent: number
  readonly acknowledged: number
  readonly refusals: ReadonlyMap<string, number>
  readonly seconds: { readonly sending: number; readonly draining: number }
}

const DISK_MB = 6_144
/** Who sends waits while more than this is to be done: what a fault strikes is work under way. */
const BACKLOG = 3_000

/** One run: a node under a workload, faults, healing, and what is left of it all. */
export async function runFaults(options: FaultsOptions): Promise<FaultsResult> {
  const { folder, seed, say } = options
  await using cleanUp = new AsyncDisposableStack()
  const recorderFile = path.join(folder, 'executions')
  const { world, child } = await startRecorder(recorderFile, options.outside)
  cleanUp.defer(() => void child.kill('SIGKILL'))
  // The server of others runs as another user.
  chmodSync(folder, 0o711)
  const disk = options.faults === null ? 'the short run does without' : Disk.make(folder, DISK_MB)
  if (typeof disk !== 'string') cleanUp.defer(() => disk.unmount())
  const data = path.join(typeof disk === 'string' ? folder : disk.at, 'data')
  const [point, skew] = [path.join(folder, 'point'), path.join(folder, 'skew')]
  const server = options.database === 'external' ? await External.open(folder) : null
  if (server !== null) cleanUp.use(server)
  const args = [
    ...['--empty', '--sandbox-pool-size', '2', '--invoke-queue-concurrency', '16', '--disk-reserve-mb', '64', '--log-level', 'warn'],
    ...(world.withoutSandbox === null ? [] : ['--sandbox', 'process']),
  ]
  const environment = {
    MAYFLY_TEST_CRASH_AT: point,
    MAYFLY_TEST_CLOCK: skew,
    ...(server === null ? {} : { MAYFLY_DATABASE_URL: server.url }),
  }
  // A kept cluster syncs nothing, and the power may be cut.
  const start = () => startMayfly(data, args, environment, { fromNothing: true })
  let node: RunningMayfly = await start()
  cleanUp.defer(async () => void (await node.stop()))
  if (world.withoutSandbox !== null) say(`functions are not kept apart: ${world.withoutSandbox}`)
  await deploy(node.ready, data, world.recorder)

  let isUp: Promise<void> = Promise.resolve()
  const again = async (end: () => Promise<void>): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    isUp = promise
    try {
      await end()
      node = await start()
    } finally {
      resolve()
    }
  }
  const notes = cleanUp.use(new Notes(path.join(folder, 'acknowledged')))
  const pace = new Pace(() => node)
  const workload = new Workload({ ...options, notes, ready: () => node.ready, isUp: async () => void (await Promise.all([isUp, pace.calm])) })
  const victim: Victim = { data, node: () => node, again, point, skew, disk: typeof disk === 'string' ? null : disk, external: server }
  const struck = new Map<string, number>()
  const skipped = new Map<string, string>()
  const from = performance.now()
  const stop = new AbortController()
  cleanUp.defer(() => stop.abort())
  const random = new Random(seed)
  const late = AbortSignal.timeout(options.minutes * 60_000)
  const progress = () => Math.max(workload.done / options.events, (performance.now() - from) / (options.minutes * 60_000))
  const done = AbortSignal.any([stop.signal, late, options.signal])
  const working = Promise.all([workload.run(done), pace.watch(done, () => workload.done >= options.events)])
  for (const { fault, at } of planned(options, victim, skipped, random)) {
    while (progress() < at) {
      options.signal.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const what = await fault.strike(victim, random)
    struck.set(fault.name, (struck.get(fault.name) ?? 0) + 1)
    say(`${workload.done} sent, ${workload.acknowledged} acknowledged: ${fault.name}: ${what}`)
  }
  await working
  const sent = performance.now()
  const check = new Check({
    ready: () => node.ready,
    noted: () => notes.read(),
    recorderFile,
    drainMs: options.drainMs,
    powerWasCut: struck.has('cut the power'),
    say,
    signal: options.signal,
  })
  const verdict = await check.run()
  return {
    ...verdict,
    struck,
    skipped,
    sent: workload.done,
    acknowledged: workload.acknowledged,
    refusals: workload.refusals,
    seconds: { sending: (sent - from) / 1000, draining: (performance.now() - sent) / 1000 },
  }
}

/** Which faults strike, and at which part of the run: as the seed says. */
function planned({ faults: count, only }: FaultsOptions, victim: Victim, skipped: Map<string, string>, random: Random): { fault: Fault; at: number }[] {
  const possible = FAULTS.filter((fault) => {
    if ((count === null && !fault.short) || (only !== null && !fault.name.startsWith(only))) return false
    const missing = fault.missing(victim)
    if (missing !== null) skipped.set(fault.name, missing)
    return missing === null
  })
  const wanted = count ?? possible.length
  const chosen = random.shuffled(possible).slice(0, wanted)
  const often = possible.filter(({ once }) => !once)
  while (chosen.length < wanted) chosen.push(random.any(often))
  return random.shuffled(chosen).map((fault, n) => ({ fault, at: (n + random.next()) / (wanted + 1) }))
}

/** Holds up who sends while much waits to be done. */
class Pace {
  readonly #node: () => RunningMayfly
  calm: Promise<void> = Promise.resolve()

  constructor(node: () => RunningMayfly) {
    this.#node = node
  }

  async watch(signal: AbortSignal, isDone: () => boolean): Promise<void> {
    let go: (() => void) | null = null
    while (!signal.aborted && !isDone()) {
      await new Promise((resolve) => setTimeout(resolve, 500))
      const waiting = await manage<{ waiting: number }>(this.#node().ready, 'GET', '/queue?limit=1').then(
        (queue) => queue.waiting,
        () => null,
      )
      if (waiting === null) continue
      if (waiting > BACKLOG && go === null) {
        const { promise, resolve } = Promise.withResolvers<void>()
        this.calm = promise
        go = resolve
      } else if (waiting < BACKLOG / 2 && go !== null) {
        go()
        go = null
      }
    }
    go?.()
  }
}

/** A PostgreSQL that is no part of the node, behind a proxy. */
class External implements AsyncDisposable {
  readonly #server: ServerOfOthers
  readonly proxy: CuttingProxy
  readonly url: string

  private constructor(server: ServerOfOthers, proxy: CuttingProxy) {
    this.#server = server
    this.proxy = proxy
    this.url = server.url('shop').replace(`:${server.port}/`, `:${proxy.port}/`)
  }

  static async open(folder: string): Promise<External> {
    const at = path.join(folder, 'others')
    mkdirSync(at)
    const server = await startServerOfOthers(at, ['-c', 'max_connections=200'])
    await server.make('shop')
    return new External(server, await CuttingProxy.open(server.port))
  }

  async kill(): Promise<void> {
    await this.#server.kill()
    await this.#server.start()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]()
    await this.#server.stop()
  }
}

/** For people, and for the page of results. */
export function tableOf({ found }: Pick<FaultsResult, 'found'>): string {
  const columns = ['kind', 'sent', 'acknowledged', 'seen', 'dead', 'duplicates', 'executions', 'metered'] as const
  const rows = found.map((row) => columns.map((name) => String(row[name])))
  const sum = columns.map((name) => (name === 'kind' ? 'all' : String(found.reduce((total, row) => total + Number(row[name]), 0))))
  return [columns, columns.map(() => '---'), ...rows, sum].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** For programs. */
export const keepResult = (file: string, result: FaultsResult): void =>
  writeFileSync(file, JSON.stringify({ ...result, struck: [...result.struck], skipped: [...result.skipped], refusals: [...result.refusals] }))

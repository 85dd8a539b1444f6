import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Client } from '../../client/client.ts'
import { type RunningMayfly, startMayfly } from '../acceptance/harness.ts'
import { Functions, NAMES, type Name, type Outcome } from './load.ts'
import { descriptorsOf, isHull, type Look, look, processesOf, processorMs, remains, sandboxes } from './look.ts'

export interface SoakOptions {
  readonly folder: string
  readonly calls: number
  /** It ends after so long, however many calls that were. */
  readonly minutes: number
  readonly atOnce: number
  readonly workers: number
  /** So many times, spread over the run, the node is killed and started again. */
  readonly nodeKills: number
  /** So often it is looked at, besides at the start; more than once shows a slope. */
  readonly looks: number
  /** Of a thousand calls, so many use a sandbox that serves nothing else: what costs most of all. */
  readonly once: number
  readonly say: (line: string) => void
}

export interface SoakResult {
  /** As many as were asked for, or fewer where its time was over before. */
  readonly calls: number
  /** Each with how many calls were made by then. */
  readonly looks: readonly (Look & { readonly calls: number })[]
  /** At each look, by what they are. */
  readonly descriptors: readonly ReadonlyMap<string, number>[]
  readonly outcomes: Readonly<Record<Outcome, number>>
  /** By kind of what was done: how often, and how long that took together. */
  readonly took: ReadonlyMap<string, { readonly times: number; readonly ms: number }>
  /** Of processors, by the node with all that it started: how long a run of so many calls takes on a machine at least. */
  readonly processorMs: number
  /** What is not as it must be; empty when all is. */
  readonly problems: readonly string[]
}

const ANSWER_MS = 60_000
const REST_MS = 60_000
/** One waits in each process. */
const args = (workers: number) => [
  ...['--empty', '--workers', String(workers), '--sandbox-pool-size', String(workers + 1)],
  ...['--sandbox-idle-ms', '1000', '--invoke-wait-ms', '10000'],
]
/** Of a thousand calls, how many are of each kind, and what else happens beside them. */
const MIX = { shared: 250, queued: 60, throws: 20, exits: 15, late: 5, leaves: 20, dies: 10, deploys: 20, removes: 5, kills: 5 } as const
type Kind = keyof typeof MIX | 'warm' | 'once'
const THOUSAND = 1000
export const ONCE = 120

function kindsOf(once: number): readonly Kind[] {
  const warm = THOUSAND - once - Object.values(MIX).reduce((sum, one) => sum + one, 0)
  return Object.entries({ ...MIX, once, warm }).flatMap(([kind, share]) => Array.from({ length: share }, () => kind as Kind))
}

/** What may be more at the end than it was in the first half; of the rest nothing. */
const SLACK: Partial<Record<keyof Look, number>> = {
  processesOfDatabases: 12,
  // As the calls before a look happened to find none booted.
  hulls: 2,
  // Those that stand ready, in each process as many as were made at once.
  networks: 24,
  filesOfRun: 12,
  descriptors: 16,
  rssMb: 64,
  pssMb: 120,
  filesOfSandboxes: 60,
  filesMb: 24,
  journalsMb: 24,
}
/** What is executed is written down, and kept for as long as the settings say. */
const GROWS: ReadonlySet<keyof Look> = new Set(['databasesMb'])

/** Calls of every kind, deployments, deletions and kills against one node; what it holds of the machine is the same at the start, in the middle and at the end. */
export class Soak {
  readonly #options: SoakOptions
  readonly #data: string
  readonly #outcomes: Record<Outcome, number> = { ok: 0, failed: 0, refused: 0, lost: 0, left: 0 }
  readonly #problems: string[] = []
  readonly #looks: (Look & { calls: number })[] = []
  readonly #descriptors: ReadonlyMap<string, number>[] = []
  readonly #kinds: readonly Kind[]
  /** What was answered as executed, by function, and how many events were taken. */
  readonly #executed = new Map<Name, number>()
  readonly #unknown = new Map<Name, number>()
  readonly #took = new Map<string, { times: number; ms: number }>()
  #node: RunningMayfly
  #functions: Functions
  /** Resolves when the node is there again. */
  #isUp: Promise<void> = Promise.resolve()
  #killed = 0
  #sandboxesKilled = 0
  /** Of the lives that are over; the group of the sandboxes may outlive the node. */
  #processors = { ofNode: 0, ofSandboxes: 0, lastOfSandboxes: 0 }
  #isChanging = false

  private constructor(options: SoakOptions, data: string, node: RunningMayfly) {
    this.#options = options
    this.#kinds = kindsOf(options.once)
    this.#data = data
    this.#node = node
    this.#functions = new Functions(node.ready)
  }

  static async run(options: SoakOptions): Promise<SoakResult> {
    const data = path.join(options.folder, 'data')
    const soak = new Soak(options, data, await startMayfly(data, args(options.workers)))
    return await soak.#run()
  }

  async #run(): Promise<SoakResult> {
    const { calls, minutes, looks, say } = this.#options
    const from = performance.now()
    const until = from + minutes * 60_000
    /** How much of it is over, by calls or by time. */
    const done = () => Math.max(made / calls, (performance.now() - from) / (until - from))
    for (const name of NAMES) await this.#functions.put(name)
    // What a node opens once it has open when the first look is taken.
    const warmUp = Math.min(500, Math.ceil(calls / 5))
    let made = await this.#part(warmUp, until)
    await this.#look(made)
    for (let at = 1; at <= looks; at++) {
      while (done() < at / looks) {
        const due = Math.min(this.#options.nodeKills, Math.floor((this.#options.nodeKills + 1) * done()))
        const kill = due > this.#killed ? this.#killNode() : null
        made += await this.#part(Math.min(200, Math.ceil(calls / 4), calls - made), until)
        await kill
        say(`${made} calls: ${JSON.stringify(this.#outcomes)}`)
      }
      await this.#look(made)
      say(JSON.stringify(this.#looks.at(-1)))
    }
    this.#compareLooks()
    await this.#compareMeters()
    this.#countProcessors()
    const code = await this.#node.stop()
    if (code !== 0) this.#problems.push(`the node ended with ${code}`)
    this.#problems.push(...remains(this.#data).map((what) => `left behind: ${what}`))
    return {
      calls: made,
      looks: this.#looks,
      descriptors: this.#descriptors,
      outcomes: this.#outcomes,
      took: this.#took,
      processorMs: this.#processors.ofNode + this.#processors.ofSandboxes,
      problems: this.#problems,
    }
  }

  async #part(calls: number, until: number): Promise<number> {
    let begun = 0
    const work = async () => {
      while (begun < calls && performance.now() < until) {
        begun++
        await this.#isUp
        const kind = this.#any(this.#kinds)
        const from = performance.now()
        await this.#one(kind).catch((error: Error) => this.#problems.push(error.message))
        const took = this.#took.get(kind) ?? { times: 0, ms: 0 }
        this.#took.set(kind, { times: took.times + 1, ms: took.ms + performance.now() - from })
      }
    }
    await Promise.all(Array.from({ length: this.#options.atOnce }, work))
    return begun
  }

  async #one(kind: Kind): Promise<void> {
    switch (kind) {
      case 'deploys':
        return await this.#change(async () => await this.#functions.put(this.#any(['warm', 'once', 'shared'])))
      case 'removes':
        return await this.#change(async () => {
          await this.#functions.remove('throws')
          await this.#functions.put('throws')
        })
      case 'kills':
        return this.#killSandbox()
      case 'queued':
        return await this.#enqueue()
      case 'leaves':
        return await this.#call('shared', '?ms=200&bytes=1000', AbortSignal.timeout(30))
      case 'dies':
        return await this.#call('shared', '?ms=5&die=1')
      case 'shared':
        return await this.#call('shared', `?ms=${this.#any([0, 5, 20])}&bytes=${this.#any([10, 100_000])}`)
      default:
        return await this.#call(kind, '')
    }
  }

  async #call(name: Name, query: string, leaves: AbortSignal | null = null): Promise<void> {
    const killed = this.#killed
    const late = AbortSignal.timeout(ANSWER_MS)
    try {
      const outcome = await this.#functions.call(name, query, leaves ? AbortSignal.any([leaves, late]) : late)
      this.#outcomes[outcome]++
      if (outcome === 'ok' || outcome === 'failed') this.#count(this.#executed, name)
    } catch (error) {
      this.#count(this.#unknown, name)
      if (leaves?.aborted) this.#outcomes.left++
      else if (late.aborted) throw new Error(`a call of ${name} had no outcome within ${ANSWER_MS} ms`, { cause: error })
      // An answer that has begun breaks off where its sandbox ends.
      else if (killed !== this.#killed || (name === 'shared' && (error as Error).message === 'terminated')) this.#outcomes.lost++
      else throw error
    }
  }

  async #enqueue(): Promise<void> {
    const killed = this.#killed
    try {
      await this.#functions.enqueue('queued')
      this.#outcomes.ok++
      this.#count(this.#executed, 'queued')
    } catch (error) {
      if (killed === this.#killed) throw error
      this.#outcomes.lost++
      this.#count(this.#unknown, 'queued')
    }
  }

  /** One at a time, as a person makes them; who would have to wait for it calls something meanwhile. */
  async #change(make: () => Promise<void>): Promise<void> {
    if (this.#isChanging) return await this.#call('warm', '')
    this.#isChanging = true
    try {
      await this.#make(make)
    } finally {
      this.#isChanging = false
    }
  }

  async #make(make: () => Promise<void>): Promise<void> {
    const killed = this.#killed
    try {
      await make()
    } catch (error) {
      if (killed === this.#killed) throw error
      await this.#isUp
      await make().catch(() => {}) // half of it was done
      for (const name of NAMES) await this.#functions.put(name)
    }
  }

  #countProcessors(): void {
    const { ofNode, ofSandboxes, lastOfSandboxes } = this.#processors
    const life = processorMs(this.#node.pid(), this.#data)
    const more = life.ofSandboxes >= lastOfSandboxes ? life.ofSandboxes - lastOfSandboxes : life.ofSandboxes
    this.#processors = { ofNode: ofNode + life.ofNode, ofSandboxes: ofSandboxes + more, lastOfSandboxes: life.ofSandboxes }
  }

  #killSandbox(): void {
    const [pid] = this.#any([...sandboxes(this.#data).values(), []])
    if (pid === undefined) return
    try {
      process.kill(pid, 'SIGKILL')
      this.#sandboxesKilled++
    } catch {
      // It ended by itself.
    }
  }

  /** In the midst of what it does. Calls that come meanwhile wait for its next life. */
  async #killNode(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 300 + Math.random() * 2_000))
    this.#killed++
    this.#isUp = (async () => {
      this.#countProcessors()
      await this.#node.kill()
      this.#node = await startMayfly(this.#data, args(this.#options.workers))
      this.#functions.moved(this.#node.ready)
    })()
    await this.#isUp
  }

  /** Waits until nothing is done any more, and all that stood idle is gone. */
  async #look(calls: number): Promise<void> {
    const until = performance.now() + REST_MS
    for (let calm = 0; calm < 3; ) {
      if (performance.now() > until) {
        this.#problems.push(`after ${REST_MS} ms of rest: ${await this.#whatStands()}`)
        break
      }
      await new Promise((resolve) => setTimeout(resolve, 500))
      const booted = [...sandboxes(this.#data).values()].filter((pids) => !isHull(pids)).length
      calm = booted === this.#options.workers + 1 && (await this.#functions.queued()) === 0 ? calm + 1 : 0
    }
    this.#looks.push({ calls, ...look(this.#node.pid(), this.#data) })
    this.#descriptors.push(descriptorsOf(processesOf(this.#node.pid(), this.#data).own))
  }

  /** What keeps a look waiting, for who reads of it: what the machine holds, and what the node says that it is. */
  async #whatStands(): Promise<string> {
    const held = [...sandboxes(this.#data)].map(([id, pids]) => `${id} (${isHull(pids) ? 'no program yet' : `${pids.length} processes`})`)
    const { url, operatorToken } = JSON.parse(readFileSync(path.join(this.#data, 'run.json'), 'utf8')) as { url: string; operatorToken: string }
    const { pool } = await new Client(url, operatorToken).status()
    const serving = pool.sandboxes.map(({ id, functionName, state, busy, calls, idleMs }) => ({ id, functionName, state, busy, calls, idleMs }))
    return JSON.stringify({ held, waiting: pool.waiting, serving, events: await this.#functions.queued() })
  }

  #compareLooks(): void {
    const { calls: _, ...last } = this.#looks.at(-1) as Look & { calls: number }
    const before = this.#looks.slice(0, Math.ceil((this.#looks.length + 1) / 2))
    for (const name of Object.keys(last) as (keyof Look)[]) {
      if (GROWS.has(name)) continue
      const most = Math.max(...before.map((one) => one[name])) + (SLACK[name] ?? 0)
      if (last[name] > most) this.#problems.push(`${name}: ${this.#looks.map((one) => one[name].toFixed(0)).join(', ')}`)
    }
  }

  /** Each execution is metered once: as many as were answered, and of those whose answer nobody saw at most all. */
  async #compareMeters(): Promise<void> {
    // The journal is read twice a second.
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    const metered = await this.#functions.metered()
    for (const name of NAMES) {
      const least = this.#executed.get(name) ?? 0
      const most = least + (this.#unknown.get(name) ?? 0)
      const { executions = 0 } = metered.get(name) ?? {}
      // An event whose node was killed in it runs again, and one whose sandbox was.
      const again = name !== 'queued' ? 0 : this.#killed > 0 ? Number.POSITIVE_INFINITY : this.#sandboxesKilled
      const isOff = executions < least || executions > most + again
      if (isOff) this.#problems.push(`${name}: ${executions} executions are metered; ${least} were answered, ${most - least} had an answer that nobody saw`)
    }
  }

  #count(counts: Map<Name, number>, name: Name): void {
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  #any<T>(some: readonly T[]): T {
    return some[Math.floor(Math.random() * some.length)] as T
  }
}

/** For people: where the time went. */
export const timesOf = (took: SoakResult['took']): string =>
  [...took]
    .toSorted(([, a], [, b]) => b.ms - a.ms)
    .map(
      ([kind, { times, ms }]) =>
        `${kind.padEnd(24)}${String(times).padStart(10)}${(ms / times).toFixed(1).padStart(10)} ms${(ms / 1000).toFixed(0).padStart(10)} s`,
    )
    .join('\n')

/** For people: a row for each kind of descriptor of which there were not as many at each look. */
export const descriptorsTable = (looks: SoakResult['descriptors']): string =>
  [...new Set(looks.flatMap((one) => [...one.keys()]))]
    .map((kind) => ({ kind, counts: looks.map((one) => one.get(kind) ?? 0) }))
    .filter(({ counts }) => new Set(counts).size > 1)
    .toSorted((a, b) => Math.max(...b.counts) - Math.max(...a.counts))
    .map(({ kind, counts }) => `${kind.slice(-60).padEnd(62)}${counts.map((count) => String(count).padStart(6)).join('')}`)
    .join('\n')

/** For people: a row for each thing that is held, a column for each look. */
export const tableOf = (looks: SoakResult['looks']): string =>
  [
    ...(Object.keys(looks[0] ?? {}) as (keyof SoakResult['looks'][number])[]).map(
      (name) => `${name.padEnd(24)}${looks.map((one) => one[name].toFixed(name.endsWith('Mb') ? 1 : 0).padStart(10)).join('')}`,
    ),
  ].join('\n')

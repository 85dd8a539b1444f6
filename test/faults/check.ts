import { readFileSync } from 'node:fs'
import { DeleteMessageBatchCommand, GetQueueAttributesCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import type { Ready } from '../acceptance/harness.ts'
import { DEAD, FUNCTIONS, manage, QUEUE } from './functions.ts'
import { type Executed, executionsIn, type Noted } from './notes.ts'

export interface Found {
  readonly kind: string
  readonly sent: number
  readonly acknowledged: number
  readonly seen: number
  readonly dead: number
  /** Runs beyond the first of an event that was not to fail. */
  readonly duplicates: number
  readonly executions: number
  readonly metered: number
}

export interface Verdict {
  readonly found: readonly Found[]
  /** What is not as it was promised; empty when all is. */
  readonly problems: readonly string[]
  /** Executions that were told and not metered, where a power cut allows some. */
  readonly unmetered: number
}

export interface CheckOptions {
  readonly ready: () => Ready
  readonly noted: () => readonly Noted[]
  readonly recorderFile: string
  readonly drainMs: number
  /** The last 100 ms of what was metered may be gone then. */
  readonly powerWasCut: boolean
  readonly say: (line: string) => void
  readonly signal: AbortSignal
}

interface Meter {
  readonly id: string
  readonly attempt: number
  readonly outcome: string | null
}

const MOST_SHOWN = 5
const some = (all: readonly string[]): string => `${all.slice(0, MOST_SHOWN).join(', ')}${all.length > MOST_SHOWN ? ', …' : ''}`

/** Waits until nothing is left to do, then compares what was acknowledged with what was executed, buried and metered. */
export class Check {
  readonly #options: CheckOptions
  readonly #problems: string[] = []
  /** Ids in dead letters and in the queue's dead-letter queue. */
  readonly #dead = new Set<string>()
  #unmetered = 0

  constructor(options: CheckOptions) {
    this.#options = options
  }

  async run(): Promise<Verdict> {
    const noted = new Map<string, Noted>()
    for (const one of this.#options.noted()) if (one.ok || !noted.has(one.id)) noted.set(one.id, one)
    await this.#drained([...noted.values()])
    const executed = this.#executions()
    this.#lost([...noted.values()], executed)
    this.#once([...noted.values()], executed)
    this.#order(noted, executed)
    this.#ticks(executed)
    const meters = await this.#meters(executed)
    return { found: this.#table(noted, executed, meters), problems: this.#problems, unmetered: this.#unmetered }
  }

  /** Each run once, however often it was told. */
  #executions(): Executed[] {
    const runs = new Set<string>()
    return executionsIn(readFileSync(this.#options.recorderFile, 'utf8')).filter(({ run }) => !runs.has(run) && runs.add(run))
  }

  /** Ends when all of it is seen or buried and nothing waits, or after `drainMs`: what is missing then is found missing. */
  async #drained(noted: readonly Noted[]): Promise<void> {
    const { drainMs, say } = this.#options
    const from = performance.now()
    let calm = 0
    let left = ''
    while (calm < 3) {
      this.#options.signal.throwIfAborted()
      if (performance.now() - from > drainMs) return void this.#problems.push(`it is not drained after ${drainMs / 1000} s: ${left}`)
      await new Promise((resolve) => setTimeout(resolve, 500))
      try {
        const { waiting, running } = await manage<{ waiting: number; running: number }>(this.#options.ready(), 'GET', '/queue?limit=1')
        const messages = await this.#messagesLeft()
        await this.#bury()
        const seen = new Set(this.#executions().flatMap(({ ids }) => ids))
        const missing = noted.filter(({ id, ok, fails }) => ok && !this.#dead.has(id) && (fails === 'always' || !seen.has(id)))
        left = `${waiting} wait, ${running} run, ${messages} messages, ${missing.length} are missing`
        // Schedules go on: one of those may wait at any time.
        calm = waiting + running <= 1 && messages === 0 && (missing.length === 0 || calm > 0) ? calm + 1 : 0
        if (calm === 0) say(`draining: ${left}`)
      } catch (error) {
        left = (error as Error).message
        calm = 0
      }
    }
  }

  async #messagesLeft(): Promise<number> {
    return await this.#sqs(async (sqs, url) => {
      const { Attributes = {} } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: `${url}/${QUEUE}`, AttributeNames: ['All'] }))
      return Number(Attributes.ApproximateNumberOfMessages) + Number(Attributes.ApproximateNumberOfMessagesNotVisible)
    })
  }

  /** Which events are given up, by what their letters hold. */
  async #bury(): Promise<void> {
    const { url, project } = this.#options.ready()
    const response = await fetch(`${url}/api/v1/projects/${project.ref}/dead-letters?export=1`, { headers: { authorization: `Bearer ${project.secretKey}` } })
    const letters = await response.text()
    for (const [id] of letters.matchAll(/\be\d+-\d+\b/g)) this.#dead.add(id)
    // An event stands in its letter as JSON within JSON.
    for (const [, time] of letters.matchAll(/"time\\?":\\?"([0-9TZ:-]+)/g)) this.#dead.add(`tick ${time}`)
    await this.#sqs(async (sqs, at) => {
      const QueueUrl = `${at}/${DEAD}`
      for (;;) {
        const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10 }))
        if (Messages.length === 0) return
        for (const { Body = '' } of Messages) this.#dead.add((JSON.parse(Body) as { id: string }).id)
        const Entries = Messages.map(({ ReceiptHandle }, n) => ({ Id: String(n), ReceiptHandle }))
        await sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }))
      }
    })
  }

  async #sqs<T>(ask: (sqs: SQSClient, url: string) => Promise<T>): Promise<T> {
    const { url: endpoint, region, accessKey } = this.#options.ready()
    const sqs = new SQSClient({ endpoint, region, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret } })
    try {
      return await ask(sqs, `${endpoint}/000000000000`)
    } finally {
      sqs.destroy()
    }
  }

  #lost(noted: readonly Noted[], executed: readonly Executed[]): void {
    const seen = new Set(executed.flatMap(({ ids }) => ids))
    const lost = noted.filter(({ id, ok }) => ok && !seen.has(id) && !this.#dead.has(id)).map(({ id, kind }) => `${kind} ${id}`)
    if (lost.length > 0) this.#problems.push(`${lost.length} acknowledged events were lost: ${some(lost)}`)
    const unburied = noted.filter(({ id, ok, fails }) => ok && fails === 'always' && !this.#dead.has(id)).map(({ id, kind }) => `${kind} ${id}`)
    if (unburied.length > 0) this.#problems.push(`${unburied.length} events that only fail are no dead letters: ${some(unburied)}`)
    const known = new Set(noted.map(({ id }) => id))
    const unsent = [...seen].filter((id) => !id.startsWith('tick ') && !known.has(id))
    if (unsent.length > 0) this.#problems.push(`${unsent.length} events were executed that nobody sent: ${some(unsent)}`)
  }

  /** What was sent once is one entry of the queue, however often that runs. Messages have none. */
  #once(noted: readonly Noted[], executed: readonly Executed[]): void {
    const kinds = new Map(noted.map(({ id, kind }) => [id, kind]))
    const invocations = new Map<string, Set<string>>()
    for (const { ids, invocation } of executed)
      for (const id of ids) if (kinds.get(id) !== 'messages') invocations.set(id, (invocations.get(id) ?? new Set()).add(invocation))
    const twice = [...invocations].filter(([, all]) => all.size > 1).map(([id]) => `${kinds.get(id) ?? 'ticks'} ${id}`)
    if (twice.length > 0) this.#problems.push(`${twice.length} events were queued more than once: ${some(twice)}`)
  }

  /** Of one key no event runs behind one that came later. What was not acknowledged may have come late. */
  #order(noted: ReadonlyMap<string, Noted>, executed: readonly Executed[]): void {
    const last = new Map<string, number>()
    const wrong: string[] = []
    for (const { key, sequence, ids } of executed) {
      if (key === undefined || key === null || sequence === undefined || !noted.get(ids[0] as string)?.ok) continue
      if (sequence < (last.get(key) ?? 0)) wrong.push(`${key}: ${sequence} behind ${last.get(key)}`)
      else last.set(key, sequence)
    }
    if (wrong.length > 0) this.#problems.push(`${wrong.length} runs were out of order: ${some(wrong)}`)
  }

  /** Between the first and the last none is left out. */
  #ticks(executed: readonly Executed[]): void {
    const seconds = [...new Set(executed.filter((one) => one.function === 'ticks').flatMap(({ ids }) => ids))].map((id) => Date.parse(id.slice(5)) / 1000)
    const [first, last] = [Math.min(...seconds), Math.max(...seconds)]
    const there = new Set(seconds)
    const missing: string[] = []
    for (let at = first; at <= last; at++) {
      const time = `${new Date(at * 1000).toISOString().slice(0, 19)}Z`
      if (!there.has(at) && !this.#dead.has(`tick ${time}`)) missing.push(time)
    }
    if (seconds.length === 0) this.#problems.push('no due time of the schedule was executed')
    if (missing.length > 0) this.#problems.push(`${missing.length} due times of the schedule were left out: ${some(missing)}`)
  }

  async #meters(executed: readonly Executed[]): Promise<ReadonlyMap<string, readonly Meter[]>> {
    // The schedule stops, and what ran last is written down: the journal is read twice a second.
    await manage(this.#options.ready(), 'PUT', '/functions/ticks/triggers', { triggers: [] })
    const meters = new Map<string, Meter[]>()
    const until = performance.now() + 60_000
    for (;;) {
      const { usage } = await manage<{ usage: { functionName: string; executions: number; cut: number }[] }>(this.#options.ready(), 'GET', '/usage?by=function')
      for (const { name } of FUNCTIONS) meters.set(name, await this.#metersOf(name))
      this.#unmetered = 0
      const off = FUNCTIONS.flatMap(({ name }) => this.#compare(name, usage, meters.get(name) ?? [], executed))
      if (off.length === 0) break
      if (performance.now() > until) {
        this.#problems.push(...off)
        break
      }
      await new Promise((resolve) => setTimeout(resolve, 2_000))
    }
    return meters
  }

  #compare(
    name: string,
    usage: readonly { functionName: string; executions: number; cut: number }[],
    meters: readonly Meter[],
    executed: readonly Executed[],
  ): string[] {
    const problems: string[] = []
    if (new Set(meters.map(({ id, attempt }) => `${id}/${attempt}`)).size !== meters.length) problems.push(`${name}: an execution is metered twice`)
    const open = meters.filter(({ outcome }) => outcome === null).length
    if (open > 0) problems.push(`${name}: ${open} executions never ended`)
    const row = usage.find(({ functionName }) => functionName === name)
    const billed = (row?.executions ?? 0) + (row?.cut ?? 0)
    if (billed !== meters.length) problems.push(`${name}: ${billed} executions are billed, of ${meters.length} that are metered`)
    const counts = new Map<string, number>()
    for (const { id } of meters) counts.set(id, (counts.get(id) ?? 0) + 1)
    let missing = 0
    const runs = new Map<string, number>()
    for (const one of executed) if (one.function === name) runs.set(one.invocation, (runs.get(one.invocation) ?? 0) + 1)
    for (const [id, times] of runs) missing += Math.max(0, times - (counts.get(id) ?? 0))
    if (missing > 0 && this.#options.powerWasCut) this.#unmetered += missing
    else if (missing > 0) problems.push(`${name}: ${missing} executions that took place are not metered`)
    return problems
  }

  async #metersOf(name: string): Promise<Meter[]> {
    const all: Meter[] = []
    for (let before: string | null = null; ; ) {
      const page: { invocations: Meter[]; next: string | null } = await manage(
        this.#options.ready(),
        'GET',
        `/functions/${name}/invocations?limit=1000${before === null ? '' : `&before=${before}`}`,
      )
      all.push(...page.invocations)
      before = page.next
      if (before === null) return all
    }
  }

  #table(noted: ReadonlyMap<string, Noted>, executed: readonly Executed[], meters: ReadonlyMap<string, readonly Meter[]>): Found[] {
    return FUNCTIONS.map(({ name }) => {
      const mine = executed.filter((one) => one.function === name)
      const runs = new Map<string, number>()
      for (const { ids } of mine) for (const id of ids) runs.set(id, (runs.get(id) ?? 0) + 1)
      const sent = [...noted.values()].filter(({ kind }) => kind === name)
      const acknowledged = sent.filter(({ ok }) => ok)
      return {
        kind: name,
        sent: sent.length,
        acknowledged: acknowledged.length,
        seen: acknowledged.filter(({ id }) => runs.has(id)).length || (name === 'ticks' ? runs.size : 0),
        dead: acknowledged.filter(({ id }) => this.#dead.has(id)).length,
        duplicates: [...runs].reduce((sum, [id, times]) => sum + (noted.get(id)?.fails ? 0 : times - 1), 0),
        executions: mine.length,
        metered: meters.get(name)?.length ?? 0,
      }
    })
  }
}

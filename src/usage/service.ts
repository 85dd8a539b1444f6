import type { Database, Tx } from '../backends/database/database.ts'
import type { InvocationCounters } from '../core/counters.ts'
import { Departed } from '../core/departed.ts'
import type { Journal } from '../core/journal.ts'
import { JournalConsumer } from '../core/journal-consumer.ts'
import type { Log } from '../core/log.ts'
import type { EgressRecord, Meter, MeterRecord, StartMark } from '../core/meter.ts'
import type { Clock } from '../lib/clock.ts'
import type { ProjectRef } from '../core/project.ts'
import { billOf, type GroupBy, type UsageRow, type UsageTotal } from './bill.ts'
import { costNano, FreeTier, type PriceList, showNano } from './prices.ts'
import { type AloneEntry, aloneOf, isPlain, LastVersion, packsOf, recordOf, sumsOf } from './packs.ts'
import {
  addEgress,
  addSums,
  cutOpenMeters,
  deleteOldDays,
  deleteOldMeters,
  deleteProjectMeters,
  finishMeters,
  insertPack,
  insertStarts,
  placesOf,
  type ExecutionsOf,
  type InvocationsOf,
  type MeterStart,
  selectColdStarts,
  selectDayBefore,
  selectDays,
  selectReached,
  selectExecutionsOf,
  selectExecutions,
  selectMetered,
  takePlaces,
  type StoredInvocation,
} from './store.ts'

const SWEEP_MS = 3_600_000
const DAY_MS = 86_400_000
const MAIN = 'main'
/** A start is written down after so long, if its end does not come before. */
const MARK_MS = 5
/** So many hours are counted in steps of minutes. */
const FINE_HOURS = 3

export type MeterEntry = { readonly start: MeterStart } | { readonly end: MeterRecord } | AloneEntry | { readonly egress: EgressRecord }

export interface UsageDeps {
  readonly journal: Journal<MeterEntry>
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  readonly counters: InvocationCounters
  readonly prices: PriceList
  /** How long single executions are kept, and how long what they add up to per day. */
  readonly detailDays: number
  readonly totalDays: number
  /** Which process of the node this is; absent in the main one. */
  readonly process?: string
  /** Asked before anything is read: has the other processes store what they have written. */
  readonly others?: () => Promise<void>
}

export interface Bill {
  readonly usage: readonly UsageRow[]
  readonly total: UsageTotal
  readonly prices: PriceList
}

export interface ColdSpan {
  /** When the span of time began. */
  readonly at: string
  /** How many calls were cold in it, by why. */
  readonly reasons: Readonly<Record<string, number>>
}

const nameOf = (one: { readonly invocationId: string; readonly attempt: number }) => `${one.invocationId}/${one.attempt}`

/** What was executed: a start mark and an end record per execution in the journal, one row of each in the database. */
export class Usage implements Meter, AsyncDisposable {
  readonly #deps: UsageDeps
  readonly #consumer: JournalConsumer<MeterEntry>
  readonly #departed = new Departed()
  /** Starts that are not written down. */
  readonly #begun = new Set<MeterStart>()
  /** Ends that are stored: the journal has them too, and need not store them again. */
  readonly #stored = new WeakSet<MeterRecord>()
  readonly #version = new LastVersion()
  #marking: NodeJS.Timeout | null = null
  #sweeper: NodeJS.Timeout | null = null
  #sweeping: Promise<void> | null = null

  constructor(deps: UsageDeps) {
    this.#deps = deps
    const name = `${deps.process ?? MAIN}/meters`
    this.#consumer = new JournalConsumer({
      ...deps,
      name,
      reached: () => selectReached(deps.database.sql, name),
      store: async (tx, all, { end: reached, isAgain }) => {
        const ends = new Map<string, MeterRecord>()
        const begun: MeterStart[] = []
        const alone: AloneEntry[] = []
        const egress: EgressRecord[] = []
        // What was stored so long ago stands in the sums, and is removed by itself.
        const since = isAgain ? deps.clock.now() - deps.detailDays * DAY_MS : Number.NEGATIVE_INFINITY
        // Of a project that went meanwhile nothing is kept.
        const isKept = (project: string, at: number) => !(at < since) && !this.#departed.owns(project, at)
        for (const entry of all) {
          if ('alone' in entry) {
            if (isKept(entry.of.project, entry.alone[1])) alone.push(entry)
          } else if ('egress' in entry) {
            if (isKept(entry.egress.project, entry.egress.at)) egress.push(entry.egress)
          } else if ('start' in entry) {
            if (isKept(entry.start.project, entry.start.startedAt)) begun.push(entry.start)
          } else if (isKept(entry.end.project, entry.end.startedAt)) {
            const name = nameOf(entry.end)
            if (!ends.has(name)) ends.set(name, entry.end)
          }
        }
        // An execution that began and ended in one batch is one row, written once.
        const starts = begun.filter((start) => !ends.has(nameOf(start)))
        // What may be stored already is told by its key, which rows alone have.
        const { packs, rows } = isAgain ? { packs: [], rows: alone.map(recordOf) } : packsOf(alone)
        const open = [...[...ends.values()].filter((end) => !this.#stored.has(end)), ...rows]
        const sums = sumsOf(packs)
        const places = placesOf([...sums, ...open, ...egress])
        // One statement takes its own.
        const isTaken = places.length > 1 || (places.length === 1 && starts.length > 0)
        if (isTaken) await takePlaces(tx, places)
        if (starts.length > 0) await insertStarts(tx, starts, deps.process ?? MAIN)
        if (open.length > 0) await finishMeters(tx, open, isTaken ? [] : places)
        // Of the journal's own place and this transaction comes that each of these is there once, and what was carried is added once.
        for (const pack of packs) await insertPack(tx, pack, name, reached)
        if (sums.length > 0) await addSums(tx, sums)
        if (egress.length > 0) await addEgress(tx, egress)
      },
    })
  }

  /** Before any call runs: what a former life began and never ended is recorded as cut. */
  async start(): Promise<void> {
    await this.#consumer.start()
    await this.#consumer.catchUp()
    const { database, log, process = null } = this.#deps
    const cut = await database.transaction((tx) => cutOpenMeters(tx, process))
    if (cut.length > 0) log.info({ invocations: cut.length }, 'executions of a former life ended with it')
    if (process !== null) return
    this.#sweeper = setInterval(() => void this.sweep(), SWEEP_MS)
    this.#sweeper.unref()
    void this.sweep()
  }

  get prices(): PriceList {
    return this.#deps.prices
  }

  /** Removes single executions that are too old, and sums that are; one at a time. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = null
    })
    return this.#sweeping
  }

  async #sweep(): Promise<void> {
    const { database, log, detailDays, totalDays } = this.#deps
    try {
      for (const of of await selectMetered(database.sql)) while (await database.transaction((tx) => deleteOldMeters(tx, of, detailDays))) {}
      await deleteOldDays(database.sql, totalDays)
    } catch (error) {
      log.warn({ error: (error as Error).message }, 'old executions could not be removed')
    }
  }

  /** Stores what was written before this call. */
  async catchUp(): Promise<void> {
    this.#mark()
    await Promise.all([this.#consumer.catchUp(), this.#deps.others?.()])
  }

  /** A project goes: of what still runs in it nothing is kept from here on. */
  async depart(project: string): Promise<void> {
    this.#departed.note(project, this.#deps.clock.now())
    this.#mark()
    await this.#consumer.catchUp()
  }

  /** Removes what is known of a project that goes: another of its name must not read it. */
  async dropProject(project: string): Promise<void> {
    await this.depart(project)
    while (await this.#deps.database.transaction((tx) => deleteProjectMeters(tx, project))) {}
  }

  /** Records that were lost: not written, or refused by the database. */
  get dropped(): number {
    return this.#deps.journal.dropped + this.#consumer.refused
  }

  get writable(): boolean {
    return this.#deps.journal.writable
  }

  started(start: MeterStart): StartMark {
    this.#begun.add(start)
    this.#marking ??= setTimeout(() => this.#mark(), MARK_MS)
    return start
  }
  ended(end: MeterRecord, mark: StartMark | null = null, isAlone = false): void {
    this.#deps.counters.count(end)
    // Of a call that is over before its start is written down, the end says all.
    const isAll = mark !== null && this.#begun.delete(mark as MeterStart)
    this.#deps.journal.append(isAll && isAlone && isPlain(end) ? { alone: aloneOf(end), of: this.#version.of(end) } : { end })
  }

  /** Writes down what has begun and not ended. */
  #mark(): void {
    if (this.#marking) clearTimeout(this.#marking)
    this.#marking = null
    if (this.#begun.size === 0) return
    for (const start of this.#begun) this.#deps.journal.append({ start })
    this.#begun.clear()
    this.#deps.journal.flush()
  }

  carried(egress: EgressRecord): void {
    this.#deps.journal.append({ egress })
  }

  settled(): Promise<void> {
    return this.#deps.journal.settled()
  }

  /** What was executed on the last `days` days (UTC, today among them) and what it costs. */
  async read(project: string, days: number, by: GroupBy = 'day,function'): Promise<Bill> {
    const { database, prices } = this.#deps
    await this.catchUp()
    const from = await selectDayBefore(database.sql, days - 1)
    // What a month has for nothing may be used up before the first day that was asked for.
    const since = new FreeTier(prices).isEmpty ? from : `${from.slice(0, 7)}-01`
    return { ...billOf(await selectDays(database.sql, project, since), from, prices, by), prices }
  }

  /** A function's executions, the newest first, each with what it costs by itself. */
  async invocations(of: InvocationsOf): Promise<(StoredInvocation & { readonly cost: string })[]> {
    await this.catchUp()
    const rows = await selectExecutions(this.#deps.database.sql, { ...of, state: null, from: null, to: null })
    return rows.map(({ function: _, ...row }) => this.#priced(row))
  }

  /** Those of all functions of a project, or of one, by how they ended and when they began. */
  async executions(of: ExecutionsOf) {
    await this.catchUp()
    return (await selectExecutions(this.#deps.database.sql, of)).map(this.#priced)
  }

  #priced = <T extends StoredInvocation>(row: T): T & { readonly cost: string } => ({
    ...row,
    cost: showNano(row.outcome === null || row.outcome === 'cut' ? 0n : costNano(amountOf(row), this.#deps.prices)),
  })

  /** What was metered of one invocation, by its attempts. */
  async executionsOf(project: ProjectRef, id: string) {
    await this.catchUp()
    return await selectExecutionsOf(this.#deps.database.sql, project, id)
  }

  /**
   * Stores executions in a transaction of the control database that its owner commits; the journal has them too, and
   * each counts once.
   */
  async storeIn(tx: Tx, records: readonly MeterRecord[]): Promise<void> {
    // Of a project that went meanwhile nothing is kept.
    const open = records.filter(({ project, startedAt }) => !this.#departed.owns(project, startedAt))
    // Nothing is waited for before it: it goes with other statements of its transaction in one flight.
    if (open.length > 0) await finishMeters(tx, open, placesOf(open))
  }

  /** What `storeIn` stored is committed. */
  stored(records: readonly MeterRecord[]): void {
    for (const record of records) this.#stored.add(record)
  }

  /** Why calls were cold, by spans of time; spans without a cold call are left out. */
  async coldStarts(project: ProjectRef, functionName: string | null, hours: number): Promise<{ readonly stepS: number; readonly spans: readonly ColdSpan[] }> {
    await this.#consumer.catchUp()
    const stepS = hours <= FINE_HOURS ? 300 : 3600
    const rows = await selectColdStarts(this.#deps.database.sql, { project, functionName, stepS, spans: (hours * 3600) / stepS })
    const spans = Map.groupBy(rows, (row) => row.at)
    return {
      stepS,
      spans: [...spans].map(([at, of]) => ({
        at: new Date(at * 1000).toISOString(),
        reasons: Object.fromEntries(of.map(({ cold, count }) => [cold, count])),
      })),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#sweeper) clearInterval(this.#sweeper)
    this.#mark()
    await this.#consumer[Symbol.asyncDispose]()
    await this.#sweeping
  }
}

const amountOf = (row: StoredInvocation) => ({
  executions: 1n,
  mbMs: BigInt(row.billedMs) * BigInt(row.memoryMb),
  bytesIn: BigInt(row.bytesIn),
  bytesOut: BigInt(row.bytesOut),
  // Is counted by day.
  egressIn: 0n,
  egressOut: 0n,
})

import type { ProjectRef } from '../../core/project.ts'
import type { RetryAfter } from '../../core/spec-parts.ts'
import { eventPattern, patternFault } from '../../lib/event-pattern.ts'
import { nameOfArn } from '../../queues/index.ts'
import type { QueueMapping } from '../event-source.ts'
import type { TriggerConsumerRow } from './store.ts'

/** A function that takes the messages of a queue, and how. */
export interface Consumer {
  readonly id: string
  readonly project: ProjectRef
  readonly queueName: string
  readonly functionId: string
  readonly functionName: string
  readonly qualifier: string | null
  readonly batchSize: number
  readonly windowSeconds: number
  /** How many of its batches run at once. */
  readonly parallelism: number
  /** Whether its answer may say which messages of a batch failed. */
  readonly reportsFailures: boolean
  /** After how many seconds a message that failed comes again; null for as long as its queue says. */
  readonly retryAfter: RetryAfter | null
  /** A batch that fails as a whole is run again in halves. */
  readonly bisect: boolean
  /** Patterns, one of which a record has to be of; without any all are taken. What is of none is done without a run. */
  readonly filters: readonly Readonly<Record<string, unknown>>[]
}

/** As AWS begins with. */
export const PARALLELISM = 5

interface QueueDefinition {
  readonly queue: {
    readonly name: string
    readonly batchSize: number
    readonly windowSeconds?: number
    readonly parallelism?: number
    readonly retryAfter?: RetryAfter
    readonly bisect?: true
  }
}

export function consumerOfTrigger({ definition, ...row }: TriggerConsumerRow): Consumer {
  const { name, batchSize, windowSeconds = 0, parallelism = PARALLELISM, retryAfter = null, bisect = false } = (definition as QueueDefinition).queue
  return { ...row, queueName: name, qualifier: null, batchSize, windowSeconds, parallelism, retryAfter, bisect, reportsFailures: true, filters: [] }
}

interface MappingSettings {
  readonly BatchSize?: number
  readonly MaximumBatchingWindowInSeconds?: number
  readonly FilterCriteria?: { readonly Filters?: readonly { readonly Pattern?: string }[] }
  readonly FunctionResponseTypes?: readonly string[]
  readonly ScalingConfig?: { readonly MaximumConcurrency?: number }
}

export function consumerOfMapping({ id, project, functionId, functionName, qualifier, sourceArn, settings }: QueueMapping): Consumer | null {
  const reading = readingOf(sourceArn, settings)
  return reading && { ...{ id, project, functionId, functionName, qualifier }, ...reading }
}

export type Reading = Omit<Consumer, 'id' | 'project' | 'functionId' | 'functionName' | 'qualifier'>

/** Null when it is of no queue that is served, or has filters from before they were checked. */
export function readingOf(sourceArn: string, settings: Readonly<Record<string, unknown>>): Reading | null {
  const queueName = nameOfArn(sourceArn)
  if (queueName === null) return null
  const { BatchSize = 10, MaximumBatchingWindowInSeconds = 0, FilterCriteria, FunctionResponseTypes = [], ScalingConfig } = settings as MappingSettings
  const filters = (FilterCriteria?.Filters ?? []).map(({ Pattern = '{}' }) => jsonOf(Pattern))
  if (!filters.every((one): one is Json => patternFault(one) === null)) return null
  return {
    queueName,
    batchSize: BatchSize,
    windowSeconds: MaximumBatchingWindowInSeconds,
    parallelism: ScalingConfig?.MaximumConcurrency ?? PARALLELISM,
    retryAfter: null,
    // AWS has it for streams alone.
    bisect: false,
    reportsFailures: FunctionResponseTypes.includes('ReportBatchItemFailures'),
    filters,
  }
}

type Json = Readonly<Record<string, unknown>>

/** Tells of each record whether one of the filters is of it. @throws PatternError */
export function filterOf(filters: Consumer['filters']): (record: Json) => boolean {
  if (filters.length === 0) return () => true
  const tests = filters.map((filter): ((record: Json) => boolean) => {
    const matches = eventPattern(filter)
    // A pattern looks into a body that is JSON, or at a body that is a text: the other is not of it.
    const asksInto = isObject(filter.body)
    return (record) => {
      const inner = innerOf(record.body)
      if (filter.body === undefined) return matches(record)
      if (asksInto) return inner !== null && matches({ ...record, body: inner })
      return inner === null && matches(record)
    }
  })
  return (record) => tests.some((test) => test(record))
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** What is no JSON is undefined. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function innerOf(body: unknown): object | null {
  const value = jsonOf(String(body))
  return typeof value === 'object' ? value : null
}

/**
 * Which messages failed, by what the function answered.
 * @returns their ids; null when the answer names none of the batch or is otherwise wrong: then all of them failed
 */
export function failuresOf(payload: Uint8Array, ids: ReadonlySet<string>): ReadonlySet<string> | null {
  let answer: unknown
  try {
    answer = JSON.parse(Buffer.from(payload).toString('utf8') || 'null')
  } catch {
    return null
  }
  const listed: unknown = typeof answer === 'object' && answer !== null && 'batchItemFailures' in answer ? answer.batchItemFailures : null
  if (listed === null || listed === undefined) return new Set()
  if (!Array.isArray(listed)) return null
  const failed = new Set<string>()
  for (const one of listed as unknown[]) {
    const id: unknown = typeof one === 'object' && one !== null && 'itemIdentifier' in one ? one.itemIdentifier : null
    if (typeof id !== 'string' || !ids.has(id)) return null
    failed.add(id)
  }
  return failed
}

/** How many seconds a message that failed is hidden. @param receives  how often it has been received, from 1 on */
export const hiddenAfter = (retryAfter: RetryAfter, receives: number): number =>
  typeof retryAfter === 'number' ? retryAfter : Math.min(retryAfter.most, retryAfter.least * 2 ** Math.min(30, receives - 1))

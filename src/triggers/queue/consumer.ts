import type { ProjectRef } from '../../core/project.ts'
import type { TriggerConsumerRow } from './store.ts'

/** A function that takes the messages of a queue, and how. */
export interface Consumer {
  readonly id: string
  readonly project: ProjectRef
  readonly queueName: string
  readonly functionName: string
  readonly qualifier: string | null
  readonly batchSize: number
  readonly windowSeconds: number
  /** How many of its batches run at once. */
  readonly parallelism: number
  /** Whether its answer may say which messages of a batch failed. */
  readonly reportsFailures: boolean
}

/** As AWS begins with. */
export const PARALLELISM = 5

interface QueueDefinition {
  readonly queue: { readonly name: string; readonly batchSize: number; readonly windowSeconds?: number; readonly parallelism?: number }
}

export function consumerOfTrigger({ id, project, functionName, definition }: TriggerConsumerRow): Consumer {
  const { name, batchSize, windowSeconds = 0, parallelism = PARALLELISM } = (definition as QueueDefinition).queue
  return { id, project, queueName: name, functionName, qualifier: null, batchSize, windowSeconds, parallelism, reportsFailures: true }
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

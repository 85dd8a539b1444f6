import { nameOfArn } from '../../queues/index.ts'
import type { KeptMapping } from '../event-source.ts'
import { readingOf } from './consumer.ts'

/** An event source mapping that reads a queue, in the words of the trigger `queue`. */
export interface MappedQueue {
  readonly id: string
  readonly function: string
  readonly queue: { readonly name: string; readonly batchSize?: number; readonly windowSeconds?: number; readonly parallelism?: number }
  readonly mapping: { readonly qualifier: string | null }
  readonly enabled: boolean
  /** Whether messages are read for it: it is enabled, its queue is there and its filters are understood. */
  readonly started: boolean
  readonly modifiedAt: Date
}

/** @returns null where its source is no queue */
export function mappedQueue(
  { id, functionName, qualifier, sourceArn, settings, enabled, modifiedAt }: KeptMapping,
  isThere: (queue: string) => boolean,
): MappedQueue | null {
  const name = sourceArn === null ? null : nameOfArn(sourceArn)
  if (sourceArn === null || name === null) return null
  const reading = readingOf(sourceArn, settings)
  return {
    id,
    function: functionName,
    queue: { name, ...(reading && { batchSize: reading.batchSize, windowSeconds: reading.windowSeconds, parallelism: reading.parallelism }) },
    mapping: { qualifier },
    enabled,
    started: enabled && reading !== null && isThere(name),
    modifiedAt,
  }
}

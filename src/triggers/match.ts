import { isIP } from 'node:net'
import type { ObjectDefinition } from './definition.ts'

/** What happened to an object, as storage tells it. */
export interface ObjectEvent {
  readonly id: string
  readonly bucket: string
  readonly event: 'created' | 'removed'
  readonly happenedAt: Date
  readonly key: string
  readonly size: number
  readonly eTag: string
  readonly sequencer: string
  /** Where the request came from that caused it; null where none did, or a function. */
  readonly sourceAddress: string | null
}

/** An event of an outbox, or null when it is none of this kind; who writes there is our own SQL, but what it says is checked. */
export function objectEventOf(row: {
  readonly eventId: string
  readonly kind: string
  readonly source: string
  readonly event: string
  readonly happenedAt: Date
  readonly data: unknown
}): ObjectEvent | null {
  if (row.kind !== 'object' || (row.event !== 'created' && row.event !== 'removed')) return null
  if (typeof row.data !== 'object' || row.data === null) return null
  const { key, size, eTag, sequencer, sourceAddress } = row.data as Readonly<Record<string, unknown>>
  if (typeof key !== 'string') return null
  return {
    id: row.eventId,
    bucket: row.source,
    event: row.event,
    happenedAt: row.happenedAt,
    key,
    size: Number(size ?? 0),
    eTag: typeof eTag === 'string' ? eTag : '',
    sequencer: typeof sequencer === 'string' ? sequencer : '',
    sourceAddress: typeof sourceAddress === 'string' && isIP(sourceAddress) !== 0 ? sourceAddress : null,
  }
}

/** One of the prefixes and one of the suffixes, the latter in capitals or small letters. */
export function matches({ object }: ObjectDefinition, event: ObjectEvent): boolean {
  const key = event.key.toLowerCase()
  return (
    object.bucket === event.bucket &&
    object.events.includes(event.event) &&
    (object.prefix.length === 0 || object.prefix.some((prefix) => event.key.startsWith(prefix))) &&
    (object.suffix.length === 0 || object.suffix.some((suffix) => key.endsWith(suffix)))
  )
}

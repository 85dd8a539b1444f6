import type { Client } from './client.ts'

export interface TriggerInfo {
  readonly function: string
  /** Whether anything starts it yet. */
  readonly started: boolean
  /** Where nothing does: the kind of event by which `mayfly invoke` starts the function. */
  readonly invokedBy: string | null
  readonly object?: { readonly bucket: string; readonly events: readonly string[]; readonly prefix?: readonly string[]; readonly suffix?: readonly string[] }
  readonly schedule?: { readonly cron?: string; readonly every?: number; readonly at?: string; readonly timezone: string }
  /** Of a schedule: when it is due next; null when it is not any more. */
  readonly nextAt?: string | null
  /** Of lines of a log: how many were given up before it looked at them. */
  readonly unseen?: number
  readonly enabled?: boolean
  readonly queue?: { readonly name: string }
  /** The event source mapping that it is; the qualifier is the alias or version of the function. */
  readonly mapping?: { readonly qualifier: string | null }
  readonly topic?: { readonly name: string; readonly subscription?: string }
  readonly row?: {
    readonly table: string
    readonly events: readonly string[]
    readonly columns?: readonly string[]
    readonly when?: Readonly<Record<string, unknown>>
  }
  /** Where a webhook is sent to, and where a route is asked for. */
  readonly address?: string
  readonly webhook?: { readonly provider: string; readonly name: string; readonly events?: readonly string[] }
  readonly log?: { readonly function: string; readonly pattern?: string }
  readonly http?: { readonly path: string; readonly methods?: readonly string[]; readonly auth: string }
  readonly bus?: { readonly name: string; readonly pattern?: Readonly<Record<string, unknown>> }
}

/** What starts the functions of a project. */
export const listTriggers = async (client: Client, project: string): Promise<readonly TriggerInfo[]> =>
  ((await (await client.request('GET', `/api/v1/projects/${encodeURIComponent(project)}/triggers`)).json()) as { triggers: TriggerInfo[] }).triggers

/** A trigger in a few words: its kind, which one, and what of it. */
export function saysTrigger({ object, schedule, queue, mapping, topic, row, bus, log, webhook, http, address }: TriggerInfo): string {
  if (schedule) return `schedule ${schedule.cron ?? schedule.at ?? `every ${schedule.every} s`}${schedule.timezone === 'UTC' ? '' : ` (${schedule.timezone})`}`
  if (queue) return `queue ${queue.name}${mapping ? ` (event source mapping${mapping.qualifier === null ? '' : ` of ${mapping.qualifier}`})` : ''}`
  if (topic) return `topic ${topic.name}${topic.subscription === undefined ? '' : ` (${topic.subscription})`}`
  if (row) {
    const only = [row.columns?.join(', '), row.when && JSON.stringify(row.when)].filter(Boolean)
    return `rows of ${row.table}: ${row.events.join(', ')}${only.length === 0 ? '' : ` (${only.join('; ')})`}`
  }
  if (bus) return `bus ${bus.name}${bus.pattern === undefined ? '' : `: ${JSON.stringify(bus.pattern)}`}`
  if (log) return `log of ${log.function}${log.pattern === undefined ? '' : `: ${log.pattern}`}`
  if (webhook) return `webhook ${webhook.provider}${webhook.events ? ` (${webhook.events.join(', ')})` : ''} at ${address}`
  if (http) return `${http.methods?.join(', ') ?? 'any method'} ${address} (${http.auth === 'none' ? 'anyone' : http.auth})`
  if (!object) return 'something else'
  const keys = [...(object.prefix ?? []).map((text) => `${text}*`), ...(object.suffix ?? []).map((text) => `*${text}`)]
  return `bucket ${object.bucket}: ${object.events.join(', ')}${keys.length === 0 ? '' : ` (${keys.join(' ')})`}`
}

import type { LifeInfo, MomentInfo, QueuedInfo } from '../../client/queue.ts'
import type { ProjectInfo, ProjectLimits } from '../../client/projects.ts'
import { QueuesClient } from '../../client/queues.ts'
import type { SecretInfo } from '../../client/secrets.ts'
import type { FunctionUrlInfo } from '../../client/urls.ts'
import { ApiError, type DeadLetter, type FunctionInfo, type LogLine, type Pool, type SandboxInfo } from '../../client/client.ts'
import type { Bill as AnyBill, UsageRow } from '../../client/usage.ts'
import type { AliasInfo, VersionInfo } from '../../client/versions.ts'

export { ApiError }
export type {
  AliasInfo,
  DeadLetter,
  FunctionInfo,
  FunctionUrlInfo,
  LifeInfo,
  LogLine,
  MomentInfo,
  Pool,
  ProjectLimits,
  QueuedInfo,
  SandboxInfo,
  SecretInfo,
  VersionInfo,
}

export interface Session {
  readonly projects: readonly { readonly ref: string; readonly name: string; readonly state: string }[]
  readonly defaultProject: string
  readonly apiUrl: string
}
export interface Status {
  readonly url: string
  readonly console: string
  readonly region: string
  readonly sandbox: { readonly driver: string; readonly limits: readonly string[] }
  readonly pool: Pool
}
export interface Invocation {
  readonly id: string
  readonly attempt: number
  readonly startedAt: string
  /** Null while it runs. */
  readonly outcome: 'ok' | 'error' | 'timeout' | 'exit' | 'cut' | null
  readonly durationMs: number
  readonly billedMs: number
  /** From when the queue took its event to the start of this attempt; null where nothing was queued. */
  readonly queueMs: number | null
  /** Waiting for a sandbox. */
  readonly waitMs: number
  readonly initMs: number
  /** Until its answer; with `responseMs` it is the duration. */
  readonly runMs: number
  /** Null while it runs, and where it was not measured. */
  readonly responseMs: number | null
  readonly cold: string | null
  readonly memoryMb: number
  readonly maxMemoryMb: number | null
  readonly bytesIn: number
  readonly bytesOut: number
  readonly cost: string
}
/** Why calls were cold, by spans of time; those without a cold call are left out. */
export interface ColdStarts {
  readonly stepS: number
  readonly spans: readonly { readonly at: string; readonly reasons: Readonly<Record<string, number>> }[]
}
export interface QueueState {
  readonly waiting: number
  readonly running: number
  readonly entries: readonly QueuedInfo[]
}
/** Which dead letters are meant: '' for any. Times as RFC 3339 says. */
export interface LettersMeant {
  readonly function: string
  readonly reason: string
  readonly from: string
  readonly to: string
}
export const ANY_LETTER: LettersMeant = { function: '', reason: '', from: '', to: '' }
/** With its event, or the beginning of that. */
export type WholeLetter = DeadLetter & { readonly encoding: 'text' | 'base64'; readonly payload: string; readonly payloadIsWhole: boolean }
export interface TriggerInfo {
  readonly function: string
  /** Whether anything starts it yet. */
  readonly started: boolean
  readonly schedule?: { readonly cron?: string; readonly every?: number; readonly at?: string; readonly timezone: string }
  readonly queue?: { readonly name: string }
  readonly mapping?: { readonly qualifier: string | null }
  readonly enabled?: boolean
  readonly topic?: { readonly name: string }
  readonly row?: { readonly table: string; readonly events: readonly ('insert' | 'update' | 'delete')[] }
  readonly address?: string
  readonly http?: { readonly methods?: readonly string[] }
  readonly webhook?: { readonly provider: string; readonly events?: readonly string[] }
  readonly log?: { readonly function: string; readonly pattern?: string }
  readonly bus?: { readonly name: string; readonly pattern?: Readonly<Record<string, unknown>> }
  readonly object?: {
    readonly bucket: string
    readonly events: readonly ('created' | 'removed')[]
    readonly prefix?: readonly string[]
    readonly suffix?: readonly string[]
  }
}
/** By day and function, as it is asked for here: neither is added up. */
export interface UsageDay extends UsageRow {
  readonly day: string
  readonly functionName: string
}
export interface Bill extends Omit<AnyBill, 'usage'> {
  readonly usage: readonly UsageDay[]
}
export interface Bucket {
  readonly id: string
  readonly name: string
  readonly public: boolean
  readonly file_size_limit: number | null
  readonly allowed_mime_types: readonly string[] | null
  readonly created_at: string
}
/** A folder has no id and no metadata. */
export interface ListedObject {
  readonly name: string
  readonly id: string | null
  readonly updated_at: string | null
  readonly metadata: { readonly size?: number; readonly mimetype?: string } | null
}

/** So many dead letters are replayed or deleted by one call: the most that the node takes. */
export const LETTERS_AT_ONCE = 1_000

/** Told once whenever the node says that the session is over. */
let sessionLost = () => {}
export const onSessionLost = (hear: () => void): void => {
  sessionLost = hear
}

/** The node could not be reached: the page tells it apart from what the node answered. */
export class OfflineError extends Error {
  constructor(cause: unknown) {
    super('offline', { cause })
    this.name = 'OfflineError'
  }
}

/** One call on this origin, where the cookie of the session goes along. @throws ApiError, OfflineError */
export async function call(method: string, path: string, signal: AbortSignal | null, body?: BodyInit, type?: string): Promise<Response> {
  let response: Response
  try {
    response = await fetch(path, {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      ...(body === undefined ? {} : { body, headers: { 'content-type': type ?? 'application/json' } }),
      ...(signal ? { signal } : {}),
    })
  } catch (error) {
    if (signal?.aborted) throw error
    throw new OfflineError(error)
  }
  if (response.ok) return response
  throw await failureOf(response.status, await response.text())
}

/** What an answer that is none says, by our own catalogue or by storage's words. */
export function failureOf(status: number, text: string): ApiError {
  let told: { code?: string; error?: string; message?: string; hint?: string; requestId?: string } = {}
  try {
    told = JSON.parse(text) as typeof told
  } catch {
    // not one of ours: the status says what there is to say
  }
  const code = told.code ?? told.error
  if (status === 401) sessionLost()
  return new ApiError(status, { ...told, ...(code === undefined ? {} : { code }) })
}

async function json<T>(method: string, path: string, signal: AbortSignal | null, body?: unknown): Promise<T> {
  const response = await call(method, path, signal, body === undefined ? undefined : JSON.stringify(body))
  return (await response.json()) as T
}

const at = (ref: string) => `/api/v1/projects/${encodeURIComponent(ref)}`
const fn = (ref: string, name: string) => `${at(ref)}/functions/${encodeURIComponent(name)}`
/** What of it says something, as a query. */
const queryOf = (of: object) => {
  const pairs = Object.entries(of).filter(([, value]) => value !== '')
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, String(value)]))}`
}
const ofAlias = (alias: string | null) => (alias === null ? '' : `?alias=${encodeURIComponent(alias)}`)
export const storageAt = (ref: string): string => `/p/${encodeURIComponent(ref)}/storage/v1`
/** A key with its slashes, each part of it encoded. */
export const keyPath = (key: string): string => key.split('/').map(encodeURIComponent).join('/')

export const api = {
  login: async (code: string): Promise<void> => void (await call('POST', '/session', null, JSON.stringify({ code }))),
  logout: async (): Promise<void> => void (await call('DELETE', '/session', null)),
  session: (signal: AbortSignal) => json<Session>('GET', '/session', signal),
  status: (signal: AbortSignal) => json<Status>('GET', '/api/v1/status', signal),
  keys: async (ref: string) => (await json<{ keys: Readonly<Record<string, unknown>> }>('GET', `${at(ref)}/keys`, null)).keys,
  functions: async (ref: string, signal: AbortSignal) => (await json<{ functions: readonly FunctionInfo[] }>('GET', `${at(ref)}/functions`, signal)).functions,
  function: async (ref: string, name: string, signal: AbortSignal) => (await json<{ function: FunctionInfo }>('GET', fn(ref, name), signal)).function,
  versions: async (ref: string, name: string, signal: AbortSignal) =>
    (await json<{ versions: readonly VersionInfo[] }>('GET', `${fn(ref, name)}/versions`, signal)).versions,
  aliases: async (ref: string, name: string, signal: AbortSignal) =>
    (await json<{ aliases: readonly AliasInfo[] }>('GET', `${fn(ref, name)}/aliases`, signal)).aliases,
  triggersOf: async (ref: string, name: string, signal: AbortSignal) =>
    (await json<{ triggers: readonly Omit<TriggerInfo, 'function'>[] }>('GET', `${fn(ref, name)}/triggers`, signal)).triggers,
  triggers: async (ref: string, signal: AbortSignal) => (await json<{ triggers: readonly TriggerInfo[] }>('GET', `${at(ref)}/triggers`, signal)).triggers,
  invocations: async (ref: string, name: string, limit: number, signal: AbortSignal) =>
    (await json<{ invocations: readonly Invocation[] }>('GET', `${fn(ref, name)}/invocations?limit=${limit}`, signal)).invocations,
  executions: async (ref: string, of: { readonly function: string; readonly state: string }, limit: number, signal: AbortSignal) =>
    (await json<{ invocations: readonly (Invocation & { readonly function: string })[] }>('GET', `${at(ref)}/invocations${queryOf({ ...of, limit })}`, signal))
      .invocations,
  coldStarts: (ref: string, hours: number, signal: AbortSignal) => json<ColdStarts>('GET', `${at(ref)}/cold-starts?hours=${hours}`, signal),
  project: (ref: string, signal: AbortSignal) => json<{ project: ProjectInfo; limits: ProjectLimits }>('GET', at(ref), signal),
  pauseProject: (ref: string) => call('POST', `${at(ref)}/pause`, null),
  resumeProject: (ref: string) => call('POST', `${at(ref)}/resume`, null),
  cloneProject: (ref: string, copy: string) => call('POST', `${at(ref)}/clone`, null, JSON.stringify({ ref: copy })),
  limitProfiles: async (signal: AbortSignal) =>
    (await json<{ profiles: readonly (ProjectLimits & { readonly name: string })[] }>('GET', '/api/v1/limit-profiles', signal)).profiles,
  setLimitProfile: (ref: string, profile: string) => call('PATCH', at(ref), null, JSON.stringify({ profile })),
  secrets: async (ref: string, signal: AbortSignal) => (await json<{ secrets: readonly SecretInfo[] }>('GET', `${at(ref)}/secrets`, signal)).secrets,
  setSecret: (ref: string, name: string, value: string) => call('PUT', `${at(ref)}/secrets`, null, JSON.stringify({ secrets: { [name]: value } })),
  removeSecret: (ref: string, name: string) => call('DELETE', `${at(ref)}/secrets?name=${encodeURIComponent(name)}`, null),
  functionUrls: (ref: string, signal: AbortSignal) => json<{ strict: boolean; urls: readonly FunctionUrlInfo[] }>('GET', `${at(ref)}/function-urls`, signal),
  setUrlsStrict: (ref: string, strict: boolean) => call('PUT', `${at(ref)}/function-urls`, null, JSON.stringify({ strict })),
  putFunctionUrl: (ref: string, name: string, alias: string | null, wish: { readonly auth: 'none' | 'iam'; readonly stream: boolean }) =>
    call('PUT', `${fn(ref, name)}/url${ofAlias(alias)}`, null, JSON.stringify(wish)),
  removeFunctionUrl: (ref: string, name: string, alias: string | null) => call('DELETE', `${fn(ref, name)}/url${ofAlias(alias)}`, null),
  queue: (ref: string, of: { readonly function: string; readonly state: string }, limit: number, signal: AbortSignal) =>
    json<QueueState>('GET', `${at(ref)}/queue${queryOf({ ...of, limit })}`, signal),
  /** Since when the queued calls of a function are paused; null when they are not. */
  pausedAt: async (ref: string, name: string, signal: AbortSignal) =>
    (await json<{ pausedAt: string | null }>('GET', `${fn(ref, name)}/queue`, signal)).pausedAt,
  pause: (ref: string, name: string) => call('POST', `${fn(ref, name)}/pause`, null),
  resume: (ref: string, name: string) => call('POST', `${fn(ref, name)}/resume`, null),
  life: async (ref: string, id: string, signal: AbortSignal) =>
    (await json<{ invocation: LifeInfo }>('GET', `${at(ref)}/invocations/${encodeURIComponent(id)}`, signal)).invocation,
  deadLetters: async (ref: string, meant: LettersMeant, limit: number, signal: AbortSignal) =>
    (await json<{ deadLetters: readonly DeadLetter[] }>('GET', `${at(ref)}/dead-letters${queryOf({ ...meant, limit })}`, signal)).deadLetters,
  deadLetter: (ref: string, id: string, isWhole: boolean, signal: AbortSignal) =>
    json<WholeLetter>('GET', `${at(ref)}/dead-letters/${id}${isWhole ? '?whole=1' : ''}`, signal),
  /** @param event  JSON in the place of its own event; null leaves it. @returns the id of the new invocation */
  replayDeadLetter: async (ref: string, id: string, event: string | null) =>
    ((await (await call('POST', `${at(ref)}/dead-letters/${id}/replay`, null, event ?? undefined)).json()) as { invocation: string }).invocation,
  replayDeadLetters: (ref: string, meant: LettersMeant) =>
    json<{ replayed: number; stayed: number }>('POST', `${at(ref)}/dead-letters/replay${queryOf({ ...meant, limit: LETTERS_AT_ONCE })}`, null),
  deleteDeadLetter: (ref: string, id: string) => call('DELETE', `${at(ref)}/dead-letters/${id}`, null),
  deleteDeadLetters: (ref: string, meant: LettersMeant) =>
    json<{ removed: number }>('DELETE', `${at(ref)}/dead-letters${queryOf({ ...meant, limit: LETTERS_AT_ONCE })}`, null),
  /** Where the browser downloads them, each with its whole event. */
  lettersFile: (ref: string, meant: LettersMeant) => `${at(ref)}/dead-letters${queryOf({ ...meant, export: 1 })}`,
  usage: (ref: string, days: number, signal: AbortSignal) => json<Bill>('GET', `${at(ref)}/usage?days=${days}`, signal),
  logsOf: async (ref: string, name: string, invocation: string) =>
    (await json<{ lines: readonly LogLine[] }>('GET', `${fn(ref, name)}/logs?limit=100&invocation=${invocation}`, null)).lines,

  invoke: async (ref: string, name: string, payload: string, signal: AbortSignal) => {
    const response = await call('POST', `${fn(ref, name)}/invoke`, signal, payload)
    const { headers } = response
    return {
      payload: await response.text(),
      failed: headers.get('x-mayfly-function-error') !== null,
      invocation: headers.get('x-mayfly-invocation-id') ?? '',
      cold: headers.get('x-mayfly-cold'),
      durationMs: Number(headers.get('x-mayfly-duration-ms') ?? 0),
      initMs: Number(headers.get('x-mayfly-init-ms') ?? 0),
    }
  },
  invokeAsync: (ref: string, name: string, payload: string, signal: AbortSignal) =>
    call('POST', `${fn(ref, name)}/invoke?async=1`, signal, payload).then((response) => response.json() as Promise<{ invocation: string }>),

  buckets: (ref: string, signal: AbortSignal) => json<readonly Bucket[]>('GET', `${storageAt(ref)}/bucket`, signal),
  bucket: (ref: string, id: string, signal: AbortSignal) => json<Bucket>('GET', `${storageAt(ref)}/bucket/${encodeURIComponent(id)}`, signal),
  objects: (ref: string, bucket: string, prefix: string, limit: number, offset: number, signal: AbortSignal) =>
    json<readonly ListedObject[]>('POST', `${storageAt(ref)}/object/list/${encodeURIComponent(bucket)}`, signal, {
      prefix,
      limit,
      offset,
      sortBy: { column: 'name', order: 'asc' },
    }),
  object: async (ref: string, bucket: string, key: string, signal: AbortSignal | null) =>
    await (await call('GET', `${storageAt(ref)}/object/${encodeURIComponent(bucket)}/${keyPath(key)}`, signal)).blob(),
  removeObjects: (ref: string, bucket: string, keys: readonly string[]) =>
    json<readonly { name: string }[]>('DELETE', `${storageAt(ref)}/object/${encodeURIComponent(bucket)}`, null, { prefixes: keys }),
}

/** The queues of a project, asked on this origin. */
export const queuesOf = (ref: string, signal: AbortSignal | null = null): QueuesClient =>
  new QueuesClient({ request: (method, path, body) => call(method, path, signal, body) }, ref)

/** Sends a file and tells how far it is; fetch cannot. @throws ApiError, OfflineError */
export function upload(ref: string, bucket: string, key: string, file: File, replace: boolean, hear: (sent: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', `${storageAt(ref)}/object/${encodeURIComponent(bucket)}/${keyPath(key)}`)
    request.setRequestHeader('content-type', file.type || 'application/octet-stream')
    request.setRequestHeader('x-upsert', String(replace))
    request.upload.onprogress = (event) => hear(event.loaded)
    request.onerror = () => reject(new OfflineError(null))
    request.onload = () => (request.status < 300 ? resolve() : reject(failureOf(request.status, request.responseText)))
    request.send(file)
  })
}

/** The lines of a function as they are written, from a line on; ends when the node or the signal ends it. @throws ApiError, OfflineError */
export const followLogs = (ref: string, name: string, after: string | null, signal: AbortSignal): AsyncGenerator<LogLine[]> =>
  follow(`${fn(ref, name)}/logs?follow=1&limit=200${after === null ? '' : `&after=${after}`}`, signal)

/** What happens in the queue, as it happens. @throws ApiError, OfflineError */
export const followQueue = (ref: string, functionName: string, signal: AbortSignal): AsyncGenerator<(MomentInfo | { readonly missed: number })[]> =>
  follow(`${at(ref)}/queue/feed${queryOf({ function: functionName })}`, signal)

async function* follow<T>(path: string, signal: AbortSignal): AsyncGenerator<T[]> {
  const response = await call('GET', path, signal)
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  while (reader) {
    const { done, value } = await reader.read()
    if (done) return
    const lines = (rest + value).split('\n')
    rest = lines.pop() ?? ''
    const whole = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as T)
    if (whole.length > 0) yield whole
  }
}

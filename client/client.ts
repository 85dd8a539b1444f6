import type { LettersMeant } from './queue.ts'
import { isOfUnknownIssuer } from './unknown-issuer.ts'
import type { Bill } from './usage.ts'

/** A source map, version 3 (https://tc39.es/ecma426/). */
export type SourceMap = {
  readonly file: string
  readonly version: number
  readonly sources: string[]
  readonly sourcesContent: string[]
  readonly names: string[]
  readonly mappings: string
  readonly sourceRoot: string
}

/** A failure that the node told in the words of its catalogue. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly hint: string
  readonly requestId: string
  constructor(status: number, body: { code?: string; message?: string; hint?: string; requestId?: string }) {
    super(body.message ?? `the node answered ${status}`)
    this.name = 'ApiError'
    this.status = status
    this.code = body.code ?? 'unknown'
    this.hint = body.hint ?? ''
    this.requestId = body.requestId ?? ''
  }
}

/** What only a connection that is refused does not need: of a certificate, a name, a time-out. */
const metBy = (cause: unknown) =>
  cause instanceof Error && cause.message !== '' && !/ECONNREFUSED|fetch failed/.test(cause.message) ? ` (${cause.message.replace(OF_NODE, '')})` : ''
/** What Node adds for who starts it by itself. */
const OF_NODE = /; if the root CA is installed locally.*$/s

const toTrust = (cause: unknown) =>
  cause instanceof Error && isOfUnknownIssuer(cause)
    ? 'This machine knows nobody who signed its certificate; where it is one of your own, NODE_EXTRA_CA_CERTS names the file of who did.'
    : ''

/** The node could not be reached at all. */
export class UnreachableError extends Error {
  constructor(url: string, cause: unknown) {
    super(`no node answers at ${url}${metBy(cause)}. ${toTrust(cause) || 'Is it running there? `npx mayfly up` starts one on this machine.'}`, { cause })
    this.name = 'UnreachableError'
  }
}

export interface ReadyLine {
  readonly ready: true
  readonly url: string
  readonly console: string
  readonly project: { readonly ref: string; readonly url: string; readonly publishableKey: string; readonly secretKey: string }
  readonly accessKey: { readonly id: string; readonly secret: string }
  readonly region: string
  readonly sandbox: { readonly driver: string; readonly limits: readonly string[] }
}

/** An app of another cloud, ready to run. */
export interface AppBuild {
  readonly artefact: string
  /** What it registers. */
  readonly functions: readonly { readonly name: string; readonly trigger: string; readonly details: Readonly<Record<string, unknown>> }[]
  readonly warnings: readonly string[]
  readonly packages: { readonly key: string; readonly reused: boolean; readonly lock: string | null; readonly count: number }
}

/** The sandboxes of a node as they are now. */
export interface Pool {
  /** Booted, and waiting for a function: all, and by runtime. */
  readonly generic: number
  readonly waiting: readonly { readonly runtime: string; readonly booted: number; readonly wanted: number }[]
  readonly memory: {
    readonly usedMb: number
    readonly budgetMb: number
    /** Of the machine, as it was seen last. */
    readonly machine: { readonly totalMb: number; readonly availableMb: number; readonly stalledPercent: number | null; readonly isShort: boolean } | null
  }
  /** How many ended since the node started, by why. */
  readonly ended: Readonly<Record<string, number>>
  readonly sandboxes: readonly SandboxInfo[]
  readonly missing: readonly { readonly what: string; readonly why: string; readonly todo: string }[]
  /** What does not work now. */
  readonly problems: readonly { readonly what: string; readonly why: string; readonly todo: string }[]
}

/** A sandbox that serves a version of a function. */
export interface SandboxInfo {
  readonly id: string
  readonly project: string
  readonly functionName: string
  readonly version: string
  readonly runtime: string
  readonly driver: string
  readonly state: string
  /** Calls that run in it now, and all that ever did. */
  readonly busy: number
  readonly calls: number
  /** Null while calls run in it. */
  readonly idleMs: number | null
  readonly provisioned: boolean
  /** What it counts with against the budget, what it uses now (null where the kernel counts none), and its limit. */
  readonly memoryMb: number
  readonly usedMb: number | null
  readonly limitMb: number
}

/** One execution; `outcome` is null while it runs. */
export interface InvocationInfo {
  readonly id: string
  readonly attempt: number
  readonly version: string
  readonly startedAt: string
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

export interface DeadLetter {
  readonly id: string
  readonly function: string
  /** The version or alias that it was sent to; null for none. */
  readonly qualifier: string | null
  readonly reason: 'attempts' | 'age' | 'node' | 'function_gone' | 'recursion' | 'destination'
  readonly attempts: number
  readonly lost: number
  readonly errorType: string | null
  readonly errorMessage: string | null
  readonly enqueuedAt: string
  readonly deadAt: string
  readonly payloadBytes: number
  /** The webhook or the queue that was to be told. */
  readonly webhook?: string
  readonly queue?: string
}
export interface LogLine {
  readonly seq: string
  readonly at: string
  readonly invocation: string
  readonly version: string
  readonly source: 'platform' | 'stdout' | 'stderr'
  readonly text: string
}

export interface FunctionInfo {
  readonly name: string
  readonly runtime: string
  readonly handler: string
  readonly memory: number
  readonly timeout: number
  readonly state: string
  /** Null where nothing is reserved. */
  readonly reservedConcurrency: number | null
  /** How it stands with the sandboxes that are kept loaded; null where none are to be. */
  readonly provisionedNow: ProvisionedInfo | null
  readonly [name: string]: unknown
}

/** How it stands with the sandboxes that are kept loaded of a version. */
export interface ProvisionedInfo {
  readonly requested: number
  readonly available: number
  readonly status: string
  readonly reason: string | null
  /** What the code said when it did not load. */
  readonly detail?: string
}

export interface LayerInfo {
  readonly name: string
  readonly version: number
  readonly description: string
  readonly artefact: string
  readonly codeBytes: number
  readonly publishedAt: string
}

export interface DeploymentChange {
  readonly kind: 'function' | 'bucket' | 'site' | 'trigger' | 'url' | 'alias' | 'migration' | 'queue'
  readonly name: string
  readonly action: 'create' | 'update' | 'remove' | 'same' | 'keep'
  readonly why: readonly string[]
}
export interface DeploymentPlan {
  readonly changes: readonly DeploymentChange[]
  readonly warnings: readonly string[]
  readonly missing: { readonly artefacts: readonly string[]; readonly files: readonly string[] }
  /** This very document was applied and reached. */
  readonly reached: boolean
}
export interface DeploymentInfo {
  readonly name: string
  readonly version: number
  readonly reached: number
  readonly state: 'applying' | 'reached' | 'failed'
  readonly error: string | null
}
export interface SiteInfo {
  readonly name: string
  /** Null where no host name of sites leads to the node that was asked. */
  readonly url: string | null
  readonly files: number
  readonly bytes: number
}

export interface Asked {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: string | Uint8Array<ArrayBuffer>
  readonly signal?: AbortSignal
}

/** What came back; its body is read once, in one of three ways. */
export interface Answer {
  readonly status: number
  readonly ok: boolean
  readonly headers: { get(name: string): string | null }
  readonly body: AsyncIterable<Uint8Array> | null
  text(): Promise<string>
  json(): Promise<unknown>
}

/** Sends a request. @throws what the connection met, or the signal's reason */
export type Ask = (url: string, asked: Asked) => Promise<Answer>

/** The management API of one node, as one key. */
export class Client {
  readonly #url: string
  readonly #key: string
  readonly #ask: Ask

  constructor(url: string, key: string, ask: Ask = (url, asked) => fetch(url, asked)) {
    this.#url = url.replace(/\/+$/, '')
    this.#key = key
    this.#ask = ask
  }

  /** Where apps reach a project. */
  addressOf(project: string): string {
    return `${this.#url}/p/${project}`
  }

  /** @throws ApiError, UnreachableError */
  async request(
    method: string,
    path: string,
    body?: string | Uint8Array<ArrayBuffer> | null,
    headers: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<Answer> {
    let response: Answer
    try {
      response = await this.#ask(`${this.#url}${path}`, {
        method,
        headers: { authorization: `Bearer ${this.#key}`, ...headers },
        ...(body === undefined || body === null ? {} : { body }),
        ...(signal ? { signal } : {}),
      })
    } catch (error) {
      if (signal?.aborted) throw error
      throw new UnreachableError(this.#url, error)
    }
    if (response.ok) return response
    const text = await response.text()
    let parsed: object = {}
    try {
      parsed = JSON.parse(text) as object
    } catch {
      // Not one of ours: the status says what there is to say.
    }
    throw new ApiError(response.status, parsed)
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.request(
      method,
      path,
      body === undefined ? undefined : JSON.stringify(body),
      body === undefined ? {} : { 'content-type': 'application/json' },
    )
    return (await response.json()) as T
  }

  status(): Promise<ReadyLine & { pool: Pool }> {
    return this.#json('GET', '/api/v1/status')
  }

  /** A fresh one-time address of the console. */
  async consoleLogin(): Promise<string> {
    return (await this.#json<{ url: string }>('POST', '/api/v1/console-logins')).url
  }

  /** Signs everybody out of the console. @returns how many sessions were ended */
  async endConsoleSessions(): Promise<number> {
    return (await this.#json<{ ended: number }>('DELETE', '/api/v1/console-sessions')).ended
  }

  async functions(project: string): Promise<readonly FunctionInfo[]> {
    return (await this.#json<{ functions: FunctionInfo[] }>('GET', `${at(project)}/functions`)).functions
  }

  /** @throws ApiError with the status 404 when there is none */
  async function(project: string, name: string): Promise<FunctionInfo> {
    return (await this.#json<{ function: FunctionInfo }>('GET', `${at(project)}/functions/${encodeURIComponent(name)}`)).function
  }

  /** Of the bundle that runs, or of `name:qualifier`. @throws ApiError with the status 404 where there is none */
  sourceMap(project: string, name: string): Promise<SourceMap> {
    return this.#json('GET', `${at(project)}/functions/${encodeURIComponent(name)}/source-map`)
  }

  removeFunction(project: string, name: string): Promise<Answer> {
    return this.request('DELETE', `${at(project)}/functions/${encodeURIComponent(name)}`)
  }

  /** Each layer by its newest version. */
  async layers(project: string): Promise<readonly LayerInfo[]> {
    return (await this.#json<{ layers: LayerInfo[] }>('GET', `${at(project)}/layers`)).layers
  }

  /** The newest first. */
  async layerVersions(project: string, name: string): Promise<readonly LayerInfo[]> {
    return (await this.#json<{ versions: LayerInfo[] }>('GET', `${at(project)}/layers/${encodeURIComponent(name)}`)).versions
  }

  async publishLayer(project: string, name: string, wish: { readonly artefact: string; readonly description: string }): Promise<LayerInfo> {
    return (await this.#json<{ layer: LayerInfo }>('POST', `${at(project)}/layers/${encodeURIComponent(name)}`, wish)).layer
  }

  removeLayer(project: string, name: string, version: number): Promise<Answer> {
    return this.request('DELETE', `${at(project)}/layers/${encodeURIComponent(name)}/${version}`)
  }

  async hasArtefact(project: string, sha256: string): Promise<boolean> {
    try {
      await this.request('HEAD', `${at(project)}/artefacts/${sha256}`)
      return true
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return false
      // An answer to HEAD has no body: a GET that takes the same right is told why.
      if (error instanceof ApiError) await this.functions(project)
      throw error
    }
  }

  putArtefact(project: string, sha256: string, zip: Uint8Array): Promise<Answer> {
    return this.request('PUT', `${at(project)}/artefacts/${sha256}`, new Uint8Array(zip), { 'content-type': 'application/zip' })
  }

  /** Has the packages of an app installed, and what it registers looked at. */
  buildApp(project: string, request: object): Promise<AppBuild> {
    return this.#json('POST', `${at(project)}/builds`, request)
  }

  putFunction(project: string, name: string, definition: object): Promise<{ function: FunctionInfo; changed: boolean; warnings: readonly string[] }> {
    return this.#json('PUT', `${at(project)}/functions/${encodeURIComponent(name)}`, definition)
  }

  /** Makes the triggers of a function equal to these. */
  putTriggers(project: string, name: string, triggers: unknown): Promise<{ changed: boolean; warnings: readonly string[] }> {
    return this.#json('PUT', `${at(project)}/functions/${encodeURIComponent(name)}/triggers`, { triggers })
  }

  putSiteFile(project: string, sha256: string, bytes: Uint8Array): Promise<Answer> {
    return this.request('PUT', `${at(project)}/site-files/${sha256}`, new Uint8Array(bytes), { 'content-type': 'application/octet-stream' })
  }

  async sites(project: string): Promise<readonly SiteInfo[]> {
    return (await this.#json<{ sites: SiteInfo[] }>('GET', `${at(project)}/sites`)).sites
  }

  /** What applying a project file would change; changes nothing. */
  planDeployment(project: string, document: object, alias: string | null = null): Promise<DeploymentPlan> {
    return this.#json('POST', `${at(project)}/deployments/plan${alias === null ? '' : `?alias=${encodeURIComponent(alias)}`}`, document)
  }

  /** Asks for a project file; it may still be `applying` when this resolves. */
  async applyDeployment(project: string, name: string, document: object): Promise<DeploymentInfo> {
    return (await this.#json<{ deployment: DeploymentInfo }>('PUT', `${at(project)}/deployments/${encodeURIComponent(name)}`, document)).deployment
  }

  async deployment(project: string, name: string): Promise<DeploymentInfo> {
    return (await this.#json<{ deployment: DeploymentInfo }>('GET', `${at(project)}/deployments/${encodeURIComponent(name)}`)).deployment
  }

  /** Runs a function with an event. */
  async invoke(
    project: string,
    name: string,
    payload: string,
  ): Promise<{ payload: string; failed: boolean; invocationId: string; version: string; cold: string | null; durationMs: number }> {
    const response = await this.request('POST', `${at(project)}/functions/${encodeURIComponent(name)}/invoke`, payload, { 'content-type': 'application/json' })
    const { headers } = response
    return {
      payload: await response.text(),
      failed: headers.get('x-mayfly-function-error') !== null,
      invocationId: headers.get('x-mayfly-invocation-id') ?? '',
      version: headers.get('x-mayfly-version') ?? '',
      cold: headers.get('x-mayfly-cold'),
      durationMs: Number(headers.get('x-mayfly-duration-ms') ?? 0),
    }
  }

  /** Queues a function's run: when this resolves it is on disk, and runs at least once or becomes a dead letter. */
  async invokeAsync(
    project: string,
    name: string,
    payload: string,
    keys: { readonly once?: string; readonly order?: string } = {},
  ): Promise<{ invocation: string; duplicate?: boolean }> {
    const path = `${at(project)}/functions/${encodeURIComponent(name)}/invoke?async=1`
    const headers = {
      'content-type': 'application/json',
      ...(keys.once === undefined ? {} : { 'idempotency-key': keys.once }),
      ...(keys.order === undefined ? {} : { 'x-mayfly-order-key': keys.order }),
    }
    return (await (await this.request('POST', path, payload, headers)).json()) as { invocation: string; duplicate?: boolean }
  }

  /** Invocations that were given up, the newest first. */
  async deadLetters(project: string, of: LettersMeant): Promise<readonly DeadLetter[]> {
    const query = new URLSearchParams(Object.entries(of)).toString()
    return (await this.#json<{ deadLetters: readonly DeadLetter[] }>('GET', `${at(project)}/dead-letters?${query}`)).deadLetters
  }

  removeDeadLetter(project: string, id: string): Promise<Answer> {
    return this.request('DELETE', `${at(project)}/dead-letters/${encodeURIComponent(id)}`)
  }

  /** `dropped`: what the project's log lost for want of room, of all its functions. */
  async logs(project: string, name: string, limit: number): Promise<{ lines: readonly LogLine[]; dropped: { lines: number; bytes: number } }> {
    return await this.#json('GET', `${at(project)}/functions/${encodeURIComponent(name)}/logs?limit=${limit}`)
  }

  /** Lines as they come, until the signal fires or the node ends the stream. */
  async *followLogs(project: string, name: string, limit: number, signal: AbortSignal): AsyncGenerator<LogLine> {
    const response = await this.request('GET', `${at(project)}/functions/${encodeURIComponent(name)}/logs?follow=1&limit=${limit}`, undefined, {}, signal)
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      rest += decoder.decode(chunk, { stream: true })
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line !== '') yield JSON.parse(line) as LogLine
    }
  }

  /** The last `days` days (UTC), with their total and the price list. */
  usage(project: string, days: number, by: 'day,function' | 'day' | 'function' = 'day,function'): Promise<Bill> {
    return this.#json('GET', `${at(project)}/usage?days=${days}&by=${by}`)
  }

  /** A function's executions, the newest first; `next` of a page is the `before` of the one behind it. */
  invocations(
    project: string,
    name: string,
    limit: number,
    before: string | null = null,
  ): Promise<{ invocations: readonly InvocationInfo[]; next: string | null }> {
    const query = `limit=${limit}${before === null ? '' : `&before=${before}`}`
    return this.#json('GET', `${at(project)}/functions/${encodeURIComponent(name)}/invocations?${query}`)
  }
}

const at = (project: string) => `/api/v1/projects/${encodeURIComponent(project)}`

/** What sends requests with the key of its node: the client. */
interface Requests {
  request(
    method: string,
    path: string,
    body?: string,
    headers?: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<{ json(): Promise<unknown>; readonly body: AsyncIterable<Uint8Array> | null }>
}

/** An attempt of an invocation. */
export interface AttemptInfo {
  readonly attempt: number
  readonly startedAt: string | null
  readonly version: string | null
  readonly outcome: string | null
  readonly durationMs: number | null
  readonly errorType?: string | null
  readonly errorMessage?: string | null
  readonly nextAt?: string
}

/** Where an invocation stands, and how it came there. */
export interface LifeInfo {
  readonly id: string
  readonly function: string | null
  readonly status: 'waiting' | 'running' | 'retrying' | 'held' | 'paused' | 'succeeded' | 'failed' | 'dead'
  readonly enqueuedAt: string | null
  readonly nextAttemptAt: string | null
  readonly orderKey: string | null
  readonly webhook: string | null
  /** The queue that was to be told, of a dead letter that is the record of another's outcome. */
  readonly queue: string | null
  readonly attempts: readonly AttemptInfo[]
  readonly lost: number
  readonly deadLetter: { readonly reason: string; readonly deadAt: string; readonly errorType: string | null; readonly errorMessage: string | null } | null
  readonly destination: ToldInfo | null
  /** The queue of the function's `DeadLetterConfig` to which its event went when it was given up. */
  readonly sentLetter: ToldInfo | null
  readonly result: { readonly isError: boolean; readonly encoding: string; readonly payload: unknown; readonly expiresAt: string } | null
}

export interface ToldInfo {
  readonly condition: string
  readonly kind: string
  readonly target: string
  readonly delivery: string
  readonly at: string
  /** It could not be told: the delivery is a dead letter. */
  readonly isDead: boolean
}

export interface QueuedInfo {
  readonly id: string
  readonly function: string
  readonly state: 'waiting' | 'running' | 'retrying' | 'held' | 'paused'
  readonly attempt: number
  readonly spent: number
  readonly enqueuedAt: string
  readonly dueAt: string
  readonly orderKey?: string
  readonly webhook?: string
  readonly errorMessage?: string
}

export interface MomentInfo {
  readonly at: string
  readonly invocation: string
  readonly function: string
  readonly what: string
  readonly attempt?: number
  readonly errorType?: string | null
  readonly errorMessage?: string | null
  readonly nextAt?: string
  readonly reason?: string
  readonly url?: string
}

/** Which executions are meant; absent for any. */
export interface ExecutionsMeant {
  readonly function?: string
  readonly state?: string
  readonly from?: string
  readonly to?: string
  readonly limit?: string
  readonly before?: string
}

export interface ExecutionInfo {
  readonly id: string
  readonly function: string
  readonly attempt: number
  readonly version: string
  readonly startedAt: string
  readonly outcome: 'ok' | 'error' | 'timeout' | 'exit' | 'cut' | null
  readonly durationMs: number
  readonly queueMs: number | null
}

/** Which dead letters are meant; absent for any. */
export interface LettersMeant {
  readonly function?: string
  readonly reason?: string
  readonly error?: string
  /** Given up from this time on, and up to it; both as RFC 3339 says. */
  readonly from?: string
  readonly to?: string
  readonly limit?: string
}

const at = (project: string) => `/api/v1/projects/${encodeURIComponent(project)}`
const queryOf = (meant: object) => {
  const query = new URLSearchParams(Object.entries(meant).filter((pair): pair is [string, string] => typeof pair[1] === 'string')).toString()
  return query === '' ? '' : `?${query}`
}

/** The queue of a project: what waits, what was given up, and what became of each. */
export class QueueClient {
  readonly #client: Requests
  readonly #project: string

  constructor(client: Requests, project: string) {
    this.#client = client
    this.#project = project
  }

  async life(id: string): Promise<LifeInfo> {
    return (await this.#json<{ invocation: LifeInfo }>('GET', `/invocations/${encodeURIComponent(id)}`)).invocation
  }

  /** The last executions of all functions that fit, the newest first; `next` of a page is the `before` of the one behind it. */
  executions(of: ExecutionsMeant): Promise<{ invocations: readonly ExecutionInfo[]; next: string | null }> {
    return this.#json('GET', `/invocations${queryOf(of)}`)
  }

  waiting(of: {
    readonly function?: string
    readonly state?: string
    readonly limit?: string
  }): Promise<{ waiting: number; running: number; entries: readonly QueuedInfo[] }> {
    return this.#json('GET', `/queue${queryOf(of)}`)
  }

  pause(name: string): Promise<{ pausedAt: string }> {
    return this.#json('POST', `/functions/${encodeURIComponent(name)}/pause`)
  }

  resume(name: string): Promise<{ resumed: boolean }> {
    return this.#json('POST', `/functions/${encodeURIComponent(name)}/resume`)
  }

  letter(id: string): Promise<{ readonly payload: string; readonly encoding: string; readonly payloadIsWhole: boolean } & Record<string, unknown>> {
    return this.#json('GET', `/dead-letters/${encodeURIComponent(id)}`)
  }

  /** @param event  JSON in the place of its own event; null leaves it */
  replay(id: string, event: string | null): Promise<{ invocation: string }> {
    return this.#json('POST', `/dead-letters/${encodeURIComponent(id)}/replay`, event)
  }

  replayMany(meant: LettersMeant): Promise<{ replayed: number; stayed: number }> {
    return this.#json('POST', `/dead-letters/replay${queryOf(meant)}`)
  }

  dropMany(meant: LettersMeant): Promise<{ removed: number }> {
    return this.#json('DELETE', `/dead-letters${queryOf(meant)}`)
  }

  /** Each with its whole event. */
  export(meant: LettersMeant): AsyncGenerator<string> {
    return this.#lines(`/dead-letters${queryOf({ ...meant, export: '1' })}`)
  }

  /** What happens in the queue, as it happens. */
  async *feed(name: string | null, signal: AbortSignal): AsyncGenerator<MomentInfo | { readonly missed: number }> {
    for await (const line of this.#lines(`/queue/feed${queryOf({ function: name })}`, signal)) yield JSON.parse(line) as MomentInfo
  }

  async *#lines(path: string, signal?: AbortSignal): AsyncGenerator<string> {
    const response = await this.#client.request('GET', `${at(this.#project)}${path}`, undefined, {}, signal)
    const decoder = new TextDecoder()
    let rest = ''
    for await (const chunk of response.body ?? []) {
      rest += decoder.decode(chunk, { stream: true })
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line !== '') yield line
    }
  }

  async #json<T>(method: string, path: string, body: string | null = null): Promise<T> {
    const response = await this.#client.request(
      method,
      `${at(this.#project)}${path}`,
      body ?? undefined,
      body === null ? {} : { 'content-type': 'application/json' },
    )
    return (await response.json()) as T
  }
}

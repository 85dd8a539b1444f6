export interface QueueSpec {
  readonly visibilitySeconds?: number
  readonly delaySeconds?: number
  readonly retentionSeconds?: number
  readonly waitSeconds?: number
  readonly maxMessageBytes?: number
  readonly deadLetter?: { readonly queue: string; readonly maxReceives: number }
}

export interface QueueInfo {
  readonly name: string
  readonly settings: QueueSpec & { readonly visibilitySeconds: number; readonly retentionSeconds: number; readonly delaySeconds: number }
  readonly visible: number
  readonly inFlight: number
  readonly delayed: number
  readonly bytes: number
  readonly oldestSentAt: string | null
  /** The queues that give up messages to this one. */
  readonly deadLettersOf: readonly string[]
  readonly createdAt: string
}

export interface MoveInfo {
  /** Null: each to the queue that it came from. */
  readonly to: string | null
  readonly state: 'running' | 'completed' | 'cancelled' | 'failed'
  /** Why it failed. */
  readonly failure: string | null
  readonly moved: number
  readonly total: number
  readonly startedAt: string
}

export interface PeekedMessage {
  readonly id: string
  readonly sentAt: string
  readonly visibleAt: string
  readonly receiveCount: number
  readonly bytes: number
  /** Of a long one the beginning. */
  readonly body: string
  readonly bodyIsWhole: boolean
}

export interface ReceivedMessage {
  readonly id: string
  readonly receipt: string
  readonly body: string
  readonly receiveCount: number
  readonly sentAt: string
  readonly givenUpBy?: string
}

/** Asks the management API with the rights of whoever made it. */
export interface Asker {
  request(method: string, path: string, body?: string, headers?: Record<string, string>): Promise<{ json(): Promise<unknown> }>
}

/** The queues of a project, for their owner. */
export class QueuesClient {
  readonly #client: Asker
  readonly #at: string

  constructor(client: Asker, project: string) {
    this.#client = client
    this.#at = `/api/v1/projects/${encodeURIComponent(project)}/queues`
  }

  async list(): Promise<readonly QueueInfo[]> {
    return (await this.#json<{ queues: QueueInfo[] }>('GET', '')).queues
  }
  show(name: string): Promise<{ queue: QueueInfo; moves: readonly MoveInfo[] }> {
    return this.#json('GET', of(name))
  }
  /** Makes it, or makes the one there is equal to this. */
  put(name: string, spec: QueueSpec): Promise<{ queue: QueueInfo; changed: boolean }> {
    return this.#json('PUT', of(name), spec)
  }
  async remove(name: string, withMessages: boolean): Promise<void> {
    await this.#client.request('DELETE', `${this.#at}${of(name)}${withMessages ? '?messages=drop' : ''}`)
  }
  /** @returns the ids of what is on disk then */
  async send(name: string, body: string, delaySeconds?: number): Promise<readonly string[]> {
    return (await this.#json<{ ids: string[] }>('POST', `${of(name)}/messages`, { body, ...(delaySeconds === undefined ? {} : { delaySeconds }) })).ids
  }
  async peek(name: string, limit: number): Promise<readonly PeekedMessage[]> {
    return (await this.#json<{ messages: PeekedMessage[] }>('GET', `${of(name)}/messages?limit=${limit}`)).messages
  }
  async receive(name: string, asked: { readonly most: number; readonly waitSeconds: number }): Promise<readonly ReceivedMessage[]> {
    return (await this.#json<{ messages: ReceivedMessage[] }>('POST', `${of(name)}/receive`, asked)).messages
  }
  async done(name: string, receipts: readonly string[]): Promise<void> {
    await this.#json('POST', `${of(name)}/done`, { receipts })
  }
  async purge(name: string): Promise<void> {
    await this.#json('POST', `${of(name)}/purge`)
  }
  async redrive(name: string, asked: { readonly to?: string; readonly perSecond?: number }): Promise<MoveInfo> {
    return (await this.#json<{ move: MoveInfo }>('POST', `${of(name)}/redrive`, asked)).move
  }
  async stopRedrive(name: string): Promise<MoveInfo> {
    return (await this.#json<{ move: MoveInfo }>('DELETE', `${of(name)}/redrive`)).move
  }

  async #json<T>(method: string, path: string, body?: object): Promise<T> {
    const at = `${this.#at}${path}`
    const response =
      body === undefined
        ? await this.#client.request(method, at)
        : await this.#client.request(method, at, JSON.stringify(body), { 'content-type': 'application/json' })
    return (await response.json()) as T
  }
}

const of = (name: string) => `/${encodeURIComponent(name)}`

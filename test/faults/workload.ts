import { SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs'
import type { Ready } from '../acceptance/harness.ts'
import { BUCKET, QUEUE } from './functions.ts'
import type { Noted, Notes } from './notes.ts'
import { Random } from './random.ts'

export const KINDS = ['calls', 'ordered', 'sql', 'objects', 'rows', 'events', 'messages'] as const
export type Kind = (typeof KINDS)[number]

/** Who sends waits so long for an answer: longer than a node is frozen. */
const ANSWER_MS = 180_000
const KEYS = 6
/** Of a thousand events so many fail in each try, and so many in the first. */
const POISON = 10
const FLAKY = 20
/** What a request that may have more than one event has at most. */
const BATCH: Record<Kind, number> = { calls: 1, ordered: 1, objects: 1, sql: 8, rows: 8, events: 20, messages: 10 }

interface Event {
  readonly id: string
  readonly fails?: 'first' | 'always'
  readonly key?: string
  readonly sequence?: number
}

export interface WorkloadOptions {
  readonly events: number
  readonly seed: number
  readonly senders: number
  readonly notes: Notes
  readonly ready: () => Ready
  /** Resolves when somebody is there to be sent to. */
  readonly isUp: () => Promise<void>
}

/** Events of all kinds, each with an id of its own that is sent once; which of them were acknowledged stands in the notes. */
export class Workload {
  readonly #options: WorkloadOptions
  #made = 0
  #sequence = 0
  /** Those of one key are sent one after the other: else they have no order that could be kept. */
  readonly #keys = Array.from({ length: KEYS }, () => Promise.resolve())
  acknowledged = 0
  unanswered = 0
  /** By status and code, of what was refused. */
  readonly refusals = new Map<string, number>()
  #sqs: { url: string; client: SQSClient } | null = null

  constructor(options: WorkloadOptions) {
    this.#options = options
  }

  get done(): number {
    return this.#made
  }

  /** Until so many events were sent. */
  async run(signal: AbortSignal): Promise<void> {
    const { events, seed, senders } = this.#options
    const send = async (sender: number) => {
      const random = new Random(seed * 1_009 + sender)
      while (this.#made < events && !signal.aborted) {
        await this.#options.isUp()
        const kind = random.any(KINDS)
        const count = Math.min(random.whole(1, BATCH[kind]), events - this.#made)
        if (count < 1) break
        if (kind === 'ordered') await this.#inOrder(random)
        else await this.#send(kind, this.#events(kind, count, random))
      }
    }
    await Promise.all(Array.from({ length: senders }, (_, sender) => send(sender)))
    this.#sqs?.client.destroy()
  }

  #events(kind: Kind, count: number, random: Random, more: Pick<Event, 'key' | 'sequence'> = {}): Event[] {
    return Array.from({ length: count }, () => {
      const id = `e${this.#options.seed}-${++this.#made}`
      const drawn = random.whole(1, 1_000)
      // A function is not told of an object what it is to do, and one message that fails has the others of its batch come again.
      const fails = kind === 'objects' ? null : drawn <= POISON ? 'always' : drawn <= POISON + FLAKY ? 'first' : null
      return { id, ...(fails === null ? {} : { fails }), ...more }
    })
  }

  async #inOrder(random: Random): Promise<void> {
    const key = random.whole(0, KEYS - 1)
    const before = this.#keys[key]
    const mine = (async () => {
      await before
      await this.#send('ordered', this.#events('ordered', 1, random, { key: `key${key}`, sequence: ++this.#sequence }))
    })()
    this.#keys[key] = mine
    await mine
  }

  async #send(kind: Kind, events: readonly Event[]): Promise<void> {
    const { notes } = this.#options
    const noted = (of: readonly Event[], ok: boolean): Noted[] =>
      of.map(({ id, fails, key, sequence }) => ({
        id,
        kind,
        ok,
        ...(key === undefined ? {} : { key }),
        ...(sequence === undefined ? {} : { sequence }),
        ...(fails === undefined ? {} : { fails }),
      }))
    await notes.add(...noted(events, false))
    let taken: readonly Event[]
    try {
      taken = await this.#sent(kind, events)
    } catch {
      this.unanswered += events.length
      // Nobody is there, or nobody who can: whoever sends comes again a little later.
      await new Promise((resolve) => setTimeout(resolve, 300))
      return
    }
    if (taken.length > 0) await notes.add(...noted(taken, true))
    this.acknowledged += taken.length
  }

  /** @returns those that were acknowledged @throws Error when no answer came */
  async #sent(kind: Kind, events: readonly Event[]): Promise<readonly Event[]> {
    const { project, url } = this.#options.ready()
    const manage = `${url}/api/v1/projects/${project.ref}`
    switch (kind) {
      case 'calls':
      case 'ordered':
        return await this.#post(`${manage}/functions/${kind}/invoke?async=1`, events[0], events)
      case 'sql':
        return await this.#post(`${project.url}/rest/v1/rpc/tell`, { told: events }, events)
      case 'objects':
        return await this.#post(`${project.url}/storage/v1/object/${BUCKET}/${events[0]?.id}`, 'a few bytes', events)
      case 'rows':
        return await this.#post(
          `${project.url}/rest/v1/notes`,
          events.map(({ id, fails = null }) => ({ id, fails })),
          events,
        )
      case 'events':
        return await this.#post(
          `${manage}/events`,
          { events: events.map((detail) => ({ id: detail.id, 'detail-type': 'made', source: 'faults', detail })) },
          events,
        )
      case 'messages':
        return await this.#messages(events)
      default:
        return kind satisfies never
    }
  }

  async #post(url: string, body: unknown, events: readonly Event[]): Promise<readonly Event[]> {
    const { secretKey } = this.#options.ready().project
    const isText = typeof body === 'string'
    const response = await fetch(url, {
      method: 'POST',
      headers: { apikey: secretKey, authorization: `Bearer ${secretKey}`, 'content-type': isText ? 'text/plain' : 'application/json' },
      body: isText ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS),
    })
    const text = await response.text()
    if (response.ok) return events
    this.#refused(response.status, text)
    await this.#breathe(response.status)
    return []
  }

  async #messages(events: readonly Event[]): Promise<readonly Event[]> {
    const { url, region, accessKey } = this.#options.ready()
    if (this.#sqs?.url !== url) {
      this.#sqs?.client.destroy()
      const credentials = { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret }
      this.#sqs = { url, client: new SQSClient({ endpoint: url, region, credentials, maxAttempts: 1 }) }
    }
    const Entries = events.map((event, at) => ({ Id: String(at), MessageBody: JSON.stringify(event) }))
    const about = { abortSignal: AbortSignal.timeout(ANSWER_MS) }
    try {
      const { Successful = [] } = await this.#sqs.client.send(new SendMessageBatchCommand({ QueueUrl: `${url}/000000000000/${QUEUE}`, Entries }), about)
      return Successful.map(({ Id }) => events[Number(Id)] as Event)
    } catch (error) {
      const { $metadata, name } = error as { $metadata?: { httpStatusCode?: number }; name: string }
      const status = $metadata?.httpStatusCode
      if (status === undefined) throw error
      this.#refused(status, name)
      await this.#breathe(status)
      return []
    }
  }

  #refused(status: number, text: string): void {
    const { code = '' } = text.startsWith('{') ? (JSON.parse(text) as { code?: string }) : { code: text }
    const what = `${status} ${code}`.slice(0, 100)
    this.refusals.set(what, (this.refusals.get(what) ?? 0) + 1)
  }

  /** Whoever is told that there is no room comes again later. */
  async #breathe(status: number): Promise<void> {
    if (status === 429 || status >= 500) await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

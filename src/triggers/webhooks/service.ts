import type { Database } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { WebhookSpec } from '../../core/web-triggers.ts'
import type { Queue } from '../../invoke/index.ts'
import { selectWebhookTrigger } from './store.ts'
import { type Delivery, type SignedRequest, verifyWebhook } from './signature.ts'

export interface WebhooksInDeps {
  readonly control: Database
  readonly queue: Pick<Queue, 'enqueue'>
  /** The values of the secrets of a project by their names. */
  readonly secretsOf: (project: ProjectRef) => Promise<Readonly<Record<string, string>>>
  readonly newId: () => string
  readonly log: Log
}

/** Where a webhook goes. */
export interface WebhookAddress {
  readonly project: Project
  readonly functionName: string
  readonly name: string
}

/** What became of one that was let in. */
export interface TakenWebhook {
  /** Of the invocation; null when its event is none that the trigger waits for. */
  readonly invocation: string | null
  /** Its delivery was taken before: it starts nothing a second time. */
  readonly seen: boolean
}

/** What an event says of its delivery beside the request itself. */
export interface ToldWebhook extends Delivery {
  readonly name: string
  readonly provider: WebhookSpec['provider']
}

const FUNCTION = /^[a-zA-Z0-9_-]{1,64}$/

/** Webhooks that other services send: each starts one function, by the queue. */
export class WebhooksIn {
  readonly #deps: WebhooksInDeps

  constructor(deps: WebhooksInDeps) {
    this.#deps = deps
  }

  /**
   * Resolves when it is on disk: it runs at least once, or becomes a dead letter.
   * @param read  reads the request, once it is known that anybody waits for it
   * @param eventOf  what the function gets
   * @throws MayflyError webhook_not_found, webhook_signature_invalid, webhook_too_old, payload_too_large, queue_full, storage_full
   */
  async take(
    { project, functionName, name }: WebhookAddress,
    depth: number,
    read: () => Promise<SignedRequest>,
    eventOf: (request: SignedRequest, told: ToldWebhook) => Uint8Array,
  ): Promise<TakenWebhook> {
    const { control, queue, newId } = this.#deps
    const isAddress = FUNCTION.test(functionName) && FUNCTION.test(name)
    const trigger = isAddress ? await selectWebhookTrigger(control.sql, project.id, functionName, name) : null
    if (!trigger) throw new MayflyError('webhook_not_found', 'no function waits for webhooks at this address')
    const spec = (trigger.definition as { readonly webhook: WebhookSpec }).webhook
    const request = await read()
    const delivery = verifyWebhook(spec, await this.#secretsOf(project, trigger.functionName, spec), request)
    if (spec.events && !spec.events.includes(delivery.event ?? '')) return { invocation: null, seen: false }
    const { functionId } = trigger
    const payload = eventOf(request, { name, provider: spec.provider, ...delivery })
    const id = newId()
    // What the function was sent under keys of its own callers is something else.
    const key = delivery.id === null ? null : `webhook ${name} ${delivery.id}`
    const invocation = await queue.enqueue(
      { id, project: project.ref, functionId, functionName: trigger.functionName, traceId: null, clientContext: null, depth, payload },
      key,
    )
    return { invocation, seen: invocation !== id }
  }

  /** Those that are set; the sender is not told of one that is not. */
  async #secretsOf({ ref }: Project, functionName: string, { secret }: WebhookSpec): Promise<string[]> {
    const all = await this.#deps.secretsOf(ref)
    const names = [secret].flat()
    const values = names.flatMap((name) => (Object.hasOwn(all, name) ? [all[name] as string] : []))
    if (values.length === 0) this.#deps.log.warn({ project: ref, function: functionName, secret: names[0] }, 'a webhook was refused: its secret is not set')
    return values
  }
}

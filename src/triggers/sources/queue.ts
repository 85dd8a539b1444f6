import type { EventSource, Pump, SourceHost } from '../event-source.ts'
import { type Consumer, consumerOfMapping, consumerOfTrigger } from '../queue/consumer.ts'
import { Poller } from '../queue/poller.ts'
import { selectQueueTriggers } from '../queue/store.ts'

const LOOK_MS = 1_000

/** Messages of queues. Of several functions that wait at one queue each message goes to one. */
export const queueSource: EventSource<'queue'> = {
  kind: 'queue',
  prepare: async ({ queues }, project, { queue }) => {
    if (queue && !queues.find(project, queue.name)) await queues.create(project, queue.name, {})
  },
  open: (host) => new Consumers(host),
}

/** Lets each trigger of a queue be polled while it is wanted; the polling itself goes on between the passes. */
class Consumers implements Pump {
  readonly #host: SourceHost
  readonly #pollers = new Map<string, Poller>()
  readonly #leaving = new Set<Promise<void>>()
  #isOver = false

  constructor(host: SourceHost) {
    this.#host = host
  }

  async pass(): Promise<number> {
    const wanted = new Map((await this.#consumers()).map((one) => [JSON.stringify(one), one]))
    // It may have come to its end meanwhile.
    if (this.#isOver) return LOOK_MS
    for (const [key, poller] of this.#pollers) {
      if (wanted.has(key)) continue
      this.#pollers.delete(key)
      const left = poller.stop().finally(() => this.#leaving.delete(left))
      this.#leaving.add(left)
    }
    for (const [key, consumer] of wanted) if (!this.#pollers.has(key)) this.#pollers.set(key, new Poller(this.#host, consumer))
    return LOOK_MS
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    await Promise.all([...[...this.#pollers.values()].map((poller) => poller[Symbol.asyncDispose]()), ...this.#leaving])
  }

  async #consumers(): Promise<Consumer[]> {
    const { control, mappings, queue } = this.#host
    const triggers = (await selectQueueTriggers(control.sql)).map(consumerOfTrigger)
    const all = [...triggers, ...(await mappings()).map(consumerOfMapping).filter((one) => one !== null)]
    if (all.length === 0) return []
    // Messages of a function that is paused wait in their queue.
    const paused = await queue.pausedOf(all.map(({ functionId }) => functionId))
    return all.filter(({ functionId }) => !paused.has(functionId))
  }
}

import type { Bus, BusValue } from './bus.ts'
import { Subscribers } from './subscribers.ts'

/** The bus of a node that is one process. */
export function openInProcessBus(): Bus {
  return new InProcessBus()
}

class InProcessBus implements Bus {
  readonly #subscribers = new Subscribers()
  readonly #responders = new Map<string, (value: BusValue) => Promise<BusValue>>()

  publish(subject: string, value: BusValue): void {
    this.#subscribers.tell(subject, structuredClone(value))
  }

  subscribe(subject: string, hear: (value: BusValue) => void): Disposable {
    return this.#subscribers.add(subject, hear)
  }

  async request(subject: string, value: BusValue, signal: AbortSignal): Promise<BusValue> {
    signal.throwIfAborted()
    const answer = this.#responders.get(subject)
    if (!answer) throw new Error(`nobody answers ${subject} on the bus`)
    const { promise, reject } = Promise.withResolvers<never>()
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort)
    try {
      return structuredClone(await Promise.race([answer(structuredClone(value)), promise]))
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  respond(subject: string, answer: (value: BusValue) => Promise<BusValue>): Disposable {
    if (this.#responders.has(subject)) throw new Error(`${subject} has a responder already`)
    this.#responders.set(subject, answer)
    return { [Symbol.dispose]: () => void this.#responders.delete(subject) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscribers.clear()
    this.#responders.clear()
  }
}

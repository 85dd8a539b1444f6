import type { Duplex } from 'node:stream'
import type { Bus, BusValue } from './bus.ts'
import { type Frame, Link } from './link.ts'
import { Subscribers } from './subscribers.ts'

/** Questions that wait for somebody to answer their subject, and those on their way, of one process. */
const MAX_QUESTIONS = 100_000

type Answer = (value: BusValue) => Promise<BusValue>
interface Asked {
  readonly resolve: (value: BusValue) => void
  readonly reject: (error: Error) => void
}
/** A question from elsewhere: it is answered there, or given up. */
interface Question extends Asked {
  readonly subject: string
  readonly value: BusValue
  /** Takes the question back from who was asked. */
  forget: () => void
}

/**
 * The bus between the processes of a node: a star. The hub is told everything and tells it on; the others have one link,
 * to it. What is sent over a link arrives in order, as long as the link is there: who is told of a change and then asked
 * something knows of the change when it answers.
 */
export class WiredBus implements Bus {
  readonly #isHub: boolean
  readonly #subscribers = new Subscribers()
  readonly #responders = new Map<string, Answer>()
  readonly #links = new Set<Link>()
  /** Of the hub: who at the end of a link answers what. */
  readonly #remote = new Map<string, Link>()
  /** What was asked over a link, by its id. */
  readonly #asked = new Map<number, Asked & { readonly link: Link }>()
  /** Of the hub: what nobody answers yet. */
  readonly #waiting = new Set<Question>()
  /** What came over a link and is not answered, by that link and its id there. */
  readonly #open = new Map<Link, Map<number, Question>>()
  #lastId = 0

  private constructor(isHub: boolean) {
    this.#isHub = isHub
  }

  static hub(): WiredBus {
    return new WiredBus(true)
  }

  /** @param gone  the hub is gone */
  static spoke(stream: Duplex, gone: () => void): WiredBus {
    const bus = new WiredBus(false)
    bus.attach(stream, gone)
    return bus
  }

  /** @returns what cuts it */
  attach(stream: Duplex, gone: () => void): Disposable {
    const link: Link = new Link(
      stream,
      (frame) => this.#take(link, frame),
      () => {
        this.#left(link)
        gone()
      },
    )
    this.#links.add(link)
    this.#open.set(link, new Map())
    for (const subject of this.#responders.keys()) if (!this.#isHub) link.send({ kind: 'responds', subject })
    return { [Symbol.dispose]: () => link.cut() }
  }

  publish(subject: string, value: BusValue): void {
    this.#subscribers.tell(subject, structuredClone(value) as BusValue)
    for (const link of this.#links) link.send({ kind: 'tell', subject, value })
  }

  subscribe(subject: string, hear: (value: BusValue) => void): Disposable {
    return this.#subscribers.add(subject, hear)
  }

  async request(subject: string, value: BusValue, signal: AbortSignal): Promise<BusValue> {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<BusValue>()
    const question: Question = { subject, value, resolve, reject, forget: () => {} }
    const onAbort = () => {
      question.forget()
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', onAbort)
    try {
      this.#put(question)
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  respond(subject: string, answer: Answer): Disposable {
    if (this.#responders.has(subject) || this.#remote.has(subject)) throw new Error(`${subject} has a responder already`)
    this.#responders.set(subject, answer)
    if (!this.#isHub) for (const link of this.#links) link.send({ kind: 'responds', subject })
    this.#answerWaiting(subject)
    return {
      [Symbol.dispose]: () => {
        this.#responders.delete(subject)
        if (!this.#isHub) for (const link of this.#links) link.send({ kind: 'silent', subject })
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscribers.clear()
    this.#responders.clear()
    for (const link of this.#links) link.cut()
    for (const question of this.#waiting) question.reject(new Error('the bus is closed'))
    this.#waiting.clear()
  }

  #put(question: Question): void {
    const own = this.#responders.get(question.subject)
    if (own) return void answerOf(own, question.value).then(question.resolve, question.reject)
    const link = this.#isHub ? this.#remote.get(question.subject) : [...this.#links][0]
    if (link) return void this.#ask(link, question)
    if (!this.#isHub || this.#waiting.size >= MAX_QUESTIONS) return void question.reject(new Error(`nobody answers ${question.subject} on the bus`))
    this.#waiting.add(question)
    question.forget = () => void this.#waiting.delete(question)
  }

  #ask(link: Link, question: Question): void {
    if (this.#asked.size >= MAX_QUESTIONS) return void question.reject(new Error('too much is asked on the bus'))
    const id = ++this.#lastId
    this.#asked.set(id, { link, resolve: question.resolve, reject: question.reject })
    question.forget = () => {
      if (this.#asked.delete(id)) link.send({ kind: 'forget', id })
    }
    try {
      link.send({ kind: 'ask', id, subject: question.subject, value: question.value })
    } catch (error) {
      this.#asked.delete(id)
      question.reject(error as Error)
    }
  }

  #answerWaiting(subject: string): void {
    for (const question of this.#waiting) {
      if (question.subject !== subject) continue
      this.#waiting.delete(question)
      this.#put(question)
    }
  }

  #take(link: Link, frame: Frame): void {
    switch (frame.kind) {
      case 'tell':
        this.#subscribers.tell(frame.subject, frame.value)
        if (this.#isHub) for (const other of this.#links) if (other !== link) other.send(frame)
        return
      case 'ask': {
        const { id, subject, value } = frame
        const open = this.#open.get(link)
        const over = (answer: Frame) => {
          if (!open?.delete(id)) return
          try {
            link.send(answer)
          } catch (error) {
            link.send({ kind: 'failed', id, message: (error as Error).message })
          }
        }
        const question: Question = {
          subject,
          value,
          resolve: (answer) => over({ kind: 'answer', id, value: answer }),
          reject: (error) => over({ kind: 'failed', id, message: error.message }),
          forget: () => {},
        }
        open?.set(id, question)
        // A spoke is asked only what it answers, or what it just stopped answering.
        if (this.#isHub || this.#responders.has(subject)) return void this.#put(question)
        return void question.reject(new Error(`nobody answers ${subject} on the bus`))
      }
      case 'answer':
      case 'failed': {
        const asked = this.#asked.get(frame.id)
        this.#asked.delete(frame.id)
        if (frame.kind === 'answer') asked?.resolve(frame.value)
        else asked?.reject(new Error(frame.message))
        return
      }
      case 'forget':
        this.#open.get(link)?.get(frame.id)?.forget()
        this.#open.get(link)?.delete(frame.id)
        return
      case 'responds':
        this.#remote.set(frame.subject, link)
        this.#answerWaiting(frame.subject)
        return
      case 'silent':
        if (this.#remote.get(frame.subject) === link) this.#remote.delete(frame.subject)
        return
      default:
        link.cut() // not ours
    }
  }

  #left(link: Link): void {
    this.#links.delete(link)
    for (const [subject, of] of this.#remote) if (of === link) this.#remote.delete(subject)
    for (const question of this.#open.get(link)?.values() ?? []) question.forget()
    this.#open.delete(link)
    for (const [id, asked] of this.#asked) {
      if (asked.link !== link) continue
      this.#asked.delete(id)
      asked.reject(new Error('who was asked is gone'))
    }
  }
}

async function answerOf(answer: Answer, value: BusValue): Promise<BusValue> {
  await null // behind what was told before
  return structuredClone(await answer(structuredClone(value) as BusValue))
}

import type { Log } from '../core/log.ts'
import { Bell } from '../lib/bell.ts'
import type { Clock } from '../lib/clock.ts'
import type { Pump } from './event-source.ts'

const RETRY_MS = 1_000
const RETRY_MAX_MS = 30_000

/** Lets the pump of a source pass again and again: when its time comes, when it is rung for, and after a failure later and later. */
export class Pumping implements AsyncDisposable {
  readonly #kind: string
  readonly #pump: Pump
  readonly #clock: Clock
  readonly #log: Log
  readonly #bell = new Bell()
  readonly #stop = new AbortController()
  #loop: Promise<void> | null = null

  constructor(kind: string, pump: Pump, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#kind = kind
    this.#pump = pump
    this.#clock = clock
    this.#log = log
  }

  start(): void {
    this.#loop ??= this.#pumping()
  }

  ring(): void {
    this.#bell.ring()
  }

  /** One pass, outside the rounds. */
  async once(): Promise<void> {
    await this.#pump.pass(this.#stop.signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#bell.ring()
    await this.#loop
    await this.#pump[Symbol.asyncDispose]()
  }

  async #pumping(): Promise<void> {
    const { signal } = this.#stop
    let failures = 0
    while (!signal.aborted) {
      let nextMs: number
      try {
        nextMs = await this.#pump.pass(signal)
        if (failures > 0) this.#log.info({ source: this.#kind }, 'a source of events is looked at again')
        failures = 0
      } catch (error) {
        if (signal.aborted) return
        if (failures === 0)
          this.#log.warn({ source: this.#kind, error: (error as Error).message }, 'a source of events could not be looked at; it is tried again')
        nextMs = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** Math.min(10, failures))
        failures++
      }
      await this.#bell.wait(this.#clock, nextMs, signal)
    }
  }
}

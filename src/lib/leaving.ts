/** As much of an AbortSignal as the path of a call asks for; any AbortSignal is one. */
export interface Leaving {
  readonly aborted: boolean
  readonly reason: unknown
  throwIfAborted(): void
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** Fires once, as an AbortController does; its AbortSignal is made when somebody asks for it, which most calls never do. */
export class LazyAbort implements Leaving {
  #listeners: (() => void)[] = []
  #controller: AbortController | null = null
  aborted = false
  reason: unknown = undefined

  abort(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    const listeners = this.#listeners
    this.#listeners = []
    this.#controller?.abort(reason)
    for (const listener of listeners) listener()
  }
  throwIfAborted(): void {
    if (this.aborted) throw this.reason
  }
  /** As with any signal that has fired, who comes later hears nothing. */
  addEventListener(_type: 'abort', listener: () => void): void {
    if (!this.aborted) this.#listeners.push(listener)
  }
  removeEventListener(_type: 'abort', listener: () => void): void {
    const at = this.#listeners.indexOf(listener)
    if (at === this.#listeners.length - 1) this.#listeners.pop()
    else if (at !== -1) this.#listeners.splice(at, 1)
  }
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.aborted) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }
}

/** The AbortSignal itself, for what asks for more. */
export const signalOf = (leaving: Leaving): AbortSignal => (leaving instanceof LazyAbort ? leaving.signal : (leaving as AbortSignal))

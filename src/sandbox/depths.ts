/**
 * How many functions stand behind what a sandbox asks of the platform at this moment: the deepest of its calls. What it
 * asks after its last call has ended (a connection kept open, work not waited for) counts as that call's.
 */
export class Depths {
  readonly #running: number[] = []
  #last: number

  /** @param first  of the call that it is made for: its code loads, and may run, before that call is known to have begun */
  constructor(first: number) {
    this.#last = first
  }

  began(depth: number): void {
    this.#running.push(depth)
    this.#last = depth
  }

  ended(depth: number): void {
    const at = this.#running.indexOf(depth)
    if (at === -1) return
    // Their order says nothing.
    const last = this.#running.pop() as number
    if (at < this.#running.length) this.#running[at] = last
  }

  now(): number {
    return this.#running.length === 0 ? this.#last : Math.max(...this.#running)
  }
}

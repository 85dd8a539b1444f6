/**
 * Whose turn it is among parties that share something, by start-time fair queueing: each has what it was served,
 * divided by its weight, and the one that was served least is next. Who waited for nothing meanwhile has saved nothing
 * up: it begins where the others stand.
 */
export class FairOrder {
  readonly #served = new Map<string, number>()
  readonly #waiting = new Map<string, number>()
  /** Where those stand that were served last. */
  #now = 0

  /** One more waits for this party. */
  enter(party: string): void {
    const waiting = this.#waiting.get(party) ?? 0
    if (waiting === 0) this.#served.set(party, Math.max(this.#now, this.#served.get(party) ?? 0))
    this.#waiting.set(party, waiting + 1)
  }

  /** One waits no more: it was served, or has left. */
  leave(party: string): void {
    const waiting = (this.#waiting.get(party) ?? 0) - 1
    if (waiting > 0) this.#waiting.set(party, waiting)
    else {
      this.#waiting.delete(party)
      this.#forget()
    }
  }

  /** The smaller, the earlier is its turn. */
  turnOf(party: string): number {
    return this.#served.get(party) ?? this.#now
  }

  serve(party: string, weight = 1): void {
    const turn = this.turnOf(party)
    this.#now = Math.max(this.#now, turn)
    this.#served.set(party, turn + 1 / weight)
  }

  /** Who waits for nothing and is not ahead of the others needs no memory; where nobody waits, nobody does. */
  #forget(): void {
    if (this.#waiting.size === 0) this.#served.clear()
    else for (const [party, turn] of this.#served) if (turn <= this.#now && !this.#waiting.has(party)) this.#served.delete(party)
  }
}

/** Turns of projects, and within each of them of its functions; each function's own come in the order they came. */
export class NestedOrder {
  readonly #projects = new FairOrder()
  readonly #functions = new Map<string, { readonly order: FairOrder; waiting: number }>()

  enter(project: string, name: string): void {
    this.#projects.enter(project)
    const inner = this.#functions.get(project) ?? { order: new FairOrder(), waiting: 0 }
    inner.order.enter(name)
    inner.waiting++
    this.#functions.set(project, inner)
  }

  leave(project: string, name: string): void {
    this.#projects.leave(project)
    const inner = this.#functions.get(project)
    if (!inner) return
    inner.order.leave(name)
    if (--inner.waiting === 0) this.#functions.delete(project)
  }

  serve(project: string, name: string, weight = 1): void {
    this.#projects.serve(project, weight)
    this.#functions.get(project)?.order.serve(name)
  }

  /**
   * The one of these whose turn it is; of one function the first. Undefined where there is none.
   * @param ahead  what is on its way for a project already, in turns
   */
  next<Party extends { readonly project: string; readonly name: string }>(
    parties: Iterable<Party>,
    ahead: (project: string) => number = () => 0,
  ): Party | undefined {
    let found: Party | undefined
    let best: readonly [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (const party of parties) {
      const turn = [this.#projects.turnOf(party.project) + ahead(party.project), this.#functions.get(party.project)?.order.turnOf(party.name) ?? 0] as const
      if (turn[0] > best[0] || (turn[0] === best[0] && turn[1] >= best[1])) continue
      found = party
      best = turn
    }
    return found
  }
}

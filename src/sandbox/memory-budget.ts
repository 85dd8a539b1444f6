import { MayflyError } from '../core/errors.ts'
import type { Server, Serving } from './serving.ts'

export interface MemoryBudgetDeps<Sandbox extends Server> {
  readonly totalMb: number
  readonly serving: Serving<Sandbox>
  /** Ends one; it counts no more when this returns. */
  readonly drop: (sandbox: Sandbox) => void
}

/** The memory that all sandboxes together may have: those that serve, and those on their way. */
export class MemoryBudget<Sandbox extends Server> {
  readonly totalMb: number
  readonly #deps: MemoryBudgetDeps<Sandbox>
  /** How many are on their way, by version. */
  readonly #coming = new Map<string, number>()
  #comingMb = 0

  constructor(deps: MemoryBudgetDeps<Sandbox>) {
    this.totalMb = deps.totalMb
    this.#deps = deps
  }

  fits(wantedMb: number): boolean {
    return this.usedMb + wantedMb <= this.totalMb
  }

  /** Idle sandboxes go, oldest first, until another fits. @throws MayflyError too_many_invocations */
  makeRoom(wantedMb: number): void {
    this.#makeRoom(wantedMb, null)
  }

  /** The same for one that stands frozen and is to run: then it counts for its limit. @throws MayflyError too_many_invocations */
  makeRoomToRun(sandbox: Sandbox): void {
    if (sandbox.state.state === 'frozen') this.#makeRoom(sandbox.spec.memoryMb - this.#deps.serving.memoryOf(sandbox), sandbox)
  }

  #makeRoom(wantedMb: number, stays: Sandbox | null): void {
    while (!this.fits(wantedMb)) {
      const idle = this.#deps.serving.idle().filter(({ sandbox }) => sandbox !== stays)
      const oldest = idle.toSorted((one, other) => one.sinceMs - other.sinceMs)[0]
      if (!oldest)
        throw new MayflyError(
          'too_many_invocations',
          `the sandboxes of this node use ${this.usedMb} of ${this.totalMb} MB of memory; another of ${wantedMb} MB does not fit now`,
        )
      this.#deps.drop(oldest.sandbox)
    }
  }

  /** A sandbox for this is on its way until this is disposed: it counts, so that several at once do not slip through together. */
  comes({ key, memoryMb }: { readonly key: string; readonly memoryMb: number }): Disposable {
    this.#comingMb += memoryMb
    this.#coming.set(key, (this.#coming.get(key) ?? 0) + 1)
    return {
      [Symbol.dispose]: () => {
        this.#comingMb -= memoryMb
        const left = (this.#coming.get(key) ?? 1) - 1
        if (left === 0) this.#coming.delete(key)
        else this.#coming.set(key, left)
      },
    }
  }

  isComing(key: string): boolean {
    return this.#coming.has(key)
  }

  get usedMb(): number {
    return this.#deps.serving.memoryMb + this.#comingMb
  }
}
